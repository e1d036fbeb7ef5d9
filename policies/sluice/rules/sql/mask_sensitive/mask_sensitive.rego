# METADATA
# title: sql-mask-sensitive
# description: |
#   The sensitive columns of a database are masked in every result: as the operator's data says, but for the groups in `clear_for`; in full where
#   it says nothing of a pattern of the configuration. An entry takes the default's place by naming the pattern as the configuration does.
package sluice.rules.sql.mask_sensitive

import data.sluice.lib.scopes
import data.sluice.lib.sql

# Also what SQL cannot carry out, as a detector: the statement is then refused, rather than the obligation left out.
obligations := array.concat(
	[entry.oblige | some entry in sql.entries; not scopes.clear_for_caller(entry)],
	[{"type": "mask", "field": pattern, "method": "full"} | some pattern in unstated],
)

unstated := [pattern |
	input.request.protocol == "postgres"
	some pattern in object.get(input.target, "sensitive", ["*.*.*"])
	not pattern in stated
]

stated := [entry.oblige.field | some entry in sql.entries]
