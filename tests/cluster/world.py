"""The world around the nodes: a bridge with every client's address on it, DNS, the destination's MX, keys and processes.

The run has a network namespace of its own (`run`), which is this world's side of the bridge; each node has another
(cluster.py)."""
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile

import sink
from tools import answers, run, until

BIN = pathlib.Path(os.environ["POSTROAD_BIN"]).resolve()
DNS = "10.66.0.1"
SINK = "10.66.0.25"
SINK_V6 = "fd66::25"
PORT = 25
CLIENTS = "44.66.128.0/17"  # every address of it is the world's; public ones, since blocklists are not asked of others
DOMAIN = "customer.test"
NAMES = ("amir", "isaac", "linda")
SENDER = "alice@sender.test"
BLOCKLIST = "bl.test"

ZONES = {
    "dest.test": f"@ MX 10 mx\nmx A {SINK}\nmx AAAA {SINK_V6}\n",
    "sender.test": '@ MX 10 mx\nmx A 10.66.0.2\n@ TXT "v=spf1 ip4:44.66.128.0/17 ip6:fd66::/64 -all"\n',
    "customer.test": "@ MX 10 mx.relay.test.\n",
    BLOCKLIST: "2.0.0.127 A 127.0.0.2\n",  # a blocklist that lists nobody but the test point (RFC 5782)
    "relay.test": '@ A 10.66.0.3\n@ TXT "v=spf1 ip4:10.66.0.0/16 -all"\n',
    ".": "ns.invalid. A 10.66.0.1\n",  # every other name does not exist
}


class World:
    """Everything in one temporary folder; processes are ended by their ids."""

    def __init__(self, keep=False):
        self.keep, self.processes, self.clusters = keep, [], 0

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postroad-cluster-"))
        self.folder.chmod(0o755)
        try:
            self.make_network()
            self.make_keys()
            self.start_dns()
            self.sink = sink.Sink((SINK, PORT), (SINK_V6, PORT))
        except BaseException:
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

    def start(self, log, *command):
        """A process whose output is appended to a log."""
        with open(log, "ab") as output:
            process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def end(self, process):
        """SIGKILL: how a node ends well is a scenario's business."""
        process.kill()
        process.wait(10)
        self.processes.remove(process)

    def make_network(self):
        """The bridge that all nodes and this world are on, and a place for the names of namespaces that is ours alone."""
        pathlib.Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "netns", "/run/netns")
        run("ip", "link", "set", "lo", "up")
        # An address of its own: else it changes with the nodes that come and go, and the others look for the old one.
        run("ip", "link", "add", "world", "address", "02:00:00:00:00:01", "type", "bridge")
        run("ip", "link", "set", "world", "up")
        for address in (f"{DNS}/16", f"{SINK}/16"):
            run("ip", "addr", "add", address, "dev", "world")
        for address in ("fd66::1/64", f"{SINK_V6}/64"):
            run("ip", "-6", "addr", "add", address, "dev", "world", "nodad")
        run("ip", "route", "add", "local", CLIENTS, "dev", "lo")

    def make_keys(self):
        """What all nodes share, and a certificate for each: every cluster has nodes of the same names."""
        run("openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.folder / "dkim.pem")
        secret = self.folder / "srs.secret"
        secret.touch(0o600)
        secret.write_text(secrets.token_hex(24) + "\n")
        run(BIN / "postroad", "cluster", "certificates", "--dir", self.folder / "certificates", *NAMES)

    def start_dns(self):
        """BIND, authoritative for everything that is asked."""
        folder = self.folder / "dns"
        folder.mkdir()
        configuration = f"""options {{ directory "{folder}"; listen-on {{ {DNS}; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; empty-zones-enable no; pid-file none; session-keyfile "{folder}/session.key";
  querylog yes; }};
controls {{ }};
"""
        for name, records in ZONES.items():
            file = folder / f"{name.strip('.') or 'root'}.zone"
            file.write_text(f"$ORIGIN {name.rstrip('.')}.\n$TTL 300\n@ SOA ns.invalid. host.invalid. 1 3600 600 86400 5\n"
                            f"@ NS ns.invalid.\n{records}")
            configuration += f'zone "{name}" {{ type primary; file "{file}"; }};\n'
        (folder / "named.conf").write_text(configuration)
        self.start(self.folder / "named.log", "named", "-g", "-n", "1", "-c", folder / "named.conf")
        until(lambda: answers(DNS, 53), 20, "BIND listens")

    def questions(self, zone):
        """The names below a zone that the DNS was asked for, one for each question."""
        return re.findall(rf": query: (\S+)\.{re.escape(zone)} IN A ", (self.folder / "named.log").read_text())
