# test.mk - more tests than `make test`: sanitizers, valgrind, sweeps, other compilers, style; the benchmark.

SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible

test-san:
	mkdir -p build/san/test
	FEW=1 $(MAKE) B=build/san/ CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" OWN_TESTS=test/bed_test.py test

test-valgrind:
	@command -v valgrind >/dev/null || { echo "valgrind is not installed: run contrib/deps test" >&2; exit 1; }
	mkdir -p build/valgrind/test
	HOLES=40 FEW=1 $(MAKE) B=build/valgrind/ CFLAGS='-O1 -g' WRAP="$(VALGRIND)" TAP="$(VALGRIND) ./build/valgrind/tap-segment" \
		OWN_TESTS= test

# ---- Sweeps: the same sync again and again, with one thing that goes wrong, each time elsewhere ----
# The program once more, with test/fault.c in libc's place where something can fail.
FAULTS = -include test/fault.h

$(B)test/tap-fault: $(SOURCES) $(HEADERS) $(GENERATED) test/fault.h Makefile $(B)test/fault.o
	$(LINK) $(FAULTS) -o $@ $(SOURCES) $(B)test/fault.o $(LDLIBS)
$(B)test/fault.o: test/fault.c test/fault.h
	$(COMPILE) -c -o $@ test/fault.c

SWEEP = TAP="$(WRAP) ./$(B)test/tap-fault" SEGMENTD="$(SEGMENTD)"

test-clock test-kill test-faults test-calls test-files test-pairs test-signals test-memory: $(B)test/tap-fault $(SEGMENTD)
	$(SWEEP) PART=$@ test/run test/sweep.py
# Each kind of failure at each request, in each reach: the unit test does a part of this.
test-holes: $(B)test/streams_test
	HOLES=1 WRAP="$(WRAP)" test/run $(B)test/streams_test
test-sweeps: $(B)test/tap-fault $(SEGMENTD) $(B)test/streams_test
	HOLES=1 $(SWEEP) WRAP="$(WRAP)" test/run $(B)test/streams_test test/sweep.py

# ---- Mutants: is one operator, constant or statement more or less noticed? test/mutate.py says what it takes ----

mutate: $(GENERATED)
	test/mutate.py

# ---- A season of runs: a workspace that changes, hour by hour, and whatever goes wrong meanwhile ----
# DAYS of each of WORLDS workspaces, the first of seed SEED.
DAYS = 90
WORLDS = 10
SEED = 1

soak: $(B)test/tap-fault
	TAP="$(WRAP) ./$(B)test/tap-fault" DAYS="$(DAYS)" WORLDS="$(WORLDS)" SEED="$(SEED)" test/run test/soak.py

# ---- Coverage: what all of these take of the five modules, and what none does ----
COVERAGE = -O0 -g --coverage -DCOVERAGE
GCOV = gcov

coverage:
	mkdir -p build/coverage/test
	find build/coverage -name '*.gcda' -exec rm -f {} +
	$(MAKE) B=build/coverage/ CFLAGS="$(COVERAGE)" OWN_TESTS= test
	$(MAKE) B=build/coverage/ CFLAGS="$(COVERAGE)" test-sweeps
	GCOV="$(GCOV)" test/coverage.py build/coverage

# ---- Fuzzing: any bytes, by clang's libFuzzer, each target for SECONDS; TARGET=NAME runs one alone ----
SECONDS = 10
TARGET =
FUZZERS = $(B)test/fuzz_json $(B)test/fuzz_http $(B)test/fuzz_client $(B)test/fuzz_singer $(B)test/fuzz_tap
FUZZ_OBJECTS = $(FUZZERS:=.o)

fuzz:
	mkdir -p build/fuzz/test
	$(MAKE) B=build/fuzz/ CC="$(CLANG)" CFLAGS="$(SANITIZE) -fsanitize=fuzzer-no-link" fuzz-run

fuzz-run: $(FUZZERS)
	BUILD="$(B)" FUZZ_SECONDS="$(SECONDS)" FUZZ_ONLY="$(TARGET)" test/run test/fuzz.py

$(B)test/fuzz_json.o: test/fuzz_json.c json.c test/plain.h
$(B)test/fuzz_http.o: test/fuzz_http.c http.c contrib/roots.h test/answer.h
$(B)test/fuzz_client.o: test/fuzz_client.c http.c contrib/roots.h test/answer.h
$(B)test/fuzz_singer.o: test/fuzz_singer.c singer.c test/plain.h
$(B)test/fuzz_tap.o: test/fuzz_tap.c tap.c
$(FUZZ_OBJECTS): $(HEADERS) schemas/schemas.h test/fuzz.h
	$(COMPILE) -c -o $@ test/$(@F:.o=.c)

$(B)test/fuzz_json: $(B)test/fuzz_json.o
$(B)test/fuzz_http: $(B)test/fuzz_http.o
$(B)test/fuzz_client: $(B)test/fuzz_client.o
$(B)test/fuzz_singer: $(B)test/fuzz_singer.o
$(B)test/fuzz_tap: $(B)test/fuzz_tap.o
$(FUZZERS): $(B)test/modules.a
	$(LINK) -fsanitize=fuzzer -o $@ $@.o $(B)test/modules.a $(LDLIBS) -lz

# ---- What a hostile server, file or target can take: memory, time, requests; the figures of contrib/security.md ----

hostile: all $(B)test/tap-fault
	TAP="$(TAP)" FAULTED="./$(B)test/tap-fault" test/run test/hostile.py

# ---- Analyzers: what they say of the five modules; contrib/security.md says why it is no fault ----
ANALYZE = $(OUR_CPPFLAGS) $(CPPFLAGS) -std=c99

analyze: $(GENERATED)
	for module in $(SOURCES); do \
		echo "== $$module"; \
		$(CLANG) --analyze -Xclang -analyzer-output=text $(ANALYZE) -o /dev/null $$module; \
		$(GCC) -fanalyzer -O1 $(ANALYZE) -c -o /dev/null $$module; \
	done

# ---- Other compilers and makes ----

test-portable:
	test/run test/portable_test.sh

# ---- A stream more, by the README's recipe, and all tests with it ----

test-recipe:
	MAKE="$(MAKE)" test/run test/recipe_test.py

# ---- Style: layout, cppcheck, and every source without a warning by gcc and by clang ----
CLANG_FORMAT = clang-format
CPPCHECK = cppcheck
GCC = gcc
CLANG = clang

check-style: $(GENERATED)
	CLANG_FORMAT="$(CLANG_FORMAT)" CPPCHECK="$(CPPCHECK)" GCC="$(GCC)" CLANG="$(CLANG)" MAKE="$(MAKE)" \
		test/run test/style_test.sh

everything: all $(UNIT_TESTS) $(DRIVERS) $(FUZZ_OBJECTS) $(B)test/bench $(B)test/tap-fault

# ---- Benchmark, always with release flags in a folder of its own ----

bench:
	mkdir -p build/release/test
	$(MAKE) B=build/release/ CFLAGS='-O2 -DNDEBUG' bench-run

bench-run: all $(B)test/segmentd $(B)test/bench
	BUILD="$(B)" test/bench.py
