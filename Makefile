.POSIX:
.SUFFIXES:

# What a user may set on the command line.
VERSION = 0.1.0
PREFIX = /usr/local
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share
ZSHDIR = $(DATADIR)/zsh/site-functions
DESTDIR =
CFLAGS = -O2 -g
CPPFLAGS =
LDFLAGS =
LDLIBS = -lbearssl
# PEM file whose certificates become the built-in trust roots; without it there are none.
CA_BUNDLE = /etc/ssl/certs/ca-certificates.crt
# How old those roots are, for --version; if empty, what the bundle or its package says.
ROOTS_DATE =
# The BearSSL that is linked, for --version.
BEARSSL_VERSION = 0.6
# What json.c is compiled with besides: it takes most of the time, in a build for size too.
FAST =
# Where a build goes: empty, or a folder with a '/' at its end.
B =

WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes
OUR_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -DVERSION='"$(VERSION)"' \
	-DBEARSSL_VERSION='"$(BEARSSL_VERSION)"'
OUR_CFLAGS = -std=c99 -pedantic $(WARNINGS)
COMPILE = $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK = $(COMPILE) $(LDFLAGS)

HEADERS = json.h http.h singer.h streams.h
GENERATED = contrib/roots.h schemas/schemas.h
SOURCES = json.c http.c singer.c streams.c tap.c
MODULES = $(B)json.o $(B)http.o $(B)singer.o $(B)streams.o
OBJECTS = $(MODULES) $(B)tap.o
UNIT_TESTS = $(B)test/json_test $(B)test/http_test $(B)test/singer_test $(B)test/streams_test $(B)test/tap_test
DRIVERS = $(B)test/jsoncheck $(B)test/httpcheck $(B)test/segmentd

# ---- The program ----

all: $(B)tap-segment

$(B)tap-segment: $(OBJECTS)
	$(LINK) -o $@ $(OBJECTS) $(LDLIBS)

$(B)json.o: json.c json.h Makefile
	$(COMPILE) $(FAST) -c -o $@ json.c
$(B)http.o: http.c contrib/roots.h
$(B)singer.o: singer.c
$(B)streams.o: streams.c
$(B)tap.o: tap.c
$(B)http.o $(B)singer.o $(B)streams.o $(B)tap.o: $(HEADERS) schemas/schemas.h Makefile
	$(COMPILE) -c -o $@ $(@F:.o=.c)

# Both are looked at in every build and written only if they would be others: CA_BUNDLE may name another file than last
# time, and no list names the schemas.
contrib/roots.h: FORCE
	contrib/roots "$(CA_BUNDLE)" "$(ROOTS_DATE)" $@
schemas/schemas.h: FORCE
	contrib/schemas $@
FORCE:

# ---- Tests ----
# What stands before a test program (WRAP) and before the tap in the end-to-end suite (TAP), such as valgrind or qemu.
WRAP =
TAP = ./$(B)tap-segment
SCRIPTS = test/drivers_test.sh test/gzip_test.py test/e2e.py test/contrib_test.py
# What tests the tests and never runs the program.
OWN_TESTS = test/run_test.sh test/bed_test.py
SEGMENTD = ./$(B)test/segmentd

test: all $(UNIT_TESTS) $(DRIVERS)
	WRAP="$(WRAP)" TAP="$(TAP)" SEGMENTD="$(SEGMENTD)" BUILD="$(B)" \
		test/run $(UNIT_TESTS) $(OWN_TESTS) $(SCRIPTS)

# A test includes the module it tests, so from this it gets only the others.
$(B)test/modules.a: $(MODULES)
	rm -f $@ && $(AR) rc $@ $(MODULES)

$(B)test/json_test: test/json_test.c json.c
$(B)test/http_test: test/http_test.c http.c contrib/roots.h
$(B)test/singer_test: test/singer_test.c singer.c
$(B)test/tap_test: test/tap_test.c tap.c
$(B)test/jsoncheck: test/jsoncheck.c json.c
$(B)test/httpcheck: test/httpcheck.c http.c contrib/roots.h
$(B)test/bench: test/bench.c http.c contrib/roots.h
ONE_SOURCE = $(B)test/json_test $(B)test/http_test $(B)test/singer_test $(B)test/tap_test $(B)test/jsoncheck \
	$(B)test/httpcheck $(B)test/bench
$(ONE_SOURCE): $(HEADERS) schemas/schemas.h test/check.h $(B)test/modules.a
	$(LINK) -o $@ test/$(@F).c $(B)test/modules.a $(LDLIBS)

$(B)test/streams_test: test/streams_test.c test/fake_http.c test/fake_http.h test/check.h streams.c $(HEADERS) \
		schemas/schemas.h $(B)test/modules.a
	$(LINK) -o $@ test/streams_test.c test/fake_http.c $(B)test/modules.a
$(B)test/segmentd: test/segmentd.c
	$(LINK) -o $@ test/segmentd.c $(LDLIBS)

# The fake API on loopback and the tap against it.  Standard output has nothing but messages.
demo:
	@$(MAKE) all $(B)test/segmentd >&2
	@TAP="$(TAP)" SEGMENTD="$(SEGMENTD)" test/demo

# What README.md says of settings and streams.
readme: all
	contrib/readme README.md $(TAP)

# ---- Installing, cleaning ----

BIN = $(DESTDIR)$(PREFIX)/bin
MAN1 = $(DESTDIR)$(MANDIR)/man1
BASH = $(DESTDIR)$(DATADIR)/bash-completion/completions
ZSH = $(DESTDIR)$(ZSHDIR)
FISH = $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
TEXTS = "$(MAN1)/tap-segment.1" "$(BASH)/tap-segment" "$(ZSH)/_tap-segment" "$(FISH)/tap-segment.fish"

install: all
	mkdir -p "$(BIN)" "$(MAN1)" "$(BASH)" "$(ZSH)" "$(FISH)"
	cp $(B)tap-segment "$(BIN)/tap-segment"
	cp contrib/tap-segment.1 "$(MAN1)/tap-segment.1"
	cp contrib/completions/tap-segment.bash "$(BASH)/tap-segment"
	cp contrib/completions/_tap-segment "$(ZSH)/_tap-segment"
	cp contrib/completions/tap-segment.fish "$(FISH)/tap-segment.fish"
	chmod 755 "$(BIN)/tap-segment"
	chmod 644 $(TEXTS)

uninstall:
	rm -f "$(BIN)/tap-segment" $(TEXTS)

# What contrib/deps fetched into build/deps stays; distclean takes it too.
clean:
	for f in build/*; do [ "$$f" = build/deps ] || rm -rf "$$f"; done
	rm -f *.o test/*.o test/*.a tap-segment $(GENERATED) contrib/*.part schemas/*.part
	rm -f $(UNIT_TESTS) $(DRIVERS) $(B)test/bench $(B)test/tap-fault

distclean: clean
	rm -rf build

# Sanitizers, valgrind, sweeps, style, benchmark; the static binary, other processors, releases.
include test/test.mk
include contrib/release.mk
