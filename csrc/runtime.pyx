"""The actors of one process: who has work, and who is served next.

Rules:
    Everything here runs on the loop's thread. A turn starts only while the node's lease is valid.
    Ready cells are served 8:4:1 by the best priority that waits in them; a cell gives way after 16 turns.
    An actor that is asked inside this process runs inside the asker's await, unless such turns have taken
    2 ms since the loop came round (or were 256), or they are nested 24 deep: then it takes the queue.
"""

import denoagents._native.cell
import denoagents._native.runner
from libc.stdint cimport int64_t, uint64_t

from denoagents._native.cell cimport NEW, READY, STARTING, STOPPED, STOPPING, Cell, Turn, cycle_error, waits_for
from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport RELIABLE, STREAMS, Envelope
from denoagents._native.outcome cimport Outcomes
from denoagents._native.pulse cimport Watch
from denoagents._native.ready cimport Ready
from denoagents._native.runner cimport Runner

from denoagents.errors import ActorStoppedError, ArgumentsError, EncodingError, ExpiredError

globals().update(                        # what belongs together is imported from one place
    Cell=denoagents._native.cell.Cell, CellState=denoagents._native.cell.CellState,
    Turn=denoagents._native.cell.Turn, current_turn=denoagents._native.runner.current_turn,
)

cdef int INLINE_TURNS = 256              # between two rounds of the loop
cdef int64_t INLINE_NS = 2_000_000
cdef int INLINE_DEPTH = 24
cdef int REENTRANT_DEPTH = 100
cdef int THROUGHPUT = 16                 # turns of one cell in a row
cdef int SERVINGS = 2048                 # cells in one go, and
cdef int64_t RUN_NS = 2_000_000          # then the loop gets a chance to read sockets


