package sluice.lib.http_test

import data.sluice.lib.http
import data.sluice.testing

action_of(method, path) := action if action := http.action with input as testing.request(method, path) with data.sluice.targets as testing.targets

test_action_by_method if {
	every method, action in {"GET": "read", "HEAD": "read", "OPTIONS": "read", "POST": "write", "PUT": "write", "PATCH": "write", "DELETE": "delete"} {
		action_of(method, "/tickets/1") == action
	}
}

test_marked_calls_are_deletes if {
	action_of("POST", "/orders/1/refund") == "delete"
	action_of("GET", "/orders/1/refund") == "read"
	action_of("PUT", "/orders/1/refund") == "write"
}

test_a_mark_without_methods_means_all_that_change_something if {
	every method in ["POST", "PUT", "PATCH", "DELETE"] { action_of(method, "/admin/reset") == "delete" }
	every method in ["GET", "HEAD", "OPTIONS"] { action_of(method, "/admin/reset") == "read" }
}

test_other_methods_are_nothing if {
	every method in ["get", "Delete", "TRACE", "CONNECT", "PROPFIND", ""] { not action_of(method, "/tickets/1") }
}
