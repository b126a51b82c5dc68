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
# Where a build goes: empty, or a folder with a '/' at its end.
B =

WARNINGS = -Wall -Wextra -Wshadow -Wconversion
OUR_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -DVERSION='"$(VERSION)"' \
	-DBEARSSL_VERSION='"$(BEARSSL_VERSION)"'
OUR_CFLAGS = -std=c99 -pedantic $(WARNINGS)
COMPILE = $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK = $(COMPILE) $(LDFLAGS)

SCHEMAS = schemas/sources.json schemas/destinations.json schemas/warehouses.json \
	schemas/source_connected_destinations.json schemas/source_connected_warehouses.json \
	schemas/destination_subscriptions.json \
	schemas/catalog_sources.json schemas/catalog_destinations.json schemas/catalog_warehouses.json \
	schemas/usage_api_calls_per_source_daily.json schemas/usage_api_calls_workspace_daily.json \
	schemas/usage_mtu_per_source_daily.json schemas/usage_mtu_workspace_daily.json \
	schemas/destination_delivery_metrics_summary.json schemas/audit_events.json \
	schemas/iam_users.json schemas/iam_groups.json schemas/transformations.json
HEADERS = json.h http.h singer.h streams.h
OBJECTS = $(B)json.o $(B)http.o $(B)singer.o $(B)streams.o $(B)tap.o
UNIT_TESTS = $(B)test/json_test $(B)test/http_test $(B)test/singer_test $(B)test/streams_test \
	$(B)test/tap_test
DRIVERS = $(B)test/jsoncheck $(B)test/httpcheck $(B)test/segmentd

all: $(B)tap-segment

$(B)tap-segment: $(OBJECTS)
	$(LINK) -o $@ $(OBJECTS) $(LDLIBS)

$(B)json.o: json.c json.h
	$(COMPILE) -c -o $@ json.c
$(B)http.o: http.c http.h json.h contrib/roots.h
	$(COMPILE) -c -o $@ http.c
$(B)singer.o: singer.c singer.h json.h
	$(COMPILE) -c -o $@ singer.c
$(B)streams.o: streams.c $(HEADERS) schemas/schemas.h
	$(COMPILE) -c -o $@ streams.c
$(B)tap.o: tap.c $(HEADERS) Makefile
	$(COMPILE) -c -o $@ tap.c

