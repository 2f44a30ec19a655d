"""What waits in the mailboxes of one process, within a limit of memory.

Rules:
    Each message's bytes are counted as it enters a mailbox and as it leaves. Above `queue_limit` the newest
    messages of the longest queues go to the disk, in runs that keep their place.
    When the disk takes nothing, or nothing is left to spill, senders pause at every mailbox until there is
    room; senders that do not wait are refused 64 MiB later. Reliable messages are not refused.
    A run that the disk has lost is turned away, message by message.
    Payloads of parked messages take at most half of `queue_limit`; beyond it they go to the disk one by one.
    So mailboxes keep room, however long a destination is away. Without a disk, what is over it is refused.
"""

import heapq

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from denoagents._native.cell cimport Cell
from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport LATE, Accounting, Envelope
from denoagents._native.mailbox cimport Mailbox
from denoagents._native.pulse cimport Watch
from denoagents._native.runner cimport Runners
from denoagents._native.spilled cimport OnDisk, Spilled, size_of

from denoagents.errors import CorruptError, Overloaded, StoreError

cdef int LONGEST = 256                   # queues that are looked at for what can be spilled
cdef int64_t OVERRUN_BYTES = 64 << 20    # over the limit, by senders that do not wait
cdef int64_t RETRY_NS = 1_000_000_000    # then a disk that took nothing is tried again


def lightness(Cell cell not None) -> int:
    """Less than nothing by the bytes that wait for `cell`."""
    return -cell.mailbox.bytes


