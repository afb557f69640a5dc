"""First starts and replacements of nodes, with random orders, delays and accidents: there is never more than one cluster, no
node is stuck, and no node says that an address does not exist which has a rule."""
import random
import time
import traceback

import rounds
from cluster import READY_WITHIN, Cluster
from mail import answer_to, takes_mail
from tools import until


def play(world, count):
    """One round: its kind, how long it took from the accident until all was well, and what went wrong."""
    chance = random.Random(f"{rounds.SEED} start {count}")
    kind = KINDS[count % len(KINDS)]
    try:
        with Cluster(world, chance.choice((4, 6))) as cluster:
            try:
                return kind.__name__, kind(cluster, chance), None
            except Exception:  # the round's failure, and the others go on
                return kind.__name__, 0, f"round {count}, {kind.__name__}: {traceback.format_exc(limit=-3)}{story(cluster)}"
    except AssertionError as error:
        return kind.__name__, 0, f"round {count}, {kind.__name__}: {error}"


def story(cluster):
    """What each node decided and complained of."""
    words = ('"rule"', '"WARN"', '"ERROR"', "membership")
    told = []
    for node in cluster.nodes:
        lines = node.log.read_text(errors="replace").splitlines() if node.log.exists() else []
        told += [f"{node.name}: {line[:400]}" for line in lines if any(word in line for word in words)][-8:]
        told.append(f"{node.name}: {node.disk()}")
    return "\n".join(told)


def start_all(cluster, chance, longest=1.0):
    for node in chance.sample(cluster.nodes, 3):
        node.start()
        time.sleep(chance.uniform(0, longest))


def formed(cluster, chance):
    start_all(cluster, chance)
    cluster.is_one()
    cluster.nodes[0].add_route()
    cluster.is_alike()


def all_is_well(cluster, begun):
    """How long it took until one cluster of three voters takes mail and changes on every node."""
    until(lambda: all([takes_mail(node) for node in cluster.nodes]), READY_WITHIN,
          cluster.what_keeps("all take mail for what has a rule"))
    cluster.is_one()
    took = time.monotonic() - begun
    for node in cluster.nodes:
        node.change("domain", "add", f"{node.name}{time.monotonic_ns()}.test")
    cluster.is_alike()
    return took


def one_is_replaced(cluster, chance):
    """Its disk is gone, or what it keeps of the cluster; its vote is needed afterwards, since another dies."""
    formed(cluster, chance)
    before = cluster.has_one_id()
    node, other, third = chance.sample(cluster.nodes, 3)
    chance.choice((node.kill, node.stop))()
    third.change("domain", "add", "without-it.test")
    node.wipe(chance.choice((node.data, node.data / "raft")))
    time.sleep(chance.uniform(0, 2))
    begun = time.monotonic()
    node.start()
    took = all_is_well(cluster, begun)
    assert cluster.has_one_id() == before, "the cluster is another than before"
    other.kill()
    chance.choice((node, third)).change("domain", "add", "with-its-vote.test")
    other.start_ready()
    cluster.is_alike()
    return took


def one_has_an_old_table(cluster, chance):
    """One ran alone and was told of a domain; the others are blank, or ran alone for nothing."""
    old, *others = chance.sample(cluster.nodes, 3)
    ran_alone(old).add_route()
    old.stop()
    for node in others:
        if chance.random() < 0.5:
            ran_alone(node).stop()
    for node in cluster.nodes:
        node.configure()
    begun = time.monotonic()
    start_all(cluster, chance)
    return all_is_well(cluster, begun)


def ran_alone(node):
    node.configure(alone=True)
    node.start()
    until(lambda: node.state() == "ok", READY_WITHIN, f"{node.name} runs alone")
    return node


def two_have_old_tables(cluster, chance):
    """Each has founded itself and forwards by its own, and a blank node joins neither; then one table is given up."""
    *olds, blank = chance.sample(cluster.nodes, 3)
    for node in olds:
        ran_alone(node).add_route()
        node.stop()
    for node in cluster.nodes:
        node.configure()
    start_all(cluster, chance)
    time.sleep(3)
    for node in olds:
        assert takes_mail(node), f"{node.name} has a table of its own, and does not forward by it: {node.state()}"
        assert "in another cluster than this node" in node.state(), f"{node.name} does not say that there are two: {node.state()}"
    assert not takes_mail(blank), f"{blank.name} takes mail without a table"
    given_up = chance.choice(olds)
    given_up.kill()
    given_up.wipe(given_up.data)
    begun = time.monotonic()
    given_up.start()
    return all_is_well(cluster, begun)


def all_are_wiped(cluster, chance):
    """A new cluster, which is told everything again."""
    formed(cluster, chance)
    before = cluster.has_one_id()
    for node in chance.sample(cluster.nodes, 3):
        chance.choice((node.kill, node.stop))()
        node.wipe(node.data)
    cluster.has_route = False
    begun = time.monotonic()
    start_all(cluster, chance)
    cluster.is_one()
    assert cluster.has_one_id() != before, "all disks are gone, and the cluster is the one of before"
    cluster.nodes[0].add_route()
    return all_is_well(cluster, begun)


def all_lose_their_table(cluster, chance):
    """What they agreed on is gone on every disk, and the rest is there: they know that there was a table, and until a whole one
    is applied no address is said not to exist."""
    formed(cluster, chance)
    cluster.nodes[0].change("domain", "add", "other.test")
    for node in cluster.nodes:
        node.kill()
        node.wipe(node.data / "raft")
    cluster.has_route = False
    begun = time.monotonic()
    start_all(cluster, chance)
    until(cluster.all_vote, READY_WITHIN, cluster.what_keeps("three nodes vote"))
    chance.choice(cluster.nodes).add_route()
    until(lambda: all([takes_mail(node) for node in cluster.nodes]), READY_WITHIN, cluster.what_keeps("all take mail"))
    took = time.monotonic() - begun
    for node in cluster.nodes:
        code, text = answer_to(node, "info@other.test")
        assert code == 451, f"{node.name} has lost the table, and says {code} {text} to info@other.test"
        assert "the routing table is lost" in node.state(), f"{node.name} has lost the table, and says: {node.state()}"
    return took


def some_die_while_it_is_founded(cluster, chance):
    """One or two, at any moment of the first two seconds; they come back with their disks, or without."""
    deaths = sorted((chance.uniform(0, 2), node) for node in chance.sample(cluster.nodes, chance.choice((1, 1, 2))))
    begun = time.monotonic()
    start_all(cluster, chance, longest=0.3)
    for at, node in deaths:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        node.kill()
    lost = len(deaths) == 1 and chance.random() < 0.5
    for _, node in deaths:
        if lost:
            node.wipe(node.data)
        time.sleep(chance.uniform(0, 1))
        node.start()
    cluster.is_one()
    took = time.monotonic() - begun
    cluster.nodes[0].add_route()
    all_is_well(cluster, begun)
    return took


KINDS = [one_is_replaced, some_die_while_it_is_founded, one_has_an_old_table, one_is_replaced, some_die_while_it_is_founded,
         two_have_old_tables, one_is_replaced, some_die_while_it_is_founded, all_lose_their_table, all_are_wiped]
