"""Reliable messages at their sender: numbered, kept, and sent again until they were handled.

Rules:
    A message's identity is (stream, number); it keeps it in every repeat, and its message number, too, by
    which what is parked keeps its order. Each is settled once: handled, refused, expired, quarantined or
    withdrawn. What nobody will ever run is quarantined, and stays its sender's until that is stored.
    A stream's floor travels with its messages, so that receivers can forget what is below it.
    What is kept counts against `reliable_limit` bytes a node; at it, those who tell wait.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport Accounting, ReplyTo, misfit
from denoagents._native.router cimport TELL, Destination, Router

from denoagents.errors import DenoagentsError, ExpiredError, NodeStoppedError, ProtocolError

cdef uint64_t DEATHS = 3                    # lives that a message may end
cdef Py_ssize_t OVERHEAD = 200           # bytes that a kept message costs beside its payload


cdef class Stream:
    def __init__(self, Router router not None, uint64_t id, uint64_t sent=0, on_settled=None):
        self.router, self.id, self.sent, self.on_settled = router, id, sent, on_settled
        self.floor = sent + 1
        self.outstanding = {}

    cdef int register(self, ReplyTo reply, uint64_t number) except -1:
        """Give `reply` its identity; it is kept until it is settled."""
        cdef Accounting books = self.router.books
        if number == 0:
            number = self.sent + 1
        if number > self.sent:
            self.sent = number
        if number < self.floor:
            self.floor = number
        reply.stream, reply.sequence, reply.outgoing = self.id, number, self
        if not reply.number:
            reply.number = self.router.next_number()
        self.outstanding[number] = reply
        books.reliable_sent += 1
        books.reliable_outstanding += 1
        return 0

    cdef bint settle(self, ReplyTo reply, uint8_t outcome) except -1:
        """`reply` needs no more care; false when it is settled already."""
        cdef Accounting books = self.router.books
        if self.outstanding.get(reply.sequence) is not reply:
            return False
        del self.outstanding[reply.sequence]
        while self.floor <= self.sent and self.floor not in self.outstanding:
            self.floor += 1
        books.reliable_outstanding -= 1
        if outcome == HANDLED_WELL:
            books.reliable_handled += 1
        elif outcome == REFUSED:
            books.reliable_refused += 1
        elif outcome == EXPIRED:
            books.reliable_expired += 1
        elif outcome == QUARANTINED:
            books.reliable_quarantined += 1
        else:
            books.reliable_withdrawn += 1
        if self.on_settled is not None:
            self.on_settled(reply.sequence, reply)
        return True

    def send(
        self, str address not None, method, bytes payload not None, int priority=1, uint64_t number=0,
        trace=None, int64_t deadline_ns=0,
    ) -> Delivery:
        """Send a message one way; with `number`, one that has been sent before."""
        cdef Delivery made = Delivery.__new__(Delivery)
        made.target, made.method, made.payload, made.priority = address, method, payload, <uint8_t> priority
        made.trace, made.deadline_ns, made.sent_ns = trace, deadline_ns, self.router.runtime.clock.now()
        self.register(made, number)
        self.router.keep(len(payload) + OVERHEAD)
        made.send()
        return made

    def resume(self, uint64_t sent, uint64_t floor) -> None:
        """Go on after `sent`; what is unsettled from `floor` on will be sent with its own numbers."""
        self.sent, self.floor = max(sent, self.sent), floor

    def withdraw(self) -> None:
        """Somebody else sends what is unsettled, from now on; the floor stays where it is."""
        cdef Accounting books = self.router.books
        for reply in list(self.outstanding.values()):
            books.reliable_outstanding -= 1
            books.reliable_withdrawn += 1
            if isinstance(reply, Delivery):
                disown = getattr((<Delivery> reply).place, "disown", None)  # an outbox has it
                if disown is not None:
                    disown(reply)
                (<Delivery> reply).outcome, (<Delivery> reply).place = WITHDRAWN, None
                self.router.release(len((<Delivery> reply).payload) + OVERHEAD)
        self.outstanding.clear()
        self.on_settled = None

    def __len__(self):
        return len(self.outstanding)

    def __repr__(self):
        return f"<Stream {self.id:x} sent={self.sent} floor={self.floor} outstanding={len(self.outstanding)}>"


cdef class Delivery(ReplyTo):
    @property
    def is_settled(self) -> bool:
        return self.outcome != OUTSTANDING

    @property
    def is_idempotent(self) -> bool:
        return False

    cdef int send(self) except -1:
        cdef Router router = (<Stream> self.outgoing).router
        return send_again(
            router, TELL, self, self.target, self.method, self.priority, None, self.trace, self.payload
        )

    cdef int finish(self, uint8_t outcome) except -1:
        if self.outcome == OUTSTANDING and (<Stream> self.outgoing).settle(self, outcome):
            self.outcome, self.place = outcome, None
            (<Stream> self.outgoing).router.release(len(self.payload) + OVERHEAD)
        return 0

    cpdef object handled(self):
        self.finish(HANDLED_WELL)

    cpdef object resolve(self, object value):
        self.finish(HANDLED_WELL)

    cpdef object repeat(self, object answer):
        self.finish(HANDLED_WELL)

    cpdef object resolve_payload(self, object payload):
        misfit(self, "a value for a message without asker")

    cpdef object reject(self, object error):
        """Nobody will run it; the end of a process is no reason."""
        if isinstance(error, (NodeStoppedError, ProtocolError)):
            return
        if isinstance(error, ExpiredError):
            self.finish(EXPIRED)
        else:
            self.quarantine(f"{getattr(error, 'type_name', None) or type(error).__name__}: {error}")

    cpdef object expire(self):
        self.finish(EXPIRED)

    cpdef object owner_ended(self, bint is_death):
        if self.outcome != OUTSTANDING or self.given_up:
            return
        if is_death and (self.deaths == 0 or self.started):
            self.deaths += 1
        self.started = False
        if self.deaths >= DEATHS:
            self.quarantine(f"{self.deaths} processes ended while they ran it")
        else:
            self.send()

    cdef int quarantine(self, str reason) except -1:
        cdef Router router = (<Stream> self.outgoing).router
        if self.outcome != OUTSTANDING or self.given_up:
            return 0
        self.given_up = True
        router.directory.quarantine(
            self.stream, self.sequence, self.target,
            self.method if isinstance(self.method, str) else self.method.name, self.payload, self.priority,
            self.trace, reason, self.deaths, router.runtime.clock.now() - self.sent_ns, self.kept,
        )
        return 0

    def kept(self) -> None:
        """Somebody has stored what was given up."""
        self.finish(QUARANTINED)

    def __repr__(self):
        return f"<Delivery {self.sequence} of {self.stream:x} to {self.target}>"


cdef int send_again(
    Router router, uint8_t kind, ReplyTo reply, str target, object method, uint8_t priority,
    object chain, object trace, object payload,
) except -1:
    """Send a reliable message to whoever owns its target now; a refusal goes to `reply`."""
    cdef Destination destination
    cdef int64_t deadline = reply.deadline_ns
    reply.place = None
    router.books.sent += 1
    router.books.retained += 1
    try:
        if deadline and deadline <= router.runtime.clock.now():
            router.books.retained -= 1
            router.books.sender_expired += 1
            reply.expire()
            return 0
        destination = router.destination(target)
        if destination is router.here:
            router.receive_parked(kind, target, method, priority, deadline, chain, trace, payload, reply)
        else:
            destination.transmit(
                kind, target, method, reply.number, priority, deadline, chain, trace, payload, reply
            )
    except DenoagentsError as error:
        router.books.retained -= 1
        router.books.sender_refused += 1
        reply.reject(error)
    return 0
