"""Checks that a Prometheus has what alerts and dashboard ask for. Arguments: the program, the addresses of a coordinator and of a
Prometheus that scrapes it, and the file that the command for ended sweeps writes."""

import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

PROGRAM, COORDINATOR, PROMETHEUS, ENDED = sys.argv[1:]
ROOT = pathlib.Path(__file__).parent.parent
PATIENCE = 120
# Only a worker or a sweep in trouble has them.
NAME = re.compile(r"\b(?:secateur|process)_[a-z_]+")


def ask(path, **parameters):
    url = f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)["data"]


def series(query):
    return ask("query", query=query)["result"]


def until(what, holds):
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            found = holds()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            sys.exit(f"error: {what} after {PATIENCE} s")
        time.sleep(0.2)


def secateur(*arguments):
    command = [PROGRAM, *arguments, "--coordinator", COORDINATOR, "--output", "json"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def queries():
    """The queries of the dashboard, for every coordinator."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", ".+").replace("$job", ".+")


until("Prometheus has not scraped", lambda: series('up{job="secateur"} == 1'))
secateur("submit", str(ROOT / "configs/german-credit.yaml"), "--wait")
until("no completed sweep is seen", lambda: series('secateur_sweeps{state="completed"} > 0'))
until("no attempt is seen", lambda: series('rate(secateur_attempts_total{outcome="completed"}[1m]) > 0'))
until("the command for ended sweeps did not run", lambda: pathlib.Path(ENDED).exists())
problems = []
for title, query in queries():
    # A running sweep has series, and none runs any more.
    if "secateur_sweep_trials" in query:
        query = f"count_over_time(secateur_sweep_trials[10m])"
    if not series(query):
        problems.append(f"{title}: no series for {query}")
for group in ask("rules")["groups"]:
    for rule in group["rules"]:
        if rule["health"] != "ok":
            problems.append(f"{rule['name']}: {rule['health']}: {rule.get('lastError')}")
        for name in NAME.findall(rule["query"]):
            if not series(f"count_over_time({name}[10m])"):
                problems.append(f"{rule['name']}: no series {name}")
if problems:
    sys.exit("error: " + "\nerror: ".join(problems))
print(f"{len(list(queries()))} queries and {sum(len(group['rules']) for group in ask('rules')['groups'])} alerts have what they need")
