package sluice.lib.sql_test

import data.sluice.lib.sql
import data.sluice.testing

test_tables if {
	every pattern, relation in {
		"public.customers": "public.customers",
		"public.*": "public.anything",
		"*.customers": "sales.customers",
		"*.*": "a.b",
	} {
		sql.covers(pattern, testing.relation(relation))
	}
	every pattern, relation in {
		"public.customer": "public.customers",
		"Public.customers": "public.customers",
		"sales.*": "public.customers",
		"*.orders": "public.customers",
		"public.*": ".customers",
		"public.c*": "public.customers",
	} {
		not sql.covers(pattern, testing.relation(relation))
	}
}

# A name may hold a dot, a star or a quote: it is compared whole.
test_odd_names if {
	not sql.covers("public.a", {"schema": "public.a", "name": "b"})
	not sql.covers("public.customers", {"schema": "public", "name": "*"})
	sql.covers("public.*", {"schema": "public", "name": "a.b"})
}

test_every_command_of_the_schema_is_sorted if {
	every command in [
		"connect", "select", "insert", "update", "delete", "merge", "truncate", "copy-from", "copy-to", "ddl", "privilege", "role",
		"transaction", "set", "show", "explain", "call", "do", "prepare", "execute", "deallocate", "declare", "fetch", "close", "listen",
		"notify", "lock", "maintenance", "other",
	] {
		sql.known(command)
	}
	not sql.known("copy-program")
	not sql.known("file-access")
	not sql.known("")
}
