# METADATA
# title: sql-server-access
# description: |
#   A database is no way to its server's programs and files.
package sluice.rules.sql.server_access

deny contains {
	"rule": "sql-server-access",
	"reason": "the statement would run a program or touch a file on the database's server",
} if {
	some command in input.request.commands
	command in ["copy-program", "file-access"]
}
