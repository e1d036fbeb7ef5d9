#!/bin/sh
# What psql sees of a database behind the gateway.
# Environment: PSQL (the program), PGHOST, PGPORT, PGDATABASE, PGUSER and, but through `sluice connect`, PGPASSWORD (a token); WAY.
# Prints a line for each check; exits with 1 when one fails. The runner approves `CREATE TABLE interop_…` and denies `DROP TABLE notes`, both after 0.6 s.
failed=0
name="psql $("$PSQL" --version | grep -o '[0-9][0-9]*' | head -n 1), $WAY"

# report TITLE 0-OR-1 SEEN
report() {
  if [ "$2" = 0 ]; then
    printf '%s\n' "ok - $name: $1"
  else
    printf '%s\n' "not ok - $name: $1 ($(printf '%s' "$3" | head -c 400 | tr '\n' ' '))"
    failed=1
  fi
}

# check TITLE PATTERN-IN-OUTPUT PSQL-ARGUMENTS…: the pattern is of grep -E, over all lines joined with blanks
check() {
  title=$1 pattern=$2
  shift 2
  seen=$(timeout 60 "$PSQL" -XAt -v VERBOSITY=verbose "$@" 2>&1 | tr '\n' ' ')
  printf '%s' "$seen" | grep -Eq -- "$pattern"
  report "$title" $? "$seen"
}

masked='\*{11}'
check 'logs in' '^gateway' -c 'SELECT current_user'
check 'asks for TLS only where it may do without' '^1' -d "dbname=$PGDATABASE sslmode=prefer" -c 'SELECT 1'
# The second is said by a psql that was built without TLS itself.
check 'insisting on TLS within the protocol fails clearly' 'does not support SSL|SSL support is not compiled in' -d "dbname=$PGDATABASE sslmode=require" -c 'SELECT 1'
check 'reads a row masked' "^1\\|$masked" -c 'SELECT id, ssn FROM customers WHERE id = 1'
check 'an alias is not a way around the mask' "^$masked" -c 'SELECT ssn AS x FROM customers WHERE id = 1'
check 'a denied statement gets 42501 with its rule, and the connection goes on' 'ERROR:  42501: .*DETAIL: .* 17' \
  -c 'DELETE FROM customers WHERE id = 1' -c 'SELECT 17'
check 'an error carries no value' '^ERROR:  22P02: [^0-9]*LOCATION: ' -c 'SELECT ssn, name::int FROM customers WHERE id = 1'
check 'a transaction with a denied statement leaves nothing' '42501.*25P02.*ROLLBACK count=0' \
  -c 'BEGIN' -c "INSERT INTO scratch VALUES (1, 'psql $WAY')" -c 'DELETE FROM customers' -c 'SELECT 1' -c 'COMMIT' \
  -c "SELECT 'count=' || count(*) FROM scratch WHERE note = 'psql $WAY'"
check 'EXECUTE is judged as the statement that SQL prepared under its name, and masked' "PREPARE 3\|$masked *$" -c 'PREPARE p (int) AS SELECT id, ssn FROM customers WHERE id = $1' -c 'EXECUTE p (3)'
check 'EXECUTE of a name that nobody was seen to prepare is held' 'NOTICE: .*approv.*42501.*not this one' -c 'EXECUTE nobody (3)'
check '\d lists the tables' 'public\|customers\|table\|postgres' -c '\d'
check '\d of a table' 'ssn\|text' -c '\d customers'
check '\copy out, masked' "^1	$masked	" -c '\copy (SELECT id, ssn, name FROM customers ORDER BY id) TO STDOUT'
marker="copied by $name"
seen=$(printf '1\t%s\n2\t%s\n' "$marker" "$marker" | "$PSQL" -XAt -c '\copy scratch FROM STDIN' 2>&1)
report '\copy in' "$([ "$seen" = 'COPY 2' ]; echo $?)" "$seen"
check 'a cursor, masked' "BEGIN DECLARE CURSOR $masked $masked COMMIT" \
  -c 'BEGIN' -c 'DECLARE c CURSOR FOR SELECT ssn FROM customers' -c 'FETCH 2 FROM c' -c 'COMMIT'
table=interop_psql_$(printf '%s' "$name" | tr -dc 'a-z0-9')
check 'a held statement tells of the approval, and runs once approved' "NOTICE: .*approv.* CREATE TABLE" -c "CREATE TABLE $table (id int)"
check 'a held statement that is denied says why' '42501.*not this one' -c 'DROP TABLE notes'
# Nobody answers this one within ten seconds; a psql that has not been told yet that it waits cancels nothing.
told=$(mktemp)
"$PSQL" -XAt -v VERBOSITY=verbose -c 'DROP TABLE transfers' >"$told" 2>&1 &
held=$!
until grep -q approv "$told" || ! kill -0 "$held" 2>/dev/null; do sleep 0.1; done
kill -INT "$held" 2>/dev/null
wait "$held"
seen=$(cat "$told")
rm -f "$told"
printf '%s' "$seen" | grep -q 57014
report 'Ctrl-C cancels a held statement' $? "$seen"
if [ "$WAY" = direct ]; then
  check 'a password that is no token is refused' 'FATAL:.* token' -d "dbname=$PGDATABASE password=not-a-token" -c 'SELECT 1'
fi
check 'a start-up parameter that could change what is checked is refused' 'FATAL:  the start-up parameter "session_replication_role"' \
  -d "dbname=$PGDATABASE options='-c session_replication_role=replica'" -c 'SELECT 1'
exit $failed
