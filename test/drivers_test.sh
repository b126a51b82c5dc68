#!/bin/sh
# The two parser drivers as a stranger calls them: exit status and output; speaks TAP.

jsoncheck=${BUILD-}test/jsoncheck
httpcheck=${BUILD-}test/httpcheck
dir=$(mktemp -d "${TMPDIR:-/tmp}/drivers-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
number=0 failed=0

# expect NAME STATUS OUTPUT COMMAND...: OUTPUT is compared with standard output, both without their last line break.
expect() {
	name=$1 status=$2 wanted=$3
	shift 3
	# shellcheck disable=SC2086 # WRAP is a command with its arguments
	output=$(${WRAP-} "$@" 2>"$dir/stderr")
	got=$? number=$((number + 1)) verdict=ok
	if [ $got -ne "$status" ] || [ "$output" != "$wanted" ]; then
		verdict='not ok' failed=1
		printf '%s\n' "exit $got, expected $status" "expected: $wanted" "got: $output" | sed 's/^/# /'
	fi
	echo "$verdict $number - $name"
}

# file NAME FORMAT: printf's text in a file.
file() {
	# shellcheck disable=SC2059 # the format is the content
	printf "$2" >"$dir/$1"
}

cd "$(dirname "$0")/.." || exit 1

file spaced '{ "a" : [ 1 , 2.50e+3 , "\\u00e9\\n" ] ,\n\t"b" : { } }\n'
expect 'jsoncheck writes a value back compactly' 0 '{"a":[1,2.50e+3,"\u00e9\n"],"b":{}}' "$jsoncheck" "$dir/spaced"
file cut '[1,\n 2'
expect 'jsoncheck says where a text is wrong' 1 "$dir/cut:2:3: expected ',' or ']'" "$jsoncheck" "$dir/cut"
file deep '[[[1]]]'
expect 'jsoncheck -d lets this depth pass' 0 '[[[1]]]' "$jsoncheck" -d 3 "$dir/deep"
expect 'jsoncheck -d refuses one more' 1 "$dir/deep:1:3: nested too deep" "$jsoncheck" -d 2 "$dir/deep"
expect 'jsoncheck without a file' 2 '' "$jsoncheck"
expect 'jsoncheck with a missing file' 2 '' "$jsoncheck" "$dir/missing"
expect 'jsoncheck with a folder' 2 '' "$jsoncheck" "$dir"
expect 'jsoncheck with a depth that is none' 2 '' "$jsoncheck" -d x "$dir/deep"
expect 'jsoncheck with two files' 2 '' "$jsoncheck" "$dir/deep" "$dir/deep"

file whole 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
expect 'httpcheck prints status, length and body' 0 '200 5
hello' "$httpcheck" "$dir/whole"
expect 'httpcheck -1 comes to the same' 0 '200 5
hello' "$httpcheck" -1 "$dir/whole"
file open 'HTTP/1.1 200 OK\r\n\r\nhello'
expect 'httpcheck: close_notify ends a body' 0 '200 5
hello' "$httpcheck" -c "$dir/open"
# shellcheck disable=SC2086 # WRAP is a command with its arguments
${WRAP-} "$httpcheck" -e "$dir/open" >"$dir/reason" 2>/dev/null
expect 'httpcheck -e: a bare end does not' 1 "$(cat "$dir/reason")" "$httpcheck" -e "$dir/open"
wrap=${WRAP-} WRAP=
expect 'httpcheck -e: a reason is given' 0 1 grep -c . "$dir/reason"
WRAP=$wrap
file gzip 'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\037\213\010\0\0\0\0\0\002\003\313\310\004\0\254*\223\330\002\0\0\0'
expect 'httpcheck prints what gzip says' 0 '200 2
hi' "$httpcheck" "$dir/gzip"
file bodies '\026\0\0\0\037\213\010\0\0\0\0\0\002\003\313\310\004\0\254*\223\330\002\0\0\0\002\0\0\0hi'
expect 'httpcheck -z: a line for each body' 0 '2 d8932aac
something that is no gzip, or more than that' "$httpcheck" -z "$dir/bodies"
file bodies '\026\0\0\0\037\213'
expect 'httpcheck -z with a file that is cut off' 2 '' "$httpcheck" -z "$dir/bodies"
expect 'httpcheck without a file' 2 '' "$httpcheck"
expect 'httpcheck with a missing file' 2 '' "$httpcheck" "$dir/missing"
expect 'httpcheck with an unknown option' 2 '' "$httpcheck" -x "$dir/whole"

echo "1..$number"
exit $failed
