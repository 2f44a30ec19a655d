"""One actor as the runtime sees it: its cell, and the turn that handles one of its messages."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from denoagents._native.envelope cimport Envelope

from denoagents.errors import CallCycleError

cdef int MAX_CHAIN = 128                 # turns waiting for each other that a message tells of
cdef int PATH = 12                       # of them, an error tells of


cdef class Cell:
    """One actor: its address, its instance while it has one, its mailbox and its running turn."""

    def __init__(self, runtime not None, str address not None, type, int slot, bint held=False):
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

    def touch(self, int64_t now_ns) -> None:
        """Count as active at `now_ns`."""
        self.active_ns = now_ns

    cdef void forget_turn(self, Turn turn) noexcept:
        """`turn` is over; one that it interrupted is the running one again."""
        cdef Turn inner = self.turn
        if inner is turn:
            self.turn = turn.outer
            return
        while inner is not None:
            if inner.outer is turn:
                inner.outer = turn.outer
                return
            inner = inner.outer

    cdef bint has_turn(self, uint64_t number) noexcept:
        """Whether the turn with this number runs here."""
        cdef Turn turn = self.turn
        while turn is not None:
            if turn.number == number:
                return True
            turn = turn.outer
        return False

    def __repr__(self):
        state = CellState(self.state).name.lower()
        return f"<Cell {self.address} {state} waiting={self.waiting}{' held' if self.held else ''}>"


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

    @property
    def is_over(self) -> bool:
        return self.coroutine is None

    cpdef object chain(self):
        """The turns that wait for each other up to this one: a tuple of (address, incarnation, number).

        Of a very long chain the last MAX_CHAIN.
        """
        cdef Turn turn = self
        cdef Envelope envelope
        cdef object before = ()
        waiting = []
        while turn is not None and turn.chain_cache is None and len(waiting) < MAX_CHAIN:
            waiting.append(turn)
            envelope = turn.cause if turn.envelope is None else turn.envelope
            if envelope is not None and envelope.chain is not None:
                before = envelope.chain
            turn = turn.asker()
        if turn is not None and turn.chain_cache is not None:
            before = turn.chain_cache
        for turn in reversed(waiting):
            if len(before) >= MAX_CHAIN:
                before = before[1:]
            before = (*before, (turn.cell.address, turn.cell.runtime.incarnation, turn.number))
            turn.chain_cache = before
        return self.chain_cache

    cdef Turn asker(self):
        """The turn in this process that waits for this one, or None."""
        cdef Envelope envelope = self.cause if self.envelope is None else self.envelope
        return None if envelope is None else <Turn> envelope.caller

    def __repr__(self):
        return f"<Turn {self.number} {self.cell.address}.{self.label}>"


cdef bint waits_for(Cell cell, Envelope envelope) except -1:
    """Whether a running turn of `cell` waits, through other turns, for the answer to `envelope`."""
    cdef Turn asker = <Turn> envelope.caller
    chain = envelope.chain
    while asker is not None:
        if asker.cell is cell and asker.coroutine is not None:
            return True
        if asker.envelope is not None:
            chain = asker.envelope.chain
        asker = asker.asker()
    if chain is not None:
        for _, incarnation, number in chain:
            if incarnation == cell.runtime.incarnation and cell.has_turn(number):
                return True
    return False


cdef object cycle_error(Cell cell, Envelope envelope):
    """What the asker of `envelope` gets: the path that leads back to `cell`."""
    cdef Turn asker = <Turn> envelope.caller
    path = [cell.address]
    chain = envelope.chain
    address = None
    while asker is not None and address != cell.address:
        address = asker.cell.address
        path.append(address)
        if asker.envelope is not None:
            chain = asker.envelope.chain
        asker = asker.asker()
    if asker is None and chain is not None:
        for before, _, _ in reversed(chain):
            if address == cell.address:
                break
            address = before
            path.append(address)
    path.reverse()
    if len(path) > PATH:
        path = [*path[:PATH // 2], f"… {len(path) - PATH} more …", *path[len(path) - PATH // 2:]]
    return CallCycleError(
        f"{' -> '.join(path)} waits for itself; "
        "use tell, hand the value in as an argument, or declare the class with reentrant = True"
    )
