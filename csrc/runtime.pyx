"""Cells, turns and the tasks that run them: one message at a time per actor.

Rules:
    Everything here runs on the loop's thread. A turn starts only while the node's lease is valid.
    A turn's first step runs at once, under the identity of a spare task; a handler that never waits costs no
    task. One that waits takes the spare along, runs on in it and ends it; a new spare takes over.
    Each turn has a context of its own, in which `current_turn` is set; its steps all run there.
    Ready cells are served 8:4:1 by the best priority that waits in them; a cell gives way after 16 turns.
    An actor that is asked inside this process runs inside the asker's await, unless the loop has not
    come round for 256 such turns, or they are nested 24 deep: then it takes the queue.
"""

import asyncio
import contextvars
from asyncio import CancelledError
from collections import deque
from collections.abc import Coroutine

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport CANCELLED, STREAMS, Accounting, Envelope
from denoagents._native.mailbox cimport Mailbox
from denoagents._native.pulse cimport Pulse, Watch

from denoagents.errors import (
    ActorStoppedError,
    ArgumentsError,
    CallCycleError,
    EncodingError,
    ExpiredError,
    Overloaded,
)


cdef extern from "awaitable.h":
    ctypedef int (*denoagents_step_t)(PyObject* self, PyObject** result) noexcept
    void denoagents_make_awaitable(PyTypeObject* type, denoagents_step_t step)

cdef extern from "Python.h":
    void PyErr_SetObject(object type, object value)
    int PyIter_Send(PyObject* iter, PyObject* arg, PyObject** result) except -1
    object PyContext_Copy(object ctx)
    int PyContext_Enter(object ctx) except -1
    int PyContext_Exit(object ctx) except -1
    object PyContextVar_Set(object var, object value)

current_turn: contextvars.ContextVar = contextvars.ContextVar("denoagents_turn", default=None)
cdef object CURRENT = current_turn
cdef object enter_task = asyncio.tasks._enter_task
cdef object leave_task = asyncio.tasks._leave_task
cdef object current_task = asyncio.current_task

cdef int RETURNED = 0                    # PYGEN_RETURN
cdef int FAILED = -1                     # PYGEN_ERROR
cdef int YIELDED = 1                     # PYGEN_NEXT
cdef int INLINE_TURNS = 256              # between two rounds of the loop
cdef int INLINE_DEPTH = 24
cdef int THROUGHPUT = 16                 # turns of one cell in a row
cdef int SERVINGS = 2048                 # cells in one go, and
cdef int64_t RUN_NS = 2_000_000          # then the loop gets a chance to read sockets
cdef int MAX_CHAIN = 128                 # turns waiting for each other in one request


@cython.freelist(256)
cdef class Turn:
    """One message being handled."""

    @property
    def deadline_ns(self) -> int:
        return 0 if self.envelope is None else self.envelope.deadline_ns

    @property
    def priority(self) -> int:
        return 1 if self.envelope is None else self.envelope.priority

    @property
    def task(self):
        return None if self.runner is None else self.runner.task

    cpdef object chain(self):
        """The turns that wait for each other up to this one: a tuple of (address, incarnation, number)."""
        cdef Turn caller
        if self.chain_cache is None:
            before = ()
            if self.envelope is not None:
                if self.envelope.caller is not None:
                    caller = <Turn> self.envelope.caller
                    before = caller.chain()
                elif self.envelope.chain is not None:
                    before = self.envelope.chain
            if len(before) >= MAX_CHAIN:
                raise CallCycleError(f"{MAX_CHAIN} asks wait for each other; the last is {self.cell.address}")
            self.chain_cache = (*before, (self.cell.address, self.cell.runtime.incarnation, self.number))
        return self.chain_cache

    def __repr__(self):
        return f"<Turn {self.number} {self.cell.address}.{self.label}>"


