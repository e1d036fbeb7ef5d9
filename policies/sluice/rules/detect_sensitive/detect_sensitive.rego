# METADATA
# title: detect-sensitive
# description: |
#   Defence in depth: payment cards, social security numbers, IBANs and e-mail addresses are masked wherever they turn up in an HTTP response, also where
#   no field is known to hold them. What the operator's data says of a detector, for this target or for all, takes the default's place.
package sluice.rules.detect_sensitive

import data.sluice.lib.scopes

obligations := [obligation |
	input.request.protocol == "http"
	some obligation in defaults
	not obligation.detector in stated
]

defaults := [
	{"type": "detect", "detector": "payment-card", "method": "partial", "keep_last": 4},
	{"type": "detect", "detector": "us-ssn", "method": "full"},
	{"type": "detect", "detector": "iban", "method": "partial", "keep_last": 4},
	{"type": "detect", "detector": "email", "method": "partial", "keep_first": 1},
]

stated := [entry.oblige.detector | some entry in scopes.obligations]
