package sluice.rules.whole_body_test

import data.sluice
import data.sluice.testing

rule_of(name, values) := decision.rule if {
	decision := sluice.decision with input as testing.changed(testing.request("POST", "/tickets/1/notes"), concat("/", ["/request/headers", name]), values)
		with data.sluice.targets as testing.targets
}

test_compressed if {
	every values in [["gzip"], ["identity", "br"], ["GZIP"], ["identity, gzip"], [""]] { rule_of("content-encoding", values) == "whole-body" }
}

test_two_types if rule_of("content-type", ["application/json", "text/plain"]) == "whole-body"

test_plain if {
	rule_of("content-encoding", ["identity"]) == "write-by-grant"
	rule_of("content-encoding", ["Identity"]) == "write-by-grant"
	rule_of("content-type", ["application/json"]) == "write-by-grant"
}
