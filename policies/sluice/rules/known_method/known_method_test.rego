package sluice.rules.known_method_test

import data.sluice
import data.sluice.testing

rule_of(method) := decision.rule if {
	decision := sluice.decision with input as testing.request(method, "/customers/1")
		with data.sluice.targets as {"crm": {"grants": [{"group": "support", "actions": ["read", "write", "delete"], "paths": ["/**"]}]}}
}

test_unknown_methods if {
	every method in ["TRACE", "CONNECT", "PROPFIND", "PURGE", "get", "GETX", ""] { rule_of(method) == "known-method" }
}

test_known_methods if {
	every method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] { rule_of(method) != "known-method" }
}

# Marking a method as destructive does not make it known.
test_marked_unknown_method if {
	decision := sluice.decision with input as testing.request("PURGE", "/admin/cache")
		with data.sluice.targets as testing.targets
	decision.rule == "known-method"
}
