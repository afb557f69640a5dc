"""What the node does with real peers, one function a sentence. Reply codes and rules: RFC 5321, RFC 7372, RFC 7505."""
import contextlib
import json
import re
import signal
import subprocess
import threading
import time

import client
import header_scenarios
import policy_scenarios
import senders
from client import GOOD, LISTED, SENDER, STRANGER, Smtp, message, send, stuffed, values
from tools import Skip, run, until
from world import ALIASES, DNS, INSTALLED, ISOLATED, Node

LIMIT = 26_214_400  # RFC 1870 SIZE that the node announces: 25 MiB
BOX = ALIASES["info"]


def refused(reply, code, *words):
    assert reply.code == code, f"wanted {code}, heard {reply}"
    for word in words:
        assert word in reply.text, f"{word!r} is not in: {reply}"
    assert ".private" not in reply.text, f"the private destination is in: {reply}"


def taken(reply):
    assert reply.code == 250, f"wanted 250, heard {reply}"


def arrives(world, alias, sign=True, **options):
    """Sends a message to an alias whose mailbox is Postfix's: (what was sent, Return-Path, what arrived)."""
    sent = message(world, f"{alias}@customer.test", sign=sign)
    taken(send(world.node, sent.octets, f"{alias}@customer.test", **options))
    return sent, *world.postfix.receive(ALIASES[alias], sent.id)


# -- forwarding ---------------------------------------------------------------------------------------

def a_signed_message_arrives_once_with_the_senders_signature_ours_and_the_arc_chain_valid(world):
    sent, reverse_path, arrived = arrives(world, "info")
    assert re.fullmatch(r"SRS0[=+-][^@]*=sender\.test=alice@customer\.test", reverse_path, re.I), reverse_path
    assert arrived.endswith(sent.octets), "the message's own octets changed"
    assert world.verifier.signatures(arrived) == {
        ("sender.test", "rsa-sha256"): True, ("relay.test", "rsa-sha256"): True, ("relay.test", "ed25519-sha256"): True}
    assert world.verifier.arc(arrived) == ("pass", 1)
    verdict = [v for v in values(arrived, "authentication-results") if v.startswith("relay.test;")]
    assert len(verdict) == 1, verdict
    for word in ("spf=pass", "dkim=pass", "dmarc=pass"):
        assert word in verdict[0], verdict


def opendkim_too_finds_our_signatures_valid(world):
    _, _, arrived = arrives(world, "info", sign=False)
    if not ISOLATED:
        raise Skip("OpenDKIM asks the system's resolver")
    found = opendkim(world, arrived)
    assert len(found) == 2 and all("dkim=pass" in line and "header.d=relay.test" in line for line in found), found


def opendkim(world, octets):
    """A line for each signature, from opendkim's test mode."""
    folder = world.folder / "opendkim"
    folder.mkdir(exist_ok=True)
    (folder / "message").write_bytes(octets.replace(b"\r\n", b"\n"))
    (folder / "resolver").write_text("server:\n  do-not-query-localhost: no\n  local-zone: test. nodefault\n")
    (folder / "conf").write_text(f"Mode v\nNameservers {DNS}\nResolverConfiguration {folder}/resolver\n"
                                 "InternalHosts 192.0.2.1\nAlwaysAddARHeader yes\n")
    talk = run("opendkim", "-x", folder / "conf", "-v", "-v", "-t", folder / "message").decode()
    return [line for line in talk.split("\n") if line.strip().startswith("dkim=")]


def a_relaxed_signature_over_trailing_blanks_is_judged_valid(world):
    """RFC 6376 §3.4.4: blanks at line ends and empty lines at the end are ignored."""
    sent = message(world, "info@customer.test", canonicalization=b"relaxed")
    taken(send(world.node, sent.octets, "info@customer.test"))
    _, arrived = world.postfix.receive(BOX, sent.id)
    assert "dkim=pass" in values(arrived, "authentication-results")[0], values(arrived, "authentication-results")
    assert world.verifier.signatures(arrived)["sender.test", "rsa-sha256"]


