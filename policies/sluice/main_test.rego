package sluice_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets

test_nothing_granted_is_denied if {
	judged(testing.request("GET", "/payroll")) == {
		"effect": "deny",
		"rule": "default-deny",
		"reason": "no rule of the policy allows this request",
		"matched": [],
		"depends_on": ["identity", "target", "request"],
	}
}

test_no_data_is_denied if {
	decision := sluice.decision with input as testing.request("GET", "/customers/1") with data.sluice.targets as {}
	decision.rule == "default-deny"
}

test_unknown_target_is_denied if {
	judged(testing.changed(testing.request("GET", "/customers/1"), "/target/name", "hr")).rule == "default-deny"
}

test_deny_goes_before_hold_and_allow if {
	every path in ["/tickets/1", "/customers/1"] {
		decision := sluice.decision with input as testing.request("GET", path)
			with data.sluice.targets as testing.targets
			with data.sluice.rules.known_method.deny as {{"rule": "known-method", "reason": "no"}}
			with data.sluice.rules.destructive_needs_approval.hold as {{"rule": "h", "reason": "h", "hold": {"approvers": ["group:x"], "quorum": 1, "ttl": "1m"}}}
		decision.effect == "deny"
		decision.rule == "known-method"
		not decision.obligations
		{"rule": "h", "effect": "hold", "reason": "h"} in decision.matched
		some fired in decision.matched
		fired.rule == "read-by-grant"
	}
}

test_hold_goes_before_allow if {
	decision := sluice.decision with input as testing.request("GET", "/customers/1")
		with data.sluice.targets as testing.targets
		with data.sluice.rules.destructive_needs_approval.hold as {{"rule": "h", "reason": "h", "hold": {"approvers": ["group:x"], "quorum": 1, "ttl": "1m"}}}
	decision.effect == "hold"
	decision.hold.approvers == ["group:x"]
	count(decision.obligations) > 0
}

held(rule, quorum) := {"rule": rule, "reason": "", "hold": {"approvers": ["group:x"], "quorum": quorum, "ttl": "1m"}}

rule_of_holds(holds) := decision.rule if {
	decision := sluice.decision with input as testing.request("GET", "/customers/1")
		with data.sluice.targets as testing.targets
		with data.sluice.rules.destructive_needs_approval.hold as holds
}

test_of_two_holds_the_larger_quorum_then_the_smaller_name if {
	rule_of_holds({held("a", 1), held("b", 2)}) == "b"
	rule_of_holds({held("b", 1), held("a", 1)}) == "a"
}

test_of_two_denies_the_smaller_name if {
	decision := sluice.decision with input as testing.request("GET", "/customers/1")
		with data.sluice.targets as testing.targets
		with data.sluice.rules.known_method.deny as {{"rule": "z", "reason": ""}, {"rule": "b", "reason": ""}}
	decision.rule == "b"
}

test_credential_of_the_grant if {
	judged(testing.request("POST", "/tickets/1/notes")).credential == "notes"
	judged(testing.request("GET", "/customers/1")).credential == ""
}
