# release.mk - one static file for each processor; and what a release is made of.

# ---- One static file: musl, and BearSSL compiled for it ----
# What nothing calls is left out, function by function; nothing unwinds, so there are no tables for it.
SECTIONS = -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
# Measured on x86-64: -Os in place of -O2 saves 41 KB here and 20 KB in BearSSL, and costs nothing that shows in a whole
# sync, as long as JSON is parsed by code made with -O2.
STATIC_CFLAGS = -Os -DNDEBUG $(SECTIONS)
BEARSSL_CFLAGS = -Os $(SECTIONS)
# Code and constants share pages: apart they would be rounded up to pages twice more.
STATIC_LDFLAGS = -static-pie -s -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code
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
	$(MAKE) B=$(S) CC="$$cc" AR="$$ar" CPPFLAGS="-isystem $(BEARSSL_SRC)/inc $(CPPFLAGS)" \
		CFLAGS="$(STATIC_CFLAGS)" FAST=-O2 LDFLAGS="$(STATIC_LDFLAGS)" LDLIBS=$(S)bearssl/libbearssl.a $(STATIC_GOAL)

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
		wrap=$$(contrib/toolchain run $$arch) || exit 1; \
		$(MAKE) ARCH=$$arch S=build/cross/$$arch/ STATIC_GOAL=test-emulated \
			WRAP="$$wrap" SEGMENTD="$(SEGMENTD)" static || status=1; \
	done; exit $$status

# What another processor could do otherwise: bytes, numbers, times, TLS; the rest is the same text everywhere.
EMULATED = sync,small pages,usage,round trip,times,forms of state,gzip,certificates,TLS,keys,values

test-emulated: all $(UNIT_TESTS) $(B)test/jsoncheck $(B)test/httpcheck $(B)test/tap-fault
	$(SWEEP) PART=test-clock test/run test/sweep.py
	HOLES=40 FEW=1 CASES="$(EMULATED)" WRAP="$(WRAP)" TAP="$(WRAP) ./$(B)tap-segment" SEGMENTD="$(SEGMENTD)" BUILD="$(B)" \
		test/run $(UNIT_TESTS) test/drivers_test.sh test/e2e.py

# ---- The same bytes wherever it is built ----

test-reproducible: $(BEARSSL_SRC)/inc/bearssl.h
	BEARSSL_SRC="$(BEARSSL_SRC)" test/run test/reproducible_test.sh

# ---- Release, all in build/dist: tarballs of the sources and of each static binary, wheels of those, a Debian package,
# ---- the bill of materials, and the sums of all

dist: static cross
	rm -rf build/dist
	contrib/dist $(VERSION) source
	contrib/dist $(VERSION) binary "$$(uname -m)" build/static/tap-segment
	for arch in $(CROSS); do \
		contrib/dist $(VERSION) binary $$arch build/cross/$$arch/tap-segment || exit 1; \
	done
	contrib/dist $(VERSION) deb
	contrib/dist $(VERSION) bom $(BEARSSL_VERSION) $$(set -- $(BEARSSL_SHA256) && echo $$1) "$(CA_BUNDLE)" \
		"$$(uname -m)" $(CROSS)
	contrib/dist $(VERSION) sums

test-dist: dist
	VERSION="$(VERSION)" test/run test/dist_test.sh
