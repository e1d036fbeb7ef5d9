package sluice.rules.sql_write_by_grant_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

write(commands, writes) := testing.reading_and_writing(commands, [], writes)

as_writer(input_) := testing.changed(input_, "/identity/roles", ["Ledger.Write"])

test_granted if {
	every commands in [["insert"], ["update"], ["copy-from"], ["insert", "update"]] { rule_of(write(commands, ["public.notes"])) == "sql-write-by-grant" }
	judged(write(["insert"], ["public.notes"])).reason == "group support may change these tables"
}

test_only_what_the_grant_names if {
	every commands in [["delete"], ["merge"], ["insert", "delete"], ["lock"]] { rule_of(write(commands, ["public.notes"])) == "default-deny" }
}

test_write_is_all_of_them if {
	every commands in [["insert"], ["update"], ["delete"], ["merge"], ["copy-from"], ["insert", "delete"], ["lock"]] {
		rule_of(as_writer(write(commands, ["public.payroll"]))) == "sql-write-by-grant"
	}
	rule_of(as_writer(write(["notify"], []))) == "sql-write-by-grant"
	rule_of(write(["notify"], [])) == "default-deny"
}

test_elsewhere if {
	every writes in [["public.customers"], ["public.notes", "public.customers"], ["sales.notes"], [".notes"]] {
		rule_of(write(["insert"], writes)) == "default-deny"
	}
	rule_of(as_writer(write(["delete"], ["sales.orders"]))) == "default-deny"
}

test_what_it_reads_must_be_granted_as_well if {
	rule_of(testing.reading_and_writing(["insert", "select"], ["public.customers"], ["public.notes"])) == "sql-write-by-grant"
	rule_of(testing.reading_and_writing(["insert", "select"], ["public.payroll"], ["public.notes"])) == "default-deny"
}

# A grant to read is none to write, and the other way round.
test_one_action_is_not_another if {
	rule_of(write(["update"], ["sales.orders"])) == "default-deny"
	rule_of(as_writer(testing.changed(testing.reading_and_writing(["select"], ["public.payroll"], []), "/identity/groups", []))) == "default-deny"
}

test_an_empty_list_of_relations_is_no_way_around if rule_of(testing.changed(write(["delete"], []), "/identity/id", "corp:batch")) == "default-deny"
