# METADATA
# title: read-by-grant
# description: A read is allowed to whom a grant gives it.
package sluice.rules.read_by_grant

import data.sluice.lib.grants
import data.sluice.lib.http

allow contains {
	"rule": "read-by-grant",
	"reason": concat("", [grants.holder(grants.granted), " may read here"]),
	"credential": grants.credential,
} if {
	http.action == "read"
}
