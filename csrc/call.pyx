"""What a user calls: the methods of refs, and the coroutines that their calls are.

Rules:
    `ref.method(...)` makes a coroutine that sends at its first await.
    A call waits for one answer; it is told of it through `resolve`, `reject` or `expire`, exactly once counts.
    A call that is cancelled withdraws its request wherever it is by then.
"""

import warnings
from collections.abc import Coroutine

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint64_t

import denoagents._native.ref
import denoagents._native.send
from denoagents._native.delivery cimport (
    EXPIRED, HANDLED_WELL, QUARANTINED, REFUSED, WITHDRAWN, Stream, send_again,
)
from denoagents._native.envelope cimport RELIABLE, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.records cimport unpack_map
from denoagents._native.ref cimport Ref, Target
from denoagents._native.router cimport ASK, Destination, Parking, Router
from denoagents._native.send cimport admit, begin, choose, turn_of_context

from denoagents.errors import (
    DenoagentsError, ExpiredError, NodeStoppedError, OutcomeUnknownError, QuarantinedError, RejectedError,
    RequestTimeoutError, from_wire,
)


cdef extern from "Python.h":
    void PyErr_SetObject(object type, object value)

cdef extern from "awaitable.h":
    ctypedef int (*denoagents_step_t)(PyObject* self, PyObject** result) noexcept
    void denoagents_make_awaitable(PyTypeObject* type, denoagents_step_t step)

globals().update(                        # what belongs together is imported from one place
    Ref=denoagents._native.ref.Ref, Target=denoagents._native.ref.Target,
    admit=denoagents._native.send.admit, in_turn=denoagents._native.send.in_turn,
    open_stream=denoagents._native.send.open_stream, tell=denoagents._native.send.tell,
)

cdef enum:
    UNSENT = 0
    ADMITTED = 1      # by the edge's bucket, or waits for it
    WAITING = 2
    DONE = 3
    FAILED = 4
    OVER = 5          # abandoned, or the outcome was taken

cdef uint64_t DEATHS = 3                 # processes that may end while they have a request


@cython.final
cdef class MethodSlot:
    """What a ref class has in the place of each public method."""

    cdef object method
    cdef bint is_reliable

    def __init__(self, method):
        self.method, self.is_reliable = method, method.reliable

    def __get__(self, ref, owner):
        cdef BoundMethod bound
        if ref is None:
            return self
        bound = BoundMethod.__new__(BoundMethod)
        bound.ref, bound.method, bound.is_reliable = <Ref> ref, self.method, self.is_reliable
        return bound


cdef class BoundMethod(Target):
    """A method of one actor, ready to be called or told."""

    def __call__(self, *args, **kwargs):
        cdef Call call
        if self.method.is_stream:
            return self.ref.router.stream_class(self, args, kwargs)
        call = Call.__new__(Call)
        call.method_of, call.ref, call.arguments, call.keywords = self, self.ref, args, kwargs
        return call


def bound(Ref ref not None, method) -> BoundMethod:
    """The method of a ref whose class does not have it (refs by address)."""
    cdef BoundMethod made = BoundMethod.__new__(BoundMethod)
    made.ref, made.method, made.is_reliable = ref, method, method.reliable
    return made


