package sluice.rules.no_override_test

import data.sluice
import data.sluice.testing

rule_of(pointer, value) := decision.rule if {
	decision := sluice.decision with input as testing.changed(testing.request("POST", "/tickets/1/notes"), pointer, value)
		with data.sluice.targets as testing.targets
}

test_headers if {
	every name in [
		"x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-rewrite-url", "x-original-uri", "x-forwarded-uri", "x-forwarded-path", "x-original-method",
	] {
		rule_of(concat("/", ["/request/headers", name]), ["DELETE"]) == "no-override"
		rule_of(concat("/", ["/request/headers", name]), [""]) == "no-override"
	}
}

test_query if {
	rule_of("/request/query/_method", ["DELETE"]) == "no-override"
	rule_of("/request/query/_method", [""]) == "no-override"
	rule_of("/request/query/method", ["DELETE"]) == "write-by-grant"
}

test_form if {
	rule_of("/request/body/form", {"_method": ["DELETE"]}) == "no-override"
	rule_of("/request/body/form", {"text": ["_method=DELETE"]}) == "write-by-grant"
}

test_other_headers if rule_of("/request/headers/x-request-id", ["1"]) == "write-by-grant"

test_the_reason_names_the_place if {
	every pointer, place in {
		"/request/headers/x-http-method": "x-http-method",
		"/request/headers/x-http-method-override": "x-http-method-override",
		"/request/headers/x-method-override": "x-method-override",
		"/request/headers/x-original-url": "x-original-url",
		"/request/headers/x-rewrite-url": "x-rewrite-url",
		"/request/headers/x-original-uri": "x-original-uri",
		"/request/headers/x-forwarded-uri": "x-forwarded-uri",
		"/request/headers/x-forwarded-path": "x-forwarded-path",
		"/request/headers/x-original-method": "x-original-method",
		"/request/query/_method": "the query's _method",
	} {
		decision := sluice.decision with input as testing.changed(testing.request("GET", "/customers/1"), pointer, ["x"]) with data.sluice.targets as testing.targets
		decision.reason == concat("", ["the request overrides its method or path by ", place])
	}
}
