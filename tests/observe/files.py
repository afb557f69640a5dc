"""What is checked: rules, their tests, the dashboard, and what their expressions name."""
import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OBSERVE = ROOT / "deploy/observe"
RULE_FILES = [OBSERVE / "recording.yaml", OBSERVE / "alerts.yaml"]
TESTS = sorted((OBSERVE / "tests").glob("*.yaml"))
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
DASHBOARD = OBSERVE / "dashboard.json"
METRICS_SOURCE = ROOT / "src/telemetry/metrics.rs"

# What Grafana puts in; a second between scrapes makes 4 s a range with points in it.
VARIABLES = {"$__rate_interval": "4s", "$job": ".+", "$instance": ".+", "$datasource": "prometheus"}

# Words of PromQL that look like names, where nothing in parentheses follows.
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset", "inf", "nan"}
LABEL_LISTS = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"


def rules():
    """Every rule of every file, in order."""
    groups = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded():
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_targets():
    """(panel's title, expression with the variables put in, legend)."""
    return [(panel["title"], substituted(t["expr"]), t["legendFormat"]) for panel in panels() for t in panel["targets"]]


def panel_expressions():
    return [(title, expression) for title, expression, _ in panel_targets()]


def substituted(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def selectors(expression):
    """(metric, [(label, operator, value)]) of each selector that names a metric."""
    bare = re.sub(r"\[[^\]]*\]", "", re.sub(LABEL_LISTS, "", expression))
    found = []
    for match in re.finditer(r'([a-zA-Z_:][\w:]*)\s*(\(?)(?:\{((?:[^}"]|"[^"]*")*)\})?|"[^"]*"|\d\w*', bare):
        name, opens, matchers = match.groups()
        if name and not opens and name.lower() not in KEYWORDS:
            found.append((name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers or "")))
    return found


def is_empty(test):
    return not test.get("exp_alerts")


def alert_tests():
    """For each alert: (it is expected to fire, not to)."""
    seen = {}
    for path in TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for test in group.get("alert_rule_test", []):
                fires, does_not = seen.get(test["alertname"], (False, False))
                seen[test["alertname"]] = (fires or not is_empty(test), does_not or is_empty(test))
    return seen
