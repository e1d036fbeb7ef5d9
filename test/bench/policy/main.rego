# METADATA
# title: The policy of the mask-http bench
# description: Lets everything through; what is masked depends on the path.
# scope: subpackages
package sluice

# METADATA
# entrypoint: true
decision := {
	"effect": "allow",
	"rule": "bench",
	"reason": "measured",
	"credential": "",
	"obligations": obligations,
	"matched": [],
	"depends_on": [],
}

# /path: one field of five. /detectors: what the shipped policy and the demo's grants oblige to.
default obligations := [{"type": "mask", "field": "[*].ssn", "method": "null"}]

obligations := [
	{"type": "mask", "field": "**.ssn", "method": "null"},
	{"type": "mask", "field": "**.card", "method": "partial", "keep_last": 4},
	{"type": "mask", "field": "**.email", "method": "hash"},
	{"type": "mask", "field": "**.iban", "method": "partial", "keep_last": 4},
	{"type": "mask", "field": "**.phone", "method": "full"},
	{"type": "detect", "detector": "payment-card", "method": "partial", "keep_last": 4},
	{"type": "detect", "detector": "us-ssn", "method": "full"},
	{"type": "detect", "detector": "iban", "method": "partial", "keep_last": 4},
	{"type": "detect", "detector": "email", "method": "partial", "keep_first": 1},
] if {
	input.request.path == "/detectors"
}