def the_private_destination_is_in_rcpt_to_and_in_no_other_octet_sent(world):
    mark = world.postfix.wire.mark()
    arrives(world, "info")
    refused(send(world.node, message(world, "gone@customer.test").octets, "gone@customer.test"), 550)
    octets = b"\r\n".join(world.postfix.wire.since(mark))
    lines = [line for line in octets.split(b"\r\n") if b".private" in line.lower()]
    assert lines and all(line.upper().startswith(b"RCPT TO:<") for line in lines), lines


def a_null_reverse_path_stays_null(world):
    _, reverse_path, _ = arrives(world, "info", reverse_path="")
    assert reverse_path == "", reverse_path


def an_unsigned_bounce_to_our_srs_address_goes_back_to_the_sender(world):
    _, srs, _ = arrives(world, "info")
    bounce = message(world, srs, sign=False, author="mailer-daemon@unsigned.test")
    with Smtp(world.node.smtp, STRANGER, helo="mx.unsigned.test") as session:
        taken(session.send(bounce.octets, srs, reverse_path=""))
    reverse_path, arrived = world.postfix.receive(SENDER, bounce.id)
    assert reverse_path == "" and arrived.endswith(bounce.octets)


def a_forged_srs_address_and_one_with_a_sender_are_refused(world):
    _, srs, _ = arrives(world, "info")
    bounce = message(world, srs, sign=False).octets
    refused(send(world.node, bounce, srs.replace("=alice@", "=mallory@"), reverse_path=""), 550)
    refused(send(world.node, bounce, srs), 550, "5.7.1")


def a_message_by_bdat_with_dots_of_its_own_arrives_as_one(world):
    """RFC 3030: what looks like an end of DATA inside a chunk is only text."""
    sent = message(world, "info@customer.test", body="one\r\n.\r\nMAIL FROM:<x@sender.test>\r\n..\r\nlast\r\n")
    with Smtp(world.node.smtp) as session:
        assert "CHUNKING" in session.extensions.lines, session.extensions
        assert session.envelope(SENDER, "info@customer.test") is None
        half = len(sent.octets) // 2
        session.raw(b"BDAT %d\r\n" % half + sent.octets[:half])
        taken(session.reply())
        session.raw(b"BDAT %d LAST\r\n" % (len(sent.octets) - half) + sent.octets[half:])
        taken(session.reply())
    _, arrived = world.postfix.receive(BOX, sent.id)
    assert arrived.endswith(sent.octets)


# -- the upstream's answer, in the sender's session -------------------------------------------------------

def relayed(world, alias, code, *words, fields=()):
    sent = message(world, f"{alias}@customer.test", fields=fields)
    reply = send(world.node, sent.octets, f"{alias}@customer.test")
    refused(reply, code, "upstream mx.", "(trace ", *words)
    return reply


def postfix_refuses_the_recipient_and_the_sender_hears_it_about_the_alias(world):
    relayed(world, "gone", 550, "5.1.1", "gone@customer.test", "User unknown")


def exim_refuses_the_recipient_and_the_sender_hears_it_about_the_alias(world):
    relayed(world, "eximgone", 550, "5.1.1", "eximgone@customer.test", "no such mailbox here")


def postfix_refuses_the_content_and_the_sender_hears_it(world):
    relayed(world, "info", 550, "5.7.1", "this subject is not wanted here", fields=["Subject: forbidden"])


def exim_refuses_the_content_with_554_and_the_sender_hears_it(world):
    relayed(world, "exim", 554, "5.7.1", "this content is not wanted", fields=["Subject: forbidden"])


def postfix_says_452_at_rcpt_and_the_sender_hears_it(world):
    relayed(world, "full", 452, "4.2.2", "mailbox full")


def exim_says_452_at_the_dot_and_the_sender_hears_it(world):
    relayed(world, "eximfull", 452, "4.2.2", "over quota")


def a_reply_of_several_lines_is_relayed_line_by_line(world):
    reply = relayed(world, "eximlines", 550, "three lines:", "the second names", "and the third ends it")
    assert len(reply.lines) >= 4 and "eximlines@customer.test" in reply.text, reply


