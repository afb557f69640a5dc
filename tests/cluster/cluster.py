"""Three nodes, each a process in a network namespace of its own: on the world's bridge for mail, and on one of two bridges
of the cluster's own for what they say to each other, so that a link is cut without a packet filter."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

import disk
from mail import takes_mail
from tools import run, until
from world import BIN, CLIENTS, DNS, DOMAIN, NAMES, PORT

LINK_PORT, ADMIN_PORT, HTTP_PORT = 50052, 50051, 8080
NOTHING_DONE = {"NO_LEADER", "NO_MAJORITY", "NOT_LEADER", "OVERTAKEN", "CLUSTER_STOPPED", "TABLE_LOST"}
READY_WITHIN = 60  # seconds, of a node and of a cluster


class Refused(Exception):
    """postroadctl's word on a change that was not confirmed; `reason` is the server's, if it gave one."""

    def __init__(self, text):
        super().__init__(text)
        found = re.search(r"\(([A-Z_]+)\)$", text)
        self.reason = found[1] if found else None
        self.nothing_done = self.reason in NOTHING_DONE


class Cluster:
    """Its folder, namespaces, bridges and nodes; nothing is started. Peers are at IPv4 or at IPv6 addresses. `settings` is what
    stands in every file beside the usual."""

    def __init__(self, world, family, settings=""):
        world.clusters += 1
        self.settings = settings
        self.world, self.number, self.family = world, world.clusters, family
        self.folder, self.has_route = world.folder / f"cluster{self.number}", False
        self.folder.mkdir()
        self.bridges = [f"left{self.number}", f"right{self.number}"]
        for bridge in self.bridges:
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "link", "set", bridge, "up")
        self.nodes = [Node(self, name, host) for host, name in enumerate(NAMES, 1)]
        for node in self.nodes:
            node.configure()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.kill()
            run("ip", "netns", "del", node.namespace)
        for bridge in self.bridges:
            run("ip", "link", "del", bridge)

    def form(self):
        """Starts all, and has them forward info@ once they are one."""
        for node in self.nodes:
            node.start()
        self.is_one()
        self.nodes[0].add_route()
        return self

    def is_one(self, seconds=READY_WITHIN):
        """Waits until all three vote in one cluster and show its table, as far as they say so themselves."""
        until(lambda: all(node.serves() for node in self.nodes), seconds, self.what_keeps("three nodes serve as one"))
        until(self.all_vote, seconds, self.what_keeps("three nodes vote"))
        self.has_one_id()

    def what_keeps(self, awaited):
        """A sentence that says, when it is read, what each node says of itself."""
        return Lazy(lambda: awaited + "".join(f"; {node.name}: {node.state()}" for node in self.nodes))

    def all_vote(self):
        disks = [node.disk() for node in self.nodes]
        voters = max((d.membership for d in disks if d), default=(0, frozenset(), {}), key=lambda m: m[0])[1]
        return all(disks) and voters == {d.node for d in disks}

    def has_one_id(self):
        """Never two clusters, whatever happened."""
        ids = {node.name: d.cluster for node in self.nodes if (d := node.disk()) and d.cluster}
        assert len(set(ids.values())) <= 1, f"two clusters: {ids}"
        return next(iter(ids.values()), None)

    def leader(self):
        """The node that leads; None while none was voted for, or none that runs."""
        disks = {node: d for node in self.nodes if node.runs() and (d := node.disk())}
        term, voted, node = max((d.vote for d in disks.values()), default=(0, False, 0))
        return next((n for n, d in disks.items() if voted and d.node == node), None)

    def led(self):
        return until(self.leader, 20, self.what_keeps("a node leads"))

    def cut_off(self, node):
        """No word between it and the others; mail and DNS go on."""
        run("ip", "link", "set", node.link, "master", self.bridges[1])

    def heal(self):
        for node in self.nodes:
            run("ip", "link", "set", node.link, "master", self.bridges[0])

    def is_alike(self, seconds=30):
        """Waits until all nodes show the same table, and returns it."""
        def tables():
            seen = [node.table() for node in self.nodes]
            return seen[0] if all(table == seen[0] for table in seen) else None
        return until(tables, seconds, "all nodes show the same table")


class Lazy:
    """A text that is made when it is shown."""

    def __init__(self, make):
        self.make = make

    def __str__(self):
        return self.make()


class Node:
    def __init__(self, cluster, name, host):
        self.cluster, self.name, self.host = cluster, name, host
        self.namespace, self.link = f"{name}{cluster.number}", f"l{cluster.number}{name}"
        self.folder = cluster.folder / name
        self.folder.mkdir()
        self.data, self.log = self.folder / "data", self.folder / "log"
        self.address, self.address_v6 = f"10.66.{cluster.number}.{host}", f"fd66::{cluster.number}:{host}"
        self.process, self.unwell = None, []  # from when to when nothing is expected of it
        self.connect()

    def connect(self):
        """A namespace with an end on the world's bridge and one on the cluster's."""
        inside, number = ("ip", "-n", self.namespace), self.cluster.number
        run("ip", "netns", "add", self.namespace)
        ends = {"mail": (f"w{number}{self.name}", "world"), "peers": (self.link, self.cluster.bridges[0])}
        for near, (far, bridge) in ends.items():
            run("ip", "link", "add", far, "type", "veth", "peer", "name", near, "netns", self.namespace)
            run("ip", "link", "set", far, "master", bridge, "up")
        for end, *address in (("mail", f"{self.address}/16"), ("mail", f"{self.address_v6}/64", "nodad"),
                              ("peers", f"10.77.0.{self.host}/24"), ("peers", f"fd77::{self.host}/64", "nodad")):
            run(*inside, "addr", "add", address[0], "dev", end, *address[1:])
        for end in ("lo", "mail", "peers"):
            run(*inside, "link", "set", end, "up")
        # By way of the world: a neighbour for each client would be more than the kernel keeps.
        run(*inside, "route", "add", CLIENTS, "via", DNS)

    def peer_address(self):
        host = f"[fd77::{self.host}]" if self.cluster.family == 6 else f"10.77.0.{self.host}"
        return f"{host}:{LINK_PORT}"

    def configure(self, alone=False):
        """Writes its file; alone: as before it was one of several."""
        shared, certificates = self.cluster.world.folder, self.cluster.world.folder / "certificates"
        text = f"""
