"""The destinations' MX hosts: a real Postfix, a real Exim, and a scripted host for what neither can be made to do."""
import os
import re
import shutil
import socket
import socketserver
import threading
import time

from tools import answers, run, until

PORT = 2525  # of every destination: `delivery.port`
WIRE, POSTFIX, POSTFIX_TLS, POSTFIX_TWIN = "127.0.0.25", "127.0.0.26", "127.0.0.27", "127.0.0.28"
EXIM, SCRIPTED = "127.0.0.30", "127.0.0.35"
DAEMONS = "/usr/lib/postfix/sbin"


# service type private unprivileged chroot wakeup maxproc command
SERVICES = ["pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
            "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
            "error unix - - n - - error", "retry unix - - n - - error", "virtual unix - n n - - virtual",
            "anvil unix - - n - 1 anvil", "showq unix n - n - - showq", "postlog unix-dgram n - n - 1 postlogd"]


def common(world, name, folder):
    """What every Postfix here has in its main.cf."""
    return f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {world.logs}/{name}-mail
maillog_file_prefixes = {world.folder}
command_directory = /usr/sbin
daemon_directory = {DAEMONS}
mail_owner = postfix
setgid_group = postdrop
"""


class Postfix:
    """A Postfix with folders of its own that delivers to Maildirs. Port 2525 of five addresses: 127.0.0.26 plain and behind
    127.0.0.25, where every octet is recorded; 127.0.0.27 with STARTTLS; ::1 and 127.0.0.28, the two addresses of one host."""

    MAILBOXES = ["bob.private@dest.test", "load.private@load.test", "ops@dest.test", "bob.private@tls.test",
                 "bob.private@six.test", "bob.private@hole.test", "alice@sender.test"]

    def __init__(self, world):
        self.folder = world.folder / "postfix"
        self.etc, self.boxes = self.folder / "etc", self.folder / "boxes"
        for folder in (self.folder, self.etc, self.folder / "queue", self.folder / "data", self.boxes):
            folder.mkdir()
        os.chown(self.boxes, 65534, 65534)
        shutil.chown(self.folder / "data", "postfix")
        (self.etc / "main.cf").write_text(self.main(world))
        (self.etc / "master.cf").write_text(self.master())
        (self.etc / "boxes").write_text("".join(f"{b} {box_path(b)}/\n" for b in self.MAILBOXES))
        (self.etc / "content").write_text("/^Subject: forbidden/ REJECT 5.7.1 this subject is not wanted here\n")
        run("postfix", "-c", self.etc, "check")
        self.process = world.start("postfix", f"{DAEMONS}/master", "-c", self.etc, "-d")
        until(lambda: answers(POSTFIX, PORT) and answers("::1", PORT), 20, "Postfix listens")
        self.wire = Wire(WIRE, POSTFIX)

    def main(self, world):
        return common(world, "postfix", self.folder) + f"""myhostname = mx.dest.test
mydestination =
mynetworks = 127.255.255.255/32
inet_protocols = all
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = dest.test load.test tls.test six.test hole.test sender.test
virtual_mailbox_maps = texthash:{self.etc}/boxes
virtual_mailbox_base = {self.boxes}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
message_size_limit = 41943040
header_checks = regexp:{self.etc}/content
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{full.private@dest.test = 452 4.2.2 mailbox full}} }}
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_received_header = yes
smtpd_tls_cert_file = {world.certificate}
smtpd_tls_key_file = {world.certificate_key}
"""

    def master(self):
        listeners = [f"{POSTFIX}:{PORT}", f"{POSTFIX_TWIN}:{PORT}", f"[::1]:{PORT}"]
        lines = [f"{l} inet n - n - - smtpd" for l in listeners]
        lines.append(f"{POSTFIX_TLS}:{PORT} inet n - n - - smtpd -o smtpd_tls_security_level=may")
        return "\n".join(lines + SERVICES) + "\n"

    def messages(self, mailbox):
        """Every message in a mailbox, as (envelope sender, octets with CRLF)."""
        found = []
        for file in sorted((self.boxes / box_path(mailbox) / "new").glob("*")):
            octets = file.read_bytes().replace(b"\n", b"\r\n")
            found.append((re.match(rb"Return-Path: <(.*)>\r\n", octets)[1].decode(), octets))
        return found

    def receive(self, mailbox, identity, seconds=20):
        """The one copy of a message that arrives; an error if it is there twice."""
        def copies():
            return [m for m in self.messages(mailbox) if identity.encode() in m[1]]
        until(copies, seconds, f"{identity} arrives in {mailbox}")
        assert len(copies()) == 1, f"{identity} arrived {len(copies())} times"
        return copies()[0]


def box_path(mailbox):
    local, domain = mailbox.split("@")
    return f"{domain}/{local}"


class Exim:
    """Exim with a configuration of its own, delivering to one Maildir."""

    def __init__(self, world, binary):
        self.folder = world.folder / "exim"
        for folder in (self.folder, self.folder / "spool", self.folder / "box"):
            folder.mkdir()
            shutil.chown(folder, "Debian-exim", "Debian-exim")
        configuration = self.folder / "exim.conf"
        configuration.write_text(f"""exim_path = {binary}
