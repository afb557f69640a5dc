"""A node to look at, and a Prometheus that scrapes it, each started when it is first asked for and ended at the end."""
import contextlib
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from files import RULE_FILES
from tools import Skip, until

# From the start of a debug build to the end of its samples, on a busy machine.
NODE_SECONDS = 60
PROMETHEUS_SECONDS = 30
END_SECONDS = 10
# Direct: no proxy of the environment is asked for loopback.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url):
    with DIRECT.open(url, timeout=10) as answer:
        return answer.read().decode()


class World:
    def __init__(self, environment):
        self.programs = pathlib.Path(environment["POSTROAD_INTEROP"]) / "prometheus/usr/bin"
        self.postroad = pathlib.Path(environment["POSTROAD_BIN"]) / "postroad"
        self.given = environment.get("POSTROAD_METRICS")
        self.ends = contextlib.ExitStack()
        self.url = self.text = self.server = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postroad-observe-"))
        self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_):
        self.ends.close()

    def promtool(self, *words, text=None):
        """(exit status, everything that it printed)."""
        command = [self.programs / "promtool", *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def scrape(self):
        """A live node's metrics in Prometheus's text format."""
        if self.text is None:
            self.text = pathlib.Path(self.given).read_text() if self.given else fetch(self.node())
        return self.text

    def node(self):
        """The metrics URL of a node that has just sent its samples."""
        if self.url is None:
            output = self.started("node", self.postroad, "dev", "--keep")

            def told():
                return re.search(r"^\s*curl (http://\S+/metrics)$", output.read_text(), re.M)

            self.url = until(told, NODE_SECONDS, f"a node that has sent its samples, {self.postroad}")[1]
        return self.url

    def prometheus(self):
        """The URL of a Prometheus that has scraped the node and evaluated the rules more than once."""
        if self.server is None:
            self.server = self.start_prometheus()
        return self.server

    def start_prometheus(self):
        program = self.programs / "prometheus"
        if not program.exists():
            raise Skip(f"there is no {program}")
        if not self.postroad.exists():
            raise Skip(f"there is no {self.postroad} to scrape")
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        target = urllib.parse.urlsplit(self.node()).netloc
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in RULE_FILES],
            "scrape_configs": [{"job_name": "postroad", "static_configs": [{"targets": [target]}]}],
        }
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        places = [f"--config.file={path}", f"--storage.tsdb.path={self.folder}/tsdb", f"--web.listen-address={address}"]
        output = self.started("prometheus", program, *places, "--log.level=warn")
        url = f"http://{address}"

        def has_scraped():
            try:
                fetch(f"{url}/-/ready")
                return self.ask(url, "count_over_time(postroad_build_info[10s]) >= 5") and self.rules(url)
            except OSError:  # not listening yet, or not ready
                return False

        try:
            until(has_scraped, PROMETHEUS_SECONDS, "a Prometheus that has scraped the node")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{output.read_text()[-2000:]}") from None
        return url

    @staticmethod
    def ask(url, expression):
        """The series that an expression gives; an AssertionError where it cannot be run."""
        try:
            answer = fetch(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}\n  {error.read().decode()}") from None
        return json.loads(answer)["data"]["result"]

    @staticmethod
    def rules(url):
        """Every rule as Prometheus has it, once all were evaluated."""
        groups = json.loads(fetch(f"{url}/api/v1/rules"))["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return [] if any(rule["health"] == "unknown" for rule in found) else found

    def started(self, name, *command):
        """Starts a program that is ended, by its pid, at the latest with this world; where its output goes."""
        output = self.folder / f"{name}.log"
        with output.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen([str(word) for word in command], **streams)
        self.ends.callback(end, process)
        return output


def end(process):
    process.send_signal(signal.SIGINT)  # at which `dev` deletes its files too
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
