# METADATA
# title: sql-sensitive-predicate
# description: |
#   Whoever may compare a sensitive column can find out its values, masked or not, by asking often enough. So a condition, an order or a group
#   over one needs an approval, but for the groups that see the column in clear.
package sluice.rules.sql.sensitive_predicate

import data.sluice.lib.sql

hold contains {
	"rule": "sql-sensitive-predicate",
	"reason": "a condition over a sensitive column can tell its values, so it needs an approval",
	"hold": sql.terms,
	"credential": "",
} if {
	compares
	sql.permitted
}

deny contains {
	"rule": "sql-sensitive-predicate",
	"reason": "a condition over a sensitive column can tell its values, and the policy names no approvers for it",
} if {
	compares
	sql.permitted
	not sql.approval
}

compares if {
	some column in input.request.columns
	column.use == "predicate"
	column.sensitive == true
	not sql.clear(column)
}