[node]
name = "{self.name}"
hostname = "{self.name}.mx.relay.test"
data_dir = "{self.data}"
[service]
domain = "relay.test"
postmaster = "ops@dest.test"
[smtp]
listen = ["{self.address}:25", "[{self.address_v6}]:25"]
[limits]
sessions_per_network = 1000
errors = 1000
[dkim]
selector = "2026"
private_key_file = "{shared}/dkim.pem"
[srs]
secret_file = "{shared}/srs.secret"
[delivery]
port = {PORT}
private_addresses = "allow"
retry_first = "1s"
retry_longest = "2s"
[dns]
servers = ["{DNS}:53"]
[http]
listen = "{self.address}:{HTTP_PORT}"
[admin]
listen = "127.0.0.1:{ADMIN_PORT}"
{self.cluster.settings}"""
        peers = ", ".join(f'{{ name = "{n.name}", address = "{n.peer_address()}" }}' for n in self.cluster.nodes)
        section = f"""[cluster]
listen = "{self.peer_address()}"
certificate_file = "{certificates}/{self.name}/node.pem"
private_key_file = "{certificates}/{self.name}/node.key"
ca_file = "{certificates}/{self.name}/ca.pem"
peers = [{peers}]
"""
        (self.folder / "postroad.toml").write_text(text + ("" if alone else section))

    def inside(self, *command):
        return ("nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command))

    def start(self):
        if not self.unwell or self.unwell[-1][1]:
            self.unwell.append([time.monotonic(), None])
        command = self.inside(BIN / "postroad", "serve", "--config", self.folder / "postroad.toml")
        self.process = self.cluster.world.start(self.log, *command)

    def start_ready(self, seconds=READY_WITHIN):
        """Starts it; it takes mail, and all is well with its part in the cluster, when this returns."""
        self.start()
        until(self.serves, seconds, Lazy(lambda: f"{self.name} is ready; it says {self.state()}"))

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, and SIGCONT by that."""
        if self.process is None:
            return
        self.unwell.append([time.monotonic(), None])
        self.cluster.world.end(self.process)
        self.process = None

    def stop(self):
        """SIGTERM, and waits for its end."""
        self.unwell.append([time.monotonic(), None])
        self.process.terminate()
        status = self.process.wait(60)
        self.cluster.world.processes.remove(self.process)
        self.process = None
        assert status == 0, f"{self.name} exits with {status} at SIGTERM"

    def freeze(self):
        self.unwell.append([time.monotonic(), None])
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def wipe(self, folder):
        """A disk that is gone: all of it, or what a node keeps of the cluster."""
        shutil.rmtree(folder, ignore_errors=True)

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address}:{HTTP_PORT}{path}", timeout=5) as answer:
            return answer.read().decode()

    def deliveries_heard(self):
        """How often it was told something of a delivery that it did not know."""
        wanted = re.compile(r'postroad_cluster_facts_total\{(?=.*kind="delivery")(?=.*event="received").*\} (\d+)')
        return sum(int(found[1]) for found in wanted.finditer(self.get("/metrics")))

    def state(self):
        """What /readyz says, in a line."""
        try:
            return self.get("/readyz").strip().replace("\n", "; ")
        except urllib.error.HTTPError as answer:
            return answer.read().decode().strip()
        except OSError as error:
            return f"no answer ({error})"

    def serves(self):
        """Whether it says that all is well, and takes mail where there is a rule; from then on it is well again."""
        assert self.runs(), f"{self.name} has exited with {self.process and self.process.returncode}: {self.last_words()}"
        if self.state() != "ok" or (self.cluster.has_route and not takes_mail(self)):
            return False
        for interval in self.unwell:
            interval[1] = interval[1] or time.monotonic()
        return True

    def was_unwell(self, begun, ended):
        return any(since <= ended and (well is None or begun <= well) for since, well in list(self.unwell))

    def last_words(self, lines=5):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def disk(self):
        return disk.read(self.data / "raft")

    def resident_megabytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024

    def ctl(self, *arguments, seconds=60):
        """`postroadctl --output json`, what it printed; Refused if it failed."""
        command = self.inside(BIN / "postroadctl", "--server", f"http://127.0.0.1:{ADMIN_PORT}", "--output", "json", *arguments)
        done = subprocess.run(command, capture_output=True, timeout=seconds, text=True)
        if done.returncode:
            raise Refused(done.stderr.strip())
        objects = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return objects[0] if len(objects) == 1 else objects

    def change(self, *arguments, seconds=20):
        """Makes a change as soon as it is taken: a repeat that finds it done is content."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.ctl(*arguments)
            except Refused as refused:
                if refused.reason in ("DOMAIN_EXISTS", "DESTINATION_EXISTS"):
                    return None
                assert time.monotonic() < end, f"{self.name} takes no change within {seconds} s: {' '.join(arguments)}: {refused}"
                time.sleep(0.05)

    def add_route(self):
        """info@ goes to the destination."""
        self.change("domain", "add", DOMAIN)
        self.change("destination", "add", "ana@dest.test", "--verified")
        self.change("rule", "add", DOMAIN, "--to", "info", "--forward", "ana@dest.test")
        self.cluster.has_route = True

    def table(self):
        """Domains and rules as it shows them, with their revisions; None where it does not answer."""
        try:
            domains = self.ctl("domain", "list")["domains"]
            return domains, [self.ctl("rule", "list", domain["name"].removeprefix("domains/")) for domain in domains]
        except Refused:
            return None

    def queued(self):
        return self.ctl("queue", "list")["messages"]
