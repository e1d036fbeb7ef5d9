package sluice.rules.destructive_needs_approval_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets

test_delete_is_held if {
	decision := judged(testing.request("DELETE", "/tickets/1"))
	decision.effect == "hold"
	decision.rule == "destructive-needs-approval"
	decision.hold == {"approvers": ["group:leads"], "quorum": 1, "ttl": "15m"}
	count(decision.obligations) > 0
}

test_a_marked_call_is_held_by_the_first_terms_that_cover_it if {
	judged(testing.request("POST", "/orders/1/refund")).hold == {"approvers": ["group:finance"], "quorum": 2, "ttl": "4h"}
}

test_without_grant_it_is_denied if {
	every path in ["/customers/1", "/tickets", "/tickets/", "/tickets/1/notes", "/Tickets/1"] {
		judged(testing.request("DELETE", path)).effect == "deny"
	}
	judged(testing.changed(testing.request("DELETE", "/tickets/1"), "/identity/groups", ["leads"])).effect == "deny"
}

test_without_approvers_it_is_denied if {
	decision := sluice.decision with input as testing.request("DELETE", "/tickets/1")
		with data.sluice.targets as json.remove(testing.targets, ["crm/approvals"])
	decision.effect == "deny"
	decision.rule == "destructive-needs-approval"
}