cdef class Runtime(Outcomes):
    """All actors of one process, and the order in which they run."""

    def __init__(self, loop, Clock clock not None, Watch watch not None, uint64_t incarnation, guardian):
        Outcomes.__init__(self, loop, clock, watch, incarnation, guardian)
        self.ready = Ready()
        self.inline_left, self.inline_ns = INLINE_TURNS, INLINE_NS

    cdef bint can_inline(self, Cell cell) noexcept:
        if cell.turn is not None or cell.held or cell.queued or not (cell.state == READY or cell.state == NEW):
            return False
        if self.inline_left <= 0 or self.inline_ns <= 0 or self.depth >= INLINE_DEPTH:
            return False
        return (cell.mailbox is None or cell.mailbox.held == 0) and self.leased()

    # --- arrival ------------------------------------------------------------------------------

    cdef int take(self, Cell cell, Envelope envelope, int64_t now) except -1:
        """Run the turn for `envelope` at once if the actor is idle; `now` is when it was sent."""
        if not self.can_inline(cell):
            return self.deliver(cell, envelope)
        self.inline_left -= 1
        self.books.accepted += 1
        if cell.state == READY:
            self.begin(cell, envelope)
        else:
            self.let_wait(cell, envelope)
            self.serve(cell)
            cell.release_mailbox()
        if cell.active_ns > now:
            self.inline_ns -= cell.active_ns - now
        return 0

    cdef int deliver(self, Cell cell, Envelope envelope) except -1:
        """Take responsibility for `envelope`: from now on it has exactly one outcome here."""
        self.books.accepted += 1
        if cell.turn is not None and envelope.reply is not None and waits_for(cell, envelope):
            if self.reenter(cell, envelope):
                return 0
            return self.refuse(cell, envelope, cycle_error(cell, envelope))
        if cell.state == STOPPING and self.outlives(cell, envelope):
            return self.let_wait(cell, envelope)
        if cell.state >= STOPPING:
            return self.refuse(cell, envelope, ActorStoppedError(f"{cell.address} has stopped"))
        if cell.mailbox is not None and cell.mailbox.waiting >= self.mailbox_limit:
            if cell.mailbox.waiting >= self.mailbox_reserve and not envelope.flags & RELIABLE:
                return self.refuse(cell, envelope, self.overloaded(cell))
            cell.full = True
        if self.choked:
            if self.is_stuffed() and not envelope.flags & RELIABLE:
                return self.refuse(cell, envelope, self.overloaded(cell))
            cell.full = True
            self.paused.add(cell)
        self.let_wait(cell, envelope)
        if cell.turn is None and not cell.held and (cell.queued == 0 or envelope.priority + 1 < cell.queued):
            self.enqueue(cell)
        return 0

    cdef int arrive(self, Cell cell, Envelope envelope) except -1:
        """A reliable message came: the first time it is delivered, then it is answered like that one."""
        cdef Envelope first
        cdef object known = self.windows.admit(cell.address, envelope, self.clock.now())
        if known is envelope:
            return self.deliver(cell, envelope)
        self.books.accepted += 1
        if isinstance(known, Envelope):
            self.books.repeats += 1
            first = <Envelope> known
            sender = first.reply.outgoing  # of this node; it may have left the message to another since
            if sender is None or sender.outstanding.get(first.reply.sequence) is not first.reply:
                self.answer_elsewhere(first, envelope.reply)
            elif envelope.reply.outgoing is None:
                envelope.reply.owner_ended(False)    # it left here once, and was relayed back
        else:
            self.books.duplicates += 1
            envelope.reply.repeat((<tuple> known)[0])
        return 0

    def answer_elsewhere(self, Envelope first not None, reply not None) -> None:
        """Who sent it again awaits the answer now; the way that it came first ends."""
        former, first.reply = first.reply, reply
        if reply.outgoing is None:               # a peer's
            reply.bind(first.method, first)
        if former.outgoing is None and (
            reply.outgoing is not None or former.peer is not reply.peer or former.origin != reply.origin
        ):
            former.owner_ended(False)

    def post(self, Cell cell not None, Envelope envelope not None) -> None:
        if envelope.flags & RELIABLE:
            self.arrive(cell, envelope)
        else:
            self.deliver(cell, envelope)

    cdef bint reenter(self, Cell cell, Envelope envelope) except -1:
        """Begin a turn beside the one that waits for it, if the actor's type allows it."""
        if not cell.type.cls.reentrant or cell.instance is None or self.depth >= REENTRANT_DEPTH or not self.leased():
            return False
        self.begin(cell, envelope)
        return True

    # --- the order of turns -------------------------------------------------------------------

    cdef int enqueue(self, Cell cell) except -1:
        """Let `cell` be served by the best priority that waits in it."""
        self.ready.add(cell, cell.mailbox.best())
        if not self.scheduled and not self.running:
            self.run_soon()
        return 0

    cdef int consider(self, Cell cell) except -1:
        """Let `cell` be served if it has work and may start a turn."""
        cdef bint is_free = cell.turn is None and cell.queued == 0 and not cell.held and cell.state < STOPPING
        if is_free and cell.mailbox is not None and cell.mailbox.held:
            self.enqueue(cell)
        return 0

    def run_soon(self) -> None:
        if not self.scheduled and not self.running and self.ready.some():
            self.check_loop()
            self.scheduled = True
            self.loop.call_soon(self.run)

    def wake(self, Cell cell not None) -> bool:
        """Make the instance of an actor that has none, although no message waits; false if it cannot be now."""
        if cell.state != NEW or cell.turn is not None:
            return cell.state < STOPPING
        if cell.held or not self.leased() or self.running:
            return False
        self.serve(cell)
        return True

    def unhold(self, Cell cell not None) -> None:
        """Let a held cell start turns again."""
        cell.held = False
        self.consider(cell)

    cpdef run(self):
        """Serve ready cells until none is left or 2 ms have passed; called by the loop and after each drain."""
        cdef int64_t until
        cdef int left = SERVINGS
        cdef Cell cell
        self.scheduled = False
        self.inline_left, self.inline_ns = INLINE_TURNS, INLINE_NS
        if self.running or self.stopped:
            return
        if not self.leased():
            self.scheduled = True
            self.loop.call_later(0.02, self.run)
            return
        until = self.clock.now() + RUN_NS
        self.running = True
        try:
            while True:
                cell = self.ready.pop()
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
        cell.queued = 0
        if cell.held or cell.turn is not None or cell.state >= STOPPING:
            return 0
        if cell.state == NEW and not self.activate(cell):
            return 0
        while left and cell.state == READY and not cell.held and cell.turn is None and self.leased():
            left -= 1
            envelope = self.next_waiting(cell)
            if envelope is None:
                break
            if envelope.deadline_ns and self.clock.now() >= envelope.deadline_ns:
                self.books.expired += 1
                self.turn_away(cell, envelope, ExpiredError(f"its deadline passed while it waited for {cell.address}"))
                continue
            self.begin(cell, envelope)
        self.consider(cell)
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
        turn.cause = None if cell.mailbox is None else cell.mailbox.first()
        turn.coroutine = hook
        return self.launch(turn) and cell.state == READY

    cdef bint begin(self, Cell cell, Envelope envelope) except -1:
        """Start the turn for `envelope`; true when it is over already."""
        cdef object method = envelope.method
        cdef Turn turn = self.make_turn(cell, envelope, method.name)
        envelope.turn = turn
        self.books.running += 1
        try:
            if envelope.arguments is not None:
                turn.coroutine = method.function(cell.instance, *envelope.arguments)
            else:
                turn.coroutine = method.function(cell.instance, *method.decode_arguments(envelope.payload))
            if envelope.flags & RELIABLE and envelope.reply.deaths and envelope.reply.outgoing is None:
                turn.coroutine = self.guardian.suspect(turn.coroutine, envelope)
            if envelope.flags & STREAMS:
                turn.coroutine = self.guardian.pump(turn.coroutine, envelope.reply, cell)
        except (ArgumentsError, EncodingError) as error:
            self.books.running -= 1
            cell.forget_turn(turn)
            turn.envelope = envelope.turn = None
            self.refuse(cell, envelope, error)
            return True
        except Exception as error:
            self.finish(turn, None, error)
            return True
        return self.launch(turn)

    cdef int finish(self, Turn turn, object value, object error) except -1:
        """The turn is over: settle the request, keep the books, let the next message in."""
        cdef Cell cell = turn.cell
        cdef Envelope envelope = turn.envelope
        cell.forget_turn(turn)
        turn.coroutine = turn.context = turn.envelope = turn.cause = None
        cell.active_ns = self.clock.now()
        if envelope is None:
            self.guardian.hook_done(cell, turn.label, error)
        else:
            envelope.turn = None
            self.books.running -= 1
            self.settle(turn, envelope, value, error)
            if cell.state == STOPPING or cell.held:
                self.guardian.ended_turn(cell)
        if cell is not self.serving:
            self.consider(cell)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        return 0

    # --- ends ---------------------------------------------------------------------------------

    def put_back(self, Cell cell not None, Envelope envelope not None) -> None:
        """Let a message that was taken out wait again, behind what waits already."""
        self.let_wait(cell, envelope)
        self.consider(cell)

    def remove(self, Cell cell not None) -> None:
        """Forget a stopped (or handed-over) cell."""
        cell.state = STOPPED
        if self.cells.get(cell.address) is cell:
            del self.cells[cell.address]
        if cell.mailbox is not None and cell.mailbox.waiting and not self.stopped:
            self.guardian.live_again(cell, self.take_out(cell))

    def close(self) -> None:
        """Start no more turns; spare tasks end."""
        cdef Runner runner
        self.stopped = True
        spares, self.spares = self.spares, []
        for runner in spares:
            runner.task.cancel()
