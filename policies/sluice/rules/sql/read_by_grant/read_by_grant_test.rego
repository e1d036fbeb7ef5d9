package sluice.rules.sql.read_by_grant_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

select(reads) := testing.reading_and_writing(["select"], reads, [])

test_granted if {
	every reads in [["public.customers"], ["sales.orders"], ["sales.orders", "public.customers"]] { rule_of(select(reads)) == "sql-read-by-grant" }
	rule_of(testing.reading_and_writing(["copy-to"], ["public.customers"], [])) == "sql-read-by-grant"
	rule_of(testing.reading_and_writing(["explain"], ["public.customers"], [])) == "sql-read-by-grant"
	rule_of(testing.reading_and_writing(["declare", "fetch"], ["public.customers"], [])) == "sql-read-by-grant"
	judged(select(["sales.orders"])).reason == "group support may read these tables"
}

test_nothing_is_read if rule_of(testing.statement(["select"])) == "sql-read-by-grant"

test_one_of_them_is_not if {
	every reads in [["public.payroll"], ["public.customers", "public.payroll"], ["audit.customers"], ["public.Customers"], [".customers"]] {
		rule_of(select(reads)) == "default-deny"
	}
}

test_a_name_that_may_mean_several_needs_a_grant_for_each if {
	rule_of(select(["public.customers", "hidden.customers"])) == "default-deny"
}

test_a_grant_for_everything if {
	batch := testing.changed(select(["hidden.anything", ".unknown"]), "/identity/id", "corp:batch")
	rule_of(batch) == "sql-read-by-grant"
	rule_of(testing.changed(batch, "/identity/id", "corp:batch2")) == "default-deny"
}

test_a_grant_of_paths_is_no_grant_of_tables if {
	rule_of(testing.changed(select([]), "/identity/groups", ["pages"])) == "default-deny"
	rule_of(testing.changed(select([]), "/identity/groups", ["probes"])) == "default-deny"
	rule_of(testing.changed(select(["public.customers"]), "/identity/groups", ["pages"])) == "default-deny"
}

# The other way round: a grant of tables opens no path.
test_a_grant_of_tables_is_no_grant_of_paths if {
	decision := sluice.decision with input as testing.changed(testing.request("GET", "/anything"), "/target/name", "ledger")
		with data.sluice.targets as testing.ledgers
	decision.rule == "default-deny"
	approved := sluice.decision with input as testing.changed(testing.request("DELETE", "/anything"), "/target/name", "t")
		with data.sluice.targets as {"t": {
			"grants": [{"group": "support", "actions": ["delete"], "paths": ["/**"]}],
			"approvals": [{"tables": ["*.*"], "approvers": ["group:dba"]}],
		}}
	approved.effect == "deny"
}

test_another_target if {
	rule_of(testing.changed(select(["public.customers"]), "/target/name", "other")) == "default-deny"
	rule_of(testing.changed(select(["public.customers"]), "/target/name", "*")) == "default-deny"
}

test_groups_are_compared_as_they_are if {
	every groups in [["Support"], ["support "], [], ["group:support"]] {
		rule_of(testing.changed(select(["public.customers"]), "/identity/groups", groups)) == "default-deny"
	}
}

test_a_change_beside_it_is_judged_too if {
	rule_of(testing.reading_and_writing(["select", "delete"], ["public.customers"], ["public.customers"])) == "default-deny"
	rule_of(testing.reading_and_writing(["select"], ["public.customers"], ["public.customers"])) == "default-deny"
	rule_of(testing.reading_and_writing(["select", "execute"], [], ["public.payroll"])) == "default-deny"
}

test_a_command_that_nobody_knows if {
	rule_of(testing.reading_and_writing(["select", "sing"], ["public.customers"], [])) == "default-deny"
	rule_of(testing.reading_and_writing(["SELECT"], ["public.customers"], [])) == "default-deny"
}
