from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.deadlines cimport Deadlines
from denoagents._native.envelope cimport Accounting, ReplyTo
from denoagents._native.runtime cimport Cell, Runtime

cpdef enum RecordKind:
    DEFINE = 1       # a name: its number is the count of names before it
    RESET = 2        # forget all names
    TELL = 3
    ASK = 4
    STREAM = 5
    REPLY = 6
    ERROR = 7
    CANCEL = 8
    ITEM = 9
    END = 10
    CREDIT = 11
    HANDLED = 12     # second acknowledgement: reliable tells whose handlers have run
    PAUSE = 13
    RESUME = 14
    MOVED = 15       # reserved
    RELEASED = 16    # reserved: travels as a control message today
    CONTROL = 17
    STARTED = 18     # a reliable message that processes may have died of is about to run
    LOST = 19        # a reliable message was sent on, to a process that has ended


cdef class Destination:
    """Where messages for an address go now."""
    cdef int transmit(
        self, uint8_t kind, str target, object method, uint64_t number, uint8_t priority,
        int64_t deadline_ns, object chain, object trace, object payload, ReplyTo reply,
    ) except -1
    cdef object gate(self, str target)
    cpdef object withdraw(self, ReplyTo reply)


cdef class Local(Destination):
    pass


cdef class Parking(Destination):
    cdef readonly Router router
    cdef readonly object reason          # str, for people
    cdef dict entries                    # number -> the arguments of transmit
    cdef list waiters                    # Futures of those who told something
    cdef uint64_t newest                 # number in `entries`
    cdef bint is_mixed                   # they do not stand in order

    cdef bint remove(self, ReplyTo reply) except -1
    cdef int turn_away(self, str target, object method, ReplyTo reply, object error) except -1
    cpdef bint expire(self, ReplyTo reply)


cdef class SlotTable:
    cdef readonly object group           # str
    cdef list owners                     # 4096 Destinations
    cdef readonly object active          # bytearray(4096): 1 where turns may start here
    cdef readonly object leaving         # bytearray(4096): 1 where actors are here until shipped


cdef class Router:
    cdef readonly Runtime runtime
    cdef readonly Accounting books
    cdef readonly Deadlines deadlines
    cdef readonly Local here
    cdef readonly dict types             # name -> ActorType hosted here
    cdef readonly dict tables            # type name -> SlotTable
    cdef readonly dict pinned            # worker name -> Destination
    cdef readonly Parking unplaced       # for types without a table yet
    cdef readonly Parking arriving       # for children whose family is on its way here
    cdef readonly set lingering          # roots of active slots that have not come yet
    cdef public object directory         # DirectoryProtocol of the node
    cdef public object admission         # Gate of external asks, or None
    cdef public object stream_class      # the StreamCall of the actor room
    cdef public bint codec               # calls inside this process pass the codec, too
    cdef public bint draining            # a drain of the sockets is under way; it flushes at its end
    cdef readonly object slot_of
    cdef list dirty                      # Peers with something to flush
    cdef bint flush_scheduled
    cdef public int batch_messages       # most records in a batch
    cdef int tells_left                  # until a sender must let the loop run
    cdef uint64_t numbers                # message numbers given out
    cdef public object stream            # Stream of what this node sends reliably
    cdef readonly Py_ssize_t kept        # bytes of reliable messages that are not settled
    cdef public Py_ssize_t reliable_limit
    cdef list keep_waiters               # Futures of those who told reliably at the limit
    cdef public Py_ssize_t parked, park_limit, max_payload
    cdef int replaying                   # parkings that route their messages again, inside each other
    cdef public object timeouts_ns       # default by priority

    cdef uint64_t next_number(self) noexcept
    cdef Destination route(self, str type_name, int slot, str pinned)
    cpdef Cell local_cell(self, str address)
    cdef int mark(self, Destination peer) except -1
    cdef bint has_room(self)
    cdef object keep_gate(self)
    cpdef flush(self)


cpdef tuple split(str address)
