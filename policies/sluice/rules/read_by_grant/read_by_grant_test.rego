package sluice.rules.read_by_grant_test

import data.sluice
import data.sluice.testing

rule_of(input_) := decision.rule if decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets

test_group if {
	every method in ["GET", "HEAD", "OPTIONS"] {
		every path in ["/customers", "/customers/7", "/customers/7/orders", "/tickets/1"] { rule_of(testing.request(method, path)) == "read-by-grant" }
	}
}

test_role if {
	rule_of(testing.request("GET", "/orders/1")) == "default-deny"
	rule_of(testing.changed(testing.request("GET", "/orders/1"), "/identity/roles", ["Orders.Read"])) == "read-by-grant"
	rule_of(testing.changed(testing.request("GET", "/orders/1"), "/identity/groups", ["Orders.Read"])) == "default-deny"
}

test_identity if {
	rule_of(testing.changed(testing.request("GET", "/orders/export"), "/identity/id", "corp:batch")) == "read-by-grant"
	rule_of(testing.changed(testing.request("GET", "/orders/export"), "/identity/subject", "corp:batch")) == "default-deny"
	rule_of(testing.changed(testing.request("GET", "/orders/export"), "/identity/name", "corp:batch")) == "default-deny"
}

test_a_grant_for_every_target if {
	rule_of(testing.changed(testing.request("GET", "/health"), "/identity/groups", ["probes"])) == "read-by-grant"
	rule_of(testing.request("GET", "/health")) == "default-deny"
}

test_a_target_named_star_gets_no_more_than_that if {
	rule_of(testing.changed(testing.request("GET", "/customers/1"), "/target/name", "*")) == "default-deny"
}

test_tricks_with_case_and_names if {
	every path in ["/Customers/7", "/CUSTOMERS", "/customersx", "/x/customers"] { rule_of(testing.request("GET", path)) == "default-deny" }
	every groups in [["Support"], ["support "], [], ["group:support"]] {
		rule_of(testing.changed(testing.request("GET", "/customers/7"), "/identity/groups", groups)) == "default-deny"
	}
}

test_a_read_grant_gives_no_write if {
	every method in ["POST", "PUT", "PATCH", "DELETE"] { rule_of(testing.request(method, "/customers/7")) == "default-deny" }
}
