#!/bin/sh
# Is every source laid out by .clang-format, and free of complaints by cppcheck, gcc and clang?  Speaks TAP.
#
# CLANG_FORMAT, CPPCHECK, GCC and CLANG name other tools, such as clang-format-14; MAKE the make.  The four checks run side
# by side: none looks at a clock.

cd "$(dirname "$0")/.." || exit 1
# Versions of clang-format differ in details.  This one decides; what another finds is shown, and is no fault.
layout_version=14
dir=$(mktemp -d "${TMPDIR:-/tmp}/style-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MAKELEVEL
number=0 failed=0

check_layout()
{
	${CLANG_FORMAT:=clang-format} --dry-run --Werror ./*.c ./*.h test/*.c test/*.h && return
	version=$($CLANG_FORMAT --version | sed 's/.*version \([0-9]*\).*/\1/')
	[ "$version" = "$layout_version" ] ||
		echo "clang-format $version would do it otherwise, version $layout_version decides" >"$dir/layout.skip"
	return 1
}

# cppcheck reads the trust roots and the schemas byte by byte, a minute long, so it gets a copy without them.
check_cppcheck()
{
	mkdir -p "$dir/copy/contrib" "$dir/copy/schemas"
	cp ./*.c ./*.h "$dir/copy"
	contrib/roots /dev/null '' "$dir/copy/contrib/roots.h"
	sed 's/ = {$/&0/; /^ *0x/d' schemas/schemas.h >"$dir/copy/schemas/schemas.h"
	cd "$dir/copy" && ${CPPCHECK:-cppcheck} --quiet --std=c99 --error-exitcode=1 \
		--enable=warning,portability,performance --inline-suppr --suppress=missingIncludeSystem \
		--suppress=normalCheckLevelMaxBranches -D_POSIX_C_SOURCE=200809L '-DVERSION="0"' '-DBEARSSL_VERSION="0"' ./*.c
}

# compile NAME COMPILER
compile()
{
	mkdir -p "build/$1/test"
	${MAKE:-make} -j2 B="build/$1/" CC="$2" CFLAGS='-O2 -Werror' everything
}

# start NAME TOOL COMMAND...: the command, if there is the tool, in the background; what it says into $dir/NAME.log.
start()
{
	name=$1 tool=$2
	shift 2
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "$tool is not installed: contrib/deps test" >"$dir/$name.skip"
		return
	fi
	{
		"$@" >"$dir/$name.log" 2>&1 || : >"$dir/$name.failed"
	} &
}

# report NAME TEXT
report()
{
	number=$((number + 1))
	if [ -e "$dir/$1.skip" ]; then
		[ ! -e "$dir/$1.log" ] || head -n 20 "$dir/$1.log" | sed 's/^/# /'
		echo "ok $number - $2 # SKIP $(cat "$dir/$1.skip")"
	elif [ -e "$dir/$1.failed" ]; then
		tail -n 60 "$dir/$1.log" | sed 's/^/# /'
		echo "not ok $number - $2"
		failed=1
	else
		echo "ok $number - $2"
	fi
}

start layout "${CLANG_FORMAT:-clang-format}" check_layout
start cppcheck "${CPPCHECK:-cppcheck}" check_cppcheck
start gcc "${GCC:-gcc}" compile gcc "${GCC:-gcc}"
start clang "${CLANG:-clang}" compile clang "${CLANG:-clang}"
wait
report layout 'the layout is that of .clang-format'
report cppcheck 'cppcheck has no complaint'
report gcc 'gcc gives no warning'
report clang 'clang gives no warning'
echo "1..$number"
exit $failed
