# METADATA
# title: sql-ddl-needs-approval
# description: |
#   What changes the database itself (DDL, TRUNCATE, privileges, roles, maintenance) needs a grant of `ddl` and then an approval, by the first
#   entry of `approvals` that covers its relations. Where no entry does, nobody could answer, so it is denied at once.
package sluice.rules.sql.ddl_needs_approval

import data.sluice.lib.grants
import data.sluice.lib.sql

hold contains {
	"rule": "sql-ddl-needs-approval",
	"reason": concat("", [grants.holder(sql.ground(["ddl"])), " may change the database with an approval"]),
	"hold": sql.terms,
	"credential": "",
} if {
	alters
	sql.permitted
}

deny contains {
	"rule": "sql-ddl-needs-approval",
	"reason": "a change of the database needs an approval, and the policy names no approvers for it",
} if {
	alters
	sql.permitted
	not sql.approval
}

alters if {
	some command in sql.changes
	"ddl" in sql.changing[command]
}
