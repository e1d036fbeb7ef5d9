# METADATA
# title: sql-read-by-grant
# description: |
#   A statement that reads is allowed to whom grants give every relation in it.
package sluice.rules.sql.read_by_grant

import data.sluice.lib.grants
import data.sluice.lib.sql

allow contains {
	"rule": "sql-read-by-grant",
	"reason": concat("", [grants.holder(sql.ground(sql.reading)), " may read these tables"]),
	"credential": "",
} if {
	reads
	input.request.complete == true
	count(sql.changes) == 0
	count(input.request.writes) == 0
	sql.permitted
}

reads if "select" in input.request.commands

reads if "copy-to" in input.request.commands

reads if count(input.request.reads) > 0
