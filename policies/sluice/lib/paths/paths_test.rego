package sluice.lib.paths_test

import data.sluice.lib.paths

segments(path) := split(trim_prefix(path, "/"), "/")

covered := {
	"/": ["/"],
	"/**": ["/", "/a", "/a/b/c"],
	"/a": ["/a"],
	"/a/": ["/a/"],
	"/a/*": ["/a/b", "/a/*"],
	"/a/**": ["/a", "/a/", "/a/b", "/a/b/c"],
	"/a/*/c": ["/a/b/c"],
	"/a/**/z": ["/a/z", "/a/b/z", "/a/b/c/z", "/a/z/z"],
	"/**/z": ["/z", "/a/z"],
	"/*/b/**": ["/x/b", "/x/b/c"],
}

uncovered := {
	"/": ["/a", "/a/"],
	"/a": ["/", "/A", "/a/", "/a/b", "/ab", "/b"],
	"/a/*": ["/a", "/a/", "/a/b/c", "/b/b", "/A/b"],
	"/a/**": ["/", "/ab", "/ab/c", "/b/a", "/A"],
	"/a/*/c": ["/a/c", "/a//c", "/a/b/d", "/a/b/b/c"],
	"/a/**/z": ["/a", "/z", "/a/b", "/b/z", "/a/z/b"],
	"/**/z": ["/", "/a", "/z/a"],
	"/a/**/a": ["/a"],
	"/a/b/**/b/c": ["/a/b/c"],
	"/*/b/**": ["/b", "//b", "/x/c"],
}

test_covered if {
	every pattern, examples in covered {
		every path in examples { paths.covers(pattern, segments(path)) }
	}
}

test_not_covered if {
	every pattern, examples in uncovered {
		every path in examples { not paths.covers(pattern, segments(path)) }
	}
}

# Segments come decoded: one that holds a separator is still one segment.
test_a_slash_inside_a_segment_separates_nothing if {
	not paths.covers("/a/b", ["a/b"])
	not paths.covers("/a/**", ["a/b"])
	paths.covers("/a/*", ["a", "b/c"])
}