# Each schema as an array of bytes, without its line breaks and indentation.
schemas/schemas.h: $(SCHEMAS)
	for f in $(SCHEMAS); do \
		n=$${f##*/}; echo "static const unsigned char schema_$${n%.json}[] = {"; \
		sed 's/^ *//' $$f | tr -d '\n' | od -An -v -t x1 | sed 's/[0-9a-f][0-9a-f]/0x&,/g'; echo '};'; \
	done > $@.$$$$.part && mv $@.$$$$.part $@

# Looked at in every build, written only if it would be another: CA_BUNDLE may name another file than last time.
contrib/roots.h: FORCE
	contrib/roots "$(CA_BUNDLE)" "$(ROOTS_DATE)" $@
FORCE:

# ---- Tests ----
# What stands before a test program (WRAP) and before the tap in the end-to-end suite (TAP), such as valgrind or qemu.
WRAP =
TAP = ./$(B)tap-segment
SEGMENTD = ./$(B)test/segmentd

test: all $(UNIT_TESTS) $(DRIVERS)
	WRAP="$(WRAP)" TAP="$(TAP)" SEGMENTD="$(SEGMENTD)" BUILD="$(B)" \
		test/run $(UNIT_TESTS) test/run_test.sh test/drivers_test.sh test/gzip_test.py test/e2e.py test/contrib_test.py

SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible

test-san:
	mkdir -p build/san/test
	$(MAKE) B=build/san/ CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" test

test-valgrind:
	mkdir -p build/valgrind/test
	$(MAKE) B=build/valgrind/ CFLAGS='-O1 -g' WRAP="$(VALGRIND)" TAP="$(VALGRIND) ./build/valgrind/tap-segment" test

# ---- Sweeps: the same sync again and again, with one thing that goes wrong, each time elsewhere ----
# The program once more, with test/fault.c in libc's place where something can fail.
FAULTS = -include test/fault.h

$(B)test/tap-fault: json.c http.c singer.c streams.c tap.c $(HEADERS) contrib/roots.h schemas/schemas.h test/fault.h Makefile \
		$(B)test/fault.o
	$(LINK) $(FAULTS) -o $@ json.c http.c singer.c streams.c tap.c $(B)test/fault.o $(LDLIBS)
$(B)test/fault.o: test/fault.c test/fault.h
	$(COMPILE) -c -o $@ test/fault.c

SWEEP = TAP="$(WRAP) ./$(B)test/tap-fault" SEGMENTD="$(SEGMENTD)"

test-clock test-kill test-faults test-calls test-signals test-memory: $(B)test/tap-fault $(SEGMENTD)
	$(SWEEP) PART=$@ test/run test/sweep.py
test-sweeps: $(B)test/tap-fault $(SEGMENTD)
	$(SWEEP) test/run test/sweep.py

$(B)test/json_test: test/json_test.c test/check.h json.c json.h
	$(LINK) -o $@ test/json_test.c
$(B)test/jsoncheck: test/jsoncheck.c json.c json.h
	$(LINK) -o $@ test/jsoncheck.c
$(B)test/http_test: test/http_test.c test/check.h http.c http.h json.h contrib/roots.h $(B)json.o
	$(LINK) -o $@ test/http_test.c $(B)json.o $(LDLIBS)
$(B)test/httpcheck: test/httpcheck.c http.c http.h json.h contrib/roots.h $(B)json.o
	$(LINK) -o $@ test/httpcheck.c $(B)json.o $(LDLIBS)
$(B)test/singer_test: test/singer_test.c test/check.h singer.c singer.h $(B)json.o
	$(LINK) -o $@ test/singer_test.c $(B)json.o
$(B)test/streams_test: test/streams_test.c test/fake_http.c test/fake_http.h test/check.h streams.c $(HEADERS) \
		schemas/schemas.h $(B)json.o $(B)singer.o
	$(LINK) -o $@ test/streams_test.c test/fake_http.c $(B)json.o $(B)singer.o
$(B)test/tap_test: test/tap_test.c test/check.h tap.c $(HEADERS) Makefile $(B)json.o $(B)http.o $(B)singer.o $(B)streams.o
	$(LINK) -o $@ test/tap_test.c $(B)json.o $(B)http.o $(B)singer.o $(B)streams.o $(LDLIBS)
$(B)test/segmentd: test/segmentd.c
	$(LINK) -o $@ test/segmentd.c $(LDLIBS)

# ---- Demo: the fake API on loopback and the tap against it ----

demo: all $(B)test/segmentd
	TAP="$(TAP)" SEGMENTD="$(SEGMENTD)" test/demo

# ---- Benchmark, always with release flags in a folder of its own ----

bench:
	mkdir -p build/release/test
	$(MAKE) B=build/release/ CFLAGS=-O2 bench-run

bench-run: all $(B)test/segmentd $(B)test/bench
	BUILD="$(B)" test/bench.py

$(B)test/bench: test/bench.c $(B)json.o $(B)singer.o $(B)streams.o $(B)http.o
	$(LINK) -o $@ test/bench.c $(B)json.o $(B)singer.o $(B)streams.o $(B)http.o $(LDLIBS)

# ---- One static file: musl, and BearSSL compiled for it ----
# What nothing calls is left out, function by function; nothing unwinds, so there are no tables for it.
SECTIONS = -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
# Measured on x86-64: -Os in place of -O2 saves 29 KB here and doubles the time of parsing; in BearSSL it saves 20 KB and
# costs nothing that shows in a whole sync.
STATIC_CFLAGS = -O2 $(SECTIONS)
BEARSSL_CFLAGS = -Os $(SECTIONS)
STATIC_LDFLAGS = -static-pie -s -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack
# The processor, a name from `contrib/toolchain list`, if it is not this machine's; and where its build goes.
ARCH =
S = build/static/
# BearSSL's sources: a folder, or else the tarball to unpack, upstream's bearssl-0.6.tar.gz or (second sum) Debian's copy
# of it, which `contrib/deps static` gets.
BEARSSL_SRC = build/deps/bearssl-0.6
BEARSSL_TARBALL = build/deps/bearssl.tar
BEARSSL_SHA256 = 6705bba1714961b41a728dfc5debbe348d2966c117649392f8c8139efc83ff14 \
	102a625bd8f6155260867a50c508df8d8c3f796985dd744df1a68e5cd1a79004
STATIC_GOAL = all

static: $(BEARSSL_SRC)/inc/bearssl.h
	mkdir -p $(S)bearssl $(S)test
	cc=$$(contrib/toolchain cc $(ARCH)) && ar=$$($$cc -print-prog-name=ar) && top=$$PWD && \
	(cd $(BEARSSL_SRC) && $(MAKE) BUILD="$$top/$(S)bearssl" CC="$$cc" AR="$$ar" CFLAGS="$(BEARSSL_CFLAGS)" lib) && \
	$(MAKE) B=$(S) CC="$$cc" CPPFLAGS="-isystem $(BEARSSL_SRC)/inc $(CPPFLAGS)" CFLAGS="$(STATIC_CFLAGS)" \
		LDFLAGS="$(STATIC_LDFLAGS)" LDLIBS=$(S)bearssl/libbearssl.a $(STATIC_GOAL)

build/deps/bearssl-0.6/inc/bearssl.h:
	contrib/bearssl "$(BEARSSL_TARBALL)" build/deps/bearssl-0.6 $(BEARSSL_SHA256)

# What takes the room.
size:
	$(MAKE) STATIC_GOAL=$(S)tap-segment.map static
	awk -f contrib/size.awk $(S)tap-segment.map
	ls -l $(S)tap-segment

$(B)tap-segment.map: $(B)tap-segment
	$(LINK) -Wl,-Map=$@ -o $(B)tap-segment $(OBJECTS) $(LDLIBS)

test-static: static $(SEGMENTD)
	SEGMENTD="$(SEGMENTD)" MAKE="$(MAKE)" test/run test/static_test.sh

# ---- The same for other processors; their tests run in an emulator, the fake API on this one ----
CROSS = $$(contrib/toolchain list)

cross: $(BEARSSL_SRC)/inc/bearssl.h
	for arch in $(CROSS); do \
		$(MAKE) ARCH=$$arch S=build/cross/$$arch/ static || exit 1; \
	done

test-cross: $(SEGMENTD) $(BEARSSL_SRC)/inc/bearssl.h
	status=0; for arch in $(CROSS); do \
		$(MAKE) ARCH=$$arch S=build/cross/$$arch/ STATIC_GOAL=test-emulated \
			WRAP="$$(contrib/toolchain run $$arch)" SEGMENTD="$(SEGMENTD)" static || status=1; \
	done; exit $$status

test-emulated: all $(UNIT_TESTS) $(B)test/jsoncheck $(B)test/httpcheck $(B)test/tap-fault
	$(SWEEP) PART=test-clock test/run test/sweep.py
	WRAP="$(WRAP)" TAP="$(WRAP) ./$(B)tap-segment" SEGMENTD="$(SEGMENTD)" BUILD="$(B)" \
		test/run $(UNIT_TESTS) test/drivers_test.sh test/e2e.py

# ---- Other compilers and makes; the same bytes wherever it is built ----

test-portable:
	test/run test/portable_test.sh

test-reproducible: $(BEARSSL_SRC)/inc/bearssl.h
	BEARSSL_SRC="$(BEARSSL_SRC)" test/run test/reproducible_test.sh

# ---- Release: tarballs of the sources and of each static binary, a Debian package, their sums, all in build/dist ----

dist: static cross
	rm -rf build/dist
	contrib/dist $(VERSION) source
	contrib/dist $(VERSION) binary "$$(uname -m)" build/static/tap-segment
	for arch in $(CROSS); do \
		contrib/dist $(VERSION) binary $$arch build/cross/$$arch/tap-segment || exit 1; \
	done
	contrib/dist $(VERSION) deb
	contrib/dist $(VERSION) sums

test-dist: dist
	VERSION="$(VERSION)" test/run test/dist_test.sh

# ---- Style: layout, cppcheck, and every source without a warning by gcc and by clang ----

STYLED = json.c http.c singer.c streams.c tap.c $(HEADERS) test/*.c test/*.h

# cppcheck reads the roots byte by byte, a minute long, so it gets none.
check-style: schemas/schemas.h
	clang-format --dry-run --Werror $(STYLED)
	$(MAKE) CA_BUNDLE=/dev/null contrib/roots.h
	cppcheck --quiet --std=c99 --error-exitcode=1 --enable=warning,portability,performance --inline-suppr \
		--suppress=missingIncludeSystem $(OUR_CPPFLAGS) json.c http.c singer.c streams.c tap.c
	mkdir -p build/gcc/test build/clang/test
	$(MAKE) B=build/gcc/ CC=gcc CFLAGS='-O2 -Werror' everything
	$(MAKE) B=build/clang/ CC=clang CFLAGS='-O2 -Werror' everything

everything: all $(UNIT_TESTS) $(DRIVERS) $(B)test/bench $(B)test/tap-fault

# ---- Installing, cleaning ----

install: all
	mkdir -p "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(DATADIR)/bash-completion/completions" \
		"$(DESTDIR)$(ZSHDIR)" "$(DESTDIR)$(DATADIR)/fish/vendor_completions.d"
	cp $(B)tap-segment "$(DESTDIR)$(PREFIX)/bin/tap-segment"
	cp contrib/tap-segment.1 "$(DESTDIR)$(MANDIR)/man1/tap-segment.1"
	cp contrib/completions/tap-segment.bash "$(DESTDIR)$(DATADIR)/bash-completion/completions/tap-segment"
	cp contrib/completions/_tap-segment "$(DESTDIR)$(ZSHDIR)/_tap-segment"
	cp contrib/completions/tap-segment.fish "$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/tap-segment.fish"
	chmod 755 "$(DESTDIR)$(PREFIX)/bin/tap-segment"
	chmod 644 "$(DESTDIR)$(MANDIR)/man1/tap-segment.1" \
		"$(DESTDIR)$(DATADIR)/bash-completion/completions/tap-segment" \
		"$(DESTDIR)$(ZSHDIR)/_tap-segment" \
		"$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/tap-segment.fish"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/tap-segment" "$(DESTDIR)$(MANDIR)/man1/tap-segment.1" \
		"$(DESTDIR)$(DATADIR)/bash-completion/completions/tap-segment" \
		"$(DESTDIR)$(ZSHDIR)/_tap-segment" \
		"$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/tap-segment.fish"

# What contrib/deps fetched into build/deps stays; distclean takes it too.
clean:
	for f in build/*; do [ "$$f" = build/deps ] || rm -rf "$$f"; done
	rm -f *.o test/*.o tap-segment schemas/schemas.h contrib/roots.h contrib/*.part schemas/*.part
	rm -f $(UNIT_TESTS) $(DRIVERS) $(B)test/bench $(B)test/tap-fault

distclean: clean
	rm -rf build
