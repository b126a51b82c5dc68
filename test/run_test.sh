#!/bin/sh
# Is test/run to be trusted?  Runs it over programs that pass, fail, lie and die; speaks TAP.

run=${0%/*}/run
dir=$(mktemp -d "${TMPDIR:-/tmp}/run-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
number=0 failed=0

# program NAME: the shell script on standard input becomes a test program.
program() {
	{ echo '#!/bin/sh'; cat; } >"$dir/$1"
	chmod +x "$dir/$1"
}

# expect NAME STATUS LAST-LINE PROGRAM...
expect() {
	name=$1 status=$2 last=$3
	shift 3
	output=$(cd "$dir" && TMPDIR=$dir "$run" "$@" 2>&1)
	got=$? number=$((number + 1)) verdict=ok
	if [ $got -ne "$status" ] || [ "$(printf '%s\n' "$output" | tail -n 1)" != "$last" ]; then
		verdict='not ok' failed=1
		printf '%s\n' "exit $got, expected $status and '$last':" "$output" | sed 's/^/# /'
	fi
	echo "$verdict $number - $name"
}

# expect_line NAME LINE PROGRAM...: among what is printed
expect_line() {
	name=$1 line=$2
	shift 2
	number=$((number + 1)) verdict=ok
	if ! (cd "$dir" && TMPDIR=$dir "$run" "$@" 2>&1) | grep -Fqx "$line"; then
		verdict='not ok' failed=1
	fi
	echo "$verdict $number - $name"
}

case $run in /*) ;; *) run=$PWD/$run ;; esac
program passes <<-'END'
	printf '%s\n' 'ok 1 - a' 'ok 2 - b' '1..2'
END
program plan-first.py <<-'END'
	printf '%s\n' '1..1' '# a comment' 'ok 1 - a'
END
program skips <<-'END'
	printf '%s\n' 'ok 1 - a' 'ok 2 - b # SKIP no such tool' '1..2'
END
program fails <<-'END'
	printf '%s\n' 'ok 1 - a' 'not ok 2 - b' '# why' 'ok 3 - c' '1..3'
	exit 1
END
program crashes <<-'END'
	echo 'ok 1 - a'
	kill -SEGV $$
END
program no-plan <<-'END'
	echo 'ok 1 - a'
END
program short-plan <<-'END'
	printf '%s\n' 'ok 1 - a' 'ok 2 - b' '1..1'
END
program long-plan <<-'END'
	printf '%s\n' 'ok 1 - a' '1..2'
END
program leaks <<-'END'
	printf '%s\n' 'ok 1 - a' '1..1'
	exit 99
END
program hides <<-'END'
	printf '%s\n' 'not ok 1 - a' '1..1'
END
program misnumbers <<-'END'
	printf '%s\n' 'ok 2 - a' 'ok 1 - b' '1..2'
END
program silent </dev/null
program wrapper <<-'END'
	"$@" | sed 's/^ok/not ok/'
	exit 1
END

expect 'all pass' 0 '3 passed, 0 failed' ./passes ./plan-first.py
expect 'a name without a slash is taken from here' 0 '2 passed, 0 failed' passes
expect 'a skipped check is not a passed one' 0 '1 passed, 0 failed, 1 skipped' ./skips
expect 'a failed check' 1 '4 passed, 1 failed' ./passes ./fails
expect 'a crash' 1 '1 passed, 1 failed' ./crashes
expect 'no plan' 1 '1 passed, 1 failed' ./no-plan
expect 'more checks than planned' 1 '2 passed, 1 failed' ./short-plan
expect 'fewer checks than planned' 1 '1 passed, 1 failed' ./long-plan
expect 'exit status without a failed check, as from valgrind' 1 '1 passed, 1 failed' ./leaks
expect 'a failed check with exit status 0' 1 '0 passed, 1 failed' ./hides
expect 'checks out of order' 1 '2 passed, 1 failed' ./misnumbers
expect 'no output' 1 '0 passed, 1 failed' ./silent
expect 'a missing program' 1 '2 passed, 1 failed' ./passes ./missing
expect_line 'a skipped check is named' 'skipped: b: no such tool' ./skips
WRAP="$dir/wrapper" && export WRAP
expect 'WRAP stands before programs, not before .py' 1 '1 passed, 2 failed' ./passes ./plan-first.py
unset WRAP
expect 'no argument' 2 'usage: test/run PROGRAM...'
echo "1..$number"
exit $failed
