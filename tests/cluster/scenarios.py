"""What three nodes must do while they are changed, killed, cut off, stopped and restarted. Each scenario returns its figures,
a line each; half of the clusters talk over IPv6, half over IPv4."""
import concurrent.futures
import itertools
import random
import threading
import time

import rounds
import starts
from cluster import Cluster, Node, Refused
from figures import quantile, spread
from history import OK, REFUSED, UNKNOWN, History
from mail import RECIPIENT, Client, Load, Smtp, answer_to, letter, sources
from tools import until
from world import BLOCKLIST, DOMAIN, SENDER

WRITES_AGAIN = 3.0  # seconds after the leader's death or stop, of 99 in 100
RETURNS_WITHIN = 5  # seconds in which a peer that was away asks to lead, or does not
FEW = 20  # so few have no p99
STUCK = 20.0  # seconds without a change, longer than any election


def a_change_on_any_node_is_used_on_all(world):
    """Started in a random order, three nodes become one; each takes changes in turn."""
    chance = random.Random(f"{rounds.SEED} changes")
    with Cluster(world, 6) as cluster:
        order = chance.sample(cluster.nodes, 3)
        begun = time.monotonic()
        for node in order:
            node.start()
            time.sleep(chance.uniform(0, 1))
        cluster.is_one()
        formed = time.monotonic() - begun
        cluster.nodes[0].add_route()
        answered, used = zip(*(change_is_used(cluster.nodes, count) for count in range(rounds.CHANGES)))
        cluster.is_alike()
    return [f"three nodes formed in {formed:.1f} s", f"a change until it is answered: {spread(answered)}",
            f"a change until both other nodes take mail by it: {spread(used)}"]


def change_is_used(nodes, count):
    """How long a new rule takes to be answered, and to be used by both other nodes."""
    taker, others = nodes[count % 3], [node for node in nodes if node is not nodes[count % 3]]
    recipient = f"c{count}@{DOMAIN}"
    sessions = [Recipients(node) for node in (*others, taker)]
    for session in sessions:
        code = session.ask(recipient)
        assert code == 550, f"{session.node.name} says {code} to {recipient}, of which no rule is"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        begun = time.monotonic()
        waits = [pool.submit(session.wait_for, recipient) for session in sessions[:2]]
        taker.ctl("rule", "add", DOMAIN, "--to", f"c{count}", "--forward", "ana@dest.test")
        answered = time.monotonic()
        code = sessions[2].ask(recipient)
        assert code == 250, f"{taker.name} answered a change, and says {code} to {recipient}"
        used = max(wait.result() for wait in waits)
    for session in sessions:
        session.smtp.close()
    return answered - begun, used - begun


class Recipients:
    """A session with a node in which recipients are named."""

    def __init__(self, node):
        self.node, self.smtp = node, Smtp(node)
        self.smtp.reply()
        self.smtp.say("EHLO mail.sender.test")
        self.smtp.say(f"MAIL FROM:<{SENDER}>")

    def ask(self, recipient):
        return self.smtp.say(f"RCPT TO:<{recipient}>")[0]

    def wait_for(self, recipient, seconds=20):
        """When the node took it."""
        end = time.monotonic() + seconds
        while self.ask(recipient) != 250:
            assert time.monotonic() < end, f"{self.node.name} does not take {recipient} within {seconds} s"
            time.sleep(0.002)
        return time.monotonic()


def taken_again(nodes, name, since):
    """How long after an accident a change was answered first, of those that are asked for all the time: the first ones may wait
    for a leader that is gone. And how long the longest of them waited for its answer, whatever that was."""
    answers, first = [], threading.Event()

    def ask(count):
        asked = time.monotonic()
        try:
            nodes[count % len(nodes)].ctl("domain", "add", f"{name}-{count}.test")
            answers.append(time.monotonic() - since)
            first.set()
        except Refused:
            pass
        return time.monotonic() - asked

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        waits = []
        while not first.wait(0.1) and len(waits) < 100:
            waits.append(pool.submit(ask, len(waits)))
    assert answers, f"no change was taken for {time.monotonic() - since:.0f} s"
    return min(answers), max(wait.result() for wait in waits)


