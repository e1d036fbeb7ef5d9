package sluice.rules.stated_obligations_test

import data.sluice
import data.sluice.testing

obligations_of(input_) := decision.obligations if decision := sluice.decision with input as input_ with data.sluice.targets as testing.targets

ssn := {"type": "mask", "field": "**.ssn", "method": "null"}

test_owed_by_everybody if {
	obligations := obligations_of(testing.request("GET", "/customers/1"))
	ssn in obligations
	{"type": "mask", "field": "**.password", "method": "drop"} in obligations
}

test_not_by_those_who_may_see if {
	obligations := obligations_of(testing.changed(testing.request("GET", "/customers/1"), "/identity/groups", ["support", "audit"]))
	not ssn in obligations
	{"type": "mask", "field": "**.password", "method": "drop"} in obligations
}

test_a_role_of_the_same_name_sees_no_more if {
	ssn in obligations_of(testing.changed(testing.request("GET", "/customers/1"), "/identity/roles", ["audit"]))
}

test_only_where_its_paths_are if {
	total := {"type": "mask", "field": "total", "method": "full"}
	not total in obligations_of(testing.request("GET", "/customers/1"))
	total in obligations_of(testing.changed(testing.request("GET", "/orders/1"), "/identity/roles", ["Orders.Read"]))
}

test_also_after_a_hold if ssn in obligations_of(testing.request("DELETE", "/tickets/1"))
