# METADATA
# title: The settings that concern this target
# description: The operator's data for the request's target, then what it says for every target (`*`).
package sluice.lib.scopes

applying := [data.sluice.targets[name] | some name in [input.target.name, "*"]]

# METADATA
# description: |
#   Whether an entry of the data concerns this request's path. An entry without `paths` concerns all of them, but one with `tables` is about SQL.
covers_path(entry) if {
	not entry.paths
	not entry.tables
} else if {
	some pattern in entry.paths
	data.sluice.lib.paths.covers(pattern, input.request.segments)
}

# METADATA
# description: What the data says is owed for this request, whoever sends it.
obligations := [entry |
	some scope in applying
	some entry in scope.obligations
	covers_path(entry)
]

# METADATA
# description: Whether the caller is in a group that sees in clear what the entry masks for everybody else.
clear_for_caller(entry) if {
	some group in entry.clear_for
	group in input.identity.groups
}
