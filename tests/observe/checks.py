"""The checks, each named as the sentence that it proves."""
import collections
import itertools
import json
import re
import tempfile

import files
from files import RULE_FILES, RUNBOOKS, TESTS
from tools import Skip

SEVERITIES = {"critical", "warning", "info"}
RUNBOOK_URL = "https://github.com/postroad/postroad/blob/main/docs/runbooks/{}.md"
RUNBOOK_LINES = 40

# Not in a node's metrics at its start: it takes a listener with a certificate, or an admin call.
SET_UP = {"postroad_tls_certificate_not_after_timestamp_seconds", "grpc_server_handled_total"}
# What Prometheus itself says of a target.
OF_PROMETHEUS = {"up"}


def rules_are_taken_by_promtool(world):
    status, output = world.promtool("check", "rules", *RULE_FILES)
    assert status == 0, output


def every_alert_fires_when_it_must_and_only_then(world):
    status, output = world.promtool("test", "rules", *TESTS)
    assert status == 0, output


def every_alert_has_severity_texts_and_runbook(_):
    wrong = []
    for name, rule in files.alerts().items():
        notes = rule["annotations"]
        if rule["labels"].keys() != {"severity"} or rule["labels"]["severity"] not in SEVERITIES:
            wrong.append(f"{name}: labels {rule['labels']}")
        if notes.keys() != {"summary", "description", "runbook_url"}:
            wrong.append(f"{name}: annotations {sorted(notes)}")
        if "{{" in notes.get("summary", "{{"):
            wrong.append(f"{name}: its summary is not static")
        if notes.get("runbook_url") != RUNBOOK_URL.format(name):
            wrong.append(f"{name}: runbook_url {notes.get('runbook_url')}")
        if not name.startswith("Postroad"):
            wrong.append(f"{name}: the first word is not Postroad")
    assert not wrong, "\n".join(wrong)
    return f"{len(files.alerts())} alerts"


def alerts_runbooks_and_tests_are_the_same_set(_):
    alerts = set(files.alerts())
    for kind, paths in (("runbook", RUNBOOKS), ("test", TESTS)):
        have = {path.stem for path in paths}
        assert have == alerts, f"without a {kind}: {sorted(alerts - have)}; {kind} of no alert: {sorted(have - alerts)}"
    seen = files.alert_tests()
    assert set(seen) == alerts, f"tested and no alert: {sorted(set(seen) - alerts)}"
    one_way = sorted(name for name, ways in seen.items() if ways != (True, True))
    assert not one_way, f"not tested both ways: {one_way}"


def runbooks_are_short_and_say_what_theirs_is(_):
    wrong = []
    for path in RUNBOOKS:
        lines = path.read_text().splitlines()
        severity = files.alerts()[path.stem]["labels"]["severity"]
        if lines[0] != f"# {path.stem}" or not lines[2].startswith(f"{severity}. "):
            wrong.append(f"{path.name}: the name, then the severity ({severity})")
        headings = [line for line in lines if line.startswith("## ")]
        if headings != ["## Look", "## Do", "## Harmless when"]:
            wrong.append(f"{path.name}: {headings}")
        if len(lines) >= RUNBOOK_LINES:
            wrong.append(f"{path.name}: {len(lines)} lines")
        missing = [link for link in re.findall(r"\]\(([^):]+)\)", path.read_text()) if not (path.parent / link).exists()]
        wrong += [f"{path.name}: no {link}" for link in missing]
    assert not wrong, "\n".join(wrong)


def the_dashboard_is_whole(_):
    board = files.dashboard()
    assert board["uid"] == "postroad" and board["time"] == {"from": "now-6h", "to": "now"}
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]
    ids = collections.Counter(panel["id"] for panel in board["panels"])
    assert max(ids.values()) == 1, f"ids that occur twice: {[i for i, n in ids.items() if n > 1]}"
    wrong = [panel["title"] for panel in files.panels() if not (has_description(panel) and has_unit(panel))]
    assert not wrong, f"no unit or no description: {wrong}"
    overlapping = overlaps(board["panels"])
    assert not overlapping, f"one over the other: {overlapping}"
    return f"{len(files.panels())} panels"


def has_description(panel):
    return panel.get("description", "").endswith(".")


def has_unit(panel):
    return bool(panel["fieldConfig"]["defaults"].get("unit") or panel["options"].get("yAxis", {}).get("unit"))


def overlaps(panels):
    taken, twice = {}, []
    for panel in panels:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, rows):
            if cell[0] >= 24 or taken.setdefault(cell, panel["title"]) != panel["title"]:
                twice.append((taken.get(cell), panel["title"]))
    return sorted(set(twice))


def the_dashboard_names_no_data_source_but_the_variable(_):
    found = list(sources(files.dashboard()))
    wrong = [source for source in found if source != {"type": "prometheus", "uid": "$datasource"}]
    assert found and not wrong, wrong
    for panel in files.panels():
        assert "datasource" in panel and all("datasource" in target for target in panel["targets"]), panel["title"]


