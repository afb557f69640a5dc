"""The checks of what is made once: Secrets, certificates, a node's place, and what the notes say of them."""
import base64
import pathlib
import re
import subprocess
import tempfile
import tomllib

import node_files
from api_server import ApiServer
from helm import CI, FIRST_INSTALL, HOSTS, NEWEST, Refused, by_name, changed, of_kind, pod_spec


def secrets_are_made_once(world):
    """An upgrade, and an install after an uninstall, find what is there; so do the notes."""
    for helm in world.helms:
        with ApiServer(NEWEST) as server:
            hosts = changed({"mx.hosts": HOSTS[:3]})
            before, told = helm.install(server, *FIRST_INSTALL, *hosts)
            server.keep(before)
            after, told_again = helm.install(server, *FIRST_INSTALL, *hosts)
            assert told == told_again, helm.name
            secrets = {name: secret["data"] for name, secret in by_name(before, "Secret").items()}
            names = {f"relay-postroad-{what}" for what in ("dkim", "srs", "cluster", "cluster-ca")}
            assert secrets.keys() == names
            assert {name: secret["data"] for name, secret in by_name(after, "Secret").items()} == secrets, helm.name
            for secret in of_kind(before, "Secret"):
                assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
                assert "helm.sh/hook" not in secret["metadata"]["annotations"]


def a_new_host_gets_a_certificate_and_the_others_keep_theirs(world):
    for helm in world.helms:
        with ApiServer(NEWEST) as server:
            before, _ = helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:3]}))
            server.keep(before)
            for count in (4, 3):
                after, _ = helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:count]}))
                server.keep(after)
                old, new = (by_name(each, "Secret")["relay-postroad-cluster"]["data"] for each in (before, after))
                assert new.items() > old.items() and new.keys() - old.keys() == {"maria.pem", "maria.key"}, helm.name
                authority = [by_name(each, "Secret")["relay-postroad-cluster-ca"]["data"] for each in (before, after)]
                assert authority[0] == authority[1], helm.name
            for host in HOSTS:
                name = host["hostname"].split(".")[0]
                assert_certificate(new, name)


def a_lost_authority_is_not_replaced(world):
    """Nodes of the old one and of a new one would not know each other."""
    for helm in world.helms:
        with ApiServer(NEWEST) as server:
            server.keep(helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:3]}))[0])
            del server.kept["secrets/relay-postroad-cluster-ca"]
            # Nothing is to be signed:
            again, _ = helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:3]}))
            old = server.kept["secrets/relay-postroad-cluster"]["data"]
            assert by_name(again, "Secret")["relay-postroad-cluster"]["data"] == old, helm.name
            refusal(helm, server, {"mx.hosts": HOSTS}, "relay-postroad-cluster-ca")


