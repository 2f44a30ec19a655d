"""One session: numbered batches each way, kept until accepted, exactly once and in order.

Rules: pure; no time, no socket. Both ends of a link have one; the two directions are independent.
Batches are numbered from 1 in the order of `retain`. Accepted means: handed to the node. After a
reconnect `resume` takes what the peer has accepted, and all that is still retained is to be sent
again, before anything new. A lower number than expected is a duplicate and dropped; a higher one
means that the connection lost something: it must be made anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from denoagents.errors import LinkError, ProtocolError


class GapError(LinkError):
    """A batch is missing; the connection must be made anew, then the peer sends it again."""

    code = "gap"


class Batch:
    """One retained batch, in the form in which it is sent."""

    __slots__ = ("body", "count", "flags", "raw_length", "seq", "times_sent")

    def __init__(self, seq: int, body: bytes, count: int) -> None:
        self.seq = seq
        self.body = body
        self.count = count
        self.flags = 0
        self.raw_length = len(body)
        self.times_sent = 0


class Session:
    """The state of one session at one end."""

    __slots__ = (
        "accepted",
        "acknowledged",
        "acknowledged_count",
        "duplicates",
        "owed",
        "owed_bytes",
        "retained",
        "retained_bytes",
        "retained_count",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = 0
        """The number of the last batch retained."""
        self.acknowledged = 0
        """The peer has accepted everything up to this number."""
        self.accepted = 0
        """This side has accepted everything up to this number."""
        self.retained: deque[Batch] = deque()
        """Batches `acknowledged + 1` to `sent`."""
        self.retained_bytes = 0
        """The bytes of the retained batches' bodies, uncompressed."""
        self.retained_count = 0
        """The messages in the retained batches."""
        self.acknowledged_count = 0
        """The messages that the peer has accepted."""
        self.owed = 0
        """Batches accepted since an acknowledgement last left."""
        self.owed_bytes = 0
        """The bytes of those."""
        self.duplicates = 0
        """Batches dropped because they had been accepted before."""

    @property
    def progress(self) -> int:
        """Grows whenever a batch is accepted, here or there."""
        return self.accepted + self.acknowledged

    def retain(self, body: bytes, count: int) -> Batch:
        """Number a new batch of `count` messages and keep it."""
        self.sent = seq = self.sent + 1
        batch = Batch(seq, body, count)
        self.retained.append(batch)
        self.retained_bytes += batch.raw_length
        self.retained_count += count
        return batch

    def acknowledge(self, ack: int) -> int:
        """The peer has accepted all up to `ack`; returns how many messages that newly frees."""
        if ack <= self.acknowledged:
            return 0
        if ack > self.sent:
            raise ProtocolError(f"batch {ack} is acknowledged, but only {self.sent} were sent")
        self.acknowledged = ack
        freed = 0
        retained = self.retained
        while retained and retained[0].seq <= ack:
            batch = retained.popleft()
            freed += batch.count
            self.retained_bytes -= batch.raw_length
        self.retained_count -= freed
        self.acknowledged_count += freed
        return freed

    def is_new(self, seq: int) -> bool:
        """Whether batch `seq` is the next one (True) or a duplicate (False); raises `GapError`."""
        expected = self.accepted + 1
        if seq == expected:
            return True
        if seq > expected:
            raise GapError(f"batch {seq} came where {expected} was due")
        self.duplicates += 1
        self.owed += 1
        return False

    def accept(self, seq: int, size: int) -> None:
        """Batch `seq`, which `is_new`, is handed over."""
        self.accepted = seq
        self.owed += 1
        self.owed_bytes += size

    def acknowledgement_left(self) -> None:
        """A packet with `accepted` as its acknowledgement was sent."""
        self.owed = 0
        self.owed_bytes = 0

    def resume(self, peer_accepted: int) -> tuple[int, Iterator[Batch]]:
        """A connection stands again: (messages newly accepted, batches to send before new ones)."""
        if peer_accepted < self.acknowledged:
            raise ProtocolError(
                f"the peer accepted {self.acknowledged} batches before and {peer_accepted} now"
            )
        freed = self.acknowledge(peer_accepted)
        return freed, iter(tuple(self.retained))
