"""An actor's waiting messages: three priorities, served 8:4:1 so that none starves.

Rules:
    Order is kept within a priority. In each round of 13 the classes give up to 8, 4 and 1 messages, the
    higher ones first; a class with nothing waiting passes its turns on.
    The mailbox does not judge deadlines: whoever pops does. A cancelled message stays where it is and is
    skipped, until they are more than half of what is held; then all of them leave at once.
    Source of the weights: plan 2.10.
"""

from collections import deque

from denoagents._native.envelope cimport CANCELLED, RELIABLE, Envelope

cdef Py_ssize_t SLACK = 32               # cancelled messages that a mailbox may hold beyond the others


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
        cdef Envelope other
        cdef Py_ssize_t at = 0
        queue = self.queue_of(envelope)
        if queue is not None:
            for other in queue:
                if (
                    other.flags & RELIABLE and other.reply.stream == envelope.reply.stream
                    and other.reply.sequence > envelope.reply.sequence
                ):
                    queue.insert(at, envelope)
                    self.waiting += 1
                    self.held += 1
                    return 0
                at += 1
        return self.push(envelope)

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
        for queue in (self.high, self.normal, self.low):
            if queue is not None and len(queue):
                return <Envelope> queue[0]
        return None

    cdef int cancelled(self) except -1:
        """A message inside got the flag CANCELLED."""
        cdef Envelope envelope
        self.waiting -= 1
        if self.held - self.waiting <= self.waiting + SLACK:
            return 0
        for queue in (self.high, self.normal, self.low):
            if queue is not None:
                kept = [envelope for envelope in queue if not envelope.flags & CANCELLED]
                queue.clear()
                queue.extend(kept)
        self.held = self.waiting
        return 0

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
            if queue is not None:
                out.extend([envelope for envelope in queue if not envelope.flags & CANCELLED])
                queue.clear()
        self.waiting = self.held = 0
        return out

    def __len__(self):
        return self.waiting
