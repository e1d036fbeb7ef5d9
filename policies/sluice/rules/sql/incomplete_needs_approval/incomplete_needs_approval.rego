# METADATA
# title: sql-incomplete-needs-approval
# description: |
#   What cannot be seen through (dynamic SQL, procedures, functions that nobody knows) needs an approval, by whoever has a grant on the
#   target. What could be seen of it must be granted all the same.
package sluice.rules.sql.incomplete_needs_approval

import data.sluice.lib.sql

hold contains {
	"rule": "sql-incomplete-needs-approval",
	"reason": "what this statement does cannot be seen from its text, so it needs an approval",
	"hold": sql.terms,
	"credential": "",
} if {
	unseen
	sql.permitted
}

deny contains {
	"rule": "sql-incomplete-needs-approval",
	"reason": "what this statement does cannot be seen from its text, and the policy names no approvers for it",
} if {
	unseen
	sql.permitted
	not sql.approval
}

unseen if input.request.complete == false

unseen if {
	some command in input.request.commands
	command in sql.opaque
}
