"""What psycopg 3 (libpq 17) sees of a database behind the gateway.

Environment: PGHOST, PGPORT, PGDATABASE, PGUSER and, but through `sluice connect`, PGPASSWORD (a token). Prints a line for each check; exits with 1
when one fails. The runner approves `CREATE TABLE interop_…` and denies `DROP TABLE notes`, both after 0.6 s.
"""

import io
import os
import sys
import threading
import time

import psycopg

WAY = os.environ["WAY"]
failed = 0


def check(what, passed, seen=""):
    global failed
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} - psycopg, {WAY}: {what}{'' if passed else f' ({seen})'}", flush=True)


def refused(run, *args, **kwargs):
    """The server's diagnosis of a statement that fails."""
    try:
        run(*args, **kwargs)
    except psycopg.Error as error:
        return error.diag
    return psycopg.errors.Diagnostic(None)


notices = []
connection = psycopg.connect(connect_timeout=20, autocommit=True)
connection.add_notice_handler(lambda notice: notices.append(f"{notice.message_primary} {notice.message_hint}"))
cursor = connection.cursor()

check("logs in, and is the gateway's role to the database", cursor.execute("SELECT current_user").fetchone() == ("gateway",))
select = "SELECT id, ssn, card, email FROM customers WHERE id = %s"
for binary in (False, True):
    row = connection.cursor(binary=binary).execute(select, [1]).fetchone()
    check(
        f"reads a row masked, in {'binary' if binary else 'text'} format",
        row[0] == 1 and row[1] == "*" * 11 and set(row[2][:-4]) == {"*"} and "@" not in row[3],
        row,
    )
rows = [cursor.execute(select, [i], prepare=True).fetchone() for i in range(1, 21)]
check("runs a prepared statement 20 times", [r[0] for r in rows] == list(range(1, 21)) and {r[1] for r in rows} == {"*" * 11}, rows[:2])
with connection.pipeline():
    many = [connection.execute("SELECT %s::int, ssn FROM customers WHERE id = %s", [i, i]) for i in range(1, 51)]
    check("pipelines 50 statements", [c.fetchone() for c in many] == [(i, "*" * 11) for i in range(1, 51)])
types = connection.cursor(binary=True).execute("SELECT 7::int8, 1.5::numeric, DATE '2026-01-02', ARRAY[1,2], true, NULL").fetchone()
check("gets other types as they are", types[0] == 7 and str(types[1]) == "1.5" and types[3:] == ([1, 2], True, None), types)
try:
    with connection.transaction(), connection.cursor(name="portal") as portal:
        portal.itersize = 7
        portal.execute("SELECT id, ssn FROM customers ORDER BY id")
        rows = portal.fetchall()
    check("reads a cursor of SQL in pieces, masked", len(rows) == 120 and {ssn for _, ssn in rows} == {"*" * 11}, rows[:2])
except psycopg.Error as error:
    check("reads a cursor of SQL in pieces, masked", False, error)

denied = refused(cursor.execute, "DELETE FROM customers WHERE id = %s", [1])
check("a denied statement names its rule", denied.sqlstate == "42501" and bool(denied.message_detail), (denied.sqlstate, denied.message_primary))
check("the connection goes on after it", cursor.execute("SELECT 1").fetchone() == (1,))
error = refused(cursor.execute, "SELECT ssn, name::int FROM customers WHERE id = 1")
check("an error carries no value", error.sqlstate == "22P02" and "504-84" not in f"{error.message_primary}{error.message_detail}", error.message_primary)
syntax = refused(cursor.execute, "SELEC 1")
check("a syntax error is one", syntax.sqlstate == "42601", syntax.sqlstate)

marker = f"psycopg {WAY} {time.time()}"
cursor.execute("BEGIN")
cursor.execute("INSERT INTO scratch VALUES (1, %s)", [marker])
first = refused(cursor.execute, "DELETE FROM customers")
second = refused(cursor.execute, "INSERT INTO scratch VALUES (2, %s)", [marker])
cursor.execute("COMMIT")
count = cursor.execute("SELECT count(*) FROM scratch WHERE note = %s", [marker]).fetchone()[0]
check("a transaction with a denied statement leaves nothing", (first.sqlstate, second.sqlstate, count) == ("42501", "25P02", 0), count)

with cursor.copy("COPY scratch FROM STDIN") as copy:
    for i in range(1000):
        copy.write_row((i, marker))
count = cursor.execute("SELECT count(*) FROM scratch WHERE note = %s", [marker]).fetchone()[0]
check("COPY in", count == 1000, count)
out = io.BytesIO()
with cursor.copy("COPY (SELECT id, ssn, name FROM customers ORDER BY id) TO STDOUT") as copy:
    for data in copy:
        out.write(data)
lines = out.getvalue().decode().splitlines()
check("COPY out, masked", len(lines) == 120 and all(line.split("\t")[1] == "*" * 11 for line in lines), lines[:2])

started = time.monotonic()
cursor.execute(f"CREATE TABLE interop_psycopg_{WAY} (id int)")
waited = time.monotonic() - started
check("a held statement waits until it is approved", waited > 0.4, waited)
check("a notice tells of the approval", any("approv" in notice for notice in notices), notices)
denial = refused(cursor.execute, "DROP TABLE notes")
check("a held statement that is denied says why", denial.sqlstate == "42501" and "not this one" in f"{denial.message_primary} {denial.message_detail}", denial.message_primary)

for what, sql, after in (("held", "DROP TABLE transfers", 1), ("running", "SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e", 1)):
    threading.Timer(after, connection.cancel_safe).start()
    cancelled = refused(cursor.execute, sql)
    check(f"a cancel request reaches a {what} statement", cancelled.sqlstate == "57014", (cancelled.sqlstate, cancelled.message_primary))
check("and the connection goes on", cursor.execute("SELECT 1").fetchone() == (1,))
connection.close()
sys.exit(1 if failed else 0)
