"""What a user holds and calls: refs, their methods, and the calls that these make.

Rules:
    `ref.method(...)` makes a coroutine that sends at its first await; `tell(ref.method, ...)` sends at once.
    A call waits for one answer; it is told of it through `resolve`, `reject` or `expire`, exactly once counts.
    A call that is cancelled withdraws its request wherever it is by then.
    Inside a turn, asks inherit priority and deadline of the request that the turn serves, and its chain.
"""

import warnings
from collections.abc import Coroutine

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport STREAMS, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.router cimport ASK, STREAM, TELL, Destination, Router, SlotTable, split
from denoagents._native.runtime cimport NEW, STOPPED, Cell, Turn

from denoagents._native.runtime import current_turn

from denoagents.errors import (
    ArgumentsError,
    DenoagentsError,
    ExpiredError,
    NodeStoppedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    UnknownMethodError,
)


cdef extern from "Python.h":
    void PyErr_SetObject(object type, object value)
    int PyContextVar_Get(object var, PyObject* default_value, PyObject** value) except -1

cdef extern from "awaitable.h":
    ctypedef int (*denoagents_step_t)(PyObject* self, PyObject** result) noexcept
    void denoagents_make_awaitable(PyTypeObject* type, denoagents_step_t step)

cdef object CURRENT = current_turn

cdef enum:
    UNSENT = 0
    ADMITTED = 1      # by the edge's bucket, or waits for it
    WAITING = 2
    DONE = 3
    FAILED = 4
    OVER = 5          # abandoned, or the outcome was taken


cdef Turn turn_of_context():
    cdef PyObject* value = NULL
    PyContextVar_Get(CURRENT, NULL, &value)
    if value == NULL:
        return None
    turn = <object> value
    Py_DECREF(turn)
    return <Turn> turn


def in_turn() -> bool:
    """Whether the caller runs inside an actor's turn."""
    return turn_of_context() is not None


cdef class Ref:
    """Stands for an actor wherever it lives; its methods make calls."""

    def __init__(
        self, Router router not None, str address not None, type=None,
        int64_t timeout_ns=0, int priority=-1, chooser=None,
    ):
        self.router, self.address, self.type = router, address, type
        self.timeout_ns, self.priority, self.chooser = timeout_ns, priority, chooser
        self.type_name, key, self.pinned = split(address)
        self.slot = router.slot_of(self.type_name, key)

    cdef Destination route(self):
        cdef SlotTable table
        if self.pinned is None:
            table = <SlotTable> self.router.tables.get(self.type_name)
            if table is not None:
                return <Destination> table.owners[self.slot]
        return self.router.route(self.type_name, self.slot, self.pinned)

    cdef Cell local(self):
        if self.cell is None or self.cell.state == STOPPED:
            self.cell = self.router.local_cell(self.address)
        return self.cell

    def with_options(self, timeout_ns=None, priority=None):
        """A ref to the same actor whose requests have another timeout or priority."""
        return type(self)(
            self.router, self.address, self.type,
            self.timeout_ns if timeout_ns is None else timeout_ns,
            self.priority if priority is None else priority,
            self.chooser,
        )

    def __getattr__(self, name):
        if name.startswith("__") or self.type is None:
            raise AttributeError(name)
        self.type.method(name)
        raise UnknownMethodError(f"{self.type_name} has no method {name!r}")

    def __eq__(self, other):
        return isinstance(other, Ref) and (<Ref> other).address == self.address

    def __hash__(self):
        return hash(self.address)

    def __reduce__(self):
        raise TypeError("a ref cannot be pickled; pass it as an argument, or send its address")

    def __repr__(self):
        return f"<Ref {self.address}>"


@cython.final
cdef class MethodSlot:
    """What a ref class has in the place of each public method."""

    cdef object method

    def __init__(self, method):
        self.method = method

    def __get__(self, ref, owner):
        cdef BoundMethod bound
        if ref is None:
            return self
        bound = BoundMethod.__new__(BoundMethod)
        bound.ref, bound.method = <Ref> ref, self.method
        return bound


@cython.freelist(64)
cdef class BoundMethod:
    """A method of one actor, ready to be called or told."""

    def __call__(self, *args, **kwargs):
        cdef Call call
        if self.method.is_stream:
            return self.ref.router.stream_class(self, args, kwargs)
        call = Call.__new__(Call)
        call.target, call.ref, call.arguments, call.keywords = self, self.ref, args, kwargs
        return call

    @property
    def router(self):
        return self.ref.router

    @property
    def address(self) -> str:
        return self.ref.address

    @property
    def priority(self) -> int:
        return self.ref.priority

    @property
    def timeout_ns(self) -> int:
        return self.ref.timeout_ns

    def __repr__(self):
        return f"<BoundMethod {self.ref.address}.{self.method.name}>"


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


