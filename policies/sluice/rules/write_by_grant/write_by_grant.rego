# METADATA
# title: write-by-grant
# description: A write is allowed to whom a grant gives it.
package sluice.rules.write_by_grant

import data.sluice.lib.grants
import data.sluice.lib.http

allow contains {
	"rule": "write-by-grant",
	"reason": concat("", [grants.holder(grants.granted), " may write here"]),
	"credential": grants.credential,
} if {
	http.action == "write"
}
