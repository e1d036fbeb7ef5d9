package sluice.rules.sql.sensitive_predicate_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

using(use, column, sensitive) := testing.changed(
	testing.reading_and_writing(["select"], ["public.customers"], []), "/request/columns",
	[
		{"schema": "public", "table": "customers", "column": "name", "use": "predicate", "sensitive": false},
		{"schema": "public", "table": "customers", "column": column, "use": use, "sensitive": sensitive},
	],
)

in_audit(input_) := testing.changed(input_, "/identity/groups", ["support", "audit"])

test_held if {
	decision := judged(using("predicate", "card", true))
	decision.effect == "hold"
	decision.rule == "sql-sensitive-predicate"
	decision.hold.approvers == ["group:dba"]
}

test_other_uses_and_columns if {
	rule_of(using("output", "card", true)) == "sql-read-by-grant"
	rule_of(using("written", "card", true)) == "sql-read-by-grant"
	rule_of(using("predicate", "card", false)) == "sql-read-by-grant"
}

test_who_sees_it_may_compare_it if {
	rule_of(in_audit(using("predicate", "card", true))) == "sql-read-by-grant"
	rule_of(in_audit(using("predicate", "ssn", true))) == "sql-sensitive-predicate"
}

test_ungranted_is_denied_and_not_held if {
	rule_of(testing.changed(using("predicate", "card", true), "/request/reads", [{"schema": "public", "name": "payroll"}])) == "default-deny"
}

test_without_approvers_it_is_denied if {
	decision := sluice.decision with input as using("predicate", "card", true)
		with data.sluice.targets as {"ledger": {"grants": testing.ledgers.ledger.grants}}
	decision.effect == "deny"
	decision.rule == "sql-sensitive-predicate"
}
