"""What clients of registers did and saw, and whether one order of all writes explains it.

A register is the name of a rule; each write of it has a value of its own. The answer to a write, and to a read, has the
revision of the table that wrote the rule: a number that is the place of the write in the order of all. So the order needs
no search: it is there, and is held against real time, against every read, and against what is left in the end. A write whose
outcome is not known may or may not have its place; one that was refused has none."""
import dataclasses
import itertools
import threading
import time

from cluster import Refused

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


@dataclasses.dataclass(frozen=True)
class Event:
    kind: str  # read or write
    node: str
    key: str
    value: str
    outcome: str
    invoked: float
    answered: float
    revision: int = None


class History:
    def __init__(self):
        self.events, self.lock, self.numbers = [], threading.Lock(), itertools.count(1)

    def write(self, node, key):
        """Gives a register a new value; its outcome."""
        value, invoked = f"v{next(self.numbers)}", time.monotonic()
        revision = None
        try:
            revision, outcome = int(node.ctl("rule", "set", key, "--name", value)["etag"]), OK
        except Refused as refused:
            outcome = REFUSED if refused.nothing_done else UNKNOWN
        self.add(Event("write", node.name, key, value, outcome, invoked, time.monotonic(), revision))
        return outcome

    def read(self, node, key):
        invoked = time.monotonic()
        try:
            rule = node.ctl("rule", "show", key)
        except Refused:
            return
        self.add(Event("read", node.name, key, rule["displayName"], OK, invoked, time.monotonic(), int(rule["etag"])))

    def add(self, event):
        with self.lock:
            self.events.append(event)

    def count(self, outcome):
        return sum(event.kind == "write" and event.outcome == outcome for event in self.events)

    def longest_gap(self, since, end):
        """The longest time between two, in which no write was answered."""
        answers = [e.answered for e in list(self.events) if e.kind == "write" and e.outcome == OK and since < e.answered < end]
        return max(later - earlier for earlier, later in itertools.pairwise([since, *sorted(answers), end]))

    def judge(self, final):
        """All that is wrong, by the registers as all nodes show them in the end: {key: (value, revision)}."""
        writes = [event for event in self.events if event.kind == "write"]
        reads = [event for event in self.events if event.kind == "read"]
        return [*real_time(writes), *same_node(self.events), *seen(writes, reads, final), *last(writes, final)]


def real_time(writes):
    """Revisions are given once, and a write that began after the answer to another comes after it."""
    done = [write for write in writes if write.outcome == OK]
    for first, second in itertools.pairwise(sorted(done, key=lambda write: write.revision)):
        if first.revision == second.revision:
            yield f"one revision for two writes: {first} and {second}"
    newest = None
    answers = sorted(done, key=lambda write: write.answered)
    for write in sorted(done, key=lambda write: write.invoked):
        while answers and answers[0].answered < write.invoked:
            newest = max(newest or answers[0], answers.pop(0), key=lambda other: other.revision)
        if newest and newest.revision > write.revision:
            yield f"against real time: {write} began after the answer to {newest}"


def same_node(events):
    """A node never shows less than what it showed or answered before."""
    by_place = {}
    for event in events:
        if event.outcome == OK:
            by_place.setdefault((event.node, event.key), []).append(event)
    for place in by_place.values():
        answers, newest = sorted(place, key=lambda event: event.answered), None
        for event in sorted(place, key=lambda event: event.invoked):
            while answers and answers[0].answered < event.invoked:
                newest = max(newest or answers[0], answers.pop(0), key=lambda other: other.revision)
            if newest and newest.revision > event.revision:
                yield f"went back: {event} after {newest}"


def seen(writes, reads, final):
    """What is read was written, not refused, begun by then, and stands at one revision."""
    by_value, places = {write.value: write for write in writes}, {}
    shown = [(read.key, read.value, read.revision, read.answered) for read in reads]
    shown += [(key, value, revision, float("inf")) for key, (value, revision) in final.items()]
    for key, value, revision, answered in shown:
        write = by_value.get(value)
        if write is None:
            if value:
                yield f"{key} shows {value!r}, which nobody wrote"
            continue
        if write.key != key or write.outcome == REFUSED or write.invoked > answered:
            yield f"{key} shows what it cannot have at {answered}: {write}"
        if places.setdefault(value, write.revision or revision) != revision:
            yield f"{value} stands at {places[value]} and at {revision}"
    taken = {}
    for value, revision in [*places.items(), *((w.value, w.revision) for w in writes if w.outcome == OK)]:
        if taken.setdefault(revision, value) != value:
            yield f"revision {revision} is that of {value} and of {taken[revision]}"


def last(writes, final):
    """Each register has the last write of it that was answered, or a later one whose outcome was not known."""
    for key, (value, revision) in final.items():
        done = [write for write in writes if write.key == key and write.outcome == OK]
        newest = max(done, key=lambda write: write.revision, default=None)
        if newest and (revision < newest.revision or (revision == newest.revision and value != newest.value)):
            yield f"lost: {newest}, but {key} has {value} at {revision}"