cdef class Runner:
    """What a runner task runs: turns whose handlers wait."""

    cdef int step(self, object error, PyObject** result) except -1:
        """0 with what the handler waits for, 1 when the turn is over."""
        cdef Turn turn = self.turn
        cdef object awaited
        if turn is None:
            if error is not None:
                raise error
            awaited = self.waiter = self.runtime.loop.create_future()
            awaited._asyncio_future_blocking = True
        elif turn.has_yielded:
            turn.has_yielded = False
            awaited, turn.yielded = turn.yielded, None
            if error is not None and not (
                isinstance(error, CancelledError) and awaited is not None and awaited.cancel()
            ):
                return self.advance(turn, error, result)
        else:
            return self.advance(turn, error, result)
        Py_INCREF(awaited)
        result[0] = <PyObject*> awaited
        return 0

    cdef int advance(self, Turn turn, object error, PyObject** result) except -1:
        cdef object awaited = None
        cdef int status = self.runtime.advance(turn, error)
        if status == YIELDED:
            awaited, turn.yielded = turn.yielded, None
        else:
            self.turn = None
            self.runtime.run_soon()
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

    def __repr__(self):
        return f"<Runner {self.turn!r}>"


cdef int step_runner(PyObject* self, PyObject** result) noexcept:
    try:
        return (<Runner> <object> self).step(None, result)
    except BaseException as error:
        PyErr_SetObject(<object> type(error), error)
        return -1


denoagents_make_awaitable(<PyTypeObject*> Runner, step_runner)
Coroutine.register(Runner)


cdef class Cell:
    """One actor: its address, its instance while it has one, its mailbox and its running turn."""

    def __init__(self, Runtime runtime, str address, type, int slot, bint held=False):
        self.runtime, self.address, self.type, self.slot, self.held = runtime, address, type, slot, held

    @property
    def waiting(self) -> int:
        return 0 if self.mailbox is None else self.mailbox.waiting

    @property
    def is_idle(self) -> bool:
        return self.turn is None and (self.mailbox is None or self.mailbox.held == 0)

    def release_mailbox(self) -> None:
        """Give back the memory of an empty mailbox."""
        if self.mailbox is not None and self.mailbox.held == 0:
            self.mailbox = None

    def __repr__(self):
        state = CellState(self.state).name.lower()
        return f"<Cell {self.address} {state} waiting={self.waiting}{' held' if self.held else ''}>"


