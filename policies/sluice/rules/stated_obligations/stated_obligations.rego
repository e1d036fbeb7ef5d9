# METADATA
# title: stated-obligations
# description: What the operator's data demands of an HTTP response (`oblige`), but for the groups that see it in clear.
package sluice.rules.stated_obligations

import data.sluice.lib.scopes

obligations := [entry.oblige |
	input.request.protocol == "http"
	some scope in scopes.applying
	some entry in scope.obligations
	scopes.covers_path(entry)
	not scopes.clear_for_caller(entry)
]
