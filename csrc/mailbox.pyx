"""An actor's waiting messages: three priorities, served 8:4:1 so that none starves.

Rules:
    Order is kept within a priority. In each round of 13 the classes give up to 8, 4 and 1 messages, the
    higher ones first; a class with nothing waiting passes its turns on.
    The mailbox does not judge deadlines: whoever pops does. A cancelled message stays where it is and is
    skipped, until they are more than half of what is held; then all of them leave at once.
    A queue holds envelopes, and runs of them that are on the disk; a run that comes to the front is read back.
    Source of the weights: plan 2.10.
"""

from collections import deque

from denoagents._native.envelope cimport CANCELLED, Envelope
from denoagents._native.spilled cimport Spilled, is_later, spill_run

cdef Py_ssize_t SLACK = 32               # cancelled messages that a mailbox may hold beyond the others


cdef Py_ssize_t RUN_BYTES = 256 << 10    # spilled at once
cdef Py_ssize_t RUN_MESSAGES = 4096


cdef class Mailbox:
    def __cinit__(self):
        self.high_left, self.normal_left, self.low_left = 8, 4, 1

    cdef int push(self, Envelope envelope) except -1:
        if envelope.priority == 1:
            if self.normal is None:
                self.normal = deque()
            self.normal.append(envelope)
        elif envelope.priority == 0:
            if self.high is None:
                self.high = deque()
            self.high.append(envelope)
        else:
            if self.low is None:
                self.low = deque()
            self.low.append(envelope)
        self.waiting += 1
        self.held += 1
        return 0

    cdef object queue_of(self, Envelope envelope):
        if envelope.priority == 1:
            return self.normal
        return self.high if envelope.priority == 0 else self.low

    cdef int push_before(self, Envelope envelope) except -1:
        """Put a reliable message before those of its stream that were sent after it."""
        cdef Py_ssize_t at = 0
        queue = self.queue_of(envelope)
        if queue is not None:
            for other in queue:
                if isinstance(other, Spilled):
                    if (<Spilled> other).has_later(envelope):
                        self.open_within(queue, at)
                        return self.push_before(envelope)
                elif is_later(<Envelope> other, envelope):
                    queue.insert(at, envelope)
                    self.waiting += 1
                    self.held += 1
                    return 0
                at += 1
        return self.push(envelope)

    def open_within(self, queue, Py_ssize_t at) -> None:
        """Read back the run that stands at `at`."""
        behind = list(queue)[at + 1:]
        while len(queue) > at + 1:
            queue.pop()
        queue.extend(self.open_run(queue.pop()))
        queue.extend(behind)

    cdef int push_front(self, Envelope envelope) except -1:
        """Put a message that was taken out back where it was."""
        self.push(envelope)
        self.queue_of(envelope).rotate(1)
        return 0

    cdef int best(self) noexcept:
        """The highest priority with a message inside; 3 when empty."""
        if self.high is not None and len(self.high):
            return 0
        if self.normal is not None and len(self.normal):
            return 1
        if self.low is not None and len(self.low):
            return 2
        return 3

    cdef Envelope pop(self):
        """The next message by weight, or None; cancelled ones take no turn. The caller counts `waiting`."""
        cdef Envelope envelope
        while self.held:
            if self.runs:
                self.open_fronts()
            if self.high_left and self.high is not None and len(self.high):
                envelope = <Envelope> self.high.popleft()
                self.high_left -= not envelope.flags & CANCELLED
            elif self.normal_left and self.normal is not None and len(self.normal):
                envelope = <Envelope> self.normal.popleft()
                self.normal_left -= not envelope.flags & CANCELLED
            elif self.low_left and self.low is not None and len(self.low):
                envelope = <Envelope> self.low.popleft()
                self.low_left -= not envelope.flags & CANCELLED
            else:
                self.high_left, self.normal_left, self.low_left = 8, 4, 1
                continue
            self.held -= 1
            if not envelope.flags & CANCELLED:
                return envelope
        return None

    cdef Envelope first(self):
        """A message of the highest priority inside, or None; it stays."""
        if self.runs:
            self.open_fronts()
        for queue in (self.high, self.normal, self.low):
            if queue is not None and len(queue):
                return <Envelope> queue[0]
        return None

    cdef int cancelled(self) except -1:
        """A message inside got the flag CANCELLED."""
        self.waiting -= 1
        if self.held - self.waiting <= self.waiting + SLACK:
            return 0
        for queue in (self.high, self.normal, self.low):
            if queue is not None:
                kept = [entry for entry in queue if self.is_wanted(entry)]
                queue.clear()
                queue.extend(kept)
        self.held = self.waiting
        return 0

    def is_wanted(self, entry) -> bool:
        if not isinstance(entry, Spilled):
            return not (<Envelope> entry).flags & CANCELLED
        if (<Spilled> entry).prune():
            return True
        self.runs -= 1
        self.cell.runtime.forget_run(entry)
        return False

    # --- on the disk --------------------------------------------------------------------------

    cdef int open_fronts(self) except -1:
        """Read back each run that has come to the front."""
        for queue in (self.high, self.normal, self.low):
            while queue is not None and len(queue) and isinstance(queue[0], Spilled):
                queue.extendleft(reversed(self.open_run(queue.popleft())))
        return 0

    def open_run(self, Spilled run not None) -> list:
        """The messages of a run that has been taken out of its queue; of one that is lost, none."""
        cdef Py_ssize_t before = 0
        for part in run.parts:
            before += part is not None
        self.runs -= 1
        found, lost = self.cell.runtime.read_run(self.cell, run)
        self.waiting -= lost
        self.held -= before - len(found)
        return found

    cdef Spilled spill_newest(self, object cell, object store):
        """Put the newest messages of the lowest priority onto the disk; None when there are not two to choose from."""
        cdef Spilled made = None
        for queue in (self.low, self.normal, self.high):
            if queue is not None and len(queue) > 1:
                made = self.spill_queue(queue, store)
                if made is not None:
                    self.cell = cell
                    self.runs += 1
                    return made
        return None

    def spill_queue(self, queue, store) -> Spilled | None:
        cdef Spilled made = None
        cdef Envelope envelope
        cdef Py_ssize_t size = 0
        cdef list newer = [], run = []
        while len(queue) > 1:
            entry = queue.pop()
            if not isinstance(entry, Spilled):
                queue.append(entry)
                break
            newer.append(entry)
        while len(queue) > 1 and size < RUN_BYTES and len(run) < RUN_MESSAGES:
            entry = queue.pop()
            if isinstance(entry, Spilled):
                queue.append(entry)
                break
            envelope = <Envelope> entry
            if envelope.flags & CANCELLED:
                self.held -= 1
            else:
                size += envelope.size
                run.append(envelope)
        run.reverse()
        try:
            if run:
                made = spill_run(run, store)
        finally:
            if made is not None:
                queue.append(made)
            else:
                queue.extend(run)
            queue.extend(reversed(newer))
        return made

    def put(self, Envelope envelope not None) -> None:
        self.push(envelope)

    def take(self):
        """The next message, or None."""
        cdef Envelope envelope = self.pop()
        if envelope is not None:
            self.waiting -= 1
        return envelope

    def cancel(self, Envelope envelope not None) -> None:
        """Mark a message inside: it will be skipped."""
        envelope.flags |= CANCELLED
        self.cancelled()

    def drain(self) -> list:
        """Everything inside but what is cancelled, highest priority first; the mailbox is empty afterwards."""
        cdef Envelope envelope
        out = []
        for queue in (self.high, self.normal, self.low):
            while queue is not None and len(queue):
                entry = queue.popleft()
                entries = self.open_run(entry) if isinstance(entry, Spilled) else (entry,)
                out.extend([envelope for envelope in entries if not envelope.flags & CANCELLED])
        self.waiting = self.held = 0
        return out

    def __len__(self):
        return self.waiting
