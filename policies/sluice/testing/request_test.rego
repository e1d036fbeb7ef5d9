# METADATA
# title: Requests for tests
# description: A read of a customer by a support agent, to be changed by json.patch; and data to judge it by.
package sluice.testing

targets := {
	"crm": {
		"grants": [
			{"group": "support", "actions": ["read"], "paths": ["/customers/**", "/tickets/**"]},
			{"group": "support", "actions": ["write"], "paths": ["/tickets/*/notes"], "credential": "notes"},
			{"group": "support", "actions": ["delete"], "paths": ["/tickets/*", "/orders/*/refund"]},
			{"group": "support", "actions": ["write"], "paths": ["/orders/*/refund", "/orders/*/label"]},
			{"role": "Orders.Read", "actions": ["read"], "paths": ["/orders/*"]},
			{"identity": "corp:batch", "actions": ["read"], "paths": ["/**/export"]},
		],
		"destructive": [{"methods": ["POST"], "paths": ["/orders/*/refund"]}, {"paths": ["/admin/**"]}],
		"approvals": [
			{"paths": ["/orders/**"], "approvers": ["group:finance"], "quorum": 2, "ttl": "4h"},
			{"paths": ["/tickets/**"], "approvers": ["group:leads"]},
		],
		"obligations": [
			{"oblige": {"type": "mask", "field": "**.ssn", "method": "null"}, "clear_for": ["audit"]},
			{"oblige": {"type": "mask", "field": "total", "method": "full"}, "paths": ["/orders/**"]},
			{"oblige": {"type": "detect", "detector": "email", "method": "hash"}, "clear_for": ["audit"]},
		],
	},
	"*": {
		"grants": [{"group": "probes", "actions": ["read"], "paths": ["/health"]}],
		"obligations": [{"oblige": {"type": "mask", "field": "**.password", "method": "drop"}}],
	},
}

# METADATA
# description: The path is taken as it would be sent, without escapes.
request(method, path) := {
	"time": {"now": "2026-01-02T03:04:05.000Z", "unix": 1767323045},
	"identity": {
		"id": "corp:agent", "issuer": "corp", "subject": "agent", "name": "", "kind": "workload",
		"client": "", "tenant": "", "groups": ["staff", "support"], "roles": [], "scopes": [],
	},
	"run": {"id": "", "on_behalf_of": "", "source": "none"},
	"target": {"name": "crm", "protocol": "http", "labels": {}},
	"session": {"id": "s"},
	"request": {
		"protocol": "http", "method": method, "host": "crm.example", "path": path, "segments": split(trim_prefix(path, "/"), "/"),
		"query": {}, "headers": {"accept": ["*/*"]}, "content_type": "",
		"body": {"size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	},
}

# METADATA
# description: The request with one member changed, by its JSON pointer.
changed(base, path, value) := json.patch(base, [{"op": "add", "path": path, "value": value}])

# METADATA
# description: The request with an escaped path, whose segments are what one decoding makes of it.
escaped(base, path, segments) := changed(changed(base, "/request/path", path), "/request/segments", segments)
