// What pgx sees of a database behind the gateway.
//
// Environment: PGHOST, PGPORT, PGDATABASE, PGUSER and, but through `sluice connect`, PGPASSWORD (a token). Prints a line for each check; exits with 1
// when one fails. The runner approves `CREATE TABLE interop_…` and denies `DROP TABLE notes`, both after 0.6 s.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const masked = "***********"

var (
	way    = os.Getenv("WAY")
	ctx    = context.Background()
	failed bool
)

func check(what string, passed bool, seen ...any) {
	if passed {
		fmt.Printf("ok - pgx, %s: %s\n", way, what)
		return
	}
	failed = true
	fmt.Printf("not ok - pgx, %s: %s (%v)\n", way, what, seen)
}

// refusal is the server's error of what failed, or an empty one.
func refusal(err error) *pgconn.PgError {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused
	}
	return &pgconn.PgError{Message: fmt.Sprint(err)}
}

func must(err error) {
	if err != nil {
		check("goes on", false, err)
		os.Exit(1)
	}
}

func exec(connection *pgx.Conn, sql string, args ...any) error {
	_, err := connection.Exec(ctx, sql, args...)
	return err
}

func one[T any](connection *pgx.Conn, sql string, args ...any) (value T) {
	must(connection.QueryRow(ctx, sql, args...).Scan(&value))
	return value
}

func main() {
	config, err := pgx.ParseConfig("")
	must(err)
	var notices []string
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		notices = append(notices, notice.Message+" "+notice.Hint)
	}
	connection, err := pgx.ConnectConfig(ctx, config)
	must(err)
	check("logs in", one[string](connection, "SELECT current_user") == "gateway")

	for name, mode := range map[string]pgx.QueryExecMode{
		"prepared and cached":  pgx.QueryExecModeCacheStatement,
		"described and cached": pgx.QueryExecModeCacheDescribe,
		"described each time":  pgx.QueryExecModeDescribeExec,
		"unnamed, text":        pgx.QueryExecModeExec,
		"simple protocol":      pgx.QueryExecModeSimpleProtocol,
	} {
		good := true
		var id int32
		var ssn, email string
		for i := int32(1); i <= 5; i++ {
			err := connection.QueryRow(ctx, "SELECT id, ssn, email FROM customers WHERE id = $1", mode, i).Scan(&id, &ssn, &email)
			good = good && err == nil && id == i && ssn == masked && !strings.Contains(email, "@")
		}
		check("reads rows masked: "+name, good, id, ssn, email)
	}
	batch := &pgx.Batch{}
	for i := range 50 {
		batch.Queue("SELECT $1::int4, ssn FROM customers WHERE id = $1", i+1)
	}
	results, good := connection.SendBatch(ctx, batch), true
	for i := range 50 {
		var id int
		var ssn string
		good = good && results.QueryRow().Scan(&id, &ssn) == nil && id == i+1 && ssn == masked
	}
	check("sends 50 statements in a batch", good && results.Close() == nil)

	denied := refusal(exec(connection, "DELETE FROM customers WHERE id = $1", 1))
	check("a denied statement gets 42501 with its rule", denied.Code == "42501" && denied.Detail != "", denied)
	check("the connection goes on after it", one[int](connection, "SELECT 1") == 1)
	wrong := refusal(exec(connection, "SELECT ssn, name::int FROM customers WHERE id = 1"))
	check("an error carries no value", wrong.Code == "22P02" && !strings.Contains(wrong.Message+wrong.Detail, "504-84"), wrong)

	transaction, err := connection.Begin(ctx)
	must(err)
	marker := "pgx " + way
	must(exec(connection, "INSERT INTO scratch VALUES (1, $1)", marker))
	first := refusal(exec(connection, "DELETE FROM customers"))
	second := refusal(exec(connection, "INSERT INTO scratch VALUES (2, $1)", marker))
	committed := transaction.Commit(ctx)
	left := one[int](connection, "SELECT count(*) FROM scratch WHERE note = $1", marker)
	check("a transaction with a denied statement leaves nothing, and the client knows", first.Code == "42501" && second.Code == "25P02" && errors.Is(committed, pgx.ErrTxCommitRollback) && left == 0, first, second, committed, left)

	rows := make([][]any, 1000)
	for i := range rows {
		rows[i] = []any{i, "copied by " + marker}
	}
	copied, err := connection.CopyFrom(ctx, pgx.Identifier{"scratch"}, []string{"id", "note"}, pgx.CopyFromRows(rows))
	check("COPY in, binary", err == nil && copied == 1000, copied, err)
	var out bytes.Buffer
	_, err = connection.PgConn().CopyTo(ctx, &out, "COPY (SELECT id, ssn FROM customers ORDER BY id) TO STDOUT")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	check("COPY out, masked", err == nil && len(lines) == 120 && strings.Count(out.String(), "\t"+masked+"\n") == 120, err, lines[0])

	since := time.Now()
	err = exec(connection, "CREATE TABLE interop_pgx_"+way+" (id int)")
	check("a held statement waits until it is approved", err == nil && time.Since(since) > 400*time.Millisecond, err, time.Since(since))
	check("a notice tells of the approval", strings.Contains(strings.Join(notices, "\n"), "approv"), notices)
	denial := refusal(exec(connection, "DROP TABLE notes"))
	check("a held statement that is denied says why", denial.Code == "42501" && strings.Contains(denial.Message+denial.Detail, "not this one"), denial)

	for _, each := range []struct {
		what, sql string
		after     time.Duration
	}{
		{"held", "DROP TABLE transfers", time.Second},
		{"running", "SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e", time.Second},
	} {
		time.AfterFunc(each.after, func() { _ = connection.PgConn().CancelRequest(ctx) })
		cancelled := refusal(exec(connection, each.sql))
		check("a cancel request reaches a "+each.what+" statement", cancelled.Code == "57014", cancelled)
	}
	check("and the connection goes on", one[int](connection, "SELECT 1") == 1)
	must(connection.Close(ctx))
	if failed {
		os.Exit(1)
	}
}
