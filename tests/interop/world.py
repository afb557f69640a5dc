"""The world around the node: keys, DNS, DNSBL, destinations, and the nodes themselves, in one temporary folder.

Every process is started here and ended by its process id; every wait is bounded."""
import base64
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
import urllib.request

import client
import destinations
from tools import answers, run, until

ISOLATED = os.environ.get("POSTROAD_ISOLATED") == "1"
DNS, DNS_PORT = "127.0.0.1", 53 if ISOLATED else 5399  # BIND serves addresses of interfaces only
RBL = "127.0.0.155"
BLACK_HOLE = "2001:db8:dead::25"  # behind a link whose other end swallows everything
BIN = pathlib.Path(os.environ["POSTROAD_BIN"]).resolve()
INSTALLED = pathlib.Path(os.environ["POSTROAD_INTEROP"]).resolve()

# alias at customer.test -> the private destination behind it
ALIASES = {
    "info": "bob.private@dest.test", "load": "load.private@load.test", "gone": "gone.private@dest.test",
    "full": "full.private@dest.test", "tls": "bob.private@tls.test", "six": "bob.private@six.test",
    "hole": "bob.private@hole.test", "exim": "carol.private@exim.test", "eximgone": "gone.private@exim.test",
    "eximlines": "lines.private@exim.test", "eximfull": "full.private@exim.test",
    "late": "late.private@scripted.test", "drain": "drain.private@scripted.test",
}


