# fish completion for tap-segment

# --test is neither -r nor -x: its value may be left out, so it is offered after '=' only.
complete -c tap-segment -f
complete -c tap-segment -s c -l config -r -F -a ENV -d 'Configuration file, or ENV'
complete -c tap-segment -l catalog -r -F -d 'Catalog that selects streams and fields'
complete -c tap-segment -s p -l properties -r -F -d 'Catalog, under its older name'
complete -c tap-segment -s s -l state -r -F -d 'State of an earlier run'
complete -c tap-segment -l select -x -d 'Streams and fields by glob' \
	-a "(tap-segment --about 2>/dev/null | string match -r -g '^  ([a-z_]+): (?:incremental|full table)')"
complete -c tap-segment -s o -l output -r -F -d 'File for the messages'
complete -c tap-segment -l state-file -r -F -d 'State to go on from and to replace'
complete -c tap-segment -l log-level -x -d 'Least level of log lines' -a 'debug info warning error critical'
complete -c tap-segment -l log-format -x -d 'Form of log lines' -a 'plain json'
complete -c tap-segment -s d -l discover -d 'Write the catalog'
complete -c tap-segment -l test -d 'Try each stream with one request' -a 'all schema'
complete -c tap-segment -l about -d 'Describe the tap'
complete -c tap-segment -l format -x -d 'Form of --about' -a 'text json markdown'
complete -c tap-segment -l version -d 'Print the version'
complete -c tap-segment -s h -l help -d 'Print the help'
