#!/bin/sh
# Does the same come out wherever it is built?  Speaks TAP.
#
# Builds the static binary and the source tarball twice from the same sources: in folders of other names and depths, by
# other users (if run by root), with other umasks, time zones, languages, file times and numbers of jobs, and with a clock
# a year and a half ahead (if there is faketime); and compares the bytes.

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
epoch=$(date -r CHANGELOG.md +%s)
steps='cd "$0" && umask "$1" && make -j"$2" static && SOURCE_DATE_EPOCH=$3 contrib/dist 1 source'

here()
{
	env -i PATH="$PATH" HOME=/nonexistent TZ=UTC LC_ALL=C sh -c "$steps" "$dir/a" 022 1 "$epoch"
}

elsewhere()
{
	set -- sh -c "$steps" "$dir/elsewhere/deeper/down" 077 2 "$epoch"
	if command -v faketime >/dev/null 2>&1; then
		set -- faketime -f +550d "$@"
	fi
	if [ "$(id -u)" = 0 ]; then
		set -- setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
		chown -R 65534:65534 "$dir/elsewhere"
	fi
	env -i PATH="$PATH" HOME="$dir" TMPDIR="$dir/elsewhere" TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANGUAGE=tr "$@"
}

copy "$dir/a"
copy "$dir/elsewhere/deeper/down"
find "$dir/elsewhere" -type f -exec touch -d '2020-02-29 12:00' {} +
ok 'builds here' here
ok 'builds elsewhere' elsewhere
for file in build/static/tap-segment build/dist/tap-segment-1.tar.gz; do
	ok "the same bytes: ${file##*/}" cmp "$dir/a/$file" "$dir/elsewhere/deeper/down/$file"
done
echo "1..$number"
exit $failed
