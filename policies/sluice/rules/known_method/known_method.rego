# METADATA
# title: known-method
# description: |
#   Only methods whose meaning is known are judged further. TRACE would echo the target's credential back; CONNECT would open a tunnel that
#   nobody judges; a method of somebody's own might do anything.
package sluice.rules.known_method

import data.sluice.lib.http

deny contains {
	"rule": "known-method",
	"reason": "the method is not one of GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
} if {
	input.request.protocol == "http"
	not http.method_action
}
