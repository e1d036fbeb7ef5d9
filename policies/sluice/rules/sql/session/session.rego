# METADATA
# title: sql-session
# description: |
#   Whoever has a grant on the database may open a session, and do in it what concerns the session alone: transactions, SHOW, cursors, and SET of
#   settings that change neither how a text is read nor who runs it. A setting that is not known to be harmless is refused.
package sluice.rules.sql.session

import data.sluice.lib.grants
import data.sluice.lib.sql

allow contains {
	"rule": "sql-session",
	"reason": concat("", [grants.holder(sql.held[0]), " may use this database"]),
	"credential": credential,
} if {
	every command in input.request.commands { session(command) }
	count(input.request.reads) == 0
	input.request.complete == true
	sql.permitted
}

deny contains {
	"rule": "sql-session",
	"reason": "a setting that could change how statements are read, judged or recorded must stay as it is",
} if {
	some name in sql.settings
	not name in harmless
}

deny contains {
	"rule": "sql-session",
	"reason": "which setting would be set is not known",
} if {
	"set" in input.request.commands
	count(sql.settings) == 0
}

session(command) if {
	command in sql.plain
	not command in ["select", "copy-to"]
}

session(command) if startswith(command, "set:")

# The session's credential is chosen when it is opened, by the first grant that names one.
credential := named[0] if {
	"connect" in input.request.commands
} else := ""

named := array.concat([grant.credential | some grant in sql.held; grant.credential], [""])

# `all`: back to what the session began with, which the gateway chose.
harmless := [
	"all", "application_name", "bytea_output", "client_min_messages", "cursor_tuple_fraction", "datestyle", "deadlock_timeout",
	"default_statistics_target", "default_transaction_deferrable", "default_transaction_isolation", "default_transaction_read_only",
	"effective_cache_size", "effective_io_concurrency", "enable_bitmapscan", "enable_hashagg", "enable_hashjoin", "enable_indexonlyscan",
	"enable_indexscan", "enable_material", "enable_memoize", "enable_mergejoin", "enable_nestloop", "enable_seqscan", "enable_sort",
	"extra_float_digits", "from_collapse_limit", "geqo", "idle_in_transaction_session_timeout", "idle_session_timeout", "intervalstyle", "jit",
	"join_collapse_limit", "lc_monetary", "lc_numeric", "lc_time", "lock_timeout", "maintenance_work_mem", "max_parallel_workers_per_gather",
	"plan_cache_mode", "random_page_cost", "search_path", "seq_page_cost", "session_characteristics", "statement_timeout", "synchronous_commit", "temp_buffers", "timezone",
	"transaction", "transaction_deferrable", "transaction_isolation", "transaction_read_only", "transaction_timeout", "work_mem", "xmloption",
]
