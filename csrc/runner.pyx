"""Turns under way: first steps on the caller's stack, and the tasks that run handlers which wait.

Rules:
    A turn's first step runs at once, under the identity of a spare task; a handler that never waits costs no
    task. One that waits takes the spare along, runs on in it and ends it; a new spare takes over.
    Each turn has a context of its own, in which `current_turn` is set; its steps all run there.
    A spare whose task a handler has cancelled is not used again.
"""

import asyncio
import contextvars
from asyncio import CancelledError
from collections.abc import Coroutine

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from libc.stdint cimport int64_t, uint64_t

from denoagents._native.cell cimport Cell, Turn
from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport Envelope
from denoagents._native.pulse cimport Pulse, Watch

from denoagents.errors import UsageError


cdef extern from "awaitable.h":
    ctypedef int (*denoagents_step_t)(PyObject* self, PyObject** result) noexcept
    void denoagents_make_awaitable(PyTypeObject* type, denoagents_step_t step)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept
    void PyErr_SetObject(object type, object value)
    int PyIter_Send(PyObject* iter, PyObject* arg, PyObject** result) except -1
    object PyContext_Copy(object ctx)
    int PyContext_Enter(object ctx) except -1
    int PyContext_Exit(object ctx) except -1
    object PyContextVar_Set(object var, object value)

current_turn: contextvars.ContextVar = contextvars.ContextVar("denoagents_turn", default=None)
cdef object CURRENT = current_turn
cdef object running_loop = asyncio._get_running_loop
cdef object SWAP = getattr(asyncio.tasks, "_swap_current_task", None)    # from Python 3.12 on
cdef dict TASKS = None if SWAP is not None else asyncio.tasks._current_tasks

cdef int RETURNED = 0                    # PYGEN_RETURN
cdef int FAILED = -1                     # PYGEN_ERROR
cdef int YIELDED = 1                     # PYGEN_NEXT


cdef object swap_task(object loop, object task):
    """Make `task` (or None) the current one of `loop`; which one was it?"""
    if TASKS is None:
        return SWAP(loop, task)
    before = TASKS.get(loop)
    if task is not None:
        TASKS[loop] = task
    elif before is not None:
        del TASKS[loop]
    return before


cdef class Runner:
    """What a runner task runs: turns whose handlers wait."""

    cdef int step(self, object error, PyObject** result) except -1:
        """0 with what the handler waits for, 1 when the turn is over."""
        cdef Turn turn = self.turn
        cdef object awaited
        if turn is None:
            if error is not None:
                if self in self.runners.spares:
                    self.runners.spares.remove(self)
                self.task = None
                raise error
            awaited = self.waiter = self.runners.loop.create_future()
            awaited._asyncio_future_blocking = True
        elif turn.has_yielded:
            turn.has_yielded = False
            awaited, turn.yielded = turn.yielded, None
            if error is not None and not (isinstance(error, CancelledError) and cancelled(awaited)):
                return self.advance(turn, error, result)
        else:
            return self.advance(turn, error, result)
        Py_INCREF(awaited)
        result[0] = <PyObject*> awaited
        return 0

    cdef int advance(self, Turn turn, object error, PyObject** result) except -1:
        cdef object awaited = None
        cdef int status = RETURNED
        try:
            status = self.runners.advance(turn, error)
        except BaseException:            # the end of the program; the loop gets it, too
            self.task.add_done_callback(retrieve)
            raise
        finally:
            if status == YIELDED:
                awaited, turn.yielded = turn.yielded, None
            else:
                self.turn = self.task = None
        Py_INCREF(awaited)
        result[0] = <PyObject*> awaited
        return status != YIELDED

    def send(self, value):
        return self.resume(None)

    def throw(self, kind, value=None, traceback=None):
        error = value if value is not None else kind
        return self.resume(error() if isinstance(error, type) else error)

    def resume(self, error):
        cdef PyObject* result = NULL
        status = self.step(error, &result)
        given = <object> result
        Py_DECREF(given)
        if status == 0:
            return given
        raise StopIteration

    def close(self):
        pass

    def __next__(self):  # replaced below
        raise NotImplementedError

    def __iter__(self):
        return self

    def __await__(self):
        return self

    # what libraries ask of a task's coroutine: inspect.getcoroutinestate, Task.get_stack

    @property
    def cr_running(self) -> bool:
        return self.turn is not None and self.turn.coroutine is not None and self.turn.coroutine.cr_running

    @property
    def cr_suspended(self) -> bool:
        return self.task is not None and not self.cr_running

    @property
    def cr_frame(self):
        return None if self.turn is None or self.turn.coroutine is None else self.turn.coroutine.cr_frame

    @property
    def cr_await(self):
        return None if self.turn is None or self.turn.coroutine is None else self.turn.coroutine.cr_await

    @property
    def cr_code(self):
        return None if self.turn is None or self.turn.coroutine is None else self.turn.coroutine.cr_code

    def __repr__(self):
        return f"<Runner {self.turn!r}>"


def retrieve(task) -> None:
    """Somebody has heard of the exception of `task`."""
    if not task.cancelled():
        task.exception()


cdef bint cancelled(object awaited) except -1:
    """Cancel what a handler waits for, if that can be cancelled."""
    return getattr(awaited, "_asyncio_future_blocking", None) is not None and awaited.cancel()


