"""Runs Helm, and reads what it renders."""
import json
import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/postroad"
CI = sorted((CHART / "ci").glob("*.yaml"))
# The oldest that the chart is for, those in which something in it changes, and the newest.
KUBERNETES = ["1.20.15", "1.27.16", "1.30.14", "1.33.12", "1.37.0"]
NEWEST = KUBERNETES[-1]
RELEASE, NAMESPACE = "relay", "mail"


class Refused(Exception):
    """Helm said no: its words."""


class UniqueKeys(yaml.SafeLoader):
    """A loader that refuses a key that is there twice: Kubernetes takes one of them, and nobody sees which."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: {', '.join(twice)} is there twice")
        return super().construct_mapping(node, deep)


class Helm:
    """One of the two Helms."""

    def __init__(self, name, folder):
        self.name, self.binary, self.home = name, folder / "helm" / name, tempfile.mkdtemp()

    def run(self, *arguments, kubeconfig="/dev/null"):
        """Its standard output. Nothing of the machine's own Helm or cluster is seen or changed."""
        environment = {"PATH": os.environ["PATH"], "HOME": self.home, "KUBECONFIG": str(kubeconfig)}
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def template(self, *values, chart=CHART, kubernetes=NEWEST):
        """What is rendered of these values, files or arguments, where no cluster is to be asked."""
        where = ["--namespace", NAMESPACE, "--kube-version", kubernetes]
        return documents(self.run("template", RELEASE, chart, *where, *as_arguments(values)))

    def install(self, server, *values):
        """(what an install in that cluster would make, what is told after it)."""
        arguments = ["install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=server", "--disable-openapi-validation"]
        told = self.run(*arguments, *as_arguments(values), kubeconfig=server.kubeconfig)
        manifest, notes = told.split("\nMANIFEST:\n", 1)[1].split("\nNOTES:\n", 1)
        return documents(manifest), notes


def as_arguments(values):
    """Files become `-f FILE`; all else stays."""
    return [word for value in values for word in (["-f", value] if isinstance(value, pathlib.Path) else [value])]


def changed(settings):
    """--set-json arguments: {"mx.exposure": "none"}."""
    return [word for key, value in settings.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]


def documents(text):
    return [document for document in yaml.load_all(text, UniqueKeys) if document]


def of_kind(rendered, kind):
    return [document for document in rendered if document["kind"] == kind]


def by_name(rendered, kind):
    return {document["metadata"]["name"]: document for document in of_kind(rendered, kind)}


def stateful_set(rendered):
    (found,) = of_kind(rendered, "StatefulSet")
    return found


def pod_spec(rendered):
    return stateful_set(rendered)["spec"]["template"]["spec"]


def container(rendered):
    (found,) = pod_spec(rendered)["containers"]
    return found


def exposure_of(values):
    return yaml.safe_load(values.read_text())["mx"].get("exposure", "loadBalancer")


def policy_rules(rendered):
    policies = of_kind(rendered, "NetworkPolicy")
    return [rule for each in policies for way in ("ingress", "egress") for rule in each["spec"].get(way, [])]


# --set-json of a first install, and names to choose from
FIRST_INSTALL = changed({"service.domain": "email.relay.example", "service.postmaster": "ops@relay.example",
                         "mx.hosts": [{"hostname": "amir.mx.relay.example"}]})
HOSTS = [{"hostname": f"{name}.mx.relay.example"} for name in ("amir", "isaac", "linda", "maria")]
