package sluice.rules.detect_sensitive_test

import data.sluice
import data.sluice.testing

detections(input_, targets) := {obligation.detector: obligation.method |
	decision := sluice.decision with input as input_ with data.sluice.targets as targets
	some obligation in decision.obligations
	obligation.type == "detect"
}

test_always_on if {
	detections(testing.request("GET", "/a"), {"crm": {"grants": [{"group": "support", "actions": ["read"], "paths": ["/**"]}]}}) == {
		"payment-card": "partial",
		"us-ssn": "full",
		"iban": "partial",
		"email": "partial",
	}
}

test_what_is_stated_takes_the_place_of_the_default if {
	detections(testing.request("GET", "/customers/1"), testing.targets) == {"payment-card": "partial", "us-ssn": "full", "iban": "partial", "email": "hash"}
}

test_in_clear_for_a_group if {
	audit := testing.changed(testing.request("GET", "/customers/1"), "/identity/groups", ["support", "audit"])
	detections(audit, testing.targets) == {"payment-card": "partial", "us-ssn": "full", "iban": "partial"}
}

test_more_detectors if {
	targets := json.patch(testing.targets, [{"op": "add", "path": "/*/obligations/-", "value": {"oblige": {"type": "detect", "detector": "pattern:badge", "method": "full"}}}])
	detections(testing.request("GET", "/customers/1"), targets)["pattern:badge"] == "full"
}

test_what_is_stated_for_other_paths_leaves_the_default if {
	targets := json.patch(testing.targets, [{
		"op": "add", "path": "/crm/obligations/-",
		"value": {"oblige": {"type": "detect", "detector": "iban", "method": "drop"}, "paths": ["/orders/**"]},
	}])
	detections(testing.request("GET", "/customers/1"), targets).iban == "partial"
}
