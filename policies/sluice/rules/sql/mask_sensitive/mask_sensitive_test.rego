package sluice.rules.sql.mask_sensitive_test

import data.sluice
import data.sluice.testing

judged(input_) := decision if decision := sluice.decision with input as input_ with data.sluice.targets as testing.ledgers

rule_of(input_) := judged(input_).rule

obligations_of(input_) := judged(input_).obligations

select := testing.reading_and_writing(["select"], ["public.customers"], [])

card := {"type": "mask", "field": "public.customers.card", "method": "partial", "keep_last": 4}

ssn := {"type": "mask", "field": "*.*.ssn", "method": "full"}

test_as_the_data_says_and_in_full_otherwise if obligations_of(select) == [card, ssn]

test_clear_for_a_group if obligations_of(testing.changed(select, "/identity/groups", ["support", "audit"])) == [ssn]

test_a_role_of_the_same_name_sees_no_more if obligations_of(testing.changed(select, "/identity/roles", ["audit"])) == [card, ssn]

test_whatever_the_statement_is if {
	obligations_of(testing.statement(["fetch"])) == [card, ssn]
	obligations_of(testing.reading_and_writing(["insert"], [], ["public.notes"])) == [card, ssn]
	obligations_of(testing.reading_and_writing(["ddl"], [], ["scratch.old"])) == [card, ssn]
	obligations_of(testing.statement(["do"])) == [card, ssn]
}

test_every_column_where_the_sensitive_ones_are_not_said if {
	unsaid := json.patch(select, [{"op": "remove", "path": "/target/sensitive"}])
	{"type": "mask", "field": "*.*.*", "method": "full"} in obligations_of(unsaid)
}

test_another_pattern_does_not_take_the_defaults_place if {
	decision := sluice.decision with input as select
		with data.sluice.targets as json.patch(testing.ledgers, [{"op": "replace", "path": "/ledger/obligations", "value": [{
			"oblige": {"type": "mask", "field": "public.customers.ssn", "method": "hash"},
			"clear_for": ["support"],
		}]}])
	{object.get(obligation, "field", "") | some obligation in decision.obligations} == {"public.customers.card", "*.*.ssn"}
}

# SQL results are not searched by detectors: the service refuses what it cannot carry out.
test_what_is_stated_is_never_left_out if {
	decision := sluice.decision with input as select
		with data.sluice.targets as json.patch(testing.ledgers, [{"op": "add", "path": "/*/obligations", "value": [{"oblige": {"type": "detect", "detector": "email", "method": "full"}}]}])
	{"type": "detect", "detector": "email", "method": "full"} in decision.obligations
}

test_no_default_detectors_and_none_of_http if {
	every obligation in obligations_of(select) { obligation.type == "mask" }
}

test_an_http_request_owes_none_of_it if {
	decision := sluice.decision with input as testing.request("GET", "/customers/1") with data.sluice.targets as testing.targets
	every obligation in decision.obligations { not startswith(object.get(obligation, "field", ""), "*.*.") }
}
