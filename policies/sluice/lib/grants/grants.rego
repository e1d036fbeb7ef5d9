# METADATA
# title: Grants
# description: Who may do what where, from the operator's data. A grant names one group, role or identity.
package sluice.lib.grants

import data.sluice.lib.http
import data.sluice.lib.scopes

# METADATA
# description: The first grant, in the order of the file, that lets this caller do this; undefined when there is none.
granted := covering[0]

covering := [grant |
	some scope in scopes.applying
	some grant in scope.grants
	http.action in grant.actions
	held_by_caller(grant)
	scopes.covers_path(grant)
]

held_by_caller(grant) if grant.group in input.identity.groups

held_by_caller(grant) if grant.role in input.identity.roles

held_by_caller(grant) if grant.identity == input.identity.id

# METADATA
# description: |
#   For the reason of a decision. It names the grant, not the request: few distinct decisions are made for many requests, which lets
#   the service keep them parsed.
holder(grant) := concat(" ", ["group", grant.group])

holder(grant) := concat(" ", ["role", grant.role])

holder(grant) := concat(" ", ["identity", grant.identity])

credential := object.get(granted, "credential", "")
