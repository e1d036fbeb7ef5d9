# METADATA
# title: unambiguous-path
# description: |
#   A path that a target could read differently from the policy is denied: after decoding once, a segment holds a slash, a backslash, a percent
#   sign (encoded twice), a semicolon (path parameters), a control character or a dot segment, or two slashes follow each other.
package sluice.rules.unambiguous_path

deny contains {
	"rule": "unambiguous-path",
	"reason": "the path can be read in two ways (encoded slash, percent sign or control character, dot segment, path parameter, empty segment)",
} if {
	ambiguous
}

ambiguous if contains(input.request.path, "//")

ambiguous if "." in input.request.segments

ambiguous if ".." in input.request.segments

ambiguous if contains(input.request.path, `\`)

ambiguous if contains(input.request.path, ";")

# What only an escape can bring in is looked for in the decoded segments, and only where there is an escape.
ambiguous if {
	contains(input.request.path, "%")
	some segment in input.request.segments
	hides(segment)
}

# A control character of ASCII can only be written as %0x, %1x or %7F.
ambiguous if {
	contains(input.request.path, "%")
	some escape in ["%0", "%1", "%7f", "%7F"]
	contains(input.request.path, escape)
}

hides(segment) if {
	some mark in ["/", `\`, "%", ";"]
	contains(segment, mark)
}
