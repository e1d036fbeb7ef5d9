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

basis := ["identity", "target", "request"]

test_the_whole_of_an_allow if {
	decision := judged(testing.request("GET", "/customers/1"))
	object.remove(decision, ["obligations"]) == {
		"effect": "allow",
		"rule": "read-by-grant",
		"reason": "group support may read here",
		"credential": "",
		"matched": [{"rule": "read-by-grant", "effect": "allow", "reason": "group support may read here"}],
		"depends_on": basis,
	}
}

test_the_whole_of_a_hold if {
	targets := json.patch(testing.targets, [{"op": "add", "path": "/crm/grants/2/credential", "value": "admin"}])
	decision := sluice.decision with input as testing.request("DELETE", "/tickets/1") with data.sluice.targets as targets
	object.remove(decision, ["obligations", "hold"]) == {
		"effect": "hold",
		"rule": "destructive-needs-approval",
		"reason": "group support may delete here with an approval",
		"credential": "admin",
		"matched": [{"rule": "destructive-needs-approval", "effect": "hold", "reason": "group support may delete here with an approval"}],
		"depends_on": basis,
	}
}

test_the_whole_of_a_deny if {
	judged(testing.request("TRACE", "/customers/1")) == {
		"effect": "deny",
		"rule": "known-method",
		"reason": "the method is not one of GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
		"matched": [{"rule": "known-method", "effect": "deny", "reason": "the method is not one of GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"}],
		"depends_on": basis,
	}
}

test_the_reason_names_the_holder_of_the_grant if {
	judged(testing.changed(testing.request("GET", "/orders/1"), "/identity/roles", ["Orders.Read"])).reason == "role Orders.Read may read here"
	judged(testing.changed(testing.request("GET", "/orders/export"), "/identity/id", "corp:batch")).reason == "identity corp:batch may read here"
}

test_the_credential_of_a_read if {
	targets := json.patch(testing.targets, [{"op": "add", "path": "/crm/grants/0/credential", "value": "readonly"}])
	decision := sluice.decision with input as testing.request("GET", "/customers/1") with data.sluice.targets as targets
	decision.credential == "readonly"
}

test_of_sql_what_a_statement_does_is_what_counts if {
	judged(object.union(testing.request("GET", "/"), {"request": {"protocol": "postgres", "commands": ["select"]}})).depends_on == ["identity", "target", "analysis"]
}
