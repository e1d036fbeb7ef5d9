package sluice.rules.write_by_grant_test

import data.sluice
import data.sluice.testing

rule_of(input_) := decision.rule if decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets

test_granted if {
	every method in ["POST", "PUT", "PATCH"] { rule_of(testing.request(method, "/tickets/1/notes")) == "write-by-grant" }
	rule_of(testing.request("POST", "/orders/1/label")) == "write-by-grant"
}

test_elsewhere if {
	every path in ["/tickets/1", "/tickets//notes", "/tickets/1/notes/2", "/tickets/1/Notes", "/customers/1"] {
		rule_of(testing.request("POST", path)) != "write-by-grant"
	}
}

test_a_write_grant_gives_no_read if rule_of(testing.request("GET", "/orders/1/label")) == "default-deny"

# The grant of the refund as a write does not help where the call is marked as destructive.
test_a_marked_call_is_no_write if rule_of(testing.request("POST", "/orders/1/refund")) == "destructive-needs-approval"

fired(input_) := {fired.rule |
	decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets
	some fired in decision.matched
}

test_fires_alone if {
	fired(testing.request("POST", "/tickets/1/notes")) == {"write-by-grant"}
	fired(testing.request("GET", "/tickets/1")) == {"read-by-grant"}
	fired(testing.request("DELETE", "/tickets/1")) == {"destructive-needs-approval"}
}