class World:
    def __init__(self, keep=False):
        self.keep, self.processes, self.node_count = keep, [], 0

    def __enter__(self):
        self.token = secrets.token_hex(4)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postroad-interop-"))
        self.folder.chmod(0o755)
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.logs.chmod(0o1777)  # Postfix and Exim write as users of their own
        try:
            self.network()
            self.make_keys()
            self.start_dns()
            self.postfix = destinations.Postfix(self)
            self.exim = destinations.Exim(self, INSTALLED / "exim4-daemon-light/usr/sbin/exim4")
            self.scripted = destinations.ScriptedMx()
            self.verifier = client.Verifier(DNS, DNS_PORT)
            self.node = Node(self)  # for the scenarios that need no special one
        except BaseException:
            print(self.log_ends())
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)
        if self.keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *command, **options):
        with open(self.logs / name, "ab") as log:
            process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def end(self, process, seconds=20):
        """SIGTERM, and after a while SIGKILL; the exit status."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait(5)

    def log_ends(self, lines=12):
        ends = []
        for log in sorted(self.logs.iterdir()):
            text = log.read_text(errors="replace").splitlines()[-lines:]
            ends.append(f"--- {log.name}\n" + "\n".join(line[:400] for line in text))
        return "\n".join(ends)

    def network(self):
        """In a network namespace of our own: loopback, a link to nowhere, our resolver as the system's."""
        if not ISOLATED:
            return
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "hole", "type", "veth", "peer", "name", "nowhere")
        for link in ("hole", "nowhere"):
            run("ip", "link", "set", link, "up")
        run("ip", "-6", "addr", "add", "2001:db8:dead::1/64", "dev", "hole", "nodad")
        run("ip", "-6", "neigh", "add", BLACK_HOLE, "lladdr", "02:00:00:00:00:25", "dev", "hole", "nud", "permanent")
        resolver = self.folder / "resolv.conf"
        resolver.write_text(f"nameserver {DNS}\noptions timeout:2\n")
        run("mount", "--bind", resolver, os.path.realpath("/etc/resolv.conf"))

    def make_keys(self):
        folder = self.folder / "keys"
        folder.mkdir()
        self.keys = {}
        for name, algorithm in (("sender", "rsa"), ("relay", "rsa"), ("relay25519", "ed25519")):
            key = self.keys[name] = folder / f"{name}.pem"
            bits = ["-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "rsa" else []
            run("openssl", "genpkey", "-algorithm", algorithm, *bits, "-out", key)
        # dkimpy reads PKCS#1
        run("openssl", "rsa", "-traditional", "-in", self.keys["sender"], "-out", self.keys["sender"])
        self.certificate, self.certificate_key = folder / "tls.pem", folder / "tls.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=mx.relay.test", "-addext", "subjectAltName=DNS:mx.relay.test,DNS:mx.dest.test",
            "-out", self.certificate, "-keyout", self.certificate_key)
        (folder / "srs.secret").write_text(secrets.token_hex(24) + "\n")

    def dkim_record(self, name, algorithm):
        """The TXT record of a key, in strings of at most 255 octets."""
        public = run("openssl", "pkey", "-in", self.keys[name], "-pubout", "-outform", "DER")
        raw = public if algorithm == "rsa" else public[-32:]
        text = f"v=DKIM1; k={algorithm}; p={base64.b64encode(raw).decode()}"
        return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))

    def zones(self):
        mx = {"dest.test": [destinations.WIRE], "exim.test": [destinations.EXIM], "load.test": [destinations.POSTFIX], "tls.test": [destinations.POSTFIX_TLS],
              "scripted.test": [destinations.SCRIPTED], "six.test": ["::1", destinations.POSTFIX_TWIN],
              "hole.test": [BLACK_HOLE, destinations.POSTFIX_TWIN]}
        for zone, hosts in mx.items():
            yield zone, "@ MX 10 mx\n" + "".join(f"mx {'AAAA' if ':' in host else 'A'} {host}\n" for host in hosts)
        yield "sender.test", f"""@ MX 10 mx
mx A {destinations.WIRE}
client A {client.GOOD}
client AAAA ::1
listed A {client.LISTED}
@ TXT "v=spf1 ip4:127.0.0.1 ip6:::1 ip4:{client.GOOD} ip4:{client.LISTED} -all"
client TXT "v=spf1 ip4:{client.GOOD} ip6:::1 -all"
_dmarc TXT "v=DMARC1; p=reject"
s1._domainkey TXT {self.dkim_record("sender", "rsa")}
"""
        yield "customer.test", '@ MX 10 mx.relay.test.\n@ TXT "v=spf1 include:_spf.relay.test -all"\n'
        yield "relay.test", f"""@ A 127.0.0.10
mx A 127.0.0.10
_spf TXT "v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"
@ TXT "v=spf1 include:_spf.relay.test -all"
2026._domainkey TXT {self.dkim_record("relay", "rsa")}
2026e._domainkey TXT {self.dkim_record("relay25519", "ed25519")}
"""
        yield "unsigned.test", f"@ MX 10 mx\nmx A {client.STRANGER}\n"
        yield "stranger.test", f'@ A {client.STRANGER}\n@ TXT "v=spf1 ip4:{client.STRANGER} -all"\n'
        yield "127.in-addr.arpa", "1.0.0 PTR localhost.\n50.0.0 PTR client.sender.test.\n66.0.0 PTR listed.sender.test.\n"
        yield ".", f"dnsbl.test. NS ns.dnsbl.test.\nns.dnsbl.test. A {RBL}\nns.invalid. A {DNS}\n"  # every other name does not exist

    def start_dns(self):
        """BIND, authoritative for our zones and recursive for the DNSBL, which rbldnsd serves."""
        folder = self.folder / "dns"
        folder.mkdir()
        configuration = f"""options {{ directory "{folder}"; listen-on port {DNS_PORT} {{ {DNS}; }}; listen-on-v6 {{ none; }};
  recursion yes; allow-recursion {{ any; }}; dnssec-validation no; empty-zones-enable no;
  pid-file none; session-keyfile "{folder}/session.key"; }};
controls {{ }};
zone "dnsbl.test" {{ type forward; forward only; forwarders {{ {RBL} port 53; }}; }};
"""
        for name, records in self.zones():
            file = folder / f"{name.strip('.') or 'root'}.zone"
            file.write_text(f"$ORIGIN {name.rstrip('.')}.\n$TTL 300\n@ SOA ns.invalid. host.invalid. 1 3600 600 86400 5\n"
                            f"@ NS ns.invalid.\n{records}")
            configuration += f'zone "{name}" {{ type primary; file "{file}"; }};\n'
        (folder / "named.conf").write_text(configuration)
        # RFC 5782 §5: the test points of both address families, and one real entry
        (folder / "ip4").write_text(f":127.0.0.2:listed\n127.0.0.2\n{client.LISTED}\n!127.0.0.1\n")
        (folder / "ip6").write_text(":127.0.0.2:listed\n::ffff:7f00:2\n!::ffff:7f00:1\n")
        (folder / "soa").write_text("$SOA 300 ns.dnsbl.test host.dnsbl.test 0 600 300 86400 5\n$NS 300 ns.dnsbl.test\n")
        self.start("rbldnsd", "rbldnsd", "-n", "-r", folder, "-u", "nobody", "-b", f"{RBL}/53", "dnsbl.test:ip4set:ip4",
                   "dnsbl.test:ip6trie:ip6", "dnsbl.test:generic:soa")
        self.start("named", "named", "-g", "-c", folder / "named.conf")
        until(lambda: answers(DNS, DNS_PORT), 20, "BIND listens")


