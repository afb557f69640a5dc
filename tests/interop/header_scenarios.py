"""What we judge is what the next hop reads (RFC 5322 §2.2): odd header sections through the node to Postfix and Exim, and
the author that Python's parsers and Dovecot show of what arrives. One that we judged, or nothing arrives."""
import email
import email.policy
import email.utils
import os
import re
import shutil

from client import SENDER, message, send, values
from tools import run
from world import ALIASES, INSTALLED

INTRUDER = "ceo@unsigned.test"
TAKEN, REFUSED = "taken", "refused"


def first(line):
    return lambda octets: line + octets


def inside(lines):
    return lambda octets: octets.replace(b"To: ", lines + b"To: ", 1)


def instead(old, new):
    def change(octets):
        assert old in octets, f"{old} is not in: {octets}"
        return octets.replace(old, new, 1)
    return change


FROM_FIELD = f"From: <{INTRUDER}>\r\n".encode()
OWN_FIELD = f"From:  Alice  Example\r\n\t<{SENDER}>\r\n".encode()

# what it is, how a message is made so, what is to become of it
ODD = [
    ("an ordinary message", inside(b""), TAKEN),
    ("a From_ line first", first(f"From {INTRUDER} Mon Nov 23 12:00:00 2026\r\n".encode()), TAKEN),
    ("a quoted From_ line first", first(f">From {INTRUDER} Mon Nov 23 12:00:00 2026\r\n".encode()), TAKEN),
    ("a From_ line that looks like a field", first(f"From {INTRUDER}: x\r\n".encode()), TAKEN),
    ("two From_ lines first", first(b"From a\r\nFrom b\r\n"), REFUSED),
    ("a From_ line and a folded line", first(b"From a\r\n folded\r\n"), REFUSED),
    ("a From_ line in lower case first", first(f"from {INTRUDER} Mon Nov 23 12:00:00 2026\r\n".encode()), REFUSED),
    ("a From_ line within", inside(f"From {INTRUDER} Mon Nov 23 12:00:00 2026\r\n".encode()), REFUSED),
    ("an encoded From_ line first", first(f"=?utf-8?q?From_{INTRUDER}?=\r\n".encode()), REFUSED),
    ("prose first", first(b"Please find the report attached.\r\n"), REFUSED),
    ("prose with a From field behind it", first(b"Please find the report attached.\r\n" + FROM_FIELD), REFUSED),
    ("prose with a colon", inside(b"Note well: this is prose\r\n"), REFUSED),
    ("a colon first", inside(b": no name\r\n"), REFUSED),
    ("a blank before the colon", inside(b"X-Spaced : x\r\n"), TAKEN),
    ("a blank before the colon of the first field", first(b"X-Spaced : x\r\n"), TAKEN),
    ("a tab before the colon", inside(b"X-Spaced\t: x\r\n"), TAKEN),
    ("From with a blank before the colon", instead(b"From:", b"From :"), TAKEN),
    ("a second From with a blank before the colon", first(FROM_FIELD.replace(b":", b" :", 1)), REFUSED),
    ("8-bit in a name", inside("X-Caf\u00e9: x\r\n".encode()), REFUSED),
    ("a control octet in a name", inside(b"X-\x01: x\r\n"), REFUSED),
    ("a byte order mark first", first("\ufeff".encode() + FROM_FIELD), REFUSED),
    ("a folded line first", first(b" folded\r\n"), REFUSED),
    ("a folded From first", first(b"\t" + FROM_FIELD), REFUSED),
    ("a blank folded line", inside(b"X-Folded: x\r\n \t\r\n y\r\n"), TAKEN),
    ("a blank folded line before all else", first(b"X-Folded: x\r\n \t\r\n y\r\n"), TAKEN),
    ("a blank folded line at the end of the first field", first(b"X-Folded: x\r\n \r\n"), TAKEN),
    ("a blank folded line under an empty field", first(b"X-Folded:\r\n \r\n"), TAKEN),
    ("a blank folded line and a From field", first(b"X-Folded: x\r\n \r\n" + FROM_FIELD), REFUSED),
    ("a MIME boundary in the header", inside(b"--boundary\r\n"), REFUSED),
    ("no empty line, and prose", instead(b"\r\n\r\n", b"\r\n"), REFUSED),
    ("an empty line first", first(b"\r\n"), REFUSED),
    ("two From fields", first(FROM_FIELD), REFUSED),
    ("two From fields, one in capitals", inside(FROM_FIELD.replace(b"From", b"FROM")), REFUSED),
    ("no From field", instead(OWN_FIELD, b""), REFUSED),
    ("a From field behind a bare CR", inside(b"X-Cr: x\r" + FROM_FIELD), REFUSED),
    ("a From field behind a bare LF", inside(b"X-Lf: x\n" + FROM_FIELD), REFUSED),
    ("a NUL in a field", inside(b"X-Nul: \0\r\n"), REFUSED),
    ("more fields than any message has", inside(b"X: y\r\n" * 1000), REFUSED),
    ("a From field folded under another", inside(b"X-Folded: x\r\n " + FROM_FIELD), TAKEN),
    ("a From field behind what some call line ends",
     inside("X-Ends: a\x0bFrom: b\x0cFrom: c\x1cFrom: d\x85From: e\u2028From: f\r\n".encode()), TAKEN),
    ("a From field at the start of the body", instead(b"\r\n\r\n", b"\r\n\r\n" + FROM_FIELD), TAKEN),
    ("a header section and nothing else", lambda octets: octets.split(b"\r\n\r\n")[0] + b"\r\n", TAKEN),
    ("From on a line of its own", instead(b"From:  Alice", b"From:\r\n\tAlice"), TAKEN),
    ("a field without a value", first(b"X-Nothing:\r\n"), TAKEN),
    ("a name of odd signs", inside(b"List-;b=x(y)<z>@,\"\\[]: x\r\n"), TAKEN),
    ("a boundary that is a name", inside(b"--boundary: x\r\n"), TAKEN),
    ("a long name", inside(b"X" * 900 + b": x\r\n"), TAKEN),
    ("a long line before From", first(b"X-Long: " + b"x " * 20_000 + b"\r\n"), TAKEN),
    ("a header past what Postfix keeps of one", first(b"X-Long: x\r\n" + b" xxxxxxxxxxxxxxxxxx\r\n" * 6_000), TAKEN),
    ("900 fields before From", first(b"X-Many: y\r\n" * 900), TAKEN),
]


