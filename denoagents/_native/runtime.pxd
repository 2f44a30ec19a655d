from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport Accounting, Envelope
from denoagents._native.mailbox cimport Mailbox
from denoagents._native.pulse cimport Pulse, Watch

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
    cdef readonly Runtime runtime
    cdef readonly int slot
    cdef public uint8_t state            # CellState
    cdef public bint held                # starts no turn: the slot is being handed over, or a back-off runs
    cdef bint queued                     # stands in the ready queue
    cdef bint full                       # over the soft bound; senders were told to pause
    cdef readonly Turn turn              # the running turn, or None
    cdef readonly int64_t active_ns      # end of the last turn
    cdef public object family            # Family (children, timers, failures), or None: owned by the actor room


cdef class Turn:
    cdef readonly Cell cell
    cdef readonly Envelope envelope      # None for on_start and on_stop
    cdef readonly uint64_t number
    cdef readonly bint cancelled
    cdef readonly object label           # method name, for people
    cdef object coroutine
    cdef object context                  # contextvars.Context
    cdef object yielded                  # what the handler waits on, until its task has seen it
    cdef bint has_yielded
    cdef bint begun
    cdef Runner runner
    cdef object chain_cache              # bytes

    cpdef object chain(self)


cdef class Runner:
    cdef Runtime runtime
    cdef Turn turn
    cdef readonly object task
    cdef object waiter

    cdef int step(self, object error, PyObject** result) except -1
    cdef int advance(self, Turn turn, object error, PyObject** result) except -1


cdef class Runtime:
    cdef readonly Clock clock
    cdef readonly Accounting books
    cdef readonly Watch watch
    cdef int64_t* lease                  # the word that `pulse` writes: valid until (this clock); NULL: always
    cdef Pulse pulse
    cdef object lease_owner              # keeps a word that is not the pulse's alive
    cdef readonly object loop
    cdef public uint64_t incarnation
    cdef public object guardian          # GuardianProtocol of the actor room
    cdef readonly dict cells             # address -> Cell
    cdef object ready_high, ready_normal, ready_low
    cdef int round_left                  # position in the 8:4:1 round
    cdef list spares                     # Runner; tasks with nothing to run
    cdef Cell serving                    # the cell that run() is at
    cdef object base_context
    cdef bint scheduled                  # a call of run() stands in the loop
    cdef bint running                    # inside run()
    cdef public bint stopped
    cdef int inline_left, depth
    cdef uint64_t turns                  # numbers given out
    cdef readonly int64_t activations
    cdef public Py_ssize_t mailbox_limit, mailbox_reserve

    cdef bint leased(self) noexcept
    cdef bint can_inline(self, Cell cell) noexcept
    cdef int deliver(self, Cell cell, Envelope envelope) except -1
    cdef int enqueue(self, Cell cell) except -1
    cdef Cell next_ready(self)
    cdef int serve(self, Cell cell) except -1
    cdef bint activate(self, Cell cell) except -1
    cdef bint begin(self, Cell cell, Envelope envelope) except -1
    cdef bint launch(self, Turn turn) except -1
    cdef Runner take_spare(self)
    cdef int advance(self, Turn turn, object error) except -2
    cdef int finish(self, Turn turn, object value, object error) except -1
    cpdef run(self)
    cpdef bint cancel(self, Envelope envelope)
