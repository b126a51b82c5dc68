#!/bin/sh
# Does it build, without a warning, with each C compiler and make that there is here?  Speaks TAP.
#
# Every build must discover the same catalog, and pass the JSON parser's own tests, which no compiler has an easy time with.

cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d "${TMPDIR:-/tmp}/portable-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
number=0 failed=0 catalog=

result()
{
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		tail -n 20 "$dir/log" | sed 's/^/# /'
		failed=1
	fi
}

# build NAME MAKE ARGUMENT...: in a copy of its own, so that no make meets another's files.
build()
{
	name=$1 make=$2
	shift 2
	for tool in "$make" "${1#CC=}"; do
		case $tool in
		*=*) ;;
		*)
			if ! command -v "$tool" >/dev/null 2>&1; then
				number=$((number + 1))
				echo "ok $number - $name # SKIP $tool is not installed: contrib/deps test"
				return
			fi
			;;
		esac
	done
	mkdir -p "$dir/$name/test"
	cp -R Makefile ./*.c ./*.h schemas contrib "$dir/$name"
	cp test/json_test.c test/check.h test/test.mk "$dir/$name/test"
	rm -f "$dir/$name/contrib/roots.h" "$dir/$name/schemas/schemas.h"
	(cd "$dir/$name" && env -u MAKEFLAGS -u MAKELEVEL "$make" "$@" all test/json_test) >"$dir/log" 2>&1
	result $? "$name: builds"
	grep -i warning "$dir/log" >"$dir/warnings"
	[ ! -s "$dir/warnings" ]
	result $? "$name: without a warning"
	sum=$("$dir/$name/tap-segment" --discover | cksum)
	catalog=${catalog:-$sum}
	[ "$sum" = "$catalog" ]
	result $? "$name: the same catalog as with gcc"
	"$dir/$name/test/json_test" >"$dir/log" 2>&1
	result $? "$name: passes the tests of the JSON parser"
}

build gcc make CC=gcc
build clang make CC=clang
build c99 make CC=c99
build tcc make CC=tcc WARNINGS=-Wall CFLAGS=
build bmake bmake CC=gcc
build no-roots make CC=gcc CA_BUNDLE=none
build release make CC=gcc 'CFLAGS=-O3 -DNDEBUG'
echo "1..$number"
exit $failed