def hosts_in_another_order_are_refused(world):
    """A volume is the node's that has filled it."""
    for helm in world.helms:
        with ApiServer(NEWEST) as server:
            server.keep(helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": HOSTS[:3]}))[0])
            for hosts in (HOSTS[2::-1], HOSTS[1:3], [{**HOSTS[0], "name": "other"}, *HOSTS[1:3]]):
                refusal(helm, server, {"mx.hosts": hosts}, "mx.hosts[0]")
            for hosts in (HOSTS, HOSTS[:2], [{"hostname": "amir.mx.other.example"}, *HOSTS[1:3]]):
                helm.install(server, *FIRST_INSTALL, *changed({"mx.hosts": hosts}))


def refusal(helm, server, settings, piece):
    try:
        helm.install(server, *FIRST_INSTALL, *changed(settings))
    except Refused as error:
        assert piece in str(error), f"{helm.name} {settings}: no {piece!r} in\n{error}"
    else:
        raise AssertionError(f"{helm.name} {settings}: taken")


def secrets_that_are_named_are_used_and_none_is_made(world):
    names = {"dkim": "a", "srs": "b", "cluster": "c", "tls": "d", "admin": "e"}
    settings = {**{f"{what}.existingSecret": name for what, name in names.items()}, "mx.hosts": HOSTS[:3]}
    for create in (True, False):
        rendered = world.helms[1].template(*FIRST_INSTALL, *changed({**settings, "secrets.create": create}))
        assert not of_kind(rendered, "Secret")
        mounted = [volume["secret"]["secretName"] for volume in pod_spec(rendered)["volumes"] if "secret" in volume]
        assert sorted(mounted) == sorted(names.values())


def cert_manager_makes_what_the_nodes_need(world):
    settings = {"tls.certManager.enabled": True, "tls.certManager.issuerRef.name": "letsencrypt",
                "cluster.certManager.enabled": True, "mx.hosts": HOSTS[:3]}
    rendered = world.helms[1].template(*FIRST_INSTALL, *changed(settings))
    assert not any("cluster" in name for name in by_name(rendered, "Secret"))
    made = {each["spec"]["secretName"]: each["spec"] for each in of_kind(rendered, "Certificate")}
    volumes = {volume["secret"]["secretName"] for volume in pod_spec(rendered)["volumes"] if "secret" in volume}
    own = {name: spec for name, spec in made.items() if not spec.get("isCA")}
    assert own.keys() <= volumes and len(own) == 4
    assert not volumes & {name for name, spec in made.items() if spec.get("isCA")}
    inside = {spec["dnsNames"][0]: spec for spec in own.values() if len(spec["dnsNames"]) == 1}
    assert inside.keys() == {"amir", "isaac", "linda"}
    assert all({"server auth", "client auth"} <= set(spec["usages"]) for spec in inside.values())
    (outside,) = [spec for spec in own.values() if len(spec["dnsNames"]) == 3]
    assert outside["dnsNames"] == [host["hostname"] for host in HOSTS[:3]] and outside["issuerRef"]["name"] == "letsencrypt"
    issuers = by_name(rendered, "Issuer")
    assert all(spec["issuerRef"]["name"] in issuers for spec in made.values() if spec is not outside)
    # each file that a node file names is a key of a Secret of this type
    for text in node_files.node_files(rendered).values():
        cluster = tomllib.loads(text)["cluster"]
        assert [pathlib.Path(cluster[key]).name for key in ("certificate_file", "private_key_file", "ca_file")] == \
            ["tls.crt", "tls.key", "ca.crt"]


def no_pod_gets_the_authoritys_key(world):
    for values in CI:
        rendered = world.helms[1].template(values)
        mounted = [volume["secret"]["secretName"] for volume in pod_spec(rendered)["volumes"] if "secret" in volume]
        assert not any(name.endswith("cluster-ca") for name in mounted), values.name
        for name, secret in by_name(rendered, "Secret").items():
            assert "ca.key" not in secret["data"] or name.endswith("cluster-ca"), values.name


def assert_certificate(data, name):
    """It is of that authority, for that name, good for servers and clients, and the key is its."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for key in ("ca.pem", f"{name}.pem", f"{name}.key"):
            paths[key] = pathlib.Path(folder) / key
            paths[key].write_bytes(base64.b64decode(data[key]))
        for purpose in ("sslserver", "sslclient"):
            wanted = ["-purpose", purpose, "-verify_hostname", name]
            openssl("verify", "-CAfile", paths["ca.pem"], *wanted, paths[f"{name}.pem"])
        public = openssl("x509", "-in", paths[f"{name}.pem"], "-noout", "-pubkey")
        assert public == openssl("pkey", "-in", paths[f"{name}.key"], "-pubout")


def the_dkim_record_is_the_keys(world):
    """RSA of 2048 bits, whose record the notes print in strings of at most 255 octets."""
    for helm in world.helms:
        for _ in range(3):
            with ApiServer(NEWEST) as server:
                rendered, told = helm.install(server, *FIRST_INSTALL)
                data = by_name(rendered, "Secret")["relay-postroad-dkim"]["data"]
                key = base64.b64decode(data["dkim.pem"])
                assert b"2048 bit" in openssl("pkey", "-noout", "-text", given=key)
                public = base64.b64encode(openssl("pkey", "-pubout", "-outform", "DER", given=key)).decode()
                record = f"v=DKIM1; h=sha256; k=rsa; p={public}"
                assert base64.b64decode(data["record"]).decode() == record
                strings = re.findall(r'"([^"\n]*)"', told)
                first = next(i for i, each in enumerate(strings) if each.startswith("v=DKIM1"))
                assert "".join(strings[first:first + 2]) == record
                assert all(len(each) <= 255 for each in strings)


def openssl(*words, given=None):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, input=given)
    assert done.returncode == 0, f"{words}: {done.stderr.decode()}"
    return done.stdout


def the_notes_say_what_comes_next(world):
    helm = world.helms[1]
    with ApiServer(NEWEST) as server:
        def told(settings):
            return helm.install(server, *FIRST_INSTALL, *changed(settings))[1]

        usual = told({"mx.hosts": HOSTS[:3]})
        for piece in ("postroad._domainkey.email.relay.example.", "pending", "postroad doctor", "postroadctl",
                      "cluster drain", "cluster remove", "helm"):
            assert piece in usual, piece
        named = told({"dkim.existingSecret": "own"})
        assert "own" in named and "openssl" in named or "keygen" in named
        assert "persistence" in told({"persistence.enabled": False}) and "persistence" not in usual
        assert "externalTrafficPolicy" in told({"mx.service.externalTrafficPolicy": "Cluster"})
        assert "externalTrafficPolicy" not in usual
        assert "port-forward" in told({"mx.exposure": "none"})
        assert "cluster drain" not in told({})
