package sluice.rules.sql.ddl_needs_approval_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

alter(commands, writes) := testing.reading_and_writing(commands, [], writes)

test_held if {
	every commands in [["ddl"], ["truncate"], ["privilege"], ["role"], ["maintenance"], ["ddl", "select"]] {
		decision := judged(alter(commands, ["scratch.old"]))
		decision.effect == "hold"
		decision.rule == "sql-ddl-needs-approval"
		decision.hold == {"approvers": ["group:dba"], "quorum": 1, "ttl": "15m"}
	}
}

test_ungranted_is_denied_and_not_held if {
	every writes in [["public.customers"], ["scratch.old", "public.customers"]] { rule_of(alter(["ddl"], writes)) == "default-deny" }
	rule_of(testing.changed(alter(["ddl"], ["scratch.old"]), "/identity/groups", ["staff"])) == "default-deny"
}

test_a_write_grant_is_no_grant_of_ddl if {
	writer := testing.changed(testing.changed(alter(["truncate"], ["public.notes"]), "/identity/roles", ["Ledger.Write"]), "/identity/groups", [])
	rule_of(writer) == "default-deny"
}

test_what_it_reads_must_be_granted if {
	rule_of(testing.reading_and_writing(["ddl", "select"], ["public.payroll"], ["scratch.copy"])) == "default-deny"
	judged(testing.reading_and_writing(["ddl", "select"], ["public.customers"], ["scratch.copy"])).effect == "hold"
}

test_other_changes_beside_it_must_be_granted if rule_of(alter(["ddl", "delete"], ["scratch.old"])) == "default-deny"

# Where it will be made is not known yet: the approver sees it.
test_something_new if judged(alter(["ddl"], [".fresh"])).effect == "hold"

test_without_approvers_it_is_denied if {
	decision := judged(alter(["ddl"], [".nobody_answers"]))
	decision.effect == "deny"
	decision.rule == "sql-ddl-needs-approval"
	contains(decision.reason, "names no approvers")
}

test_every_relation_must_be_the_approvers if {
	judged(alter(["ddl"], ["scratch.a"])).hold.approvers == ["group:dba"]
	judged(alter(["ddl"], ["scratch.a", ".nobody_answers"])).effect == "deny"
}
