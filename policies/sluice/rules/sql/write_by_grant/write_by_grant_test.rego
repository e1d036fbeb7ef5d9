package sluice.rules.sql.write_by_grant_test

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

test_each_command_by_its_own_action if {
	every role, may in {"Notes.Insert": ["insert", "copy-from"], "Notes.Update": ["update"]} {
		every command in ["insert", "copy-from", "update", "delete", "merge", "lock"] {
			one := testing.changed(testing.changed(write([command], ["public.notes"]), "/identity/groups", []), "/identity/roles", [role])
			expected(command in may) == rule_of(one)
		}
	}
}

expected(true) := "sql-write-by-grant"

expected(false) := "default-deny"

fired(input_) := {fired.rule | some fired in judged(input_).matched}

test_fires_alone if {
	fired(write(["insert"], ["public.notes"])) == {"sql-write-by-grant"}
	fired(testing.reading_and_writing(["insert", "select"], ["public.customers"], ["public.notes"])) == {"sql-write-by-grant"}
	fired(testing.reading_and_writing(["select"], ["public.customers"], [])) == {"sql-read-by-grant"}
	fired(write(["ddl"], ["scratch.old"])) == {"sql-ddl-needs-approval"}
	fired(testing.changed(write(["insert"], ["public.notes"]), "/request/complete", false)) == {"sql-incomplete-needs-approval"}
	fired(testing.changed(testing.reading_and_writing(["select"], ["public.customers"], []), "/request/complete", false)) == {"sql-incomplete-needs-approval"}
	fired(as_writer(testing.reading_and_writing(["select", "execute"], ["public.customers"], ["public.notes"]))) == set()
	fired(testing.statement(["transaction"])) == {"sql-session"}
	fired(as_writer(testing.statement(["select", "notify"]))) == {"sql-write-by-grant"}
}
