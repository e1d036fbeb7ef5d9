# METADATA
# title: no-override
# description: |
#   Some frameworks take the method or the path from elsewhere than the request line, and so would do something other than what was judged.
package sluice.rules.no_override

deny contains {
	"rule": "no-override",
	"reason": concat("", ["the request overrides its method or path by ", place]),
} if {
	some place in places
}

# One rule for each name: a reference costs a lookup, a list of names would be built anew for each request.
places contains "x-http-method" if input.request.headers["x-http-method"]

places contains "x-http-method-override" if input.request.headers["x-http-method-override"]

places contains "x-method-override" if input.request.headers["x-method-override"]

places contains "x-original-url" if input.request.headers["x-original-url"]

places contains "x-rewrite-url" if input.request.headers["x-rewrite-url"]

places contains "x-original-uri" if input.request.headers["x-original-uri"]

places contains "x-forwarded-uri" if input.request.headers["x-forwarded-uri"]

places contains "x-forwarded-path" if input.request.headers["x-forwarded-path"]

places contains "x-original-method" if input.request.headers["x-original-method"]

places contains "the query's _method" if input.request.query._method

places contains "the form's _method" if input.request.body.form._method
