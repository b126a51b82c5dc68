#!/bin/sh
# Does the same come out wherever it is built?  Speaks TAP.
#
# Compares the static binary and the source tarball made here with those of the same sources in a folder of another name
# and depth, by another user (if run by root), with another umask, time zone, language, file times and number of jobs, and
# with a clock a year and a half ahead (if there is faketime).

cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d "${TMPDIR:-/tmp}/reproducible-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
number=0 failed=0

ok()
{
	number=$((number + 1))
	name=$1
	shift
	if "$@" >"$dir/said" 2>&1; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		tail -n 20 "$dir/said" | sed 's/^/# /'
		failed=1
	fi
}

copy()
{
	mkdir -p "$1/build/deps"
	cp -R Makefile LICENSE ./*.md ./*.c ./*.h schemas contrib test "$1"
	cp -R "${BEARSSL_SRC:-build/deps/bearssl-0.6}" "$1/build/deps/bearssl-0.6"
	rm -f "$1/contrib/roots.h" "$1/schemas/schemas.h" "$1"/test/*_test "$1"/test/*check "$1"/test/segmentd
	rm -rf "$1/test/__pycache__"
}

# The tarball has a date in it, the binary must not have one.
SOURCE_DATE_EPOCH=$(date -r CHANGELOG.md +%s)
export SOURCE_DATE_EPOCH

here()
{
	make static && (cd "$dir/here" && umask 022 && contrib/dist 1 source)
}

elsewhere()
{
	set -- sh -c 'cd "$0" && umask 077 && make -j2 static && contrib/dist 1 source' "$dir/elsewhere/deeper/down"
	if command -v faketime >/dev/null 2>&1; then
		set -- faketime -f +550d "$@"
	fi
	if [ "$(id -u)" = 0 ]; then
		set -- setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
		chown -R 65534:65534 "$dir/elsewhere"
	fi
	env -i PATH="$PATH" HOME="$dir" TMPDIR="$dir/elsewhere" TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANGUAGE=tr \
		SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "$@"
}

copy "$dir/here"
copy "$dir/elsewhere/deeper/down"
find "$dir/elsewhere" -type f -exec touch -d '2020-02-29 12:00' {} +
ok 'builds here' here
ok 'builds elsewhere' elsewhere
elsewhere=$dir/elsewhere/deeper/down
ok 'the same static binary' cmp build/static/tap-segment "$elsewhere/build/static/tap-segment"
ok 'the same tarball of the sources' cmp "$dir/here/build/dist/tap-segment-1.tar.gz" "$elsewhere/build/dist/tap-segment-1.tar.gz"
echo "1..$number"
exit $failed
