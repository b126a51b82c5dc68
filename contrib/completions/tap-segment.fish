# fish completion for tap-segment

# --test is neither -r nor -x: its value may be left out, so it is offered after '=' only.
complete -c tap-segment -f
complete -c tap-segment -s c -l config -r -F -a ENV -d 'Configuration file, or ENV'
complete -c tap-segment -s d -l discover -d 'Write the catalog'
complete -c tap-segment -l catalog -r -F -d 'Catalog that selects streams and fields'
complete -c tap-segment -s p -l properties -r -F -d 'Catalog, under its older name'
complete -c tap-segment -s s -l state -r -F -d 'State of an earlier run'
complete -c tap-segment -l select -x -d 'Streams and fields by glob' -a '
	sources destinations warehouses
	source_connected_destinations source_connected_warehouses destination_subscriptions
	catalog_sources catalog_destinations catalog_warehouses
	usage_api_calls_per_source_daily usage_api_calls_workspace_daily
	usage_mtu_per_source_daily usage_mtu_workspace_daily
	destination_delivery_metrics_summary audit_events
	iam_users iam_groups transformations'
complete -c tap-segment -l test -d 'Try each stream with one request' -a 'all schema'
complete -c tap-segment -l about -d 'Describe the tap'
complete -c tap-segment -l format -x -d 'Form of --about' -a 'text json markdown'
complete -c tap-segment -l log-level -x -d 'Least level of log lines' -a 'debug info warning error critical'
complete -c tap-segment -l version -d 'Print the version'
complete -c tap-segment -s h -l help -d 'Print the help'