cdef class Call(ReplyTo):
    """One ask: a coroutine that sends at its first await and returns the method's value."""

    cdef int step(self, PyObject** result) except -1:
        """0 with a future to wait for, 1 with the value."""
        cdef Router router = self.ref.router
        cdef object given
        cdef uint8_t flags = WANTS_REPLY
        if self.state == UNSENT:
            self.state = ADMITTED
            if router.admission is not None and turn_of_context() is None:
                self.waiter = admit(router, self.ref, self)
                if self.waiter is not None:
                    return wait_for(self.waiter, result)
        if self.state == ADMITTED:
            try:
                if self.waiter is not None:
                    given, self.waiter = self.waiter, None
                    given.result()
                if self.member is None:
                    self.ref = choose(self.method_of.ref, self)
                self.state = WAITING
                if self.ref.reliable > 0 or (self.method_of.is_reliable and self.ref.reliable):
                    flags |= RELIABLE
                begin(self.method_of, self.ref, self.arguments, self.keywords, self, flags, turn_of_context())
            except BaseException as error:
                self.state = OVER
                self.forget(error)
                self.finished()
                raise
            if self.state == WAITING:
                router.deadlines.add(self)
                router.directory.watch_deadlines()
        if self.state == WAITING:
            if self.waiter is not None and not self.waiter.done():
                raise RuntimeError(f"{self!r} is being awaited already")
            try:
                router.runtime.check_loop()
            except BaseException:
                self.abandon()
                raise
            self.waiter = router.runtime.loop.create_future()
            return wait_for(self.waiter, result)
        given, self.value = self.value, None
        self.waiter = None
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
            if self.sequence:
                self.forget(value if state == FAILED else None)
            self.finished()
            if self.waiter is not None:
                self.ref.router.deadlines.discard(self)
                if not self.waiter.done():
                    self.waiter.set_result(None)
        return 0

    cdef int forget(self, object error) except -1:
        """A reliable ask has its outcome; its stream keeps it no longer."""
        cdef int outcome = HANDLED_WELL
        if self.outgoing is None:
            return 0
        if isinstance(error, (ExpiredError, RequestTimeoutError)):
            outcome = EXPIRED
        elif isinstance(error, QuarantinedError):
            outcome = QUARANTINED
        elif isinstance(error, RejectedError):
            outcome = REFUSED
        elif isinstance(error, (GeneratorExit, NodeStoppedError)):
            outcome = WITHDRAWN
        (<Stream> self.outgoing).settle(self, outcome)
        self.letter = None
        return 0

    cpdef object owner_ended(self, bint is_death):
        """Send a reliable ask once more, with its identity, to whoever owns the actor now."""
        if self.state != WAITING or self.letter is None:
            return
        if is_death and (self.deaths == 0 or self.started):
            self.deaths += 1
        self.started = False
        if self.deaths >= DEATHS:
            self.quarantine()
            self.settle(FAILED, QuarantinedError(
                f"{self.ref.address}.{self.method_of.method.name}: {self.deaths} processes ended while they ran it"
            ))
            return
        priority, chain, trace, payload = self.letter
        if payload is None:
            payload = self.method_of.method.encode_arguments(self.arguments, self.keywords)
        send_again(
            self.ref.router, ASK, self, self.ref.address, self.method_of.method, priority, chain, trace, payload
        )

    cdef int quarantine(self) except -1:
        cdef Router router = self.ref.router
        priority, _, trace, payload = self.letter
        router.directory.quarantine(
            self.stream, self.sequence, self.ref.address, self.method_of.method.name, payload or b"", priority, trace,
            f"{self.deaths} processes ended while they ran it", self.deaths, 0, lambda: None,
        )
        return 0

    cpdef object repeat(self, object answer):
        if isinstance(answer, tuple) and answer[0] is not None:
            self.reject(from_wire(unpack_map(answer[0])))
        elif answer is not None:
            self.resolve_payload(answer)

    def finished(self) -> None:
        if self.member is not None:
            member, self.member = self.member, None
            member.finished()

    def count_for(self, member) -> None:
        """Tell `member` of a pool when this request is over."""
        self.member = member

    cpdef object resolve(self, object value):
        if self.state == WAITING and self.ref.router.codec:
            try:
                value = self.method_of.method.decode_result(self.method_of.method.encode_result(value))
            except DenoagentsError as error:
                self.settle(FAILED, error)
                return
        self.settle(DONE, value)

    cpdef object resolve_payload(self, object payload):
        try:
            self.settle(DONE, self.method_of.method.decode_result(payload))
        except DenoagentsError as error:
            self.settle(FAILED, error)

    cpdef object reject(self, object error):
        if self.state != WAITING:
            return
        if type(error) is OutcomeUnknownError and self.place is not None and not isinstance(self.place, Envelope):
            if self.is_idempotent and not self.sequence and self.again():
                return                   # who sent it on to the owner that ended has no part in it
        if self.is_repeated and isinstance(error, RejectedError):
            self.settle(FAILED, OutcomeUnknownError(
                f"the owner ended before it answered, and the repeat was refused: {error}"
            ))
        elif isinstance(error, DenoagentsError) or self.ref.router.directory is None:
            self.settle(FAILED, error)
        else:
            self.settle(FAILED, self.ref.router.directory.local_error(error))

    cpdef object expire(self):
        if self.state != WAITING:
            return
        if isinstance(self.place, Parking):
            reason = (<Parking> self.place).reason
            if (<Parking> self.place).expire(self):
                self.settle(FAILED, ExpiredError(
                    f"{self.ref.address}.{self.method_of.method.name} was not sent within its deadline: {reason}"
                ))
                return
        if isinstance(self.place, Envelope) and self.ref.router.runtime.expire(<Envelope> self.place):
            self.settle(FAILED, ExpiredError(
                f"{self.ref.address}.{self.method_of.method.name} was not reached within its deadline; it was not run"
            ))
            return
        self.withdraw()
        self.settle(FAILED, RequestTimeoutError(
            f"{self.ref.address}.{self.method_of.method.name} did not answer within its deadline; "
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
        self.abandon()
        raise error

    def close(self):
        self.abandon()

    cdef int abandon(self) except -1:
        """Nobody waits for the answer any more."""
        if self.state == WAITING:
            self.ref.router.deadlines.discard(self)
            self.withdraw()
            self.forget(GeneratorExit())
        elif self.state == ADMITTED and self.waiter is not None:
            self.ref.router.admission.leave(self.waiter)
        self.state = OVER
        self.value = self.waiter = None
        self.finished()
        return 0

    # what libraries ask of a task's coroutine: inspect.getcoroutinestate, Task.get_stack

    @property
    def cr_running(self) -> bool:
        return False

    @property
    def cr_suspended(self) -> bool:
        return self.state == ADMITTED or self.state == WAITING

    @property
    def cr_await(self):
        return self.waiter

    cr_frame = cr_code = None

    def __next__(self):  # replaced below
        raise NotImplementedError

    def __iter__(self):
        return self

    def __await__(self):
        return self

    @property
    def is_idempotent(self) -> bool:
        return self.method_of.method.idempotent

    def again(self) -> bool:
        """Send the request once more, to whoever owns the actor now; false when that cannot be."""
        if self.state != WAITING:
            return False
        self.deaths += 1
        if self.deaths >= DEATHS:
            return False
        self.is_repeated = True
        self.place = None
        try:
            begin(self.method_of, self.ref, self.arguments, self.keywords, self, WANTS_REPLY, turn_of_context())
        except DenoagentsError:
            return False
        return True

    def __del__(self):
        if self.state == UNSENT and self.method_of is not None:
            what = f"{self.ref.address}.{self.method_of.method.name}"
            warnings.warn(f"call to {what} was never awaited", RuntimeWarning, stacklevel=1)

    def __repr__(self):
        return f"<Call {self.ref.address}.{self.method_of.method.name}>"


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
