# METADATA
# title: Path patterns
# description: |
#   A pattern is compared with the decoded segments, case-sensitively and one to one. `*` is one segment, not empty; `**` is any number of
#   segments, also none, and may stand once. "/customers/**" covers /customers and everything below; "/customers/*" only its members.
#   Whole arrays are compared where no `*` stands: one comparison inside the runtime instead of a loop of the policy.
package sluice.lib.paths

covers(pattern, segments) if fits(split(trim_prefix(pattern, "/"), "**"), segments)

fits([whole], segments) if same(split(whole, "/"), segments)

# Without arithmetic, which is not cheap: most patterns end in `**`.
fits([before, ""], segments) if {
	head := parts(trim_suffix(before, "/"))
	same(head, array.slice(segments, 0, count(head)))
}

fits([before, after], segments) if {
	after != ""
	head := parts(trim_suffix(before, "/"))
	tail := parts(trim_prefix(after, "/"))
	size := count(segments)
	size >= count(head) + count(tail)
	same(head, array.slice(segments, 0, count(head)))
	same(tail, array.slice(segments, size - count(tail), size))
}

parts("") := []

parts(text) := split(text, "/") if text != ""

same(wanted, segments) if wanted == segments

same(wanted, segments) if {
	"*" in wanted
	count(wanted) == count(segments)
	every i, part in wanted { accepts(part, segments[i]) }
}

accepts(part, segment) if part == segment

accepts("*", segment) if segment != ""