def exim_takes_a_message_once(world):
    sent = message(world, "exim@customer.test")
    taken(send(world.node, sent.octets, "exim@customer.test"))
    world.exim.receive(sent.id)


def an_upstream_that_answers_too_late_neither_doubles_nor_loses_the_message(world):
    node = Node(world, delivery={"in_session_timeout": "4s"})
    sent = message(world, "late@customer.test")

    def copies():
        return [octets for _, octets in world.scripted.taken if sent.id.encode() in octets]

    world.scripted.delay = 9.0
    reply = send(node, sent.octets, "late@customer.test")
    assert reply.code == 250 and "Queued" in reply.text, reply
    assert copies() == []
    until(copies, 15, "the late answer is given")
    world.scripted.delay = 0.0
    assert node.stop() == 0
    assert len(copies()) == 1, f"delivered {len(copies())} times"


# -- Postfix as the sender: its QUIT is in the packet with the final dot --------------------------------------

def postfix_hears_a_prompt_and_a_late_reply_and_may_send_the_same_again(world):
    sent = message(world, "drain@customer.test")
    with senders.Postfix(world, world.node) as sender:
        for number, delay in enumerate((0.0, 3.0, 0.0), start=1):
            world.scripted.delay = delay
            sender.submit(sent.octets, "drain@customer.test")
            until(sender.is_idle, 30, "Postfix is done")
            assert copies(world, sent) == number, f"{copies(world, sent)} copies of {number}"
        assert sender.log().count("status=sent (250") == 3, sender.log()


def postfix_gone_before_a_late_reply_sends_again_and_the_message_arrives_once(world):
    sent = message(world, "drain@customer.test")
    world.scripted.delay = 5.0
    with senders.Postfix(world, world.node, patience="2s") as sender:
        sender.submit(sent.octets, "drain@customer.test")
        until(lambda: "timed out while sending end of data" in sender.log(), 20, "Postfix hangs up")
        assert copies(world, sent) == 0
        until(lambda: copies(world, sent), 20, "the late answer is given")
        world.scripted.delay = 0.0
        until(lambda: sent.id in json.dumps(world.node.control("trace", sent.id)), 10, "the node has it")
        sender.try_again()
        until(sender.is_idle, 30, "Postfix is done")
        assert sender.log().count("status=sent (250") == 1, sender.log()
        assert copies(world, sent) == 1, f"{copies(world, sent)} copies"
        sender.submit(sent.octets, "drain@customer.test")
        until(sender.is_idle, 30, "Postfix is done")
        assert copies(world, sent) == 2, "the same again, on purpose, was swallowed"


def copies(world, sent):
    """How often the scripted host took a message."""
    return sum(sent.id.encode() in octets for _, octets in world.scripted.taken)


# -- what is refused here -------------------------------------------------------------------------------

def nothing_goes_on(world, octets, *recipients, **options):
    """The reply; an error if anything of the message but its envelope, asked about at RCPT, reached Postfix."""
    mark = world.postfix.wire.mark()
    reply = send(world.node, octets, *recipients, **options)
    commands = b"".join(world.postfix.wire.since(mark)).upper()
    assert b"DATA" not in commands, f"something was sent to the destination: {commands[:300]}"
    return reply


def a_spoofed_author_is_refused_by_the_domains_dmarc_policy(world):
    spoof = message(world, "info@customer.test", sign=False).octets
    reply = nothing_goes_on(world, spoof, "info@customer.test", source=STRANGER)
    refused(reply, 550, "5.7.26", "DMARC", "sender.test", "https://relay.test/postmaster", "(trace ")


def a_listed_client_hears_the_554_with_its_address_and_the_lists_name(world):
    good = message(world, "info@customer.test").octets
    refused(nothing_goes_on(world, good, "info@customer.test", source=LISTED), 554, "5.7.1",
            f"{LISTED} found on one or more DNSBLs (dnsbl-test)", "https://relay.test/postmaster#spam-and-abusive-traffic")


