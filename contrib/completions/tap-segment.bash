# bash completion for tap-segment

# The names of the streams, as the program itself lists them.
_tap_segment_streams() {
	"${COMP_WORDS[0]}" --about 2>/dev/null | sed -n '/^Streams:/,$s/^  \([a-z_]*\):.*/\1/p'
}

# bash splits the command line at '=' too, so --test=a arrives as three words: --test, = and a.
_tap_segment() {
	local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} before
	if [[ $word == = ]]; then
		word=
	elif [[ $option == = ]]; then
		option=${COMP_WORDS[COMP_CWORD - 2]}
	elif [[ $option == --test ]]; then
		option= # takes its value after '=' only
	fi
	COMPREPLY=()
	case $option in
	-c | --config)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -W ENV -- "$word")
		;;
	--catalog | -p | --properties | -s | --state | -o | --output | --state-file)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		;;
	--select) # the last of several rules, between commas
		compopt -o nospace
		before=${word%"${word##*,}"}
		mapfile -t COMPREPLY < <(compgen -P "$before" -W "$(_tap_segment_streams)" -- "${word##*,}")
		;;
	--test) mapfile -t COMPREPLY < <(compgen -W 'all schema' -- "$word") ;;
	--format) mapfile -t COMPREPLY < <(compgen -W 'text json markdown' -- "$word") ;;
	--log-format) mapfile -t COMPREPLY < <(compgen -W 'plain json' -- "$word") ;;
	--log-level) mapfile -t COMPREPLY < <(compgen -W 'debug info warning error critical' -- "$word") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W '-c --config -d --discover --catalog -p --properties
			-s --state --select -o --output --state-file --test --about --format --log-level
			--log-format --version -h --help' -- "$word")
		;;
	esac
}

complete -F _tap_segment tap-segment
