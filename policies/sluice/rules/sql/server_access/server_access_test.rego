package sluice.rules.sql.server_access_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

test_denied_to_everybody if {
	every command in ["copy-program", "file-access"] {
		every commands in [[command], ["select", command], [command, "copy-to"]] {
			rule_of(testing.changed(testing.statement(commands), "/identity/id", "corp:batch")) == "sql-server-access"
		}
	}
}

test_also_what_would_be_held if rule_of(testing.changed(testing.statement(["do", "file-access"]), "/request/complete", false)) == "sql-server-access"

test_others if rule_of(testing.reading_and_writing(["copy-to"], ["public.customers"], [])) == "sql-read-by-grant"
