#!/bin/sh
# Is build/static/tap-segment one file that needs no other?  Speaks TAP.
#
# Looks into the file; then puts it with nothing but a configuration into an empty root (no /etc, /dev, /proc) and syncs
# the demo workspace over TLS: with ca_file, and in a build whose built-in roots are the test root alone.

cd "$(dirname "$0")/.." || exit 1
tap=build/static/tap-segment
size_limit=409600 calls_limit=40
dir=$(mktemp -d "${TMPDIR:-/tmp}/static-test.XXXXXX") || exit 1
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
number=0 failed=0

# ok NAME COMMAND...: a check; what the command prints is shown where it fails.
ok()
{
	name=$1
	shift
	number=$((number + 1)) verdict=ok
	if ! "$@" >"$dir/said" 2>&1; then
		verdict='not ok' failed=1
		sed 's/^/# /' "$dir/said"
	fi
	echo "$verdict $number - $name"
}

skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

not()
{
	! "$@"
}

# ---- The file ----

program_headers()
{
	readelf -lW "$tap" | grep "$1"
}

is_static()
{
	file -b "$tap"
	file -b "$tap" | grep -Eq 'static-pie linked|statically linked'
}

needs_no_library()
{
	ldd "$tap" 2>&1 | grep -E 'statically linked|not a dynamic executable'
}

# Without what fills pages up: GNU ld leaves a page free where the writable part begins, or not, by its version.
is_small()
{
	size "$tap"
	size "$tap" | awk -v most="$size_limit" 'NR == 2 { small = $1 + $2 <= most } END { exit !small }'
}

writable_or_executable()
{
	not program_headers 'LOAD.*RWE'
}

