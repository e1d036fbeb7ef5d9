# METADATA
# title: destructive-needs-approval
# description: |
#   A destructive call (DELETE, or what the operator marked so) needs a grant and then an approval, by the first entry of `approvals` that
#   covers its path. Where no entry does, nobody could answer, so it is denied at once.
package sluice.rules.destructive_needs_approval

import data.sluice.lib.grants
import data.sluice.lib.http
import data.sluice.lib.scopes

hold contains {
	"rule": "destructive-needs-approval",
	"reason": concat("", [grants.holder(grants.granted), " may delete here with an approval"]),
	"hold": {"approvers": terms.approvers, "quorum": object.get(terms, "quorum", 1), "ttl": object.get(terms, "ttl", "15m")},
	"credential": grants.credential,
} if {
	http.action == "delete"
}

deny contains {
	"rule": "destructive-needs-approval",
	"reason": "this destructive call needs an approval, and the policy names no approvers for it",
} if {
	http.action == "delete"
	grants.granted
	not terms
}

terms := [approval |
	some scope in scopes.applying
	some approval in scope.approvals
	scopes.covers_path(approval)
][0]
