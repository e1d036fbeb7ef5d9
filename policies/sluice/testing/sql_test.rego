# SQL for tests: a statement by a support agent, to be changed by `changed`; and data to judge it by.
package sluice.testing

ledgers := {
	"ledger": {
		"grants": [
			{"group": "support", "actions": ["read"], "tables": ["public.customers", "sales.*"]},
			{"group": "support", "actions": ["insert", "update"], "tables": ["public.notes"], "credential": "notes"},
			{"group": "support", "actions": ["read"], "tables": ["public.notes"]},
			{"group": "support", "actions": ["ddl"], "tables": ["scratch.*"]},
			{"role": "Notes.Insert", "actions": ["insert"], "tables": ["public.notes"]},
			{"role": "Notes.Update", "actions": ["update"], "tables": ["public.notes"]},
			{"role": "Ledger.Write", "actions": ["write"], "tables": ["public.*"]},
			{"identity": "corp:batch", "actions": ["select"], "tables": ["*.*"]},
			{"group": "pages", "actions": ["read", "write"], "paths": ["/**"]},
		],
		"approvals": [
			{"paths": ["/**"], "approvers": ["group:web"]},
			{"tables": ["sales.*"], "approvers": ["group:finance"], "quorum": 2, "ttl": "4h"},
			{"tables": ["public.*", "scratch.*", "sales.*", "*.fresh"], "approvers": ["group:dba"]},
		],
		"obligations": [
			{"oblige": {"type": "mask", "field": "public.customers.card", "method": "partial", "keep_last": 4}, "clear_for": ["audit"]},
			{"oblige": {"type": "mask", "field": "**.password", "method": "drop"}, "paths": ["/**"]},
		],
	},
	"*": {"grants": [{"group": "probes", "actions": ["read"], "paths": ["/health"]}]},
}

# METADATA
# description: |
#   A statement with these commands that concerns nothing yet: `changed` gives it relations by `/request/reads` and `/request/writes`.
statement(commands) := {
	"time": {"now": "2026-01-02T03:04:05.000Z", "unix": 1767323045},
	"identity": {
		"id": "corp:agent", "issuer": "corp", "subject": "agent", "name": "", "kind": "workload",
		"client": "", "tenant": "", "groups": ["staff", "support"], "roles": [], "scopes": [],
	},
	"run": {"id": "", "on_behalf_of": "", "source": "none"},
	"target": {"name": "ledger", "protocol": "postgres", "labels": {}, "sensitive": ["public.customers.card", "*.*.ssn"]},
	"session": {"id": "s"},
	"request": {
		"protocol": "postgres", "database": "ledger", "statement": "", "commands": commands,
		"reads": [], "writes": [], "columns": [], "functions": [], "complete": true, "incomplete": [],
	},
}

# METADATA
# description: A statement with the relations that it reads and those that it writes, each as `schema.name`.
reading_and_writing(commands, reads, writes) := changed(
	changed(statement(commands), "/request/reads", [relation(name) | some name in reads]),
	"/request/writes", [relation(name) | some name in writes],
)

relation(name) := {"schema": parts[0], "name": parts[1]} if parts := split(name, ".")