primary_hostname = mx.exim.test
spool_directory = {self.folder}/spool
log_file_path = {world.logs}/exim-%slog
pid_file_path = {self.folder}/exim.pid
local_interfaces = {EXIM}.{PORT}
never_users = root
keep_environment =
tls_advertise_hosts =
rfc1413_query_timeout = 0s
message_size_limit = 40M
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = recipient
acl_smtp_data = content

begin acl
recipient:
  deny  local_parts = gone.private
        message = 550 5.1.1 $local_part@$domain: no such mailbox here
  deny  local_parts = lines.private
        message = 5.7.1 three lines:\\nthe second names <$local_part@$domain>\\nand the third ends it
  require domains = exim.test
  accept

content:
  defer condition = ${{if match_local_part{{$recipients}}{{\\N^full\\.private@\\N}}}}
        message = 452 4.2.2 over quota
  deny  condition = ${{if match{{$h_subject:}}{{forbidden}}}}
        message = 554 5.7.1 this content is not wanted
  accept

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  maildir_format
  create_directory
  directory = {self.folder}/box
  user = Debian-exim
  return_path_add
""")
        world.start("exim", binary, "-C", configuration, "-bdf", "-q1m")
        until(lambda: answers(EXIM, PORT), 20, "Exim listens")

    def receive(self, identity, seconds=20):
        """The one copy of a message that arrives; an error if it is there twice."""
        [octets] = until(lambda: self.copies(identity), seconds, f"Exim delivers {identity}")
        return octets

    def copies(self, identity):
        messages = [file.read_bytes() for file in (self.folder / "box" / "new").glob("*")]
        return [m for m in messages if identity.encode() in m]


class Wire:
    """Passes connections on to another address, and keeps every octet that the node sent."""

    def __init__(self, address, target):
        self.sent = []  # one bytearray a connection
        listener = socket.create_server((address, PORT), backlog=128)
        self.target = (target, PORT)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            near, _ = listener.accept()
            record = bytearray()
            self.sent.append(record)
            far = socket.create_connection(self.target)
            threading.Thread(target=pump, args=(near, far, record), daemon=True).start()
            threading.Thread(target=pump, args=(far, near, None), daemon=True).start()

    def mark(self):
        """Where every connection stands now."""
        return [len(record) for record in self.sent]

    def since(self, mark):
        """What was sent after a mark, connection by connection."""
        starts = mark + [0] * (len(self.sent) - len(mark))
        return [bytes(record[start:]) for record, start in zip(self.sent, starts)]


def pump(source, target, record):
    try:
        while octets := source.recv(65536):
            if record is not None:
                record += octets
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()


class ScriptedMx:
    """Takes everything; how long it waits before its answer to the final dot can be set, and that it says nothing."""

    def __init__(self):
        self.delay, self.silent = 0.0, False
        self.begun, self.taken = [], []  # (recipient, octets): when all is there; when it is answered with 250

        class Handler(socketserver.StreamRequestHandler):
            owner = self

            def handle(self):
                if not self.owner.silent:
                    converse(self.owner, self.rfile, self.wfile)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

            def handle_error(self, *_):
                """A peer that goes away is no error here."""

        threading.Thread(target=Server((SCRIPTED, PORT), Handler).serve_forever, daemon=True).start()


def converse(owner, lines, answers):
    def answer(text):
        answers.write(text.encode() + b"\r\n")

    recipient = None
    answer("220 mx.scripted.test ESMTP")
    while line := lines.readline(4096):
        verb = line[:4].upper()
        if verb == b"EHLO":
            answer("250-mx.scripted.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0")
        elif verb == b"RCPT":
            recipient = line.decode().strip()
            answer("250 2.1.5 ok")
        elif verb == b"DATA":
            answer("354 go on")
            octets = bytearray()
            while (line := lines.readline()) not in (b".\r\n", b""):
                octets += line
            owner.begun.append((recipient, bytes(octets)))
            time.sleep(owner.delay)
            owner.taken.append((recipient, bytes(octets)))
            answer("250 2.0.0 taken")
        elif verb == b"QUIT":
            answer("221 2.0.0 bye")
            return
        else:
            answer("250 2.0.0 ok")
