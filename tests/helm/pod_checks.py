"""The checks of what runs: pods, their Services and policies, and the files that the nodes read."""
import base64
import json
import pathlib
import re
import subprocess
import tempfile
import tomllib

import yaml

import node_files
from api_server import ApiServer
from helm import (CI, FIRST_INSTALL, HOSTS, NEWEST, ROOT, by_name, changed, container, exposure_of, of_kind,
                  pod_spec, policy_rules, stateful_set)
from tools import Skip


def every_port_names_its_protocol(world):
    """Else a server-side apply is refused by an old API server."""
    for values in CI:
        rendered = world.helms[1].template(values)
        ports = [*container(rendered)["ports"]]
        ports += [port for each in of_kind(rendered, "Service") for port in each["spec"]["ports"]]
        ports += [port for rule in policy_rules(rendered) for port in rule["ports"]]
        assert all("protocol" in port for port in ports), f"{values.name}: {ports}"


def selectors_find_the_nodes_and_nothing_else(world):
    for values in CI:
        rendered = world.helms[1].template(values)
        pods = stateful_set(rendered)["spec"]["template"]["metadata"]["labels"]
        tests = [each["metadata"]["labels"] for each in of_kind(rendered, "Pod")]
        selectors = [each["spec"]["selector"] for each in of_kind(rendered, "Service")]
        selectors += [each["spec"]["selector"]["matchLabels"] for each in of_kind(rendered, "PodDisruptionBudget")]
        selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(rendered, "NetworkPolicy")]
        assert len(selectors) > 1
        for selector in selectors:
            wanted = {key: value for key, value in selector.items() if key != "statefulset.kubernetes.io/pod-name"}
            assert wanted.items() <= pods.items(), f"{values.name}: {selector} finds no node"
            assert not any(wanted.items() <= labels.items() for labels in tests), f"{values.name}: {selector} finds a test"


def every_port_that_is_named_is_a_containers(world):
    for values in CI:
        rendered = world.helms[1].template(values)
        ports = {port["name"] for port in container(rendered)["ports"]}
        named = {port["targetPort"] for each in of_kind(rendered, "Service") for port in each["spec"]["ports"]}
        named |= {port["port"] for rule in policy_rules(rendered) for port in rule["ports"] if isinstance(port["port"], str)}
        assert named <= ports, f"{values.name}: {named - ports}"


def pods_are_restricted(world):
    """The restricted pod security standard, but for what hostPort and hostNetwork are."""
    for values in CI:
        rendered = world.helms[1].template(values)
        exposure = exposure_of(values)
        pods = [(pod_spec(rendered), "node")] + [(each["spec"], "test") for each in of_kind(rendered, "Pod")]
        for pod, what in pods:
            at = f"{values.name}: {what}"
            is_on_host = what == "node" and exposure == "hostNetwork"
            assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False, at
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, at
            assert bool(pod.get("hostNetwork")) == is_on_host, at
            assert not pod.get("hostPID") and not pod.get("hostIPC"), at
            if not is_on_host:
                assert pod["securityContext"]["runAsNonRoot"] is True, at
                assert pod["securityContext"]["runAsUser"] == 65532, at
            for each in pod["containers"]:
                context = each["securityContext"]
                assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True, at
                assert "privileged" not in context, at
                assert context["capabilities"]["drop"] == ["ALL"], at
                assert set(context["capabilities"].get("add", [])) <= ({"NET_BIND_SERVICE"} if is_on_host else set()), at
            for volume in pod.get("volumes", []):
                assert "hostPath" not in volume, at


def secrets_are_for_the_pods_group(world):
    for values in CI:
        rendered = world.helms[1].template(values)
        context = pod_spec(rendered)["securityContext"]
        assert context["fsGroup"] == 65532 and context["fsGroupChangePolicy"] == "OnRootMismatch"
        secrets = [volume["secret"] for volume in pod_spec(rendered)["volumes"] if "secret" in volume]
        assert secrets and all(secret["defaultMode"] == 0o440 for secret in secrets), f"{values.name}: {secrets}"
        for mount in container(rendered)["volumeMounts"]:
            assert "subPath" not in mount and "subPathExpr" not in mount, "it would not see a renewed certificate"