def sources(node):
    """Every value of a key `datasource`, at any depth."""
    if isinstance(node, dict):
        if "datasource" in node:
            yield node["datasource"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from sources(child)


def every_expression_of_the_dashboard_is_promql(world):
    expressions = files.panel_expressions()
    records = [{"record": f"panel:{at}", "expr": expression} for at, (_, expression) in enumerate(expressions)]
    rules = json.dumps({"groups": [{"name": "dashboard", "rules": records}]})  # JSON is YAML
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=world.folder) as file:
        file.write(rules)
        file.flush()
        status, output = world.promtool("check", "rules", file.name)
    assert status == 0, output
    return f"{len(expressions)} expressions"


def every_panel_selects_job_and_instance(_):
    """But those of metrics that other programs have too, which are joined with a metric of ours."""
    wrong = []
    for panel in files.panels():
        for target in panel["targets"]:
            for name, matchers in files.selectors(target["expr"]):
                chosen = {(label, value) for label, _, value in matchers}
                if not {("job", "$job"), ("instance", "$instance")} <= chosen:
                    wrong.append(f"{panel['title']}: {name}")
    assert not wrong, "\n".join(wrong)


def a_live_scrape_is_taken_by_promtool(world):
    status, output = world.promtool("check", "metrics", text=world.scrape())
    assert status == 0 and not output.strip(), output
    return f"{len(samples(world.scrape()))} series"


def every_metric_that_is_named_exists(world):
    have = {name for name, _ in samples(world.scrape())}
    source = files.METRICS_SOURCE.read_text()
    gone = sorted(name for name in SET_UP if f"{name.removeprefix('postroad_')}:" not in source)
    assert not gone, f"in SET_UP, and no more in {files.METRICS_SOURCE.name}: {gone}"
    known = have | SET_UP | OF_PROMETHEUS | files.recorded()
    names = {(where, name) for where, expression in named() for name, _ in files.selectors(expression)}
    unknown = sorted(f"{where}: {name}" for where, name in names if name not in known)
    assert not unknown, "\n".join(unknown)


def every_label_that_is_selected_occurs(world):
    """A matcher that no series can fulfil is a misspelt word; every series of a closed set is there from the start."""
    series = collections.defaultdict(list)
    for name, labels in samples(world.scrape()):
        series[name].append(labels)
    wrong = []
    for where, expression in named():
        for name, matchers in files.selectors(expression):
            asked = [matcher for matcher in matchers if matcher[0] not in ("job", "instance")]
            if name in SET_UP or not series[name]:
                continue
            if not any(all(fulfils(labels, matcher) for matcher in asked) for labels in series[name]):
                wrong.append(f"{where}: {name} {asked}")
            for label, operator, value in asked:
                unknown = [word for word in words(operator, value) if not occurs(series[name], label, word)]
                wrong += [f"{where}: {name}: no {label} is {word}" for word in unknown]
    assert not wrong, "\n".join(wrong)


def words(operator, value):
    return value.split("|") if "~" in operator else [re.escape(value)]


def occurs(series, label, word):
    return any(re.fullmatch(word, labels.get(label, "")) for labels in series)


def fulfils(labels, matcher):
    label, operator, value = matcher
    met = bool(re.fullmatch(value, labels.get(label, ""))) if "~" in operator else labels.get(label, "") == value
    return met != operator.startswith("!")


def named():
    """(where it stands, expression) of all rules and panels."""
    for rule in files.rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    yield from files.panel_expressions()


def samples(text):
    """(name, labels) of each line that is no comment."""
    found = []
    for line in text.splitlines():
        match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", line)
        if match:
            found.append((match[1], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))))
    return found


def a_prometheus_that_scrapes_the_node_runs_every_rule(world):
    rules = world.rules(world.prometheus())
    assert len(rules) == len(files.rules()), f"{len(rules)} of {len(files.rules())} rules"
    wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    assert not wrong, "\n".join(wrong)
    active = sorted({rule["name"] for rule in rules if rule.get("alerts")} - {"PostroadStorageAlmostFull"})
    assert not active, f"on a node that is well: {active}"
    return f"{len(rules)} rules"


def and_every_expression_of_the_dashboard(world):
    """And each gives series with the labels that its legend names."""
    url, wrong = world.prometheus(), []
    for title, expression, legend in files.panel_targets():
        series = world.ask(url, expression)
        lacking = [label for label in re.findall(r"{{(\w+)}}", legend) if not any(label in s["metric"] for s in series)]
        if not series and not may_be_empty(expression):
            wrong.append(f"{title}: no series: {expression}")
        elif series and lacking:
            wrong.append(f"{title}: no label {lacking}: {expression}")
    assert not wrong, "\n".join(wrong)


def may_be_empty(expression):
    """What shows only what is above 0 has nothing to show of a node that rests."""
    return expression.endswith("> 0") or any(name in SET_UP for name, _ in files.selectors(expression))


ALL = [
    rules_are_taken_by_promtool,
    every_alert_has_severity_texts_and_runbook,
    alerts_runbooks_and_tests_are_the_same_set,
    runbooks_are_short_and_say_what_theirs_is,
    the_dashboard_is_whole,
    the_dashboard_names_no_data_source_but_the_variable,
    every_panel_selects_job_and_instance,
    every_expression_of_the_dashboard_is_promql,
    a_live_scrape_is_taken_by_promtool,
    every_metric_that_is_named_exists,
    every_label_that_is_selected_occurs,
    a_prometheus_that_scrapes_the_node_runs_every_rule,
    and_every_expression_of_the_dashboard,
    every_alert_fires_when_it_must_and_only_then,
]