def a_listed_client_may_still_write_to_the_postmaster(world):
    sent = message(world, "postmaster@customer.test")
    taken(send(world.node, sent.octets, "postmaster@customer.test", source=LISTED))
    world.postfix.receive("ops@dest.test", sent.id)


def two_authors_fields_are_refused(world):
    twice = message(world, "info@customer.test", sign=False, fields=["From: <mallory@sender.test>"]).octets
    refused(nothing_goes_on(world, twice, "info@customer.test"), 550, "5.6.0")


def an_unknown_recipient_and_an_unknown_domain_are_refused_at_rcpt(world):
    with Smtp(world.node.smtp) as session:
        refused(session.envelope(SENDER, "nobody@customer.test"), 550, "5.1.1")
        refused(session.command("RCPT TO:<bob@elsewhere.test>"), 550, "5.7.1")


def a_size_over_the_limit_is_refused_at_mail_and_the_session_goes_on(world):
    with Smtp(world.node.smtp) as session:
        assert f"SIZE {LIMIT}" in session.extensions.lines, session.extensions
        refused(session.envelope(SENDER, parameters=f" SIZE={LIMIT + 1}"), 552, "5.3.4")
        sent = message(world, "info@customer.test")
        taken(session.send(sent.octets, "info@customer.test"))
    world.postfix.receive(BOX, sent.id)