class Changes(threading.Thread):
    """Domains that are added all the time, on a random node of those that run; those that were answered."""

    def __init__(self, nodes, seed, pause=0.3):
        super().__init__(daemon=True)
        self.nodes, self.chance, self.pause = nodes, random.Random(seed), pause
        self.answered, self.ends = [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join(60)

    def run(self):
        for count in itertools.count(1):
            if self.ends.wait(self.pause):
                return
            try:
                self.chance.choice(self.nodes).ctl("domain", "add", f"change{count}.test")
                self.answered.append(f"domains/change{count}.test")
            except Refused:
                continue

    def are_on(self, node):
        """Asserts that a node shows every change that was answered by now."""
        answered = list(self.answered)
        shown = {domain["name"] for domain in node.ctl("domain", "list")["domains"]}
        missing = [name for name in answered if name not in shown]
        assert not missing, f"{node.name} lacks {len(missing)} of {len(answered)} changes that were answered: {missing[:5]}"


def a_leader_that_is_killed_costs_no_mail_and_no_change(world):
    """SIGKILL, again and again, while mail comes to all nodes and changes are made."""
    chance, again, waits, back = random.Random(f"{rounds.SEED} kills"), [], [], []
    with Cluster(world, 4).form() as cluster, Changes(cluster.nodes, f"{rounds.SEED} kills") as changes:
        with Load(world, cluster.nodes, rounds.SEED) as load:
            for count in range(rounds.KILLS):
                time.sleep(chance.uniform(0.5, 2))
                leader = cluster.led()
                killed = time.monotonic()
                leader.kill()
                first, longest = taken_again([node for node in cluster.nodes if node is not leader], f"killed{count}", killed)
                again.append(first)
                waits.append(longest)
                time.sleep(chance.uniform(0, 2))
                started = time.monotonic()
                leader.start_ready()
                back.append(time.monotonic() - started)
                changes.are_on(leader)
        changes.ends.set()
        cluster.is_one()
        cluster.is_alike()
        changes.are_on(cluster.nodes[0])
        seen = load.judge()
    are_soon(again)
    return [f"a change is taken again after the leader was killed: {spread(again)}; the longest wait for an answer: {spread(waits)}",
            f"a killed node is ready again: {spread(back)}",
            f"mail while the leader was killed {rounds.KILLS} times: {seen}; {len(changes.answered)} changes, none lost"]


def are_soon(seconds):
    if len(seconds) < FEW:
        assert max(seconds) <= STUCK, f"no change for {max(seconds):.1f} s: {spread(seconds)}"
    else:
        assert quantile(seconds, 0.99) <= WRITES_AGAIN, f"changes are taken again too late: {spread(seconds)}"


def a_partition_loses_no_change_and_no_mail(world):
    """One node is cut off from two, a random one each time, while all are written to and read from."""
    chance, history, cuts, healed = random.Random(f"{rounds.SEED} partitions"), History(), [], []
    with Cluster(world, 6).form() as cluster:
        keys = [cluster.nodes[0].ctl("rule", "add", DOMAIN, "--to", f"register{n}", "--drop")["id"] for n in range(4)]
        cluster.is_alike()
        with Load(world, cluster.nodes, rounds.SEED) as load, Registers(cluster.nodes, keys, history):
            for count in range(rounds.PARTITIONS):
                time.sleep(chance.uniform(1, 5))
                cuts.append(cut_off_once(cluster, chance.choice(cluster.nodes), f"cut{count}", chance.uniform(4, 9)))
                healed.append(time.monotonic())
            time.sleep(RETURNS_WITHIN)
            until(lambda: all(node.serves() for node in cluster.nodes), 60, cluster.what_keeps("all are well after a partition"))
        cluster.is_one()
        _, rules = cluster.is_alike()
        seen = load.judge(allowed_codes=())
    final = {rule["id"]: (rule["displayName"], int(rule["etag"])) for rule in rules[0]["rules"] if rule["id"] in keys}
    wrong = history.judge(final)
    assert not wrong, f"{len(wrong)} contradictions, seed {rounds.SEED}:\n" + "\n".join(wrong[:12])
    counts = ", ".join(f"{history.count(outcome)} {outcome}" for outcome in (OK, REFUSED, UNKNOWN))
    reads = sum(event.kind == "read" for event in history.events)
    again, waits = zip(*cuts)
    assert max(again) <= STUCK, f"no change for {max(again):.1f} s: {spread(again)}"
    gaps = [history.longest_gap(at, at + RETURNS_WITHIN) for at in healed]
    return [f"a change is taken again by two after a cut: {spread(again)}; the longest wait for an answer: {spread(waits)}",
            f"no change was answered for, within {RETURNS_WITHIN} s after the cut was healed: {spread(gaps)}",
            f"{rounds.PARTITIONS} partitions: writes {counts}, "
            f"{reads} reads, in one order with real time", f"mail on both sides: {seen}"]


def cut_off_once(cluster, node, name, seconds):
    """As `taken_again`, of the side of two."""
    cut = time.monotonic()
    cluster.cut_off(node)
    took = taken_again([other for other in cluster.nodes if other is not node], name, cut)
    time.sleep(max(0.0, cut + seconds - time.monotonic()))
    cluster.heal()
    return took


class Registers:
    """Two writers and a reader for each node."""

    def __init__(self, nodes, keys, history):
        self.ends, self.keys = threading.Event(), keys
        work = [(history.write, node, 0.05) for node in nodes for _ in range(2)] + [(history.read, node, 0.1) for node in nodes]
        self.threads = [threading.Thread(target=self.work, args=args, daemon=True) for args in work]

    def work(self, act, node, pause):
        while not self.ends.wait(random.uniform(0, 2 * pause)):
            act(node, random.choice(self.keys))

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join(60)


def a_stopped_peer_costs_the_others_nothing(world):
    """SIGSTOP: it neither answers nor hangs up. First a follower, then the leader."""
    lines = []
    with Cluster(world, 4).form() as cluster:
        leader = cluster.led()
        follower = next(node for node in cluster.nodes if node is not leader)
        for stopped, what in ((follower, "follower"), (leader, "leader")):
            lines += stop_once(world, cluster, stopped, what)
        cluster.is_one()
        cluster.is_alike()
    return lines


def stop_once(world, cluster, stopped, what):
    others = [node for node in cluster.nodes if node is not stopped]
    with Load(world, others, f"{rounds.SEED}{what}") as load:
        before = changes_for(others, f"{what}-before", rounds.STOPPED_SECONDS)
        cut = time.monotonic()
        stopped.freeze()
        first, longest = taken_again(others, what, cut)
        during = changes_for(others, f"{what}-during", rounds.STOPPED_SECONDS - first)
        thawed = time.monotonic()
        stopped.thaw()
        back = changes_for(others, f"{what}-back", RETURNS_WITHIN, Node.change)
    seen = load.judge(allowed_codes=())
    until(stopped.serves, 60, cluster.what_keeps(f"the {what} that was stopped serves again"))
    are_soon([first])
    took = {True: [], False: []}
    for attempt in load.tried():
        if attempt.begun < thawed:
            took[attempt.begun >= cut].append(attempt.ended - attempt.begun)
    return [f"mail before the {what} was stopped: {spread(took[False])}; meanwhile ({thawed - cut:.0f} s): {spread(took[True])}",
            f"changes before the {what} was stopped: {spread(before)}; the first meanwhile after {1000 * first:.0f} ms, "
            f"the longest wait for an answer until then {1000 * longest:.0f} ms, from then on: {spread(during)}, "
            f"in the {RETURNS_WITHIN} s after it went on, which may ask to lead: {spread(back)}",
            f"mail of the two others: {seen}"]


def changes_for(nodes, name, seconds, make=Node.ctl):
    """Changes one after the other, and how long each took."""
    end, took = time.monotonic() + seconds, []
    for count, node in enumerate(itertools.cycle(nodes)):
        asked = time.monotonic()
        if asked > end:
            return took
        make(node, "domain", "add", f"{name}{count}.test")
        took.append(time.monotonic() - asked)
        time.sleep(0.1)


def a_rolling_restart_is_seen_by_nobody(world):
    """SIGTERM, its end, a start, ready: one node after the other, under load."""
    stops, back = [], []
    with Cluster(world, 6).form() as cluster:
        with Load(world, cluster.nodes, rounds.SEED) as load:
            for node in cluster.nodes * rounds.ROLLS:
                time.sleep(1)
                begun = time.monotonic()
                node.stop()
                stopped = time.monotonic()
                node.start_ready()
                stops.append(stopped - begun)
                back.append(time.monotonic() - stopped)
        seen = load.judge(allowed_codes=(None, 421))
        often = [f"{number}: {'; '.join(map(str, tries))}" for number, tries in load.attempts.items() if len(tries) > 2]
        assert not often, f"{len(often)} messages were turned away more than once:\n" + "\n".join(often[:8])
        cluster.is_one()
    return [f"a node that is told to stop has stopped after: {spread(stops)}; it is ready again after: {spread(back)}",
            f"mail while all were restarted {rounds.ROLLS} times: {seen}"]


def a_node_that_says_that_it_is_ready_takes_mail(world):
    """Killed and started again, by itself: from the moment when /readyz says so it has the table."""
    chance, wrong, count = random.Random(f"{rounds.SEED} ready"), [], 6 * rounds.ROLLS
    with Cluster(world, 4).form() as cluster:
        for _ in range(count):
            node = chance.choice(cluster.nodes)
            node.kill()
            time.sleep(chance.choice((0.2, 3)))  # the others elect a leader meanwhile, or do not
            node.start()
            until(lambda: node.state() == "ok", 60, cluster.what_keeps(f"{node.name} is ready"))
            code, text = answer_to(node, RECIPIENT)
            if code != 250:
                wrong.append(f"{node.name} says {code} {text} to {RECIPIENT}")
            if not node.ctl("domain", "list")["domains"]:
                wrong.append(f"{node.name} shows an empty table")
            until(node.serves, 60, cluster.what_keeps(f"{node.name} serves"))
    assert not wrong, f"after /readyz said that all is well, in {count} starts:\n" + "\n".join(wrong)
    return [f"{count} nodes took mail from when they said that they were ready"]


def a_retry_on_another_node_is_delivered_once(world):
    """A sender whose session ends behind its dot, while the destination thinks, tries the next MX: it waits there, is answered
    from what the first node was answered, and the message is there once. Where the first node dies meanwhile, what came of it
    is not known, and the message is offered again when that node is back."""
    waited = []
    with Cluster(world, 6).form() as cluster:
        for node in cluster.nodes:
            until(lambda: "the names of deliveries are those of all nodes" in node.log.read_text(), 20,
                  f"{node.name} makes the names of deliveries that all make")
        for count, (first, second) in enumerate(itertools.permutations(cluster.nodes, 2)):
            number = f"{cluster.number}-retry-{count}"
            answer = world.sink.think_about(number)
            offered_and_left(world, first, second, number)
            begun = time.monotonic()
            tries = [try_once(second, number)]
            assert tries[0].code == 451, f"{second.name} says {tries[0]} while {first.name} has no answer"
            answer.set()
            until(lambda: tries.append(try_once(second, number)) or tries[-1].accepted, 20, f"{second.name} answers 250")
            waited.append(time.monotonic() - begun)
            assert all(tried.code in (250, 451) for tried in tries), "; ".join(map(str, tries))
            assert len(world.sink.copies_of(number)) == 1, f"{number} was delivered more than once"
        first, second = cluster.nodes[:2]
        number = f"{cluster.number}-retry-dead"
        answer = world.sink.think_about(number)
        offered_and_left(world, first, second, number)
        assert try_once(second, number).code == 451
        first.kill()
        answer.set()
        assert try_once(second, number).code == 451, "nobody knows what came of it while its node is away"
        first.start_ready()
        until(lambda: try_once(second, number).accepted, 20, f"{second.name} offers it again")
        assert len(world.sink.copies_of(number)) == 2
    return [f"retries on another node, from the first until they were answered: {spread(waited)}; all delivered once"]


def offered_and_left(world, node, other, number):
    """A message whose destination has it, and whose client has gone without an answer; another node has heard of it."""
    heard = other.deliveries_heard()
    session = Smtp(node)
    session.reply()
    for line in ("EHLO mail.sender.test", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA"):
        session.say(line)
    session.socket.sendall(letter(number).encode() + b"\r\n")
    until(lambda: world.sink.copies_of(number), 20, f"the destination has {number}")
    session.close()
    until(lambda: other.deliveries_heard() > heard, 20, f"{other.name} hears of {number}")


def try_once(node, number):
    """What a node answers to a message."""
    client = Client(Load(None, [node], rounds.SEED, clients=0), "retry")
    tried = client.attempt(node, number)
    client.hang_up()
    return tried


def a_client_at_three_nodes_costs_one_question_to_a_blocklist(world):
    """Clients that come to all three nodes at once; and others that come to two, while the third is dead."""
    with Cluster(world, 4, f'[[dnsbl]]\nname = "bl"\nzone = "{BLOCKLIST}"\n').form() as cluster:
        until(lambda: meet(cluster.nodes, sources(1))[1] == 1, 20, "the nodes share what a blocklist says")
        took, asked = meet(cluster.nodes, sources(rounds.LISTED))
        assert rounds.LISTED <= asked <= 1.1 * rounds.LISTED, f"{asked} questions for {rounds.LISTED} clients"
        cluster.nodes[2].kill()
        without, asked_late = meet(cluster.nodes[:2], sources(rounds.LISTED))
        assert rounds.LISTED <= asked_late <= 1.1 * rounds.LISTED, f"{asked_late} questions for {rounds.LISTED} clients"
    return [f"{rounds.LISTED} clients at three nodes at once: {asked} questions to the blocklist; connect to RCPT: {spread(took)}",
            f"as many at two, the third just killed: {asked_late} questions; connect to RCPT: {spread(without)}"]


def meet(nodes, clients):
    """Has each client talk to all of the nodes at once; how long each talk took, and what the blocklist was asked about them."""
    def talk(node, client):
        begun = time.monotonic()
        code, text = answer_to(node, RECIPIENT, client)
        assert code == 250, f"{node.name} says {code} {text} to {client}"
        return time.monotonic() - begun
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        talks = [pool.submit(talk, node, client) for client in clients for node in nodes]
    names = {".".join(reversed(client.split("."))) for client in clients}
    asked = sum(name in names for name in nodes[0].cluster.world.questions(BLOCKLIST))
    return [talk.result() for talk in talks], asked


def a_large_table_reaches_a_blank_node(world):
    """Applied from a file, on all nodes; then one with an empty disk gets it, while the others forward mail."""
    with Cluster(world, 4).form() as cluster:
        first, _, third = cluster.nodes
        file = cluster.folder / "routing.yaml"
        write_table(file, rounds.RULES)
        begun = time.monotonic()
        first.ctl("apply", "--file", file, seconds=600)
        applied = time.monotonic() - begun
        last = f"u{rounds.RULES - 1}@large.test"
        until(lambda: all(answer_to(node, last)[0] == 250 for node in cluster.nodes), 60, "all nodes have the last rule")
        everywhere = time.monotonic() - begun
        third.stop()
        third.wipe(third.data)
        took = {}
        with Load(world, cluster.nodes[:2], rounds.SEED) as load:
            time.sleep(rounds.STOPPED_SECONDS)  # the load without the new node, to measure it by
            begun = time.monotonic()
            third.start_ready(120)
            ready = time.monotonic()
        load.judge(allowed_codes=())
        for attempt in load.tried():
            took.setdefault(begun < attempt.begun < ready, []).append(attempt.ended - attempt.begun)
        assert answer_to(third, last)[0] == 250, "the new node does not know the last rule"
        cluster.is_one()
        resident = {node.name: node.resident_megabytes() for node in cluster.nodes}
        third.stop()
        again = time.monotonic()
        third.start_ready(120)
        again = time.monotonic() - again
    memory = ", ".join(f"{name} {size} MB" for name, size in resident.items())
    return [f"{rounds.RULES} rules: applied in {applied:.1f} s, on all nodes after {everywhere:.1f} s; a blank node is ready after "
            f"{ready - begun:.1f} s, and after a restart in {again:.1f} s; resident: {memory}",
            f"mail of the two others before: {spread(took[False])}; while the third got its table: {spread(took.get(True, []))}"]


def write_table(file, rules):
    """A domain of its own, whose rules all lead to one destination, beside the one that is there."""
    with open(file, "w") as out:
        out.write("destinations: [{address: ana@dest.test, verified: true}]\ndomains:\n- name: large.test\n  rules:\n")
        out.writelines(f"  - {{to: u{count}, forward: [ana@dest.test]}}\n" for count in range(rules))


def blank_wiped_and_old_nodes_become_one(world):
    """First starts and replacements, each by itself and several side by side."""
    with concurrent.futures.ThreadPoolExecutor(rounds.AT_ONCE) as pool:
        ended = list(pool.map(lambda count: starts.play(world, count), range(rounds.STARTS)))
    failures = [said for _, _, said in ended if said]
    assert not failures, f"{len(failures)} of {rounds.STARTS} failed, seed {rounds.SEED}:\n" + "\n".join(failures)
    kinds = {}
    for kind, seconds, _ in ended:
        kinds.setdefault(kind, []).append(seconds)
    return [f"{kind.replace('_', ' ')}: {spread(seconds)}" for kind, seconds in sorted(kinds.items())]


ALL = [a_change_on_any_node_is_used_on_all, a_leader_that_is_killed_costs_no_mail_and_no_change,
       a_partition_loses_no_change_and_no_mail, a_stopped_peer_costs_the_others_nothing, a_rolling_restart_is_seen_by_nobody,
       a_node_that_says_that_it_is_ready_takes_mail, a_retry_on_another_node_is_delivered_once,
       a_client_at_three_nodes_costs_one_question_to_a_blocklist, a_large_table_reaches_a_blank_node,
       blank_wiped_and_old_nodes_become_one]
