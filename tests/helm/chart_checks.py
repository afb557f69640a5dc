"""The checks of the chart as a whole: what it renders, where, and what it refuses."""
import concurrent.futures
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib

import yaml

from helm import CHART, CI, FIRST_INSTALL, HOSTS, KUBERNETES, ROOT, Refused, changed, container, of_kind, stateful_set
from refusals import REFUSALS

HERE = pathlib.Path(__file__).resolve().parent
OBSERVE = ROOT / "deploy/observe"
# Of a StatefulSet's spec, what can be changed; all else is refused by an upgrade.
CHANGEABLE = {"replicas", "template", "updateStrategy", "minReadySeconds", "persistentVolumeClaimRetentionPolicy"}


def both_helms_find_nothing_to_lint(world):
    def lint(pair):
        helm, values = pair
        helm.run("lint", "--strict", CHART, *(["-f", values] if values else []))

    # None: a chart is linted without values too
    side_by_side(lint, itertools.product(world.helms, [None, *CI]))
    return f"{len(CI)} files of values"


def the_first_install_needs_three_values(world):
    words = ["--set", "service.domain=email.relay.example", "--set", "service.postmaster=ops@relay.example",
             "--set", "mx.hosts[0].hostname=amir.mx.relay.example"]
    for helm in world.helms:
        assert stateful_set(helm.template(*words))["spec"]["replicas"] == 1


def what_is_rendered_is_valid_at_every_version_of_kubernetes(world):
    cases = list(itertools.product(world.helms, CI, KUBERNETES))
    rendered = side_by_side(lambda case: case[0].template(case[1], kubernetes=case[2]), cases)
    # What both Helms render alike is asked once.
    asked = {"validate-old": {}, "validate-new": {}}
    for (helm, values, version), objects in zip(cases, rendered):
        for each in objects:
            name = f"{helm.name}, {values.name}: {each['kind']} {each['metadata']['name']}"
            venv = "validate-old" if version.startswith("1.20.") else "validate-new"
            asked[venv].setdefault(json.dumps([version, each], sort_keys=True), name)

    def validate(venv):
        python = world.folder / venv / "bin/python"
        wanted = json.dumps([[*json.loads(each), name] for each, name in asked[venv].items()])
        done = subprocess.run([python, HERE / "validate.py"], input=wanted, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wrong = "".join(side_by_side(validate, asked))
    assert not wrong, wrong
    return f"{len(cases)} renders, {sum(map(len, asked.values()))} different objects"


def no_object_is_rendered_twice_and_each_is_in_the_namespace(world):
    for values in CI:
        rendered = world.helms[1].template(values)
        names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in rendered]
        assert len(names) == len(set(names)), f"{values.name}: {sorted(n for n in names if names.count(n) > 1)}"
        for each in rendered:
            assert each["metadata"].get("namespace", "mail") == "mail", each["metadata"]


def both_helms_render_the_same(world):
    def masked(helm, values):
        # Secrets that are made differ each time, and so does nothing else.
        objects = helm.template(values)
        return [{**each, "data": sorted(each["data"])} if each["kind"] == "Secret" else each for each in objects]

    for values in CI:
        three, four = (masked(helm, values) for helm in world.helms)
        assert sorted(map(json.dumps, three)) == sorted(map(json.dumps, four)), values.name


def newer_fields_are_left_out_for_older_kubernetes(world):
    first = {  # the first version that has it, and where it is
        "persistentVolumeClaimRetentionPolicy": (27, lambda r: stateful_set(r)["spec"]),
        "unhealthyPodEvictionPolicy": (27, lambda r: of_kind(r, "PodDisruptionBudget")[0]["spec"]),
        "ipFamilyPolicy": (23, lambda r: of_kind(r, "Service")[0]["spec"]),
        "lifecycle": (30, container),
    }
    for version in KUBERNETES:
        rendered = world.helms[1].template(*FIRST_INSTALL, kubernetes=version)
        minor = int(version.split(".")[1])
        for field, (since, part) in first.items():
            assert (field in part(rendered)) == (minor >= since), f"{field} at {version}"
        (budget,) = of_kind(rendered, "PodDisruptionBudget")
        assert budget["apiVersion"] == ("policy/v1" if minor >= 21 else "policy/v1beta1")
        assert budget["spec"]["maxUnavailable"] == 1
    # A distribution's own suffix is no earlier version.
    rendered = world.helms[1].template(*FIRST_INSTALL, kubernetes="v1.30.3-eks-1234567")
    assert "lifecycle" in container(rendered)


def what_cannot_work_is_refused(world):
    def missing(case):
        helm, (settings, piece) = case
        try:
            helm.template(*FIRST_INSTALL, *changed(settings))
        except Refused as error:
            said = "\n".join(line for line in str(error).splitlines() if "symbolic link" not in line)
            return None if piece in said else f"{helm.name} {settings}: no {piece!r} in\n{said}"
        return f"{helm.name} {settings}: taken"

    wrong = [line for line in side_by_side(missing, itertools.product(world.helms, REFUSALS)) if line]
    assert not wrong, "\n".join(wrong)
    return f"{len(REFUSALS)} values"