cdef Destination begin(BoundMethod target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags):
    """Send one request; where it went (the reply may have its outcome already)."""
    cdef Router router = ref.router
    cdef Turn turn = turn_of_context()
    cdef object method = target.method
    cdef int64_t now = router.runtime.clock.now()
    cdef int64_t deadline
    cdef int priority = ref.priority
    cdef Destination destination
    cdef Envelope envelope
    cdef Cell cell
    cdef uint64_t number
    if router.runtime.stopped:
        raise NodeStoppedError("this node has stopped")
    if priority < 0:
        priority = 1
        if turn is not None and turn.envelope is not None:
            priority = turn.envelope.priority
    deadline = now + (ref.timeout_ns or <int64_t> router.timeouts_ns[priority])
    if flags:
        if reply.deadline_ns:
            deadline = reply.deadline_ns
        elif turn is not None and turn.envelope is not None and turn.envelope.deadline_ns:
            deadline = min(deadline, turn.envelope.deadline_ns)
        if deadline <= now:
            raise ExpiredError(f"the deadline passed before {ref.address}.{method.name} was asked")
        reply.deadline_ns = deadline
    destination = ref.route()
    if destination is not router.here and turn is not None and turn.cell.slot == ref.slot:
        if is_kin(turn.cell.address, ref.address):
            destination = router.here        # a family moves as one: it is still here
    if destination is router.here:
        if router.codec:
            payload, args = method.encode_arguments(args, kwargs), None
        else:
            payload = None
            if kwargs or len(args) != method.parameter_count:
                args = method.bind(args, kwargs)
        cell = ref.local()
        router.books.sent += 1
        router.books.acknowledged += 1
        envelope = Envelope.__new__(Envelope)
        envelope.method, envelope.arguments, envelope.payload = method, args, payload
        envelope.deadline_ns, envelope.priority, envelope.flags = deadline, priority, flags
        envelope.reply, envelope.caller = reply, turn if flags else None
        if reply is not None:
            reply.place = envelope
        if flags == WANTS_REPLY and router.runtime.can_inline(cell):
            router.runtime.inline_left -= 1
            if cell.state != NEW or router.runtime.activate(cell):
                router.books.accepted += 1
                router.runtime.begin(cell, envelope)
                return destination
        router.runtime.deliver(cell, envelope)
        return destination
    payload = method.encode_arguments(args, kwargs)
    if len(payload) > router.max_payload:
        raise PayloadTooLargeError(len(payload), router.max_payload)
    number = router.next_number()
    if reply is not None:
        reply.number = number
    chain = turn.chain() if flags and turn is not None else None
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


def bound(Ref ref not None, method) -> BoundMethod:
    """The method of a ref whose class does not have it (refs by address)."""
    cdef BoundMethod made = BoundMethod.__new__(BoundMethod)
    made.ref, made.method = ref, method
    return made


def open_stream(BoundMethod target not None, tuple args, dict kwargs, ReplyTo reply not None):
    """Send the request of a stream whose items `reply` takes."""
    return begin(target, choose(target.ref, reply), args, kwargs, reply, WANTS_REPLY | STREAMS)


cpdef object admit(Router router, Ref ref, ReplyTo reply):
    """Let an external request through the edge: a future to wait for, or None when it may go at once."""
    cdef int priority = 1 if ref.priority < 0 else ref.priority
    reply.deadline_ns = router.runtime.clock.now() + (
        ref.timeout_ns or <int64_t> router.timeouts_ns[priority]
    )
    return router.admission.enter(priority, reply.deadline_ns)


cdef Ref choose(Ref ref, object request):
    return ref if ref.chooser is None else <Ref> ref.chooser(ref, request)


cpdef object tell(target, args, kwargs):
    """Send one way; an awaitable that waits only for credit."""
    cdef BoundMethod bound
    cdef Destination destination
    cdef Ref ref
    if not isinstance(target, BoundMethod):
        raise ArgumentsError(f"tell takes a method of a ref and its arguments, got {target!r}; write tell(ref.method, ...)")
    bound = <BoundMethod> target
    if bound.method.is_stream:
        raise ArgumentsError(f"{bound.method.name} streams its reply; iterate over it instead of telling it")
    ref = choose(bound.ref, None)
    destination = begin(bound, ref, args, kwargs, None, 0)
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