def a_message_of_the_very_limit_passes_and_one_octet_more_is_552(world):
    def of(size):
        small = message(world, "info@customer.test", sign=False, body="")
        lines = ("y" * 76 + "\r\n") * ((size - len(small.octets)) // 78)
        return small.id, small.octets + lines.encode() + b"z" * (size - len(small.octets) - len(lines) - 2) + b"\r\n"

    with Smtp(world.node.smtp) as session:
        _, over = of(LIMIT + 1)
        refused(session.send(over, "info@customer.test"), 552, "5.3.4")
        identity, most = of(LIMIT)
        taken(session.send(most, "info@customer.test"))
    _, arrived = world.postfix.receive(BOX, identity)
    assert arrived.endswith(most)


def smuggled_ends_of_data_never_make_two_messages(world):
    """CVE-2023-51764 and its kin: only CRLF . CRLF ends DATA."""
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n", b"\r\r\n.\r\r\n", b"\n.\r"):
        outer, inner = message(world, "info@customer.test", sign=False), message(world, "info@customer.test", sign=False)
        smuggled = (stuffed(outer.octets) + b"text" + end + b"MAIL FROM:<alice@sender.test>\r\n"
                    b"RCPT TO:<info@customer.test>\r\nDATA\r\n" + stuffed(inner.octets) + b".\r\n")
        with Smtp(world.node.smtp) as session:
            assert session.envelope(SENDER, "info@customer.test") is None
            assert session.command("DATA").code == 354
            session.raw(smuggled)
            reply = session.reply()
            assert reply.code in (500, 521, 550, 554), f"{end}: {reply}"
            assert reply.code == 521 or session.command("NOOP").code == 250, f"{end}: the session is out of step"
        here = [octets for _, octets in world.postfix.messages(BOX) if outer.id.encode() in octets or inner.id.encode() in octets]
        assert not here, f"{end}: {len(here)} messages arrived"


# -- addresses and TLS -----------------------------------------------------------------------------------

def came_from(arrived):
    """The client's address in the Received field of Postfix."""
    return re.search(r"\(unknown \[(?:IPv6:)?([0-9a-f.:]+)\]\)", values(arrived, "received")[0])[1]


def a_destination_with_both_kinds_of_address_is_reached_by_ipv6(world):
    _, _, arrived = arrives(world, "six")
    assert came_from(arrived) == "::1", values(arrived, "received")


def with_its_ipv6_address_black_holed_it_is_reached_by_ipv4_in_the_same_session(world):
    if not ISOLATED:
        raise Skip("a black hole needs a network namespace")
    begun = time.monotonic()
    _, _, arrived = arrives(world, "hole")
    assert came_from(arrived).startswith("127."), values(arrived, "received")
    first = time.monotonic() - begun
    begun = time.monotonic()
    arrives(world, "hole")
    assert time.monotonic() - begun < first / 2, "the time-out is not remembered"


def a_client_over_ipv6_is_served(world):
    sent = message(world, "info@customer.test")
    with Smtp(world.node.smtp6, "::1") as session:
        taken(session.send(sent.octets, "info@customer.test"))
    world.postfix.receive(BOX, sent.id)


def swaks_sends_over_starttls(world):
    sent = message(world, "info@customer.test")
    file = world.folder / "swaks.eml"
    file.write_bytes(sent.octets.replace(b"\r\n", b"\n"))
    talk = run("swaks", "--server", world.node.smtp[0], "--port", world.node.smtp[1], "--local-interface", GOOD, "--tls",
               "--ehlo", "client.sender.test", "--from", SENDER, "--to", "info@customer.test", "--data", f"@{file}").decode()
    assert "TLS started" in talk, talk
    _, arrived = world.postfix.receive(BOX, sent.id)
    ours = next(field for field in values(arrived, "received") if "by mx.relay.test" in field)
    assert "with ESMTPS" in ours, ours


def a_destination_that_offers_starttls_is_spoken_to_over_tls(world):
    _, _, arrived = arrives(world, "tls")
    assert re.search(r"using TLSv1\.[23]", values(arrived, "received")[0]), values(arrived, "received")[0]


# -- many, and the end ------------------------------------------------------------------------------------

def ten_thousand_messages_of_twenty_sessions_arrive_exactly_once(world):
    count = 10_000
    run("smtp-source", "-s", 20, "-m", count, "-l", 4096, "-M", "sender.test", "-f", SENDER, "-t", "load@customer.test",
        "inet:{}:{}".format(*world.node.smtp))
    box = world.postfix.boxes / "load.test/load.private/new"
    until(lambda: sum(1 for _ in box.iterdir()) >= count, 120, "Postfix delivers all")
    identities = [re.search(rb"(?mi)^Message-Id: (.*)$", file.read_bytes())[1] for file in box.iterdir()]
    assert len(identities) == len(set(identities)) == count, (len(identities), len(set(identities)))


def sigterm_lets_the_transaction_in_flight_finish_and_exits_0(world):
    node = Node(world)
    sent, heard = message(world, "drain@customer.test"), []
    world.scripted.delay = 3.0
    with Smtp(node.smtp) as idle:
        sender = threading.Thread(target=lambda: heard.append(send(node, sent.octets, "drain@customer.test")))
        begun = len(world.scripted.begun)
        sender.start()
        until(lambda: len(world.scripted.begun) > begun, 10, "the message is with the upstream")
        node.process.send_signal(signal.SIGTERM)
        until(lambda: idle.command("NOOP").code == 421, 2, "a new command hears 421")
    sender.join(30)
    world.scripted.delay = 0.0
    taken(heard[0])
    assert node.process.wait(30) == 0
    assert sum(sent.id.encode() in octets for _, octets in world.scripted.taken) == 1


# -- what operators see -------------------------------------------------------------------------------------

def what_postroadctl_writes_is_used_at_once_and_its_json_is_as_promised(world):
    control = world.node.control
    assert [d["name"] for d in control("domain", "list")["domains"]] == ["domains/customer.test"]
    assert len(control("rule", "list", "customer.test")["rules"]) == len(ALIASES)
    rule = control("rule", "add", "customer.test", "--to", "new", "--forward", BOX)
    assert rule["name"].startswith("domains/customer.test/rules/") and re.fullmatch(r"[0-9A-Z]{26}", rule["id"]), rule
    assert BOX in json.dumps(control("resolve", "new+tag@customer.test"))
    sent = message(world, "new+tag@customer.test")
    taken(send(world.node, sent.octets, "new+tag@customer.test"))
    world.postfix.receive(BOX, sent.id)
    assert "forwarded" in json.dumps(control("trace", sent.id)).lower()
    assert control("rule", "remove", rule["id"]) == {}
    refused(send(world.node, sent.octets, "new@customer.test"), 550, "5.1.1")


def a_rule_that_rejects_and_one_that_drops_do_so(world):
    control = world.node.control
    control("rule", "add", "customer.test", "--to", "closed", "--reject", "this mailbox is closed")
    control("rule", "add", "customer.test", "--to", "void", "--drop")
    refused(send(world.node, message(world, "closed@customer.test").octets, "closed@customer.test"), 550, "5.7.1",
            "this mailbox is closed")
    taken(nothing_goes_on(world, message(world, "void@customer.test").octets, "void@customer.test"))


def promtool_finds_nothing_wrong_with_the_metrics(world):
    text = world.node.get("/metrics")
    check = subprocess.run([INSTALLED / "prometheus/usr/bin/promtool", "check", "metrics"], input=text.encode(),
                           capture_output=True, timeout=60)
    assert check.returncode == 0 and not check.stderr, check.stderr.decode()
    assert world.node.metric("postroad_messages_received_total", verdict="forwarded") > 0
    assert world.node.metric("postroad_dnsbl_queries_total", result="listed") > 0


def a_node_that_serves_is_live_and_ready(world):
    for path in ("/livez", "/readyz"):
        world.node.get(path)  # an error but for 200


# -- a disk that is full --------------------------------------------------------------------------------------

def a_full_disk_defers_what_needs_the_queue_loses_nothing_and_serves_again_with_room(world):
    if not ISOLATED:
        raise Skip("no mount namespace")
    disk = world.folder / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64m", "postroad-disk", disk)
    node = Node(world, node={"data_dir": str(disk / "data")}, limits={"min_free_octets": 8 << 20},
                delivery={"in_session_timeout": "2s"})
    ballast = open(disk / "ballast", "ab", buffering=0)

    def fill():
        with contextlib.suppress(OSError):  # ENOSPC, at last
            while ballast.write(bytes(4096)):
                pass

    world.scripted.silent = True
    queued = [message(world, "drain@customer.test") for _ in range(5)]
    for sent in queued:
        reply = send(node, sent.octets, "drain@customer.test")
        assert reply.code == 250 and "Queued" in reply.text, reply
    fill()
    until(lambda: send(node, message(world, "drain@customer.test").octets, "drain@customer.test").code == 452, 10,
          "the queue takes nothing more")

    def index_failed():
        fill()
        taken(send(node, message(world, "info@customer.test").octets, "info@customer.test"))
        refused(send(node, message(world, "drain@customer.test").octets, "drain@customer.test"), 452, "4.3.1")
        return "journal entries not kept" in node.log()

    until(index_failed, 60, "the databases meet the full disk")
    node.get("/livez")
    assert node.process.poll() is None
    world.scripted.silent = False
    (disk / "ballast").unlink()
    ballast.close()
    assert node.process.wait(30) == 1, "a supervisor is to start it again"
    node.start()
    node.control("queue", "retry", "--all")
    for sent in queued:
        until(lambda: any(sent.id.encode() in octets for _, octets in world.scripted.taken), 30, "what was queued arrives")
    assert node.stop() == 0
    assert len([octets for _, octets in world.scripted.taken if any(sent.id.encode() in octets for sent in queued)]) == 5


def nothing_arrived_twice_and_no_bare_cr_or_lf_was_sent(world):
    for mailbox in world.postfix.MAILBOXES:
        identities = [values(octets, "message-id")[0] for _, octets in world.postfix.messages(mailbox)]
        assert len(identities) == len(set(identities)), f"{mailbox} has a message twice"
    for octets in world.postfix.wire.since([]):
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets), "a bare CR or LF was sent to Postfix"


ALL = [function for name, function in list(globals().items())
       if callable(function) and getattr(function, "__module__", "") == __name__ and "_" in name
       and function.__code__.co_varnames[:function.__code__.co_argcount] == ("world",)]

ALL[-1:-1] = header_scenarios.ALL + policy_scenarios.ALL  # before the last, which looks back at everything
