# METADATA
# title: What an HTTP request does
# description: |
#   The action of a request: `read`, `write` or `delete`; undefined for a method that nobody has classified.
#   DELETE is a `delete`, and so is whatever the operator marked as destructive for the target.
package sluice.lib.http

import data.sluice.lib.scopes

action := "delete" if {
	input.request.protocol == "http"
	destructive
} else := method_action

method_action := "read" if {
	reads
} else := "write" if {
	writes
} else := "delete" if {
	input.request.method == "DELETE"
}

reads if input.request.method == "GET"

reads if input.request.method == "HEAD"

reads if input.request.method == "OPTIONS"

writes if input.request.method == "POST"

writes if input.request.method == "PUT"

writes if input.request.method == "PATCH"

destructive if {
	some scope in scopes.applying
	some mark in scope.destructive
	marks_method(mark)
	scopes.covers_path(mark)
}

marks_method(mark) if input.request.method in mark.methods

# Without methods: all that change something.
marks_method(mark) if {
	not mark.methods
	not reads
}
