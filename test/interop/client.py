"""What a Python agent sees of the gateway: with the standard library, and with requests.

Environment: GATEWAY (URL), TOKEN (the agent's). Prints a line for each check; exits with 1 when one fails.
The runner approves what is asked of /orders/*, and denies what is asked of /tickets/*.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import requests

GATEWAY = os.environ["GATEWAY"]
TOKEN = os.environ["TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
failed = 0


def check(what, passed, seen=""):
    global failed
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} - python: {what}{'' if passed else f' ({seen})'}", flush=True)


def standard(method, path, headers=BEARER, body=None):
    request = urllib.request.Request(GATEWAY + path, method=method, headers=headers, data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


status, headers, body = standard("GET", "/customers/1", headers={})
check("urllib gets 401 and a challenge without a token", status == 401 and headers["WWW-Authenticate"].startswith("Bearer"), status)
check("the refusal is a problem document", headers["Content-Type"] == "application/problem+json" and json.loads(body)["status"] == 401, body)

status, headers, body = standard("GET", "/customers/1")
customer = json.loads(body)
check("urllib reads a customer, masked", status == 200 and customer["ssn"] is None and set(customer["card"][:-4]) == {"*"}, body)

session = requests.Session()
session.headers.update(BEARER)
customers = session.get(f"{GATEWAY}/customers", timeout=60)
check(
    "requests reads a list that was compressed by the target, every customer masked",
    customers.ok and len(customers.json()) == 25 and all(c["ssn"] is None and c["email"].startswith("tok_") for c in customers.json()),
    customers.text[:200],
)
streamed = session.get(f"{GATEWAY}/customers", stream=True, timeout=60)
check("requests streams it in pieces of 7 bytes", json.loads(b"".join(streamed.iter_content(7))) == customers.json())
check("requests keeps one connection through 50 reads", all(session.get(f"{GATEWAY}/orders/2", timeout=60).ok for _ in range(50)))

refused = session.patch(f"{GATEWAY}/customers/1", json={"tier": "business"}, timeout=60)
check("a write outside the policy gets 403 that names the rule", refused.status_code == 403 and refused.json()["rule"] == "default-deny", refused.text)

created = session.post(f"{GATEWAY}/tickets", data=(part for part in (b'{"subject":', b' "chunked"}')), headers={"Content-Type": "application/json"}, timeout=60)
check("a body sent in chunks arrives whole", created.status_code == 201 and created.json()["subject"] == "chunked", created.text)
large = session.post(f"{GATEWAY}/tickets", json={"subject": "x" * (2 << 20)}, timeout=60)
check("a body past the limit gets 413", large.status_code == 413, large.status_code)

started = time.monotonic()
approved = session.delete(f"{GATEWAY}/orders/11", timeout=60)
waited = time.monotonic() - started
# The runner leaves every hold open for 0.6 s.
check("a delete waits until it is approved", approved.status_code == 200 and waited > 0.4, (waited, approved.text))
denied = session.delete(f"{GATEWAY}/tickets/2", timeout=60)
check("a denied delete gets 403 with the reason", denied.status_code == 403 and "not this one" in denied.json()["reason"], denied.text)

accepted = session.delete(f"{GATEWAY}/orders/12", headers={"Prefer": "respond-async"}, timeout=60)
check("Prefer: respond-async gets 202", accepted.status_code == 202 and "Location" in accepted.headers, accepted.text)
location = urllib.parse.urljoin(GATEWAY, accepted.headers.get("Location", "/"))
for _ in range(100):
    state = session.get(location, timeout=60).json().get("state")
    if state != "pending":
        break
    time.sleep(0.1)
check("its status tells of the approval", state == "approved", state)
again = session.delete(f"{GATEWAY}/orders/12", timeout=60)
check("the same request passes then", again.status_code == 200, again.text)

host, port = urllib.parse.urlsplit(GATEWAY).netloc.split(":")
connection = http.client.HTTPConnection(host, int(port), timeout=60)
connection.putrequest("GET", "/customers/1")
connection.putheader("Authorization", f"Bearer {TOKEN}")
connection.putheader("Authorization", f"Bearer {TOKEN}")
connection.endheaders()
check("two Authorization headers are refused", connection.getresponse().status in (400, 401))
sys.exit(1 if failed else 0)
