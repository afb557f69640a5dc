"""What a node's disk says of its part in the cluster, since no command tells it: who it is, who leads, who votes.

Formats: src/cluster/disk/identity.rs, src/wal/frame.rs, src/cluster/log/record.rs. Sums are not tested: a frame that is
being written is cut off by its length."""
import dataclasses
import struct

HEADER = struct.Struct(">8s8sBB2xIIIII")  # magic, salt, version, kind, three lengths, two sums
VOTE, ENTRY = 1, 2
IDENTITY_HEAD, IDENTITY_SUM = 12, 32


@dataclasses.dataclass(frozen=True)
class Disk:
    node: int
    cluster: str  # empty: it has no entries of any
    vote: tuple  # (term, whether a majority voted alike, for whom)
    membership: tuple  # (index, ids of the voters, all names by id)


def fields(octets):
    """The fields of a protobuf message, in their order: (number, value)."""
    at = 0
    while at < len(octets):
        key, at = varint(octets, at)
        if key & 7 == 0:
            value, at = varint(octets, at)
        elif key & 7 == 1:
            value, at = int.from_bytes(octets[at:at + 8], "little"), at + 8
        else:
            length, at = varint(octets, at)
            value, at = octets[at:at + length], at + length
        yield key >> 3, value


def varint(octets, at):
    value = shift = 0
    while True:
        octet = octets[at]
        value |= (octet & 127) << shift
        at, shift = at + 1, shift + 7
        if octet < 128:
            return value, at


def frames(octets):
    """(kind, content) of every frame that is whole."""
    at = 0
    while at + HEADER.size <= len(octets):
        *_, kind, meta, head, body, _, _ = HEADER.unpack_from(octets, at)
        end = at + HEADER.size + meta + head + body
        if end > len(octets):
            return
        yield kind, octets[at + HEADER.size:at + HEADER.size + meta]
        at = end


def read(raft):
    """The disk behind a folder `raft/`; none while it has no identity, or is renewed right now."""
    try:
        identity = dict(fields((raft / "identity").read_bytes()[IDENTITY_HEAD:-IDENTITY_SUM]))
        folder = raft / str(identity.get(3, 0)) / "log"
        segments = [segment.read_bytes() for segment in sorted(folder.iterdir())]
    except OSError:
        return None
    adopted = dict(fields(identity.get(7, b"")))
    vote, membership = (0, False, 0), (0, frozenset(), {})
    for kind, content in (frame for octets in segments for frame in frames(octets)):
        if kind == VOTE:
            said = dict(fields(content))
            vote = said.get(1, 0), bool(said.get(3)), said.get(2, 0)
        elif kind == ENTRY:
            entry = dict(fields(content))
            if 4 in entry:
                membership = dict(fields(entry[1])).get(3, 0), *members(entry[4])
    return Disk(identity[1], adopted.get(1, b"").hex(), vote, membership)


def members(octets):
    """The voters of all sets, and the name of each member."""
    voters, names = set(), {}
    for number, value in fields(octets):
        if number == 1:
            for _, packed in fields(value):
                voters.update(node for node, in struct.iter_unpack("<Q", packed))
        else:
            member = dict(fields(value))
            names[member[1]] = member[2].decode()
    return frozenset(voters), names
