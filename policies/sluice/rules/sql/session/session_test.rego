package sluice.rules.sql.session_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

test_open if {
	decision := judged(testing.statement(["connect"]))
	decision.rule == "sql-session"
	decision.effect == "allow"
	decision.reason == "group support may use this database"
	decision.credential == "notes"
}

test_not_without_a_grant if {
	every groups in [[], ["staff"], ["pages"], ["probes"]] { rule_of(testing.changed(testing.statement(["connect"]), "/identity/groups", groups)) == "default-deny" }
	rule_of(testing.changed(testing.statement(["connect"]), "/target/name", "other")) == "default-deny"
}

test_what_concerns_the_session_alone if {
	every commands in [["transaction"], ["show"], ["fetch"], ["close"], ["deallocate"], ["prepare"], ["listen"], ["explain"], ["transaction", "show"]] {
		rule_of(testing.statement(commands)) == "sql-session"
	}
	judged(testing.statement(["show"])).credential == ""
}

# An empty text, or a comment, by which clients ask whether anybody is there.
test_no_command_at_all if rule_of(testing.statement([])) == "sql-session"

test_harmless_settings if {
	every name in ["timezone", "TimeZone", "application_name", "search_path", "statement_timeout", "extra_float_digits", "all", "transaction", "session_characteristics"] {
		rule_of(testing.statement(["set", concat("", ["set:", name])])) == "sql-session"
		judged(testing.statement(["set", concat("", ["set:", name])])).effect == "allow"
	}
}

test_settings_that_must_stay if {
	every name in [
		"standard_conforming_strings", "client_encoding", "Client_Encoding", "session_replication_role", "row_security", "role",
		"session_authorization", "backslash_quote", "dynamic_library_path", "log_statement", "my.setting", "unknown", "transaction_snapshot", "",
	] {
		decision := judged(testing.statement(["set", concat("", ["set:", name])]))
		decision.effect == "deny"
		decision.rule == "sql-session"
	}
}

test_one_of_several if judged(testing.statement(["set", "set:timezone", "set:role"])).effect == "deny"

test_beside_something_that_is_granted if {
	every commands in [["select", "set", "set:row_security"], ["insert", "set:client_encoding"]] {
		judged(testing.reading_and_writing(commands, [], ["public.notes"])).effect == "deny"
	}
}

test_a_setting_without_a_name if {
	decision := judged(testing.statement(["set"]))
	decision.effect == "deny"
	decision.reason == "which setting would be set is not known"
}
