from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport Envelope
from denoagents._native.mailbox cimport Mailbox

cpdef enum CellState:
    NEW = 0          # no instance yet, or passivated
    STARTING = 1     # on_start runs
    READY = 2
    STOPPING = 3     # on_stop runs; takes no messages
    STOPPED = 4


cdef class Cell:
    cdef readonly str address            # "Type/key" or "Type/key/child"
    cdef readonly object type            # ActorType
    cdef public object instance          # the actor, or None
    cdef readonly Mailbox mailbox        # None until a message had to wait
    cdef readonly object runtime         # Runtime
    cdef readonly int slot
    cdef public uint8_t state            # CellState
    cdef public bint held                # starts no turn: the slot is being handed over, or a back-off runs
    cdef uint8_t queued                  # 1 + the priority by which it is ready; 0: it is not
    cdef uint8_t stands                  # the ready queues in which it stands, one bit a priority
    cdef bint full                       # over the soft bound; senders were told to pause
    cdef readonly Turn turn              # the running turn, or None; of several the one begun last
    cdef readonly int64_t active_ns      # end of the last turn
    cdef public object family            # Family (children, timers, failures), or None: owned by the actor room

    cdef void forget_turn(self, Turn turn) noexcept
    cdef bint has_turn(self, uint64_t number) noexcept


cdef class Turn:
    cdef readonly Cell cell
    cdef readonly Envelope envelope      # None for hooks, and when the turn is over
    cdef Envelope cause                  # of a hook: the message that it keeps waiting, or None
    cdef readonly uint64_t number
    cdef readonly bint cancelled
    cdef readonly object label           # method name, for people
    cdef object coroutine                # None when the turn is over
    cdef object context                  # contextvars.Context
    cdef object yielded                  # what the handler waits on, until its task has seen it
    cdef bint has_yielded
    cdef bint begun
    cdef readonly object runner          # Runner, from its first step on
    cdef Turn outer                      # the turn of this actor that waits for this one (reentrant types)
    cdef object chain_cache              # tuple
    cdef public object outgoing          # list that takes the turn's tells (durable actors); None: they are sent

    cpdef object chain(self)
    cdef Turn asker(self)


cdef bint waits_for(Cell cell, Envelope envelope) except -1
cdef object cycle_error(Cell cell, Envelope envelope)
