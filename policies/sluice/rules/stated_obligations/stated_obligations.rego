# METADATA
# title: stated-obligations
# description: What the operator's data demands of an HTTP response (`oblige`), but for the groups that see it in clear.
package sluice.rules.stated_obligations

import data.sluice.lib.scopes

obligations := [entry.oblige |
	input.request.protocol == "http"
	some entry in scopes.obligations
	not scopes.clear_for_caller(entry)
]
