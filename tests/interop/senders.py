"""A real Postfix as the sender: it pipelines, keeps what is not answered, and tries it again."""
import itertools
import shutil

from client import GOOD, SENDER, Smtp
from destinations import DAEMONS, SERVICES, common
from tools import answers, run, until

LISTENER = "127.0.0.36", 2525  # where it takes what it is to send
_numbers = itertools.count(1)


class Postfix:
    """Sends to one node, from the address that sender.test's SPF record has, and waits `patience` for the answer to its
    final dot. One runs at a time."""

    def __init__(self, world, node, patience="600s"):
        self.world, self.name = world, f"sender{next(_numbers)}"
        self.etc, self.queue = world.folder / self.name / "etc", world.folder / self.name / "queue"
        data = world.folder / self.name / "data"
        for folder in (self.etc.parent, self.etc, self.queue, data):
            folder.mkdir()
        shutil.chown(data, "postfix")
        (self.etc / "main.cf").write_text(common(world, self.name, self.etc.parent) + f"""myhostname = client.sender.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
relayhost = [{node.smtp[0]}]:{node.smtp[1]}
smtp_bind_address = {GOOD}
smtp_data_done_timeout = {patience}
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
""")
        listener = "{}:{} inet n - n - - smtpd".format(*LISTENER)
        (self.etc / "master.cf").write_text("\n".join([listener, *SERVICES]) + "\n")

    def __enter__(self):
        run("postfix", "-c", self.etc, "check")
        self.process = self.world.start(self.name, f"{DAEMONS}/master", "-c", self.etc, "-d")
        until(lambda: answers(*LISTENER), 20, "Postfix listens")
        return self

    def __exit__(self, *_):
        self.world.end(self.process)

    def submit(self, octets, recipient):
        """Gives it a message to send."""
        with Smtp(LISTENER) as session:
            answer = session.send(octets, recipient, reverse_path=SENDER)
        assert answer.code == 250, answer

    def try_again(self):
        """Tries all that it has, whatever its back-off."""
        run("postqueue", "-c", self.etc, "-f")

    def is_idle(self):
        """Whether it has nothing to send."""
        folders = (self.queue / name for name in ("incoming", "active", "deferred"))
        return not any(file.is_file() for folder in folders for file in folder.rglob("*"))

    def log(self):
        log = self.world.logs / f"{self.name}-mail"
        return log.read_text() if log.exists() else ""