cdef class Runtime:
    """All actors of one process, and the order in which they run."""

    def __init__(self, loop, Clock clock not None, Watch watch not None, uint64_t incarnation, guardian):
        self.loop, self.clock, self.watch, self.guardian = loop, clock, watch, guardian
        self.incarnation = incarnation
        self.books = Accounting()
        self.cells = {}
        self.ready_high, self.ready_normal, self.ready_low = deque(), deque(), deque()
        self.spares = []
        self.base_context = contextvars.copy_context()
        self.inline_left = INLINE_TURNS
        self.mailbox_limit, self.mailbox_reserve = 1000, 10_000

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

    cdef bint can_inline(self, Cell cell) noexcept:
        return (
            cell.turn is None and not cell.held and not cell.queued and cell.state <= READY
            and cell.state != STARTING and (cell.mailbox is None or cell.mailbox.held == 0)
            and self.inline_left > 0 and self.depth < INLINE_DEPTH and self.leased()
        )

    # --- arrival ------------------------------------------------------------------------------

    cdef int deliver(self, Cell cell, Envelope envelope) except -1:
        """Take responsibility for `envelope`: from now on it has exactly one outcome here."""
        self.books.accepted += 1
        if cell.state >= STOPPING:
            self.books.refused += 1
            if envelope.reply is not None:
                envelope.reply.reject(ActorStoppedError(f"{cell.address} has stopped"))
            return 0
        if cell.turn is not None and self.closes_cycle(cell.turn, envelope):
            self.books.refused += 1
            envelope.reply.reject(self.cycle_error(cell, envelope))
            return 0
        if cell.mailbox is None:
            cell.mailbox = Mailbox()
        elif cell.mailbox.waiting >= self.mailbox_limit:
            if cell.mailbox.waiting >= self.mailbox_reserve:
                self.books.refused += 1
                error = Overloaded(f"{cell.address} has {cell.mailbox.waiting} messages waiting", 1.0)
                if envelope.reply is not None:
                    envelope.reply.reject(error)
                else:
                    self.guardian.dropped(cell, envelope, error)
                return 0
            cell.full = True
        envelope.cell = cell
        cell.mailbox.push(envelope)
        self.books.waiting += 1
        if cell.turn is None and not cell.queued and not cell.held and cell.state != STARTING:
            self.enqueue(cell)
        return 0

    def post(self, Cell cell not None, Envelope envelope not None) -> None:
        self.deliver(cell, envelope)

    def closes_cycle(self, Turn running, Envelope envelope) -> bool:
        """Whether `running` waits, through other turns, for the asker of `envelope`."""
        cdef Turn asker
        if envelope.reply is None:
            return False
        if envelope.caller is not None:
            asker = <Turn> envelope.caller
            while asker is not None:
                if asker is running:
                    return True
                if asker.envelope is None:
                    return False
                if asker.envelope.caller is None:
                    envelope = asker.envelope
                    break
                asker = <Turn> asker.envelope.caller
        if envelope.chain is not None:
            for _, incarnation, number in envelope.chain:
                if number == running.number and incarnation == self.incarnation:
                    return True
        return False

    def cycle_error(self, Cell cell, Envelope envelope):
        chain = envelope.chain if envelope.caller is None else (<Turn> envelope.caller).chain()
        path = [address for address, _, _ in chain]
        first = path.index(cell.address) if cell.address in path else 0
        return CallCycleError(
            f"{' -> '.join([*path[first:], cell.address])} waits for itself; "
            "use tell, or hand the value in as an argument"
        )

    cdef int enqueue(self, Cell cell) except -1:
        cdef int best = cell.mailbox.best()
        cell.queued = True
        if best == 1:
            self.ready_normal.append(cell)
        elif best == 0:
            self.ready_high.append(cell)
        else:
            self.ready_low.append(cell)
        if not self.scheduled and not self.running:
            self.run_soon()
        return 0

    def run_soon(self) -> None:
        if not self.scheduled and not self.running and (self.ready_high or self.ready_normal or self.ready_low):
            self.scheduled = True
            self.loop.call_soon(self.run)

    def unhold(self, Cell cell not None) -> None:
        """Let a held cell start turns again."""
        cell.held = False
        if cell.turn is None and not cell.queued and cell.mailbox is not None and cell.mailbox.held:
            self.enqueue(cell)

    # --- the order of turns -------------------------------------------------------------------

    cdef Cell next_ready(self):
        cdef int turn
        for turn in range(2):
            while self.round_left < 13:
                self.round_left += 1
                if self.round_left <= 8:
                    if self.ready_high:
                        return <Cell> self.ready_high.popleft()
                    self.round_left = 8
                elif self.round_left <= 12:
                    if self.ready_normal:
                        return <Cell> self.ready_normal.popleft()
                    self.round_left = 12
                elif self.ready_low:
                    return <Cell> self.ready_low.popleft()
            self.round_left = 0
        return None

    cpdef run(self):
        """Serve ready cells until none is left or 2 ms have passed; called by the loop and after each drain."""
        cdef int64_t until
        cdef int left = SERVINGS
        cdef Cell cell
        self.scheduled = False
        self.inline_left = INLINE_TURNS
        if self.running:
            return
        if not self.leased():
            if not self.stopped:
                self.scheduled = True
                self.loop.call_later(0.02, self.run)
            return
        until = self.clock.now() + RUN_NS
        self.running = True
        try:
            while True:
                cell = self.next_ready()
                if cell is None:
                    break
                self.serving = cell
                self.serve(cell)
                left -= 1
                if left == 0 or self.clock.now() > until:
                    break
        finally:
            self.running, self.serving = False, None
        self.run_soon()

    cdef int serve(self, Cell cell) except -1:
        cdef Envelope envelope
        cdef int left = THROUGHPUT
        cell.queued = False
        if cell.held or cell.turn is not None or cell.state >= STOPPING:
            return 0
        if cell.state == NEW and not self.activate(cell):
            return 0
        while left and not cell.held and cell.turn is None and self.leased():
            left -= 1
            envelope = cell.mailbox.pop() if cell.mailbox is not None else None
            if envelope is None:
                break
            if envelope.flags & CANCELLED:
                continue
            cell.mailbox.waiting -= 1
            self.books.waiting -= 1
            if cell.full and cell.mailbox.waiting <= self.mailbox_limit // 2:
                cell.full = False
                self.guardian.has_space(cell)
            if envelope.deadline_ns and self.clock.now() >= envelope.deadline_ns:
                self.books.expired += 1
                if envelope.reply is not None:
                    envelope.reply.reject(ExpiredError(f"the deadline passed while it waited for {cell.address}"))
                continue
            if not self.begin(cell, envelope):
                return 0
            if cell.state == NEW:
                break
        if cell.turn is None and not cell.held and cell.mailbox is not None and cell.mailbox.held and not cell.queued:
            self.enqueue(cell)
        return 0

    # --- turns --------------------------------------------------------------------------------

    cdef bint activate(self, Cell cell) except -1:
        """Make the instance; true when the cell is ready, false when on_start waits (or failed)."""
        cdef Turn turn
        self.activations += 1
        hook = self.guardian.activate(cell)
        if cell.state >= STOPPING or cell.held:
            return False
        if hook is None:
            cell.state = READY
            return True
        cell.state = STARTING
        turn = self.make_turn(cell, None, "on_start")
        turn.coroutine = hook
        return self.launch(turn) and cell.state == READY

    def run_hook(self, Cell cell not None, coroutine, str label) -> None:
        """Run `coroutine` as a turn of an idle cell (on_stop, on_passivate)."""
        cdef Turn turn
        if cell.turn is not None:
            coroutine.close()
            raise RuntimeError(f"{cell.address} is busy")
        turn = self.make_turn(cell, None, label)
        turn.coroutine = coroutine
        self.launch(turn)

    def make_turn(self, Cell cell, Envelope envelope, label):
        cdef Turn turn = Turn()
        self.turns += 1
        turn.number, turn.cell, turn.envelope, turn.label = self.turns, cell, envelope, label
        cell.turn = turn
        return turn

    cdef bint begin(self, Cell cell, Envelope envelope) except -1:
        """Start the turn for `envelope`; true when it is over already."""
        cdef Turn turn = Turn()
        cdef object method = envelope.method
        self.turns += 1
        turn.number, turn.cell, turn.envelope, turn.label = self.turns, cell, envelope, method.name
        cell.turn = turn
        envelope.turn = turn
        self.books.running += 1
        try:
            if envelope.arguments is not None:
                turn.coroutine = method.function(cell.instance, *envelope.arguments)
            else:
                turn.coroutine = method.function(cell.instance, *method.decode_arguments(envelope.payload))
            if envelope.flags & STREAMS:
                turn.coroutine = self.guardian.pump(turn.coroutine, envelope.reply, cell)
        except (ArgumentsError, EncodingError) as error:
            self.books.running -= 1
            self.books.refused += 1
            cell.turn = envelope.turn = None
            if envelope.reply is not None:
                envelope.reply.reject(error)
            else:
                self.guardian.dropped(cell, envelope, error)
            return True
        except Exception as error:
            self.finish(turn, None, error)
            return True
        return self.launch(turn)

    cdef bint launch(self, Turn turn) except -1:
        """Run the first step of `turn` under the identity of a spare task; true when it is over."""
        cdef Runner runner = self.take_spare()
        cdef int status
        turn.context = PyContext_Copy(self.base_context)
        turn.runner = runner
        outer = current_task(self.loop)
        if outer is not None:
            leave_task(self.loop, outer)
        enter_task(self.loop, runner.task)
        self.depth += 1
        try:
            status = self.advance(turn, None)
        finally:
            self.depth -= 1
            leave_task(self.loop, runner.task)
            if outer is not None:
                enter_task(self.loop, outer)
        if status == YIELDED:
            turn.has_yielded = True
            runner.turn = turn
            if runner.waiter is not None and not runner.waiter.done():
                runner.waiter.set_result(None)
            return False
        turn.runner = None
        self.spares.append(runner)
        return True

    cdef Runner take_spare(self):
        cdef Runner runner
        if self.spares:
            return <Runner> self.spares.pop()
        runner = Runner()
        runner.runtime = self
        runner.task = asyncio.Task(runner, loop=self.loop, name="denoagents runner")
        return runner

    cdef int advance(self, Turn turn, object error) except -2:
        """One step of the handler, in the turn's context; on the last one, finish the turn."""
        cdef int status = FAILED
        cdef PyObject* result = NULL
        cdef object value = None, failure = None, token
        PyContext_Enter(turn.context)
        self.watch.begin(turn.cell.address, turn.label, self.clock.now())
        try:
            if not turn.begun:
                turn.begun = True
                token = PyContextVar_Set(CURRENT, turn)
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
        else:
            self.finish(turn, value, failure)
        return status if status == YIELDED else RETURNED

    cdef int finish(self, Turn turn, object value, object error) except -1:
        """The turn is over: settle the request, keep the books, let the next message in."""
        cdef Cell cell = turn.cell
        cdef Envelope envelope = turn.envelope
        cell.turn = None
        turn.coroutine = turn.context = None
        cell.active_ns = self.clock.now()
        if envelope is None:
            self.guardian.hook_done(cell, turn.label, error)
        else:
            envelope.turn = None
            self.books.running -= 1
            if error is None:
                self.books.handled += 1
                if envelope.flags & STREAMS:
                    envelope.reply.end()
                elif envelope.reply is not None:
                    envelope.reply.resolve(value)
            elif turn.cancelled and isinstance(error, CancelledError):
                self.books.cancelled += 1
                if envelope.reply is not None:
                    envelope.reply.reject(error)
            else:
                self.books.failed += 1
                if envelope.reply is not None:
                    envelope.reply.reject(error)
                self.guardian.failed(cell, turn, error)
            if cell.state == STOPPING or cell.held:
                self.guardian.ended_turn(cell)
        if (
            cell is not self.serving and cell.turn is None and not cell.queued and not cell.held
            and cell.state < STOPPING and cell.mailbox is not None and cell.mailbox.held
        ):
            self.enqueue(cell)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        return 0

    # --- ends ---------------------------------------------------------------------------------

    cpdef bint cancel(self, Envelope envelope):
        """Remove `envelope` from its mailbox, or cancel its turn at its next await; false when neither can be."""
        cdef Turn turn = <Turn> envelope.turn
        cdef Cell cell
        if turn is not None:
            if envelope.method.uninterruptible or turn.runner is None:
                return False
            turn.cancelled = True
            turn.runner.task.cancel()
            return True
        cell = <Cell> envelope.cell
        if cell is None or cell.mailbox is None or envelope.flags & CANCELLED:
            return False
        envelope.flags |= CANCELLED
        cell.mailbox.waiting -= 1
        self.books.waiting -= 1
        self.books.cancelled += 1
        return True

    def cancel_turn(self, Turn turn not None) -> None:
        """Cancel a running turn from inside the process (kill, shutdown), whatever its method says."""
        turn.cancelled = True
        if turn.runner is not None:
            turn.runner.task.cancel()

    def discard(self, Cell cell not None, error) -> int:
        """Refuse everything that waits for `cell`; how many messages that were."""
        cdef Envelope envelope
        cdef int count = 0
        if cell.mailbox is None:
            return 0
        for envelope in cell.mailbox.drain():
            if envelope.flags & CANCELLED:
                continue
            count += 1
            self.books.waiting -= 1
            self.books.refused += 1
            if envelope.reply is not None:
                envelope.reply.reject(error)
            else:
                self.guardian.dropped(cell, envelope, error)
        return count

    def take_waiting(self, Cell cell not None) -> list:
        """Take out everything that waits for `cell`, to hand it over; counted as moved."""
        cdef Envelope envelope
        taken = []
        if cell.mailbox is not None:
            for envelope in cell.mailbox.drain():
                if not envelope.flags & CANCELLED:
                    taken.append(envelope)
        self.books.waiting -= len(taken)
        self.books.moved += len(taken)
        return taken

    def put_back(self, Cell cell not None, Envelope envelope not None) -> None:
        """Let a message that was taken out wait again, behind what waits already."""
        if cell.mailbox is None:
            cell.mailbox = Mailbox()
        envelope.cell = cell
        cell.mailbox.push(envelope)
        self.books.waiting += 1
        if cell.turn is None and not cell.queued and not cell.held and cell.state != STARTING:
            self.enqueue(cell)

    def remove(self, Cell cell not None) -> None:
        """Forget a stopped (or handed-over) cell."""
        cell.state = STOPPED
        if self.cells.get(cell.address) is cell:
            del self.cells[cell.address]

    def close(self) -> None:
        """Start no more turns; spare tasks end."""
        cdef Runner runner
        self.stopped = True
        spares, self.spares = self.spares, []
        for runner in spares:
            runner.task.cancel()
