"""How a request leaves: priority, deadline and chain, then into a mailbox here or to a destination.

Rules:
    `tell` sends at once; it has a deadline only if `options` gave one. Inside a turn, asks inherit
    priority and deadline of the request that the turn serves, and its chain; a task that outlives its
    turn runs on nobody's behalf.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.cell cimport STOPPED, Cell, Turn
from denoagents._native.delivery cimport Stream
from denoagents._native.envelope cimport RELIABLE, STREAMS, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.ref cimport Ref, Target
from denoagents._native.router cimport ASK, STREAM, TELL, Destination, Router

from denoagents._native.runner import current_turn

from denoagents.errors import (
    ArgumentsError, CallCycleError, ExpiredError, NodeStoppedError, Overloaded, PayloadTooLargeError,
)


cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject* default_value, PyObject** value) except -1

cdef object CURRENT = current_turn
cdef int MAX_CHAIN = 128                 # as long as a chain can be


cdef Turn turn_of_context():
    """The turn on whose behalf the caller runs; a task that outlives its turn runs on nobody's."""
    cdef PyObject* value = NULL
    cdef Turn turn
    PyContextVar_Get(CURRENT, NULL, &value)
    if value == NULL:
        return None
    turn = <Turn> <object> value
    Py_DECREF(turn)
    return None if turn is None or turn.coroutine is None else turn


def in_turn() -> bool:
    """Whether the caller runs inside an actor's turn."""
    return turn_of_context() is not None


cdef class Sent:
    """What `tell` returns when there is nothing to wait for."""

    def __await__(self):
        return NOTHING_TO_WAIT_FOR


cdef class Breath:
    """What `tell` returns now and then, so that a sender that never waits lets the loop read its sockets."""

    cdef bint taken

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.taken:
            raise StopIteration
        self.taken = True

cdef object NOTHING_TO_WAIT_FOR = iter(())
cdef int TELLS = 512                     # to other processes, between two rounds of the loop
cdef Sent SENT = Sent()


cdef bint is_kin(str one, str other):
    """Whether two addresses have the same root actor."""
    return one.split("/")[:2] == other.split("/")[:2]