cdef class Call(ReplyTo):
    """One ask: a coroutine that sends at its first await and returns the method's value."""

    cdef int step(self, PyObject** result) except -1:
        """0 with a future to wait for, 1 with the value."""
        cdef Router router = self.ref.router
        cdef object given
        if self.state == UNSENT:
            self.state = ADMITTED
            if router.admission is not None and turn_of_context() is None:
                self.waiter = admit(router, self.ref, self)
                if self.waiter is not None:
                    return wait_for(self.waiter, result)
        if self.state == ADMITTED:
            if self.waiter is not None:
                given, self.waiter = self.waiter, None
                given.result()
            self.ref = choose(self.target.ref, self)
            self.state = WAITING
            try:
                begin(self.target, self.ref, self.arguments, self.keywords, self, WANTS_REPLY)
            except BaseException:
                self.state = OVER
                self.finished()
                raise
            if self.state == WAITING:
                router.deadlines.add(self)
                router.directory.watch_deadlines()
        if self.state == WAITING:
            self.waiter = router.runtime.loop.create_future()
            return wait_for(self.waiter, result)
        given, self.value = self.value, None
        if self.state == DONE:
            self.state = OVER
            Py_INCREF(given)
            result[0] = <PyObject*> given
            return 1
        if self.state == FAILED:
            self.state = OVER
            raise given
        raise RuntimeError(f"{self!r} was awaited already")

    cdef int settle(self, uint8_t state, object value) except -1:
        if self.state == WAITING:
            self.state, self.value, self.place = state, value, None
            self.finished()
            if self.waiter is not None:
                self.ref.router.deadlines.discard(self)
                if not self.waiter.done():
                    self.waiter.set_result(None)
        return 0

    def finished(self) -> None:
        if self.member is not None:
            member, self.member = self.member, None
            member.finished()

    def count_for(self, member) -> None:
        """Tell `member` of a pool when this request is over."""
        self.member = member

    cpdef object resolve(self, object value):
        if self.ref.router.codec:
            try:
                value = self.target.method.decode_result(self.target.method.encode_result(value))
            except DenoagentsError as error:
                self.settle(FAILED, error)
                return
        self.settle(DONE, value)

    cpdef object resolve_payload(self, object payload):
        try:
            self.settle(DONE, self.target.method.decode_result(payload))
        except DenoagentsError as error:
            self.settle(FAILED, error)

    cpdef object reject(self, object error):
        if isinstance(error, DenoagentsError) or self.ref.router.directory is None:
            self.settle(FAILED, error)
        else:
            self.settle(FAILED, self.ref.router.directory.local_error(error))

    cpdef object expire(self):
        if self.state == WAITING:
            self.withdraw()
            self.settle(FAILED, RequestTimeoutError(
                f"{self.ref.address}.{self.target.method.name} did not answer within its deadline; "
                "whether it ran is unknown"
            ))

    def withdraw(self) -> None:
        place, self.place = self.place, None
        if isinstance(place, Envelope):
            self.ref.router.runtime.cancel(<Envelope> place)
        elif place is not None:
            (<Destination> place).withdraw(self)

    def send(self, value):
        cdef PyObject* result = NULL
        status = self.step(&result)
        given = <object> result
        Py_DECREF(given)
        if status == 0:
            return given
        raise StopIteration(given)

    def throw(self, kind, value=None, traceback=None):
        error = value if value is not None else kind
        error = error() if isinstance(error, type) else error
        if self.state == WAITING:
            self.ref.router.deadlines.discard(self)
            self.withdraw()
        elif self.state == ADMITTED and self.waiter is not None:
            self.ref.router.admission.leave(self.waiter)
        self.state = OVER
        self.finished()
        raise error

    def close(self):
        if self.state == WAITING:
            self.ref.router.deadlines.discard(self)
            self.withdraw()
        self.state = OVER
        self.finished()

    def __next__(self):  # replaced below
        raise NotImplementedError

    def __iter__(self):
        return self

    def __await__(self):
        return self

    @property
    def is_idempotent(self) -> bool:
        return self.target.method.idempotent

    def again(self) -> bool:
        """Send the request once more, to whoever owns the actor now; false when that cannot be."""
        if self.state != WAITING or self.is_repeated:
            return False
        self.is_repeated = True
        self.place = None
        try:
            begin(self.target, self.ref, self.arguments, self.keywords, self, WANTS_REPLY)
        except DenoagentsError as error:
            self.settle(FAILED, error)
        return True

    def __del__(self):
        if self.state == UNSENT and self.target is not None:
            warnings.warn(
                f"call to {self.ref.address}.{self.target.method.name} was never awaited", RuntimeWarning, stacklevel=1
            )

    def __repr__(self):
        return f"<Call {self.ref.address}.{self.target.method.name}>"


cdef int wait_for(object future, PyObject** result) except -1:
    future._asyncio_future_blocking = True
    Py_INCREF(future)
    result[0] = <PyObject*> future
    return 0


cdef int step_call(PyObject* self, PyObject** result) noexcept:
    try:
        return (<Call> <object> self).step(result)
    except BaseException as error:
        PyErr_SetObject(<object> type(error), error)
        return -1


denoagents_make_awaitable(<PyTypeObject*> Call, step_call)
Coroutine.register(Call)
