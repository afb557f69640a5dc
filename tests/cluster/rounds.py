"""How often and for how long each thing is done: few times unless the environment says otherwise."""
import os


def number(name, default):
    return int(os.environ.get(f"POSTROAD_CLUSTER_{name}", default))


CHANGES = number("CHANGES", 30)  # of rules, each awaited on every node
KILLS = number("KILLS", 1)  # of the leader
PARTITIONS = number("PARTITIONS", 1)
STOPPED_SECONDS = number("STOPPED_SECONDS", 8)  # for which a peer is stopped
ROLLS = number("ROLLS", 1)  # of restarts of all three nodes
STARTS = number("STARTS", 20)  # of blank clusters
LISTED = number("LISTED", 200)  # clients whom a blocklist is asked for
RULES = number("RULES", 20000)  # of a table that a blank node is given
AT_ONCE = number("AT_ONCE", 4)  # of these clusters side by side
SEED = number("SEED", int.from_bytes(os.urandom(4)))
