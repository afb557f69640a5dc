"""The destination's MX: takes everything at once, but for what it is to think about, and keeps of each copy which message it
was, from where, and when."""
import re
import socket
import socketserver
import threading
import time

NUMBER = re.compile(rb"^Subject: number (\S+)\r\n", re.MULTILINE)
TRACE = re.compile(rb"\bid ([0-9A-HJKMNP-TV-Z]{26})\b")


class Copy:
    """A copy that arrived: from whom, in which of the node's transactions, when its last octet was here."""

    def __init__(self, peer, octets):
        trace = TRACE.search(octets)
        self.peer, self.at, self.trace = peer, time.monotonic(), trace and trace[1].decode()


class Sink:
    def __init__(self, *addresses):
        self.copies, self.lock, self.thinks = {}, threading.Lock(), {}
        for address in addresses:
            server = Server(address, Session)
            server.owner = self
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def take(self, peer, octets):
        found = NUMBER.search(octets)
        if found:
            number = found[1].decode()
            with self.lock:
                self.copies.setdefault(number, []).append(Copy(peer, octets))
            if number in self.thinks:
                self.thinks[number].wait(30)

    def think_about(self, number):
        """Has the answer to a message wait until what is returned is set."""
        self.thinks[number] = threading.Event()
        return self.thinks[number]

    def copies_of(self, number):
        with self.lock:
            return list(self.copies.get(number, ()))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, address, handler):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, *_):
        """A node that goes away is what is tested here."""


class Session(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    replies = {b"EHLO": "250-mx.dest.test\r\n250-PIPELINING\r\n250 8BITMIME", b"QUIT": "221 2.0.0 bye"}

    def handle(self):
        self.say("220 mx.dest.test ESMTP")
        while line := self.rfile.readline(4096):
            verb = line[:4].upper()
            if verb == b"DATA":
                self.receive()
                continue
            self.say(self.replies.get(verb, "250 2.0.0 ok"))
            if verb == b"QUIT":
                return

    def receive(self):
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                return
            lines.append(line)
        self.server.owner.take(self.client_address[0], b"".join(lines))
        self.say("250 2.0.0 taken")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
