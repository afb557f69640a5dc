"""The sender's side: messages, their signatures, an SMTP client that sends exactly the octets it is given, verifiers."""
import contextlib
import dataclasses
import email.utils
import itertools
import re
import socket

import dkim
import dns.resolver

GOOD, LISTED, STRANGER = "127.0.0.50", "127.0.0.66", "127.0.0.77"  # clients: in sender.test's SPF; on the DNSBL; neither
HELO = {GOOD: "client.sender.test", LISTED: "listed.sender.test", STRANGER: "stranger.test", "::1": "client.sender.test"}
SENDER = "alice@sender.test"
REPLY_LIMIT = 60  # seconds; every wait for the node is bounded by it
_numbers = itertools.count(1)


@dataclasses.dataclass
class Reply:
    code: int
    lines: list

    @property
    def text(self):
        return "\n".join(self.lines)

    def __str__(self):
        return f"{self.code} {' | '.join(self.lines)}"


class Smtp:
    """One session; replies are read in full and kept as they came."""

    def __init__(self, server, source=GOOD, helo=None):
        self.socket = socket.create_connection(server, timeout=REPLY_LIMIT, source_address=(source, 0))
        self.stream = self.socket.makefile("rb")
        self.banner = self.reply()
        self.extensions = self.command(f"EHLO {helo or HELO[source]}")

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is None:
            with contextlib.suppress(OSError):  # the node may have ended the session first
                self.command("QUIT")
        self.stream.close()
        self.socket.close()

    def reply(self):
        lines = []
        while True:
            line = self.stream.readline(4096)
            if not line:
                raise ConnectionError(f"connection closed, after {lines}")
            assert line.endswith(b"\r\n") and len(line) <= 512, f"reply line not of RFC 5321: {line}"
            lines.append(line[4:-2].decode("utf-8"))
            if line[3:4] == b" ":
                return Reply(int(line[:3]), lines)

    def command(self, line):
        self.raw(line.encode() + b"\r\n")
        return self.reply()

    def raw(self, octets):
        self.socket.sendall(octets)

    def envelope(self, reverse_path, *recipients, parameters=""):
        """The first refusal of MAIL or RCPT, or None."""
        lines = [f"MAIL FROM:<{reverse_path}>{parameters}"] + [f"RCPT TO:<{r}>" for r in recipients]
        for line in lines:
            answer = self.command(line)
            if answer.code != 250:
                return answer
        return None

    def content(self, octets):
        """The answer to the final dot (or to DATA, if it is refused)."""
        answer = self.command("DATA")
        if answer.code != 354:
            return answer
        self.raw(stuffed(octets) + b".\r\n")
        return self.reply()

    def send(self, octets, *recipients, reverse_path=SENDER):
        return self.envelope(reverse_path, *recipients) or self.content(octets)


def stuffed(octets):
    """RFC 5321 §4.5.2"""
    return re.sub(rb"(?m)^\.", b"..", octets)


def send(node, octets, *recipients, reverse_path=SENDER, source=GOOD):
    """One transaction in a session of its own."""
    with Smtp(node.smtp, source) as session:
        return session.send(octets, *recipients, reverse_path=reverse_path)


@dataclasses.dataclass
class Message:
    id: str
    octets: bytes

    @property
    def body(self):
        return self.octets.split(b"\r\n\r\n", 1)[1]


def message(world, to, sign=True, fields=(), author=SENDER, body=None, canonicalization=b"simple"):
    """A message with what relays like to spoil: folded and oddly spaced fields, 8-bit text, dots, trailing blanks."""
    identity = f"<{next(_numbers)}.{world.token}@sender.test>"
    if not any(field.startswith("Subject:") for field in fields):
        fields = ["Subject: caffe latte,\r\n  folded   and spaced", *fields]
    head = [f"From:  Alice  Example\r\n\t<{author}>", f"To: <{to}>", f"Message-ID: {identity}",
            "Date: " + email.utils.formatdate(), "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit", *fields]
    if body is None:
        body = ".\r\n..two dots\r\ntrailing blanks  \t\r\n\r\ngr\u00fc\u00dfe\r\n" + "x" * 998 + "\r\n\r\n\r\n"
    octets = ("\r\n".join(head) + "\r\n\r\n" + body).encode()
    if sign:
        octets = dkim.sign(octets, b"s1", b"sender.test", world.keys["sender"].read_bytes(),
                           canonicalize=(canonicalization, canonicalization),
                           include_headers=[b"from", b"to", b"subject", b"date", b"message-id", b"content-type"]) + octets
    return Message(identity, octets)


def head(octets):
    """The fields of a message, unfolded, in order: [(lower-case name, value)]."""
    section = re.sub(rb"\r\n([ \t])", rb"\1", octets.split(b"\r\n\r\n", 1)[0])
    pairs = (line.partition(b":") for line in section.split(b"\r\n"))
    return [(name.decode("latin1").lower(), value.strip().decode("latin1")) for name, _, value in pairs]


def values(octets, name):
    return [value for field, value in head(octets) if field == name]


def tag(signature, name):
    found = re.search(rf"(?:^|;)\s*{name}\s*=\s*([^;]*)", signature)
    return re.sub(r"\s", "", found[1]) if found else None


class Verifier:
    """dkimpy with the world's DNS."""

    def __init__(self, dns_address, dns_port):
        self.resolver = dns.resolver.Resolver(configure=False)
        self.resolver.nameservers, self.resolver.port, self.resolver.lifetime = [dns_address], dns_port, 5

    def txt(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        try:
            return b"".join(next(iter(self.resolver.resolve(name, "TXT"))).strings)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None

    def signatures(self, octets):
        """{(d=, a=): valid} of every DKIM-Signature."""
        found = {}
        for index, signature in enumerate(values(octets, "dkim-signature")):
            valid = dkim.DKIM(octets).verify(idx=index, dnsfunc=self.txt)
            found[tag(signature, "d"), tag(signature, "a")] = valid
        return found

    def arc(self, octets):
        """The chain's verdict: pass, fail or none, and how many sets it has."""
        verdict, sets, _ = dkim.arc_verify(octets, dnsfunc=self.txt)
        return verdict.decode(), len(sets)
