"""Clients that do what RFC 5321 asks of them: a message is theirs until its dot is answered 250, the next MX is tried where
one does not take it, and whoever hears nothing sends again."""
import dataclasses
import ipaddress
import random
import socket
import threading
import time

from tools import until
from world import CLIENTS, DOMAIN, PORT, SENDER

RECIPIENT = f"info@{DOMAIN}"
PATIENCE = 60  # seconds for a reply
BODY = ("x" * 70 + "\r\n") * 20
GIVEN_UP_AFTER = 90  # seconds in which a message finds no node that takes it


class Hung(OSError):
    """The connection ended where a reply was due."""


class Smtp:
    """A session from this address, or one that nobody else has, over IPv4, or over IPv6 from the one that there is."""

    def __init__(self, node, over_v6=False, timeout=PATIENCE, source=None):
        source, target = ("fd66::1", node.address_v6) if over_v6 else (source or sources(1)[0], node.address)
        self.socket = socket.create_connection((target, PORT), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")

    def reply(self):
        """(code, text of the last line)."""
        while True:
            line = self.replies.readline(4096)
            if not line.endswith(b"\n"):
                raise Hung("no reply")
            if line[3:4] != b"-":
                return int(line[:3]), line[4:].decode(errors="replace").strip()

    def say(self, octets):
        self.socket.sendall(octets.encode() + b"\r\n")
        return self.reply()

    def close(self):
        self.replies.close()
        self.socket.close()


def sources(count):
    """So many addresses of clients, all different."""
    network = ipaddress.ip_network(CLIENTS)
    return [str(network[host]) for host in random.sample(range(1, network.num_addresses - 1), count)]


def answer_to(node, recipient, source=None):
    """(code, text) of the first reply that is no yes, or of the last; OSError where there is none."""
    session = Smtp(node, timeout=10, source=source)
    try:
        session.reply()
        for line in ("EHLO mail.sender.test", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{recipient}>"):
            code, text = session.say(line)
            if code >= 400:
                break
        return code, text
    finally:
        session.close()


def takes_mail(node):
    """Whether a node takes mail for the address that has a rule; it never says that there is none such."""
    try:
        code, text = answer_to(node, RECIPIENT)
    except OSError:
        return False
    assert code < 500, f"{node.name} says {code} {text} to {RECIPIENT}, which has a rule"
    return code == 250


def letter(number):
    """A message up to its dot, the same each time that it is sent."""
    return (f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nMessage-ID: <{number}@sender.test>\r\n"
            f"Date: Mon, 30 Nov 2026 12:00:00 +0000\r\nSubject: number {number}\r\n\r\n{BODY}.")


@dataclasses.dataclass
class Attempt:
    """What came of one message on one node."""
    node: object
    begun: float
    step: str = "connect"
    code: int = None  # of the last reply; None: the connection ended
    text: str = ""
    ended: float = None

    @property
    def accepted(self):
        return self.step == "dot" and self.code == 250

    @property
    def unheard(self):
        """The node may have the message, and its client cannot know."""
        return self.step == "dot" and self.code is None

    def __str__(self):
        return f"{self.node.name} at {self.step}: {self.code or 'cut'} {self.text}"


class Client(threading.Thread):
    """Sends one message after the other, a few in a session, until told to stop."""

    def __init__(self, load, name):
        super().__init__(daemon=True)
        self.load, self.chance = load, random.Random(f"{load.seed} {name}")
        self.prefix, self.session, self.at = name, None, None

    def run(self):
        count = 0
        while not self.load.ends.is_set():
            count += 1
            self.deliver(f"{self.prefix}-{count}")
            time.sleep(self.chance.uniform(0, 2 * self.load.pause))
        self.hang_up()

    def deliver(self, number):
        attempts, end = self.load.attempts.setdefault(number, []), time.monotonic() + GIVEN_UP_AFTER
        nodes = list(self.load.nodes)
        self.chance.shuffle(nodes)
        if self.at in nodes and self.chance.random() < 0.5:
            nodes.sort(key=lambda node: node is not self.at)  # on in the session that there is
        for tried in range(10**6):
            attempt = self.attempt(nodes[tried % len(nodes)], number)
            attempts.append(attempt)
            if attempt.accepted or time.monotonic() > end:
                return
            if tried % len(nodes) == len(nodes) - 1:
                time.sleep(0.2)

    def attempt(self, node, number):
        attempt = Attempt(node, time.monotonic())
        try:
            self.talk(attempt, number)
        except OSError as error:
            attempt.code, attempt.text = None, str(error)
        attempt.ended = time.monotonic()
        if not attempt.accepted:
            self.hang_up()
        return attempt

    def talk(self, attempt, number):
        if self.session is None or self.at is not attempt.node:
            self.hang_up()
            self.session, self.at = Smtp(attempt.node, self.chance.random() < 0.25), attempt.node
            if not self.heard(attempt, "greeting", self.session.reply(), 220):
                return
            if not self.heard(attempt, "EHLO", self.session.say("EHLO mail.sender.test"), 250):
                return
        for step, line, code in (("MAIL", f"MAIL FROM:<{SENDER}>", 250), ("RCPT", f"RCPT TO:<{RECIPIENT}>", 250),
                                 ("DATA", "DATA", 354), ("dot", letter(number), 250)):
            attempt.step, attempt.code = step, None
            if not self.heard(attempt, step, self.session.say(line), code):
                return

    @staticmethod
    def heard(attempt, step, reply, wanted):
        attempt.step, (attempt.code, attempt.text) = step, reply
        return attempt.code == wanted

    def hang_up(self):
        if self.session:
            self.session.close()
        self.session = None


class Load:
    """Clients at work on some nodes, and the judgement of what they heard against what arrived."""

    def __init__(self, world, nodes, seed, clients=12, pause=0.15):
        self.world, self.nodes, self.seed, self.pause = world, list(nodes), seed, pause
        self.attempts, self.ends = {}, threading.Event()
        self.clients = [Client(self, f"{nodes[0].cluster.number}-{seed}-{index}") for index in range(clients)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for client in self.clients:
            client.join(PATIENCE + GIVEN_UP_AFTER)

    def tried(self):
        """Every attempt that has ended."""
        return [attempt for attempts in list(self.attempts.values()) for attempt in list(attempts)]

    def judge(self, allowed_codes=(None, 421, 450, 451, 452)):
        """Asserts that no node said no that was well, that those that were not said nothing but what is allowed, that nothing
        is lost, and that nothing came twice without a cause; what was seen, in a line."""
        self.settle()
        wrong, causes, failed = [], {}, 0
        for number, attempts in self.attempts.items():
            wrong += [f"{number}: {a}, {since(a)}" for a in attempts if not a.accepted and not self.is_excused(a, allowed_codes)]
            failed += sum(not a.accepted for a in attempts)
            copies = self.world.sink.copies_of(number)
            if not attempts[-1].accepted:
                wrong.append(f"{number} was taken by nobody: {attempts[-1]}")
            elif not copies:
                wrong.append(f"{number} is lost: 250 from {attempts[-1].node.name}")
            for cause in map(str, self.causes(attempts, copies)):
                causes[cause] = causes.get(cause, 0) + 1
        without = causes.pop("None", 0)
        assert not wrong and not without, f"{len(wrong)} wrong, {without} doubled without a cause:\n" + "\n".join(wrong[:12])
        return (f"{len(self.attempts)} messages, {failed} attempts failed on nodes that were down, 0 lost, doubled: "
                + (", ".join(f"{count} {cause}" for cause, count in causes.items()) or "0"))

    def settle(self):
        """Waits until no node has anything queued."""
        until(lambda: not any(node.queued() for node in self.nodes), 90, "the queues are empty")

    @staticmethod
    def is_excused(attempt, allowed_codes):
        return attempt.code in allowed_codes and attempt.node.was_unwell(attempt.begun, attempt.ended)

    def causes(self, attempts, copies):
        """Why each copy past the first came: one cause for each, None where there is none."""
        unheard = sum(attempt.unheard for attempt in attempts)
        by_trace = {}
        for copy in copies:
            by_trace.setdefault(copy.trace, []).append(copy)
        for same in by_trace.values():
            for first, again in zip(same, same[1:]):
                died = any(n.was_unwell(first.at - 1, again.at) for n in self.nodes if n.address == first.peer)
                yield "sent again by a queue whose node died within a second of the first" if died else None
        for extra in range(len(by_trace) - 1):
            yield "cut between the end of DATA and the answer" if extra < unheard else None


def since(attempt):
    """How long an attempt took, and how long before it its node was last not well."""
    ends = [end for _, end in attempt.node.unwell if end and end <= attempt.begun]
    well = f"well for {attempt.begun - max(ends):.1f} s before" if ends else "never unwell before"
    return f"after {attempt.ended - attempt.begun:.2f} s, {well}"