class Node:
    """`postroad serve`, with the aliases of ALIASES; sections given override those of the default file."""

    def __init__(self, world, **overrides):
        world.node_count += 1
        self.world, self.name = world, f"node{world.node_count}"
        folder = world.folder / self.name
        folder.mkdir()
        keys = world.folder / "keys"
        settings = {
            "node": {"name": self.name, "hostname": "mx.relay.test", "data_dir": str(folder / "data")},
            "service": {"domain": "relay.test", "spf_name": "_spf.relay.test", "postmaster": "ops@dest.test",
                        "postmaster_url": "https://relay.test/postmaster",
                        "mx": [{"hostname": "mx.relay.test", "preference": 10}]},
            "smtp": {"listen": ["127.0.0.10:0", "[::1]:0"], "certificate_file": str(world.certificate),
                     "private_key_file": str(world.certificate_key)},
            "dnsbl": [{"name": "dnsbl-test", "zone": "dnsbl.test"}],
            "dkim": {"selector": "2026", "private_key_file": str(world.keys["relay"]),
                     "key": [{"selector": "2026e", "private_key_file": str(world.keys["relay25519"])}]},
            "srs": {"secret_file": str(keys / "srs.secret")},
            "delivery": {"port": destinations.PORT, "private_addresses": "allow"},
            "dns": {"servers": [f"{DNS}:{DNS_PORT}"]},
            "http": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
        }
        for section, keys in overrides.items():
            settings[section] = {**settings.get(section, {}), **keys}
        self.file = folder / "postroad.toml"
        self.file.write_text("\n".join(f"{section} = {toml(value)}" for section, value in settings.items()) + "\n")
        self.start()
        self.control("domain", "add", "customer.test")
        for alias, destination in ALIASES.items():
            self.control("destination", "add", destination, "--verified")
            self.control("rule", "add", "customer.test", "--to", alias, "--forward", destination)

    def start(self):
        """Starts it, for the first time or again."""
        before = self.log().count('"ready"')
        self.process = self.world.start(self.name, BIN / "postroad", "serve", "--config", self.file)
        ready = until(lambda: self.ready(before), 30, f"{self.name} is ready")
        address, port = ready["smtp"][0].rsplit(":", 1)
        self.smtp, self.smtp6 = (address, int(port)), ("::1", int(ready["smtp"][1].rsplit(":", 1)[1]))
        self.http, self.admin = ready["http"], ready["admin"]

    def log(self):
        log = self.world.logs / self.name
        return log.read_text() if log.exists() else ""

    def ready(self, before):
        assert self.process.poll() is None, f"{self.name} exited {self.process.returncode}"
        lines = [line for line in self.log().splitlines() if '"ready"' in line]
        return json.loads(lines[-1]) if len(lines) > before else None

    def control(self, *arguments):
        """`postroadctl --output json`, its lines parsed: one object, or a list of a stream's."""
        output = run(BIN / "postroadctl", "--server", f"http://{self.admin}", "--output", "json", *arguments)
        objects = [json.loads(line) for line in output.splitlines() if line.strip()]
        return objects[0] if len(objects) == 1 else objects

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += float(value)
        return total

    def stop(self):
        return self.world.end(self.process, seconds=60)


def toml(value):
    """An inline TOML value (JSON's strings, numbers and truth values are TOML's too)."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)
