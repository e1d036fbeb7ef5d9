package sluice.rules.unambiguous_path_test

import data.sluice
import data.sluice.testing

rule_of(path, segments) := decision.rule if {
	decision := sluice.decision with input as testing.escaped(testing.request("GET", "/"), path, segments)
		with data.sluice.targets as {"crm": {"grants": [{"group": "support", "actions": ["read"], "paths": ["/**"]}]}}
}

test_ambiguous if {
	every path, segments in {
		"/a%2Fb": ["a/b"],
		"/a%2fb": ["a/b"],
		"/a%5Cb": [`a\b`],
		`/a\b`: [`a\b`],
		"/a/%2E%2E/b": ["a", "..", "b"],
		"/a/../b": ["a", "..", "b"],
		"/a/%2e": ["a", "."],
		"/a%252Fb": ["a%2Fb"],
		"/a%25": ["a%"],
		"/a;v=1": ["a;v=1"],
		"/a%3Bv=1": ["a;v=1"],
		"/a%00": ["a\u0000"],
		"/a%0a": ["a\n"],
		"/a%1Fb": ["a\u001fb"],
		"/a%7F": ["a\u007f"],
		"//a": ["", "a"],
		"/a//b": ["a", "", "b"],
	} {
		rule_of(path, segments) == "unambiguous-path"
	}
}

test_unambiguous if {
	every path, segments in {
		"/": [""],
		"/a/": ["a", ""],
		"/a%20b": ["a b"],
		"/caf%C3%A9": ["café"],
		"/a.b/...": ["a.b", "..."],
		"/.well-known/x": [".well-known", "x"],
		"/a:b@c,d=e+f": ["a:b@c,d=e+f"],
	} {
		rule_of(path, segments) == "read-by-grant"
	}
}
