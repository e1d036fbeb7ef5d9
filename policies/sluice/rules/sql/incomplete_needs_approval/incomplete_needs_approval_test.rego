package sluice.rules.sql.incomplete_needs_approval_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

incomplete(input_) := testing.changed(input_, "/request/complete", false)

test_held if {
	decision := judged(incomplete(testing.reading_and_writing(["select"], ["public.customers"], [])))
	decision.effect == "hold"
	decision.rule == "sql-incomplete-needs-approval"
	judged(incomplete(testing.reading_and_writing(["select"], ["sales.orders"], []))).hold == {"approvers": ["group:finance"], "quorum": 2, "ttl": "4h"}
}

test_opaque_commands if {
	every command in ["call", "do", "other"] { judged(testing.statement([command])).effect == "hold" }
}

test_an_execute_that_is_seen_through_is_not_held if rule_of(testing.statement(["execute"])) == "sql-session"

test_an_incomplete_change if {
	judged(incomplete(testing.reading_and_writing(["insert"], [], ["public.notes"]))).effect == "hold"
	judged(incomplete(testing.statement(["execute"]))).effect == "hold"
	judged(incomplete(testing.statement(["set", "set:timezone"]))).effect == "hold"
}

test_what_is_known_of_it_must_be_granted if {
	rule_of(incomplete(testing.reading_and_writing(["select"], ["public.payroll"], []))) == "default-deny"
	rule_of(incomplete(testing.reading_and_writing(["delete"], [], ["public.customers"]))) == "default-deny"
	rule_of(testing.reading_and_writing(["do"], [], ["public.customers"])) == "default-deny"
}

test_of_nobody_with_a_grant if {
	rule_of(testing.changed(incomplete(testing.statement(["do"])), "/identity/groups", ["staff"])) == "default-deny"
}

test_without_approvers_it_is_denied if {
	decision := sluice.decision with input as incomplete(testing.statement(["do"]))
		with data.sluice.targets as {"ledger": {"grants": testing.ledgers.ledger.grants}}
	decision.effect == "deny"
	decision.rule == "sql-incomplete-needs-approval"
}