def what_we_judged_is_the_author_that_every_reader_shows(world):
    wrong, arrived = [], []
    for name, change, expected in ODD:
        for alias in ("info", "exim"):
            sent = message(world, f"{alias}@customer.test", sign=False, body="text\r\n")
            reply = send(world.node, change(sent.octets), f"{alias}@customer.test")
            found = TAKEN if reply.code == 250 else REFUSED if reply.code // 100 == 5 else reply.code
            if found != expected:
                wrong.append(f"{name}: wanted it {expected}, heard {reply}")
            if found == TAKEN:
                arrived.append((f"{name}, by {alias}", sent.id, delivered(world, alias, sent.id)))
    shown = dovecot(world, [octets for _, _, octets in arrived])
    for (name, identity, octets), by_dovecot in zip(arrived, shown):
        verdicts = [v for v in values(octets, "authentication-results") if v.startswith("relay.test;")]
        if len(verdicts) != 1 or "dmarc=pass (p=reject) header.from=sender.test" not in verdicts[0]:
            wrong.append(f"{name}: judged {verdicts}")
        readers = {"Dovecot": by_dovecot, "Python": python(octets, email.policy.compat32),
                   "Python's default policy": python(octets, email.policy.default)}
        wrong += [f"{name}: {reader} shows {found}" for reader, found in readers.items() if found != [SENDER]]
    assert not wrong, "\n".join(wrong)


def delivered(world, alias, identity):
    if alias == "info":
        return world.postfix.receive(ALIASES[alias], identity)[1]
    return world.exim.receive(identity).replace(b"\n", b"\r\n")


def python(octets, policy):
    """The authors of a message, as Python's parser reads them."""
    fields = email.message_from_bytes(octets, policy=policy).get_all("From") or []
    return [address for _, address in email.utils.getaddresses([str(field) for field in fields])]


def dovecot(world, messages):
    """The authors of messages, as IMAP's ENVELOPE has them."""
    box = world.folder / "dovecot"
    for part in ("new", "cur", "tmp"):
        (box / part).mkdir(parents=True)
    for number, octets in enumerate(messages):
        (box / "new" / f"{number + 1:06}.x").write_bytes(octets.replace(b"\r\n", b"\n"))
    for path in [box, *box.rglob("*")]:
        shutil.chown(path, "nobody", "nogroup")
    installed = INSTALLED / "dovecot-core/usr"
    libraries = installed / "lib/dovecot"
    talk = run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", f"HOME={box}", "USER=nobody",
               f"LD_LIBRARY_PATH={libraries}", f"PATH={os.environ['PATH']}", installed / "bin/doveadm", "-O",
               "-o", f"mail_location=maildir:{box}", "-o", f"mail_plugin_dir={libraries}/modules",
               "-o", "stats_writer_socket_path=", "fetch", "uid imap.envelope", "all").decode("utf-8", "replace")
    envelopes = re.split(r"^imap\.envelope: ", talk, flags=re.M)[1:]
    assert len(envelopes) == len(messages), talk
    return [authors(envelope) for envelope in envelopes]


def authors(envelope):
    """The first addresses of an envelope are those of From (RFC 3501 §7.4.2), each as name, route, mailbox and host."""
    first = re.search(r"\(\((.*?)\)\)", envelope, re.S)
    part = r'(?:NIL|"((?:[^"\\]|\\.)*)")'
    addresses = re.findall(" ".join([part] * 4), first[1]) if first else []
    return [f"{mailbox}@{host}" for _, _, mailbox, host in addresses]


ALL = [what_we_judged_is_the_author_that_every_reader_shows]