def smtp_is_where_the_exposure_says(world):
    """Port 25 of a Service for each pod, of the machine, or of nothing; and the node listens where the port leads."""
    for exposure in ("loadBalancer", "nodePort", "hostPort", "hostNetwork", "none"):
        settings = {"mx.exposure": exposure, "mx.hosts": HOSTS[:2]}
        rendered = world.helms[1].template(*FIRST_INSTALL, *changed(settings))
        (smtp,) = [port for port in container(rendered)["ports"] if port["name"] == "smtp"]
        inside = 25 if exposure == "hostNetwork" else 2525
        assert smtp["containerPort"] == inside, exposure
        if exposure != "hostNetwork":  # there it may say so, and need not
            assert smtp.get("hostPort") == (25 if exposure == "hostPort" else None), exposure
        for text in node_files.node_files(rendered).values():
            assert tomllib.loads(text)["smtp"]["listen"] == [f"0.0.0.0:{inside}", f"[::]:{inside}"], exposure
        services = [each for each in of_kind(rendered, "Service")
                    if "statefulset.kubernetes.io/pod-name" in each["spec"]["selector"]]
        kind = {"loadBalancer": "LoadBalancer", "nodePort": "NodePort"}.get(exposure)
        assert [each["spec"]["type"] for each in services] == ([kind] * 2 if kind else []), exposure
        pods = {each["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] for each in services}
        assert pods == ({"relay-postroad-0", "relay-postroad-1"} if kind else set())
        for each in services:
            assert each["spec"]["externalTrafficPolicy"] == "Local"
            assert each["spec"]["ports"][0]["port"] == 25


def nodes_find_each_other_before_they_are_ready(world):
    rendered = world.helms[1].template(*FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:3]}))
    spec = stateful_set(rendered)["spec"]
    assert spec["podManagementPolicy"] == "Parallel" and spec["replicas"] == 3
    headless = by_name(rendered, "Service")[spec["serviceName"]]["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True
    peers = [{"name": host["hostname"].split(".")[0],
              "address": f"relay-postroad-{i}.{spec['serviceName']}.mail.svc.cluster.local:50052"}
             for i, host in enumerate(HOSTS[:3])]
    for i, (name, text) in enumerate(sorted(node_files.node_files(rendered).items())):
        file = tomllib.loads(text)
        assert name == f"relay-postroad-{i}.toml"
        assert file["node"]["name"] == peers[i]["name"] and file["node"]["hostname"] == HOSTS[i]["hostname"]
        assert file["cluster"]["peers"] == peers
    assert container(rendered)["args"] == ["serve", "--config", "/etc/postroad/$(POD_NAME).toml"]
    alone = world.helms[1].template(*FIRST_INSTALL)
    assert all("cluster" not in tomllib.loads(text) for text in node_files.node_files(alone).values())


def a_stop_has_time_to_drain(world):
    source = (ROOT / "src/node/life.rs").read_text()
    limit = int(re.search(r"DRAIN_LIMIT: Duration = Duration::from_secs\((\d+)\)", source)[1])
    rendered = world.helms[1].template(*FIRST_INSTALL)
    pause = container(rendered)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_spec(rendered)["terminationGracePeriodSeconds"] > limit + pause


def probes_ask_the_node(world):
    each = container(world.helms[1].template(*FIRST_INSTALL))
    assert each["livenessProbe"]["httpGet"]["path"] == each["startupProbe"]["httpGet"]["path"] == "/livez"
    assert each["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # As long as a service manager would wait for a queue of a million messages
    assert each["startupProbe"]["failureThreshold"] * each["startupProbe"]["periodSeconds"] >= 600


def admin_is_on_loopback(world):
    for values in CI:
        for text in node_files.node_files(world.helms[1].template(values)).values():
            admin = tomllib.loads(text)["admin"]
            assert admin["listen"].startswith("127.0.0.1:"), values.name
            # The machine's loopback is not the pod's alone.
            assert "token_file" in admin or exposure_of(values) != "hostNetwork", values.name


def with_host_network_the_machines_others_get_nothing(world):
    """Its loopback and its addresses are not the pod's alone: a token for admin, and metrics on loopback."""
    for helm in world.helms:
        with ApiServer(NEWEST) as server:
            rendered, _ = helm.install(server, *FIRST_INSTALL, *changed({"mx.exposure": "hostNetwork"}))
        pod, node = pod_spec(rendered), container(rendered)
        assert pod["hostNetwork"] is True and pod["dnsPolicy"] == "ClusterFirstWithHostNet"
        # A capability that is added is root's alone (there is no ambient set), and it is all that this root has.
        assert pod["securityContext"]["runAsUser"] == 0 and pod["securityContext"]["runAsGroup"] == 65532
        assert node["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
        (text,) = node_files.node_files(rendered).values()
        assert tomllib.loads(text)["http"]["listen"] == "127.0.0.1:8080"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert node[probe]["httpGet"]["host"] == "127.0.0.1"
        data = by_name(rendered, "Secret")["relay-postroad-admin"]["data"]
        token, tokens = (base64.b64decode(data[key]).decode().split() for key in ("token", "tokens"))
        assert len(token[0]) >= 16 and tokens[:2] == [token[0], "admin"]
        variables = {variable["name"]: variable.get("value") for variable in node["env"]}
        mounts = [mount["mountPath"] for mount in node["volumeMounts"]]
        assert any(variables["POSTROADCTL_TOKEN_FILE"] == f"{mount}/token" for mount in mounts)


def with_host_network_metrics_leave_loopback_for_a_service_monitor_alone(world):
    settings = {"mx.exposure": "hostNetwork", "monitoring.serviceMonitor.enabled": True}
    rendered = world.helms[1].template(*FIRST_INSTALL, *changed(settings))
    (text,) = node_files.node_files(rendered).values()
    assert tomllib.loads(text)["http"]["listen"] == "[::]:8080"
    assert "host" not in container(rendered)["readinessProbe"]["httpGet"]


def values_reach_the_node_file(world):
    source = {"address": "192.0.2.25", "hostname": "a0-25.email.relay.example"}
    settings = {"mx.hosts": [{"hostname": "mx1.relay.example", "name": "amir", "preference": 0, "sources": [source]},
                             {"hostname": "isaac.mx.relay.example"}],
                "mx.proxyProtocol": {"enabled": True, "trustedCidrs": ["198.51.100.0/24"]},
                "service.spfName": "_spf.relay.example", "service.outboundPrefixes": ["192.0.2.0/24"],
                "dkim.selector": "2026", "tls.existingSecret": "own", "ipv6": False}
    rendered = world.helms[1].template(*FIRST_INSTALL, *changed(settings))
    amir, isaac = (tomllib.loads(text) for _, text in sorted(node_files.node_files(rendered).items()))
    assert amir["node"]["name"] == "amir" and isaac["node"]["name"] == "isaac"
    assert amir["delivery"]["source"] == [source] and "delivery" not in isaac
    for file in (amir, isaac):
        assert file["service"]["mx"] == [{"hostname": "mx1.relay.example", "preference": 0},
                                         {"hostname": "isaac.mx.relay.example", "preference": 10}]
        assert file["service"]["spf_name"] == "_spf.relay.example"
        assert file["service"]["outbound_prefixes"] == ["192.0.2.0/24"]
        assert file["smtp"]["trusted_proxies"] == ["198.51.100.0/24"]
        assert file["smtp"]["certificate_file"].endswith("/tls.crt")
        assert file["dkim"]["selector"] == "2026"
        data = [mount["mountPath"] for mount in container(rendered)["volumeMounts"] if mount["name"] == "data"]
        assert file["node"]["data_dir"].startswith(f"{data[0]}/"), "the mount's own folder is not the node's alone"
        assert "[::]" not in json.dumps(file)


def the_program_takes_every_node_file(world):
    if not world.postroad.exists():
        raise Skip(f"there is no {world.postroad}: build it, or set POSTROAD_BIN")
    count = 0
    for values in CI:
        with tempfile.TemporaryDirectory() as folder:
            rendered = world.helms[count % 2].template(values)
            for file in node_files.laid_out(rendered, pathlib.Path(folder), world.postroad):
                done = subprocess.run([world.postroad, "config", "show", "--config", file], capture_output=True, text=True)
                assert done.returncode == 0, f"{values.name}: {file.name}: {done.stderr}"
                count += 1
    return f"{count} files"


def numbers_of_config_stay_whole(world):
    """Out of YAML all are floating point, which TOML tells apart."""
    values = {"limits": {"sessions": 5000, "octets_in_flight": 1073741824}, "delivery": {"cut_through": False},
              "dnsbl": [{"name": "a", "zone": "a.example", "listed": ["127.0.0.2/32"]}, {"name": "b", "zone": "b.example"}]}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "values.yaml"
        path.write_text(yaml.safe_dump({"config": values}))
        for helm in world.helms:
            for others in ([path], changed({"config": values})):
                (text,) = node_files.node_files(helm.template(*FIRST_INSTALL, *others)).values()
                file = tomllib.loads(text)
                assert {section: file[section] for section in values} == values
                assert isinstance(file["limits"]["octets_in_flight"], int)


def policies_let_through_what_the_nodes_need(world):
    extra = {"ports": [{"port": 5353, "protocol": "UDP"}]}
    settings = {"networkPolicy.ingress.enabled": True, "networkPolicy.egress.enabled": True, "mx.hosts": HOSTS[:3],
                "networkPolicy.extraIngress": [extra], "networkPolicy.extraEgress": [extra]}
    rendered = world.helms[1].template(*FIRST_INSTALL, *changed(settings))
    policies = {tuple(each["spec"]["policyTypes"]): each["spec"] for each in of_kind(rendered, "NetworkPolicy")}
    assert policies.keys() == {("Ingress",), ("Egress",)}
    own = [{"podSelector": {"matchLabels": stateful_set(rendered)["spec"]["selector"]["matchLabels"]}}]
    numbers = {port["name"]: port["containerPort"] for port in container(rendered)["ports"]}

    def who(way, peers, number):
        return [rule.get(peers) for rule in policies[(way.title(),)][way] for port in rule["ports"]
                if numbers.get(port["port"], port["port"]) == number]

    assert who("ingress", "from", 2525) == [None] and who("ingress", "from", 8081) == [None], "from everywhere"
    assert who("ingress", "from", 50052) == [own] and who("egress", "to", 50052) == [own]
    assert who("ingress", "from", 50051) == [] and who("ingress", "from", 8080) not in ([], [None])
    for port, count in ((53, 2), (25, 1), (443, 1)):
        assert who("egress", "to", port) == [None] * count, port
    assert extra in policies[("Ingress",)]["ingress"] and extra in policies[("Egress",)]["egress"]


def volumes_outlive_their_pods(world):
    rendered = world.helms[1].template(*FIRST_INSTALL)
    spec = stateful_set(rendered)["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    without = world.helms[1].template(*FIRST_INSTALL, *changed({"persistence.enabled": False}))
    assert "volumeClaimTemplates" not in stateful_set(without)["spec"]
    assert {"name": "data", "emptyDir": {}} in pod_spec(without)["volumes"]


def helm_test_greets_every_host(world):
    for exposure in ("loadBalancer", "none"):
        rendered = world.helms[1].template(*FIRST_INSTALL, *changed({"mx.exposure": exposure, "mx.hosts": HOSTS[:3]}))
        pods = of_kind(rendered, "Pod")
        assert all(each["metadata"]["annotations"]["helm.sh/hook"] == "test" for each in pods)
        asked = [each["args"] for pod in pods for each in pod["spec"]["containers"]]
        assert all(words[:2] == ["healthcheck", "--smtp"] and len(words) == 3 for words in asked)
        for i in range(3):
            assert any(re.match(rf"relay-postroad-{i}\.", words[2]) for words in asked), exposure
