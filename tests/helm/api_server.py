"""A cluster that has Secrets and ConfigMaps, for templates that look one up, and knows the kinds of a release."""
import http.server
import json
import pathlib
import tempfile
import threading

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
current-context: test
users: [{{name: test, user: {{}}}}]
"""
KINDS = {
    "v1": ["Secret", "ConfigMap", "Service", "Pod"],
    "apps/v1": ["StatefulSet"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy", "Ingress"],
}


def discovery(version):
    """{path: what is answered there}: the kinds, as clients ask for them."""
    answers = {
        "/version": {"major": version.split(".")[0], "minor": version.split(".")[1], "gitVersion": f"v{version}"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
    }
    groups = []
    for group_version, kinds in KINDS.items():
        group, _, version = group_version.rpartition("/")
        resources = [{"name": plural(kind), "namespaced": True, "kind": kind, "verbs": ["get", "list"]} for kind in kinds]
        path = f"/apis/{group_version}" if group else "/api/v1"
        answers[path] = {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}
        if group:
            this = {"groupVersion": group_version, "version": version}
            groups.append({"name": group, "versions": [this], "preferredVersion": this})
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return answers


def plural(kind):
    name = kind.lower()
    return name[:-1] + "ies" if name.endswith("y") else name + ("es" if name.endswith("s") else "s")


class ApiServer:
    """`with ApiServer("1.37.0") as server`: `server.keep(rendered)` puts those of a release into it."""

    def __init__(self, version):
        self.kept, self.discovery = {}, discovery(version)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.folder = tempfile.TemporaryDirectory()
        self.kubeconfig = pathlib.Path(self.folder.name) / "config"
        self.kubeconfig.write_text(KUBECONFIG.format(port=self.http.server_port))

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.folder.cleanup()

    def keep(self, rendered, release="relay", namespace="mail"):
        """Has the Secrets and ConfigMaps of what was rendered from now on, as that release's."""
        owner = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
        for document in rendered:
            if document["kind"] in ("Secret", "ConfigMap"):
                metadata = document["metadata"]
                metadata.update(namespace=namespace, annotations={**metadata.get("annotations", {}), **owner})
                self.kept[f"{plural(document['kind'])}/{metadata['name']}"] = document

    def answer(self, path):
        """(status, body)"""
        if path in self.discovery:
            return 200, self.discovery[path]
        if path.endswith("/secrets"):  # Helm's own, of releases before
            return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []}
        name = "/".join(path.split("/")[-2:])
        if name in self.kept:
            return 200, self.kept[name]
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


def handler(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = server.answer(self.path.partition("?")[0])
            octets = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        def log_message(self, *_):
            pass

    return Handler