cdef class Waiting(Runners):
    """The mailboxes' memory; what becomes of their messages is said by `Outcomes`, which derives from it."""

    def __init__(self, loop, Clock clock not None, Watch watch not None, uint64_t incarnation, guardian):
        Runners.__init__(self, loop, clock, watch, incarnation)
        self.guardian = guardian
        self.books = Accounting()
        self.cells = {}
        self.mailbox_limit, self.mailbox_reserve = 1000, 10_000
        self.queue_limit = 1 << 62
        self.longest, self.paused = [], set()

    def overloaded(self, Cell cell not None):
        if self.choked:
            reason = "" if self.disk is None else self.disk.failure
            return Overloaded(
                f"{self.queued_bytes} bytes wait in this process, its limit is {self.queue_limit}. {reason}", 1.0
            )
        return Overloaded(f"{cell.address} has {cell.waiting} messages waiting", 1.0)

    cdef int refuse(self, Cell cell, Envelope envelope, object error) except -1:
        """`envelope` was certainly not run."""
        raise NotImplementedError

    # --- in and out ---------------------------------------------------------------------------

    cdef int let_wait(self, Cell cell, Envelope envelope) except -1:
        if cell.mailbox is None:
            cell.mailbox = Mailbox()
        envelope.cell = cell
        self.books.waiting += 1
        if envelope.flags & LATE:
            cell.mailbox.push_before(envelope)
        else:
            cell.mailbox.push(envelope)
        return self.weigh(cell, envelope)

    cdef Envelope next_waiting(self, Cell cell):
        """Take the next message out of a mailbox, or None."""
        cdef Envelope envelope = None if cell.mailbox is None else cell.mailbox.pop()
        if envelope is not None:
            envelope.cell = None
            cell.mailbox.waiting -= 1
            self.left(cell, envelope)
        elif cell.full and not self.choked:
            cell.full = False
            self.guardian.has_space(cell)
        return envelope

    cdef int left(self, Cell cell, Envelope envelope) except -1:
        """A message has left the mailbox of `cell`."""
        self.books.waiting -= 1
        self.queued_bytes -= envelope.size
        cell.mailbox.bytes -= envelope.size
        if self.choked:
            if self.queued_bytes < self.queue_limit - (self.queue_limit >> 3):
                self.unchoke()
            return 0
        if cell.full and cell.mailbox.waiting <= self.mailbox_limit // 2:
            cell.full = False
            self.guardian.has_space(cell)
        return 0

    def take_out(self, Cell cell not None) -> list:
        """Empty the mailbox of `cell`; the caller accounts for the messages."""
        cdef Envelope envelope
        taken = [] if cell.mailbox is None else cell.mailbox.drain()
        for envelope in taken:
            envelope.cell = None
            self.queued_bytes -= envelope.size
            cell.mailbox.bytes -= envelope.size
        self.books.waiting -= len(taken)
        if cell.full:
            cell.full = False
            self.guardian.has_space(cell)
        if self.choked and self.queued_bytes < self.queue_limit - (self.queue_limit >> 3):
            self.unchoke()
        return taken

    @property
    def queued(self) -> dict:
        """The bytes of waiting messages in memory, their limit, and what is on the disk."""
        return {
            "bytes": self.queued_bytes, "limit_bytes": self.queue_limit, "spilled": self.spilled,
            "is_full": self.choked, "parked_bytes": self.parked_bytes,
        }

    # --- memory -------------------------------------------------------------------------------

    cdef int weigh(self, Cell cell, Envelope envelope) except -1:
        """`envelope` waits in the mailbox of `cell`: count its bytes, and keep to the limit."""
        envelope.size = <int> size_of(envelope)
        cell.mailbox.bytes += envelope.size
        self.queued_bytes += envelope.size
        if self.queued_bytes > self.queue_limit:
            self.relieve()
        return 0

    cdef bint is_stuffed(self) noexcept:
        """Whether even senders that do not wait must stop."""
        return self.choked and self.queued_bytes > self.queue_limit + OVERRUN_BYTES

    cdef int relieve(self) except -1:
        """Put the newest messages of the longest queues onto the disk; if it takes none, senders pause."""
        if self.choked and self.clock.now() < self.relieve_at:
            return 0
        try:
            while self.queued_bytes > self.queue_limit:
                if self.disk is None or not self.spill_longest():
                    return self.choke()
        except StoreError as error:
            self.disk.failed(error)
            return self.choke()
        if self.choked:
            self.unchoke()
        return 0

    cdef Py_ssize_t spill_longest(self) except -1:
        """Spill one run; how many bytes that freed, 0 when nothing is left to spill."""
        cdef Cell cell
        cdef Spilled run
        cdef bint has_looked = False
        while True:
            while self.longest:
                cell = <Cell> self.longest[len(self.longest) - 1]
                run = None if cell.mailbox is None else cell.mailbox.spill_newest(cell, self.disk)
                if run is None or run.freed <= 0:
                    self.longest.pop()
                if run is not None:
                    cell.mailbox.bytes -= run.freed
                    self.queued_bytes -= run.freed
                    self.spilled += len(run.parts)
                    if run.freed > 0:
                        return run.freed
            if has_looked:
                return 0
            has_looked = True
            self.longest = heapq.nsmallest(
                LONGEST, [cell for cell in self.cells.values() if cell.mailbox is not None], key=lightness
            )
            self.longest.reverse()

    cdef int choke(self) except -1:
        self.choked = True
        self.relieve_at = self.clock.now() + RETRY_NS
        return 0

    cdef int unchoke(self) except -1:
        """There is room again: let the senders go on."""
        cdef Cell cell
        self.choked = False
        paused, self.paused = self.paused, set()
        for cell in paused:
            if cell.full and cell.waiting <= self.mailbox_limit // 2:
                cell.full = False
                self.guardian.has_space(cell)
        return 0

    def read_run(self, Cell cell not None, Spilled run not None) -> tuple:
        """What was spilled, in order, and how many messages the disk has lost: those are turned away."""
        cdef Envelope envelope
        cdef list found
        try:
            found = run.restore(self.disk.get(run.place))
            error = None
        except StoreError as fault:
            found, error = run.restore(None), fault
        self.disk.drop(run.place)
        self.spilled -= len(found)
        for envelope in found:
            self.queued_bytes -= envelope.size
            cell.mailbox.bytes -= envelope.size
            envelope.size = 0
            if error is None:
                envelope.cell = cell
                envelope.size = <int> size_of(envelope)
                cell.mailbox.bytes += envelope.size
                self.queued_bytes += envelope.size
        if error is None:
            return found, 0
        self.disk.failed(error)
        for envelope in found:
            envelope.cell = None
            self.books.waiting -= 1
            self.refuse(cell, envelope, CorruptError(f"it waited on the disk, which has lost it: {error}"))
        return [], len(found)

    def forget_run(self, Spilled run not None) -> None:
        """Nobody wants what is in `run` any more."""
        self.disk.drop(run.place)

    # --- messages without a destination ---------------------------------------------------------

    cdef object park(self, object payload, bint must):
        """What stands for a payload that waits at its sender; None when there is no room, unless it `must`."""
        cdef OnDisk made
        if self.parked_bytes + PyBytes_GET_SIZE(payload) > self.queue_limit >> 1:
            if self.disk is not None:
                made = OnDisk.__new__(OnDisk)
                try:
                    made.place = self.disk.put(payload)
                    self.spilled += 1
                    return made
                except StoreError as error:
                    self.disk.failed(error)
            if not must:
                return None
        self.parked_bytes += PyBytes_GET_SIZE(payload)
        self.queued_bytes += PyBytes_GET_SIZE(payload)
        if self.queued_bytes > self.queue_limit:
            self.relieve()
        return payload

    cdef object no_room(self, object reason):
        why = "there is no disk for more" if self.disk is None else self.disk.failure
        return Overloaded(
            f"{self.parked_bytes} bytes wait already ({reason}), half of the memory for queues; {why}", 1.0
        )

    cdef int unpark(self, object payload) except -1:
        """A payload is no longer parked; what is on the disk stays there until it is read or forgotten."""
        if PyBytes_CheckExact(payload):
            self.parked_bytes -= PyBytes_GET_SIZE(payload)
            self.queued_bytes -= PyBytes_GET_SIZE(payload)
            if self.choked and self.queued_bytes < self.queue_limit - (self.queue_limit >> 3):
                self.unchoke()
        return 0

    cdef object read_parked(self, object payload):
        """The payload itself; raises `CorruptError` when the disk has lost it."""
        if PyBytes_CheckExact(payload):
            return payload
        try:
            return self.disk.get((<OnDisk> payload).place)
        except StoreError as error:
            self.disk.failed(error)
            raise CorruptError(f"it waited on the disk, which has lost it: {error}") from error
        finally:
            self.forget_parked(payload)

    cdef int forget_parked(self, object payload) except -1:
        """Nobody needs what the disk has of this payload."""
        cdef OnDisk stored
        if isinstance(payload, OnDisk):
            stored = <OnDisk> payload
            if stored.place is not None:
                place, stored.place = stored.place, None
                self.spilled -= 1
                self.disk.drop(place)
        return 0
