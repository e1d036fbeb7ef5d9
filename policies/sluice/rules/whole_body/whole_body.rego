# METADATA
# title: whole-body
# description: |
#   A body that a rule cannot read must not pass by it: a compressed body, or one whose type is stated twice, is denied.
package sluice.rules.whole_body

deny contains {
	"rule": "whole-body",
	"reason": "the body is compressed, so no rule can read it",
} if {
	some encoding in input.request.headers["content-encoding"]
	lower(encoding) != "identity"
}

deny contains {
	"rule": "whole-body",
	"reason": "the body's type is stated more than once",
} if {
	count(input.request.headers["content-type"]) > 1
}
