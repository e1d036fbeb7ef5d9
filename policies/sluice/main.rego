# METADATA
# title: The decision
# description: |
#   Routes, and nothing else: collects what the rules under data.sluice.rules say and answers the strictest of it.
#   A rule is a package below data.sluice.rules that adds to `deny`, `hold` or `allow` (objects with `rule` and `reason`; a hold has its terms in
#   `hold`, hold and allow may name a `credential`), or that has `obligations`: a list, for the runtime hashes each member of a set whenever it
#   looks at it, or a set where that does not matter.
#   Rules below data.sluice.rules.sql are asked about SQL only.
#   deny > hold > allow, and nothing at all is a deny. Within an effect the smallest rule name answers, of holds the one with the highest
#   quorum, so the same input always gets the same answer.
# scope: subpackages
# schemas:
#   - input: schema.input
#   - data.sluice.targets: schema.targets
package sluice

# METADATA
# title: The decision document
# entrypoint: true
decision := {
	"effect": "deny",
	"rule": verdict.rule,
	"reason": verdict.reason,
	"matched": matched,
	"depends_on": basis,
} if {
	verdict := min(denies)[1]
} else := {
	"effect": "hold",
	"rule": verdict.rule,
	"reason": verdict.reason,
	"hold": verdict.hold,
	"credential": object.get(verdict, "credential", ""),
	"obligations": obligations,
	"matched": matched,
	"depends_on": basis,
} if {
	verdict := min(holds)[2]
} else := {
	"effect": "allow",
	"rule": verdict.rule,
	"reason": verdict.reason,
	"credential": object.get(verdict, "credential", ""),
	"obligations": obligations,
	"matched": matched,
	"depends_on": basis,
} if {
	verdict := min(allows)[1]
} else := {
	"effect": "deny",
	"rule": "default-deny",
	"reason": "no rule of the policy allows this request",
	"matched": [],
	"depends_on": basis,
}

denies := array.concat([[verdict.rule, verdict] | some verdict in data.sluice.rules[_].deny], of_sql.denies)

# A larger quorum goes first.
holds := array.concat([[0 - verdict.hold.quorum, verdict.rule, verdict] | some verdict in data.sluice.rules[_].hold], of_sql.holds)

allows := array.concat([[verdict.rule, verdict] | some verdict in data.sluice.rules[_].allow], of_sql.allows)

# In no order: the service puts the strictest first and drops what is said twice.
obligations := array.concat([obligation | some obligation in data.sluice.rules[_].obligations], of_sql.obligations)

# Rules below data.sluice.rules.sql are about SQL alone: other requests do not pay for them.
of_sql := {
	"denies": [[verdict.rule, verdict] | some verdict in data.sluice.rules.sql[_].deny],
	"holds": [[0 - verdict.hold.quorum, verdict.rule, verdict] | some verdict in data.sluice.rules.sql[_].hold],
	"allows": [[verdict.rule, verdict] | some verdict in data.sluice.rules.sql[_].allow],
	"obligations": [obligation | some obligation in data.sluice.rules.sql[_].obligations],
} if {
	input.request.protocol == "postgres"
} else := {"denies": [], "holds": [], "allows": [], "obligations": []}

# Of SQL the rules here look at what a statement does, not at its text or at its parameters: statements that differ in those alone get the same answer. The service
# adds what rules elsewhere read beside it (their text, the time, …): see docs/policy.md.
basis := ["identity", "target", "analysis"] if {
	input.request.protocol == "postgres"
} else := ["identity", "target", "request"]

# What `explain` shows: everything that fired.
matched := array.concat(
	[fired(verdict, "deny") | some [_, verdict] in denies],
	array.concat(
		[fired(verdict, "hold") | some [_, _, verdict] in holds],
		[fired(verdict, "allow") | some [_, verdict] in allows],
	),
)

fired(verdict, effect) := {"rule": verdict.rule, "effect": effect, "reason": verdict.reason}
