#!/bin/sh
# What curl sees of the gateway, and what tricks with paths and methods get: nothing that the plain request would not get.
# Environment: GATEWAY, TOKEN. Prints a line for each check; exits with 1 when one fails.
failed=0

# check TITLE EXPECTED-STATUS PATTERN-IN-BODY CURL-ARGUMENTS…
check() {
  title=$1 expected=$2 pattern=$3
  shift 3
  answer=$(curl -s -m 60 -w '\n%{http_code}' -H "Authorization: Bearer $TOKEN" "$@")
  status=$(printf '%s' "$answer" | tail -n 1)
  if [ "$status" = "$expected" ] && printf '%s' "$answer" | grep -q -- "$pattern"; then
    echo "ok - curl: $title"
  else
    echo "not ok - curl: $title (status $status, not $expected: $(printf '%s' "$answer" | head -c 300 | tr '\n' ' '))"
    failed=1
  fi
}

check 'HTTP/1.1 read, masked' 200 '"ssn": *null' "$GATEWAY/customers/1"
check 'HTTP/1.0 is told to come with a newer version' 426 low_version --http1.0 "$GATEWAY/customers/1"
check 'HTTP/2 read, masked' 200 '"ssn": *null' --http2-prior-knowledge "$GATEWAY/customers/1"
check 'compressed read, masked' 200 '"ssn": *null' --compressed "$GATEWAY/customers/1"
check 'a range is not a way around the mask' 200 '"ssn": *null' -H 'Range: bytes=0-400' "$GATEWAY/customers/1"
check 'dot segments are resolved before policy sees them' 403 default-deny --path-as-is "$GATEWAY/customers/../db"
check 'an encoded slash is refused' 400 problem "$GATEWAY/customers%2f1"
check 'an encoded dot segment is resolved too' 403 default-deny --path-as-is "$GATEWAY/customers/%2e%2e/db"
check 'another case is another path' 403 default-deny "$GATEWAY/CUSTOMERS/1"
check 'a method override does not pass for a read' 400 unclear-request -X PATCH -H 'X-HTTP-Method-Override: GET' "$GATEWAY/customers/1"
check 'a method override does not turn a write into a delete' 400 unclear-request -X POST -H 'X-HTTP-Method-Override: DELETE' "$GATEWAY/tickets/1"
check 'an unknown method is denied' 403 '' -X PROPFIND "$GATEWAY/customers/1"
check 'a header of Sluice from outside changes nothing' 403 default-deny -H 'x-sluice-session: ses_1' -X PUT "$GATEWAY/customers/1"
exit $failed
