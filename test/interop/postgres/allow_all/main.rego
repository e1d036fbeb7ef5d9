# METADATA
# title: The policy of the driver's own tests
# description: Lets everything through as it is.
# scope: subpackages
package sluice

# METADATA
# entrypoint: true
decision := {
	"effect": "allow",
	"rule": "allow-all",
	"reason": "transparency is measured",
	"credential": "",
	"obligations": [],
	"matched": [],
	"depends_on": ["identity", "target", "statement"],
}