cdef Destination begin(
    Target target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags, Turn turn,
):
    """Send one request; where it went (the reply may have its outcome already)."""
    cdef Router router = ref.router
    cdef object method = target.method
    cdef int64_t now = router.runtime.clock.now()
    cdef int64_t deadline
    cdef int priority = ref.priority
    cdef Destination destination
    cdef Envelope envelope
    cdef Cell cell
    cdef uint64_t number
    router.runtime.check_thread()
    if router.runtime.stopped:
        raise NodeStoppedError("this node has stopped")
    if priority < 0:
        priority = 1
        if turn is not None and turn.envelope is not None:
            priority = turn.envelope.priority
    if not flags & WANTS_REPLY:
        deadline = now + ref.timeout_ns if ref.timeout_ns else 0
    else:
        deadline = now + (ref.timeout_ns or <int64_t> router.timeouts_ns[priority])
        if reply.deadline_ns:
            deadline = reply.deadline_ns
        elif turn is not None and turn.envelope is not None and turn.envelope.deadline_ns:
            deadline = min(deadline, turn.envelope.deadline_ns)
        if deadline <= now:
            raise ExpiredError(f"the deadline passed before {ref.address}.{method.name} was asked")
        reply.deadline_ns = deadline
    destination = ref.route()
    if destination is router.here and ref.is_child and (ref.cell is None or ref.cell.state == STOPPED):
        destination = router.destination(ref.address)
    if destination is not router.here and turn is not None and turn.cell.slot == ref.slot:
        if is_kin(turn.cell.address, ref.address):
            destination = router.here        # a family moves as one: it is still here
    if flags & RELIABLE:
        return begin_reliably(target, ref, args, kwargs, reply, flags, turn, destination, priority, deadline)
    if destination is router.here:
        if router.codec:
            payload, args = method.encode_arguments(args, kwargs), None
        else:
            payload = None
            if kwargs or len(args) != method.parameter_count:
                args = method.bind(args, kwargs)
        cell = ref.local()
        router.books.sent += 1
        if not flags and cell.full and (
            cell.mailbox.waiting >= router.runtime.mailbox_reserve or router.runtime.is_stuffed()
        ):
            router.books.sender_refused += 1
            raise router.runtime.overloaded(cell)
        router.books.acknowledged += 1
        envelope = Envelope.__new__(Envelope)
        envelope.method, envelope.arguments, envelope.payload = method, args, payload
        envelope.deadline_ns, envelope.priority, envelope.flags = deadline, priority, flags
        envelope.reply, envelope.caller = reply, turn if flags else None
        if reply is not None:
            reply.place = envelope
        if flags == WANTS_REPLY:
            router.runtime.take(cell, envelope, now)
        else:
            router.runtime.deliver(cell, envelope)
        return destination
    payload = method.encode_arguments(args, kwargs)
    if len(payload) > router.max_payload:
        raise PayloadTooLargeError(len(payload), router.max_payload)
    number = router.next_number()
    if reply is not None:
        reply.number = number
    chain = turn.chain() if flags and turn is not None else None
    if chain is not None and len(chain) >= MAX_CHAIN:
        raise CallCycleError(f"{MAX_CHAIN} asks wait for each other; the last is {turn.cell.address}")
    trace = None if turn is None or turn.envelope is None else turn.envelope.trace
    router.books.sent += 1
    router.books.retained += 1
    try:
        destination.transmit(
            TELL if not flags else STREAM if flags & STREAMS else ASK,
            ref.address, method, number, priority, deadline, chain, trace, payload, reply,
        )
    except BaseException:
        router.books.retained -= 1
        router.books.sender_refused += 1
        raise
    return destination


cdef Destination begin_reliably(
    Target target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags, Turn turn,
    Destination destination, int priority, int64_t deadline,
):
    """Send a message that is kept until it was handled."""
    cdef Router router = ref.router
    cdef Stream stream = <Stream> router.stream
    cdef object method = target.method
    cdef object trace = None if turn is None or turn.envelope is None else turn.envelope.trace
    cdef object payload = None
    cdef Envelope envelope
    if not flags & WANTS_REPLY or destination is not router.here:
        payload = method.encode_arguments(args, kwargs)
        if len(payload) > router.max_payload:
            raise PayloadTooLargeError(len(payload), router.max_payload)
    if not flags & WANTS_REPLY:
        if router.kept >= 2 * router.reliable_limit:
            raise Overloaded(f"{router.kept} bytes of reliable messages wait to be handled; await what you tell", 1.0)
        stream.send(ref.address, method, payload, priority, 0, trace, deadline)
        return destination
    chain = turn.chain() if turn is not None else None
    if chain is not None and len(chain) >= MAX_CHAIN:
        raise CallCycleError(f"{MAX_CHAIN} asks wait for each other; the last is {turn.cell.address}")
    if payload is None and (kwargs or len(args) != method.parameter_count):
        args = method.bind(args, kwargs)
    if router.codec and payload is None:
        payload, args = method.encode_arguments(args, {}), None
    stream.register(reply, 0)
    reply.letter = (priority, chain, trace, payload)
    router.books.sent += 1
    if destination is router.here:
        router.books.acknowledged += 1
        reply.floor = stream.floor
        envelope = Envelope.__new__(Envelope)
        envelope.method, envelope.arguments, envelope.payload = method, args, payload
        if payload is not None:
            envelope.arguments = None
        envelope.deadline_ns, envelope.priority, envelope.flags = deadline, <uint8_t> priority, flags
        envelope.reply, envelope.caller, envelope.trace = reply, turn, trace
        reply.place = envelope
        router.runtime.arrive(ref.local(), envelope)
        return destination
    router.books.retained += 1
    try:
        destination.transmit(
            ASK, ref.address, method, reply.number, <uint8_t> priority, deadline, chain, trace, payload, reply,
        )
    except BaseException:
        router.books.retained -= 1
        router.books.sender_refused += 1
        raise
    return destination