# A short name may stand in any file by chance.
names_this_machine()
{
	name=$(uname -n)
	[ ${#name} -ge 6 ] || name=$PWD
	strings "$tap" | grep -F -e "$PWD" -e "$name"
}

ok 'file: static' is_static
ok 'file: stripped' sh -c "file -b $tap | grep -q ', stripped'"
ok 'ldd: needs no library' needs_no_library
ok 'no interpreter' not program_headers INTERP
ok 'position independent' sh -c "readelf -hW $tap | grep -q 'Type: *DYN'"
ok 'relocated data are read-only' program_headers GNU_RELRO
ok 'the stack is not executable' program_headers 'GNU_STACK.*RW '
ok 'no memory is both writable and executable' writable_or_executable
ok "no more than $size_limit bytes of code and data" is_small
ok 'no path or name of the machine it was built on' not names_this_machine

traced()
{
	strace -f -o "$dir/calls" "$tap" --discover >"$dir/catalog"
}

takes_few_calls()
{
	calls=$(grep -c '(' "$dir/calls")
	echo "$calls"
	[ "$calls" -lt "$calls_limit" ]
}

if traced 2>/dev/null; then
	ok '--discover opens no file' not grep -E '(open|openat)\(' "$dir/calls"
	ok "--discover takes fewer than $calls_limit system calls" takes_few_calls
else
	skip '--discover opens no file' 'strace is not installed: contrib/deps static'
	skip '--discover takes few system calls' 'strace is not installed: contrib/deps static'
fi

# ---- An empty root ----

# in_root NAME: a sync in $dir/NAME as the whole file system, with nothing from this environment, into $dir/NAME.out.
# As root, or as a user who may be root in a name space of his own.
in_root()
{
	namespace=
	[ "$(id -u)" = 0 ] || namespace='unshare -r'
	# shellcheck disable=SC2086 # two words or none
	env -i PATH="$PATH" $namespace chroot "$dir/$1" /tap-segment --config /config.json >"$dir/$1.out" 2>"$dir/$1.err"
}
PATH=$PATH:/usr/sbin:/sbin

start_server()
{
	test/pki "$dir/pki" || return 1
	${SEGMENTD:-test/segmentd} --chain "$dir/pki/chain.pem" --key "$dir/pki/key.pem" --port-file "$dir/port" &
	server=$!
	tries=100
	while [ ! -s "$dir/port" ] && [ $((tries -= 1)) -gt 0 ]; do
		sleep 0.1
	done
	port=$(cat "$dir/port")
}

# config FOLDER [MEMBER]
config()
{
	mkdir "$1"
	cat >"$1/config.json" <<-END
		{"api_token": "demo-token", "start_date": "$since", "base_url": "https://localhost:$port"${2:+, $2}}
	END
	chmod 600 "$1/config.json"
}

# The records of a sync, without the time at which they came.
records()
{
	grep '"type":"RECORD"' "$1" | sed 's/"time_extracted":"[^"]*"//'
}

count()
{
	grep -c "\"type\":\"$1\"" "$2"
}

# synced NAME: checks $dir/NAME.out, which a sync wrote that ended with $status.
synced()
{
	ok "$1: exit status 0" [ "$status" = 0 ]
	[ "$status" = 0 ] || sed 's/^/# /' "$dir/$1.err"
	ok "$1: the $plain streams of a plain run" [ "$(count SCHEMA "$dir/$1.out")" = "$plain" ]
	ok "$1: records of each of them" \
		[ "$(records "$dir/$1.out" | grep -o '"stream":"[^"]*"' | sort -u | wc -l)" = "$plain" ]
	ok "$1: ends with the state of a whole run" sh -c "tail -n 1 '$dir/$1.out' | grep -q '\"currently_syncing\":null'"
}

# How many streams --about says that a run without catalog and --select has.
plain=$("$tap" --about --format markdown | sed -n '/^## Streams/,$p' | grep -c '^| [a-z_]* | yes |')

# A build of its own beside this one, sharing what is the same.
build_with_test_root()
{
	mkdir -p "$dir/tree/build/static" "$dir/tree/test"
	cp -R Makefile ./*.c ./*.h schemas contrib "$dir/tree"
	cp test/test.mk "$dir/tree/test"
	ln -s "$PWD/build/deps" "$dir/tree/build/deps"
	cp -R build/static/bearssl "$dir/tree/build/static"
	(cd "$dir/tree" && ${MAKE:-make} CA_BUNDLE="$dir/pki/root.pem" static)
}

# Two months and a bit, however long the months are.
since=$(date -u -d '70 days ago' '+%Y-%m-%dT00:00:00Z' 2>/dev/null || date -u -v-70d '+%Y-%m-%dT00:00:00Z')
if ! start_server; then
	ok 'the test server starts' false
elif [ "$(id -u)" != 0 ] && ! unshare -r true 2>/dev/null; then
	skip 'an empty root' 'neither root nor user name spaces here'
else
	config "$dir/here" "\"ca_file\": \"$dir/pki/root.pem\""
	"$tap" --config "$dir/here/config.json" >"$dir/here.out" 2>"$dir/here.err"
	status=$?
	synced here

	config "$dir/ca_file" '"ca_file": "/root.pem"'
	cp "$tap" "$dir/pki/root.pem" "$dir/ca_file"
	in_root ca_file
	status=$?
	synced ca_file
	records "$dir/here.out" >"$dir/here.records"
	records "$dir/ca_file.out" >"$dir/ca_file.records"
	ok 'ca_file: the same records as with a whole system around' cmp "$dir/here.records" "$dir/ca_file.records"

	config "$dir/built_in"
	cp "$tap" "$dir/built_in"
	in_root built_in
	status=$?
	ok 'built-in roots: the usual ones do not know the test root' sh -c "
		cat '$dir/built_in.err'; [ $status = 4 ] && [ -s '$dir/built_in.err' ] && ! grep -q RECORD '$dir/built_in.out'"
	ok 'built-in roots: built with the test root alone' build_with_test_root
	cp "$dir/tree/$tap" "$dir/built_in"
	in_root built_in
	status=$?
	synced built_in
	records "$dir/built_in.out" >"$dir/built_in.records"
	ok 'built-in roots: the same records' cmp "$dir/here.records" "$dir/built_in.records"
fi
echo "1..$number"
exit $failed