def immutable_fields_stay(world):
    """Those of a StatefulSet, over a later version of the chart and of Kubernetes and over all values that may change."""
    helm = world.helms[1]
    later = {"image.tag": "9.9.9", "podLabels": {"a": "b"}, "podAnnotations": {"a": "b"}, "resources": {},
             "mx.hosts": HOSTS, "mx.exposure": "none", "config": {"limits": {"sessions": 5}}, "ipv6": False,
             "monitoring.serviceMonitor.enabled": False, "public.enabled": False, "public.ingress.enabled": False,
             "mx.proxyProtocol.enabled": False}
    with tempfile.TemporaryDirectory() as folder:
        chart = copied(folder)
        text = (chart / "Chart.yaml").read_text()
        text, count = re.subn(r'(?m)^(version|appVersion): .*$', r'\1: "9.9.9"', text)
        assert count == 2
        (chart / "Chart.yaml").write_text(text)
        for values in CI:
            now = immutable(helm.template(values))
            assert {"serviceName", "selector", "podManagementPolicy"} <= now.keys()
            for name, others in (("later chart", []), ("later chart and values", changed(later))):
                assert immutable(helm.template(values, *others, chart=chart)) == now, f"{values.name}: {name}"
            assert immutable(helm.template(values, kubernetes=KUBERNETES[0])) == now, f"{values.name}: {KUBERNETES[0]}"
            assert "9.9.9" not in json.dumps(now) and "helm.sh/chart" not in json.dumps(now)


def a_later_chart_alone_starts_no_node_anew(world):
    with tempfile.TemporaryDirectory() as folder:
        chart = copied(folder)
        text = (chart / "Chart.yaml").read_text()
        (chart / "Chart.yaml").write_text(re.sub("(?m)^version: .*$", "version: 9.9.9", text))
        for values in CI:
            now, then = (world.helms[1].template(values, chart=path) for path in (CHART, chart))
            assert stateful_set(now)["spec"] == stateful_set(then)["spec"], values.name


def a_changed_node_file_starts_the_nodes_anew(world):
    sums = []
    for sessions in (5000, 6000):
        rendered = world.helms[1].template(*FIRST_INSTALL, *changed({"config": {"limits": {"sessions": sessions}}}))
        sums.append(stateful_set(rendered)["spec"]["template"]["metadata"]["annotations"]["checksum/config"])
    assert sums[0] != sums[1] and all(len(each) <= 63 for each in sums), sums


def immutable(rendered):
    return {key: value for key, value in stateful_set(rendered)["spec"].items() if key not in CHANGEABLE}


def copied(folder):
    """The chart, outside the tree, its links followed."""
    return pathlib.Path(shutil.copytree(CHART, pathlib.Path(folder) / "postroad"))


def side_by_side(work, items):
    """[work(item)], two at a time; what one raises is raised."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


def rules_and_dashboard_are_those_of_deploy_observe(world):
    settings = {"monitoring.prometheusRule.enabled": True, "monitoring.dashboard.enabled": True,
                "monitoring.serviceMonitor.enabled": True}
    for helm in world.helms:
        rendered = helm.template(*FIRST_INSTALL, *changed(settings))
        groups = [group for rule in of_kind(rendered, "PrometheusRule") for group in rule["spec"]["groups"]]
        wanted = [group for name in ("recording", "alerts")
                  for group in yaml.safe_load((OBSERVE / f"{name}.yaml").read_text())["groups"]]
        assert sorted(map(json.dumps, groups)) == sorted(map(json.dumps, wanted)), helm.name
        dashboards = [text for each in of_kind(rendered, "ConfigMap") for name, text in each["data"].items()
                      if name.endswith(".json")]
        assert [json.loads(text) for text in dashboards] == [json.loads((OBSERVE / "dashboard.json").read_text())]
        (monitor,) = of_kind(rendered, "ServiceMonitor")
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [each for each in of_kind(rendered, "Service") if wanted <= each["metadata"]["labels"].items()]
        assert len(found) == 1, "each node would be scraped more than once, or not at all"
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in found[0]["spec"]["ports"]}


def a_package_has_all_it_needs(world):
    for helm in world.helms:
        with tempfile.TemporaryDirectory() as folder:
            helm.run("package", CHART, "--destination", folder)
            (path,) = pathlib.Path(folder).glob("*.tgz")
            with tarfile.open(path) as archive:
                files = {member.name: member for member in archive.getmembers()}
                for name in ("alerts.yaml", "recording.yaml", "dashboard.json"):
                    assert files[f"postroad/files/{name}"].isfile() and files[f"postroad/files/{name}"].size > 0
                assert not any(name.startswith("postroad/ci/") for name in files)
            assert of_kind(helm.template(*FIRST_INSTALL, chart=path), "StatefulSet")


def values_and_schema_have_the_same_keys(_):
    def keys(values, schema, at=""):
        properties = schema.get("properties")
        if not isinstance(values, dict) or properties is None:
            return
        assert schema.get("additionalProperties") is False, f"the schema takes any key at {at or 'its root'}"
        extra = properties.keys() - values.keys() - {"global"}
        assert not extra, f"in the schema alone: {at}{sorted(extra)}"
        for key, value in values.items():
            assert key in properties, f"in the values alone: {at}{key}"
            keys(value, properties[key], f"{at}{key}.")

    schema = json.loads((CHART / "values.schema.json").read_text())
    keys(yaml.safe_load((CHART / "values.yaml").read_text()), schema)


def config_takes_the_programs_sections(_):
    """Those of docs/postroad.toml. Another one would be found by the pods, which would not start."""
    documented = (ROOT / "docs/postroad.toml").read_text()
    sections = {name.split(".")[0] for name in re.findall(r"(?m)^(?:# )?\[+([a-z_.]+)\]+$", documented)}
    config = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]
    assert set(config["propertyNames"]["enum"]) == sections


def the_readme_is_made_of_the_values(_):
    done = subprocess.run([HERE / "readme", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def the_chart_is_of_the_programs_version(_):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