def open_stream(Target target not None, tuple args, dict kwargs, ReplyTo reply not None):
    """Send the request of a stream whose items `reply` takes."""
    return begin(target, choose(target.ref, reply), args, kwargs, reply, WANTS_REPLY | STREAMS, turn_of_context())


cpdef object admit(Router router, Ref ref, ReplyTo reply):
    """Let an external request through the edge: a future to wait for, or None when it may go at once."""
    cdef int priority = 1 if ref.priority < 0 else ref.priority
    reply.deadline_ns = router.runtime.clock.now() + (
        ref.timeout_ns or <int64_t> router.timeouts_ns[priority]
    )
    return router.admission.enter(priority, reply.deadline_ns)


cdef Ref choose(Ref ref, object request):
    return ref if ref.chooser is None else <Ref> ref.chooser(ref, request)


cdef object keep_for_later(Target target, Ref ref, tuple args, dict kwargs, Turn turn):
    """A durable turn's tells leave with its commit."""
    cdef object payload = target.method.encode_arguments(args, kwargs)
    cdef int priority = ref.priority
    if len(payload) > ref.router.max_payload:
        raise PayloadTooLargeError(len(payload), ref.router.max_payload)
    if priority < 0:
        priority = 1 if turn.envelope is None else turn.envelope.priority
    turn.outgoing.append((ref.address, target.method.name, payload, priority))
    return SENT


cdef object keep_in_journal(Target target, Ref ref, tuple args, dict kwargs):
    """What code outside of turns tells durably leaves when its node has kept it."""
    cdef object payload = target.method.encode_arguments(args, kwargs)
    cdef int priority = 1 if ref.priority < 0 else ref.priority
    ref.router.runtime.check_thread()
    if ref.router.runtime.stopped:
        raise NodeStoppedError("this node has stopped")
    if len(payload) > ref.router.max_payload:
        raise PayloadTooLargeError(len(payload), ref.router.max_payload)
    return ref.router.directory.journal(ref.address, target.method.name, payload, priority, ref.reliable)


cpdef object tell(target, args, kwargs):
    """Send one way; an awaitable that waits only for credit."""
    cdef Target bound
    cdef Destination destination
    cdef Ref ref
    cdef Turn turn
    if not isinstance(target, Target):
        raise ArgumentsError(
            f"tell takes a method of a ref and its arguments, got {target!r}; write tell(ref.method, ...)"
        )
    bound = <Target> target
    if bound.method.is_stream:
        raise ArgumentsError(f"{bound.method.name} streams its reply; iterate over it instead of telling it")
    ref = choose(bound.ref, None)
    turn = turn_of_context()
    if turn is not None and turn.outgoing is not None:
        return keep_for_later(bound, ref, args, kwargs, turn)
    if ref.reliable > 1 and turn is None:
        return keep_in_journal(bound, ref, args, kwargs)
    if ref.reliable > 0 or (bound.is_reliable and ref.reliable):
        destination = begin(bound, ref, args, kwargs, None, RELIABLE, turn)
        waiter = ref.router.keep_gate()
        if waiter is not None:
            return waiter
    else:
        destination = begin(bound, ref, args, kwargs, None, 0, turn)
    if destination is ref.router.here:
        if ref.cell is not None and ref.cell.full:
            return ref.router.directory.space(ref.cell)
        return SENT
    waiter = destination.gate(ref.address)
    if waiter is not None:
        return waiter
    ref.router.tells_left -= 1
    if ref.router.tells_left > 0:
        return SENT
    ref.router.tells_left = TELLS
    return Breath()
