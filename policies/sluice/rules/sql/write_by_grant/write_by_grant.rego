# METADATA
# title: sql-write-by-grant
# description: |
#   A statement that changes rows is allowed to whom grants give every relation in it, those that it reads included.
package sluice.rules.sql.write_by_grant

import data.sluice.lib.grants
import data.sluice.lib.sql

allow contains {
	"rule": "sql-write-by-grant",
	"reason": concat("", [grants.holder(sql.ground(sql.changing[sql.changes[0]])), " may change these tables"]),
	"credential": "",
} if {
	input.request.complete == true
	sql.permitted
	every command in sql.changes { not "ddl" in sql.changing[command] }
}