cdef int step_runner(PyObject* self, PyObject** result) noexcept:
    try:
        return (<Runner> <object> self).step(None, result)
    except BaseException as error:
        PyErr_SetObject(<object> type(error), error)
        return -1


denoagents_make_awaitable(<PyTypeObject*> Runner, step_runner)
Coroutine.register(Runner)


cdef class Runners:
    def __init__(self, loop, Clock clock not None, Watch watch not None, uint64_t incarnation):
        self.loop, self.clock, self.watch, self.incarnation = loop, clock, watch, incarnation
        self.thread = PyThread_get_thread_ident()
        self.spares = []
        self.base_context = contextvars.copy_context()

    def check_loop(self) -> None:
        """Raise UsageError when another loop than the node's runs in this thread."""
        loop = running_loop()
        if loop is not None and loop is not self.loop:
            raise UsageError(
                "this ref belongs to a node that was started on another event loop; "
                "start the node, use it and close it inside one asyncio.run(...)"
            )

    def lend(self, Pulse pulse not None) -> None:
        """Start turns only while the lease that `pulse` renews is valid."""
        self.pulse, self.lease = pulse, pulse.lease

    def lend_word(self, owner, size_t address) -> None:
        """The same, with an int64 at `address` that `owner` keeps alive (the simulator)."""
        self.pulse, self.lease, self.lease_owner = None, <int64_t*> address, owner

    cdef bint leased(self) noexcept:
        return not self.stopped and (self.lease == NULL or self.clock.now() < self.lease[0])

    @property
    def has_lease(self) -> bool:
        return self.leased()

    cdef int check_thread(self) except -1:
        if PyThread_get_thread_ident() != self.thread:
            raise UsageError(
                "this ref belongs to a node whose event loop runs in another thread; "
                "hand the work over: asyncio.run_coroutine_threadsafe(coroutine, loop)"
            )
        return 0

    def run_hook(self, Cell cell not None, coroutine, str label) -> None:
        """Run `coroutine` as a turn of an idle cell (on_stop, on_passivate)."""
        cdef Turn turn
        if cell.turn is not None:
            coroutine.close()
            raise RuntimeError(f"{cell.address} is busy")
        turn = self.make_turn(cell, None, label)
        turn.coroutine = coroutine
        self.launch(turn)

    cdef Turn make_turn(self, Cell cell, Envelope envelope, object label):
        cdef Turn turn = Turn.__new__(Turn)
        self.turns += 1
        turn.number, turn.cell, turn.envelope, turn.label = self.turns, cell, envelope, label
        turn.outer = cell.turn
        cell.turn = turn
        return turn

    cdef bint launch(self, Turn turn) except -1:
        """Run the first step of `turn` under the identity of a spare task; true when it is over."""
        cdef Runner runner = self.take_spare()
        cdef int status = RETURNED
        turn.context = PyContext_Copy(self.base_context)
        turn.runner = runner
        outer = swap_task(self.loop, runner.task)
        if outer is None and not self.running and not self.is_on_loop(turn, runner):
            return True
        self.depth += 1
        try:
            status = self.advance(turn, None)
        finally:
            self.depth -= 1
            swap_task(self.loop, outer)
            if status != YIELDED:
                turn.runner = None
                self.put_back_spare(runner)
        if status != YIELDED:
            return True
        turn.has_yielded = True
        runner.turn = turn
        if runner.waiter is not None and not runner.waiter.done():
            runner.waiter.set_result(None)
        return False

    cdef bint is_on_loop(self, Turn turn, Runner runner) except -1:
        """Whether the node's loop is the one that runs; if not, the turn ends before it begins."""
        try:
            self.check_loop()
        except UsageError as error:
            swap_task(self.loop, None)
            turn.runner = None
            self.put_back_spare(runner)
            turn.coroutine.close()
            self.finish(turn, None, error)
            return False
        return True

    cdef Runner take_spare(self):
        cdef Runner runner
        if self.spares:
            return <Runner> self.spares.pop()
        runner = Runner()
        runner.runners = self
        runner.task = asyncio.Task(
            runner, loop=self.loop, name="denoagents runner", context=PyContext_Copy(self.base_context)
        )
        return runner

    cdef int put_back_spare(self, Runner runner) except -1:
        if runner.task.cancelling():
            runner.task.cancel()
        else:
            self.spares.append(runner)
        return 0

    cdef int advance(self, Turn turn, object error) except -2:
        """One step of the handler, in the turn's context; on the last one, finish the turn."""
        cdef int status = FAILED
        cdef PyObject* result = NULL
        cdef object value = None, failure = None
        PyContext_Enter(turn.context)
        self.watch.begin(turn.cell.address, turn.label, self.clock.now())
        try:
            if not turn.begun:
                turn.begun = True
                PyContextVar_Set(CURRENT, turn)
            if error is None:
                status = PyIter_Send(<PyObject*> turn.coroutine, <PyObject*> None, &result)
                value = <object> result
                Py_DECREF(value)
            else:
                value = turn.coroutine.throw(error)
                status = YIELDED
        except StopIteration as stop:
            status = RETURNED
            value = stop.value
        except BaseException as raised:
            status = FAILED
            failure = raised
        PyContext_Exit(turn.context)
        self.watch.end()
        if status == YIELDED:
            turn.yielded = value
            return YIELDED
        self.finish(turn, value, failure)
        return RETURNED

    cdef int finish(self, Turn turn, object value, object error) except -1:
        """The turn is over, with a value or an error."""
        raise NotImplementedError
