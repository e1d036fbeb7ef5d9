"""A plugin of pytest: appends a line of JSON for each test that has ended, with its outcome, to the file that the variable OUTCOMES names."""

import json
import os

OUTCOMES = {"passed": "pass", "failed": "fail", "skipped": "skip"}
ended = {}


def pytest_runtest_logreport(report):
    # A test that fails to be set up, or to be cleaned up behind, has failed.
    if report.when == "call" or report.outcome != "passed":
        ended[report.nodeid] = OUTCOMES[report.outcome]
    if report.when == "teardown":
        with open(os.environ["OUTCOMES"], "a") as lines:
            lines.write(json.dumps({"test": report.nodeid, "outcome": ended[report.nodeid]}) + "\n")
