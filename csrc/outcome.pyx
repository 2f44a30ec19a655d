"""What becomes of messages: each that arrived has exactly one outcome, counted where it happens.

Rules:
    A reliable tell whose turn raised is back at the front of its mailbox, up to ATTEMPTS times; a typed
    error is an answer. The end of the process is no outcome for a reliable message: another runs it.
"""

from libc.stdint cimport uint64_t

from denoagents._native.cell cimport STOPPING, Cell, Turn
from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport (
    CANCELLED, RELIABLE, SPILLED, STREAMS, WANTS_REPLY, Envelope, ReplyTo,
)
from denoagents._native.mailbox cimport Mailbox
from denoagents._native.pulse cimport Watch
from denoagents._native.waiting cimport Waiting
from denoagents._native.window cimport Windows

from denoagents.errors import ActorStoppedError, DenoagentsError, NodeStoppedError, StoreError

cdef int ATTEMPTS = 3                    # turns of a reliable tell that may fail


cdef class Outcomes(Waiting):
    """Books and windows; the runtime, which says who is served, derives from it."""

    def __init__(self, loop, Clock clock not None, Watch watch not None, uint64_t incarnation, guardian):
        Waiting.__init__(self, loop, clock, watch, incarnation, guardian)
        self.windows = Windows()

    cdef int refuse(self, Cell cell, Envelope envelope, object error) except -1:
        """`envelope` was certainly not run: its asker hears why; a tell becomes a dead letter."""
        if envelope.reply is not None:
            self.books.refused += 1
        else:
            self.books.dead_lettered += 1
        return self.turn_away(cell, envelope, error)

    cdef int run_again(self, Cell cell, Envelope envelope) except -1:
        """A reliable tell is back where it was in the mailbox."""
        if cell.mailbox is None:
            cell.mailbox = Mailbox()
        envelope.cell = cell
        self.books.waiting += 1
        self.books.retried += 1
        cell.mailbox.push_front(envelope)
        return self.weigh(cell, envelope)

    cdef int turn_away(self, Cell cell, Envelope envelope, object error) except -1:
        if envelope.reply is not None:
            answer = envelope.reply.reject(error)
            if envelope.flags & RELIABLE:
                self.windows.settle(cell.address, envelope, answer)
        else:
            self.guardian.dropped(cell, envelope, error)
        return 0

    cdef int settle(self, Turn turn, Envelope envelope, object value, object error) except -1:
        """Tell the asker what came of it; a failure is the guardian's business, too."""
        cdef object answer = None
        if error is not None and envelope.flags & RELIABLE and self.repeats(turn, envelope, error):
            self.run_again(turn.cell, envelope)
        else:
            if error is None:
                self.books.handled += 1
            elif turn.cancelled:
                self.books.cancelled += 1
            else:
                self.books.failed += 1
            if envelope.reply is not None:
                try:
                    answer = self.answer(turn, envelope, value, error)
                except Exception as fault:
                    what = {"message": f"the outcome of {turn!r} could not be sent", "exception": fault}
                    self.loop.call_exception_handler(what)
                if envelope.flags & RELIABLE:
                    self.windows.settle(turn.cell.address, envelope, answer)
        if error is not None and not turn.cancelled:
            self.guardian.failed(turn.cell, turn, error, not envelope.flags & WANTS_REPLY)
        return 0

    cdef object answer(self, Turn turn, Envelope envelope, object value, object error):
        """Give the asker the outcome; what it was, for the window."""
        cdef ReplyTo reply = envelope.reply
        if envelope.flags & RELIABLE:
            if error is not None and turn.cancelled and self.stopped:
                return None              # another process will run it
            if not envelope.flags & WANTS_REPLY:
                if error is None or (isinstance(error, DenoagentsError) and not turn.cancelled):
                    return reply.handled()
                if turn.cancelled:
                    error = ActorStoppedError(f"{turn.cell.address} was stopped")
        if error is not None:
            return reply.reject(error)
        if envelope.flags & STREAMS:
            return reply.end()
        return reply.resolve(value)

    cdef bint repeats(self, Turn turn, Envelope envelope, object error) except -1:
        """Whether a reliable tell whose turn failed is run again."""
        if envelope.flags & WANTS_REPLY or self.stopped or turn.cell.state >= STOPPING:
            return False
        if turn.cancelled or (isinstance(error, StoreError) and turn.cell.held):
            return True                  # the second: a durable turn that was not kept
        if isinstance(error, DenoagentsError):
            return False
        envelope.attempts += 1
        return envelope.attempts < ATTEMPTS

    # --- ends ---------------------------------------------------------------------------------

    cpdef bint cancel(self, Envelope envelope):
        """Remove `envelope` from its mailbox, or cancel its turn at its next await; false when neither can be."""
        cdef Turn turn = <Turn> envelope.turn
        if turn is None:
            if not self.remove_waiting(envelope):
                return False
            self.books.cancelled += 1
            return True
        if envelope.method.uninterruptible or turn.runner is None:
            return False
        turn.cancelled = True
        turn.runner.task.cancel()
        return True

    cpdef bint expire(self, Envelope envelope):
        """The deadline of a message that waits has passed: it will not be run. False when it does not wait."""
        if envelope.turn is not None or not self.remove_waiting(envelope):
            return False
        self.books.expired += 1
        return True

    cdef bint remove_waiting(self, Envelope envelope) except -1:
        cdef Cell cell = <Cell> envelope.cell
        if cell is None or cell.mailbox is None or envelope.flags & CANCELLED:
            return False
        envelope.flags |= CANCELLED
        envelope.cell = None
        if envelope.flags & SPILLED:
            self.spilled -= 1
        cell.mailbox.cancelled()
        self.left(cell, envelope)
        envelope.payload = envelope.arguments = None
        return True

    def cancel_turn(self, Turn turn not None) -> None:
        """Cancel a running turn from inside the process (kill, shutdown), whatever its method says."""
        while turn is not None:
            turn.cancelled = True
            if turn.runner is not None and turn.runner.task is not None:
                turn.runner.task.cancel()
            turn = turn.outer

    def discard(self, Cell cell not None, error, bint has_failed=False) -> int:
        """Refuse everything that waits for `cell`; how many messages that were.

        Reliable tells wait for the next life of an actor that has one; `has_failed` if this one could not begin.
        """
        cdef Envelope envelope
        cdef int count = 0
        while cell.mailbox is not None and cell.mailbox.runs:    # one run after the other is in memory
            envelope = self.next_waiting(cell)
            if envelope is not None:
                self.refuse(cell, envelope, error)
                count += 1
        waiting = self.take_out(cell)
        for envelope in waiting:
            if self.outlives(cell, envelope) and not isinstance(error, NodeStoppedError):
                envelope.attempts += has_failed
                if envelope.attempts < ATTEMPTS:
                    self.let_wait(cell, envelope)
                    continue
            self.refuse(cell, envelope, error)
        return count + len(waiting)

    cdef bint outlives(self, Cell cell, Envelope envelope):
        """Whether a message can wait for the next life of its actor: a root's next message makes it anew."""
        if not envelope.flags & RELIABLE or envelope.flags & WANTS_REPLY or self.stopped:
            return False
        return cell.address.count("/") == 1

    def take_waiting(self, Cell cell not None) -> list:
        """Take out everything that waits for `cell`, to hand it over; counted as moved."""
        taken = self.take_out(cell)
        self.books.moved += len(taken)
        return taken
