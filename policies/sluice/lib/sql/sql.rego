# METADATA
# title: What SQL does, and who may have it done
# description: |
#   What the analysis found in a statement, sorted by what it takes: nothing but a session, a grant, a grant and an approval. A command that
#   stands nowhere here is permitted to nobody. Relations are compared with the `tables` of grants, by their names as the catalog has them.
package sluice.lib.sql

import data.sluice.lib.grants
import data.sluice.lib.scopes

# METADATA
# description: The actions of a grant of which any lets a command change what it changes.
changing := {
	"insert": ["write", "insert"],
	"copy-from": ["write", "insert"],
	"update": ["write", "update"],
	"delete": ["write", "delete"],
	"merge": ["write"],
	"lock": ["write"],
	"notify": ["write"],
	"ddl": ["ddl"],
	"truncate": ["ddl"],
	"privilege": ["ddl"],
	"role": ["ddl"],
	"maintenance": ["ddl"],
}

reading := ["read", "select"]

# METADATA
# description: What they read and write stands beside them, so that they need nothing for themselves.
plain := [
	"connect", "select", "copy-to", "transaction", "set", "show", "explain",
	"prepare", "execute", "deallocate", "declare", "fetch", "close", "listen",
]

# METADATA
# description: What they do is not in their text. They are judged as a statement that cannot be seen through.
opaque := ["call", "do", "other"]

# METADATA
# description: Grants of SQL on this target that the caller holds, in the order of the file.
held := [grant |
	input.request.protocol == "postgres"
	some scope in scopes.applying
	some grant in scope.grants
	grant.tables
	grants.held_by_caller(grant)
]

# METADATA
# description: |
#   Whether the caller's grants cover everything that the analysis has found: each command is known, each relation that is read and each that
#   is changed is covered. It says nothing of what the analysis could not find.
permitted if {
	held[0]
	every command in input.request.commands { known(command) }
	every relation in input.request.reads { granted(relation, reading) }
	every command in changes { changeable(changing[command]) }
	changes_or_nothing
}

known(command) if command in plain

known(command) if command in opaque

known(command) if changing[command]

known(command) if startswith(command, "set:")

# METADATA
# description: The commands of the statement that change something.
changes := [command | some command in input.request.commands; changing[command]]

# A command without a relation, as NOTIFY: any grant of the action will do.
changeable(actions) if {
	some grant in held
	some action in actions
	action in grant.actions
	every relation in input.request.writes { granted(relation, actions) }
}

# A change by a command that is not known to make one, as EXECUTE.
changes_or_nothing if count(changes) > 0

changes_or_nothing if {
	every relation in input.request.writes { granted(relation, ["write"]) }
}

granted(relation, actions) if {
	some grant in held
	some action in actions
	action in grant.actions
	some pattern in grant.tables
	covers(pattern, relation)
}

# What is about to be made is in no schema yet. An approver will see where it goes.
granted(relation, ["ddl"]) if {
	relation.schema == ""
	some grant in held
	"ddl" in grant.actions
	some pattern in grant.tables
	covers(concat("", ["*.", split(pattern, ".")[1]]), relation)
}

# METADATA
# description: Whether a pattern `schema.table` is about a relation. `*` stands for any schema or any name.
covers(pattern, relation) if {
	[schema, name] := split(pattern, ".")
	same(schema, relation.schema)
	same(name, relation.name)
}

same(wanted, found) if wanted == found

same("*", _)

# METADATA
# description: The grant that is told as the ground of a decision, by the actions of which it must have one.
ground(actions) := [grant |
	some grant in held
	some action in actions
	action in grant.actions
][0]

# METADATA
# description: The first entry of `approvals` that covers every relation of the statement; undefined when there is none.
approval := [entry |
	some scope in scopes.applying
	some entry in scope.approvals
	concerns(entry)
][0]

concerns(entry) if {
	not entry.paths
	not entry.tables
}

concerns(entry) if {
	every relation in array.concat(input.request.reads, input.request.writes) {
		some pattern in entry.tables
		covers(pattern, relation)
	}
}

# METADATA
# description: The terms of a hold.
terms := {"approvers": approval.approvers, "quorum": object.get(approval, "quorum", 1), "ttl": object.get(approval, "ttl", "15m")}

# METADATA
# description: What the operator's data says of the columns of a database. An entry with `paths` is about HTTP.
entries := [entry |
	input.request.protocol == "postgres"
	some scope in scopes.applying
	some entry in scope.obligations
	not entry.paths
]

# METADATA
# description: Whether the data lets the caller see a column in clear.
clear(column) if {
	some entry in entries
	scopes.clear_for_caller(entry)
	[schema, table, name] := split(entry.oblige.field, ".")
	same(schema, column.schema)
	same(table, column.table)
	same(name, column.column)
}

# METADATA
# description: Names of the settings that are set, in lower case.
settings := [lower(substring(command, 4, -1)) | some command in input.request.commands; startswith(command, "set:")]
