from libc.stdint cimport int64_t, uint8_t, uint64_t

cpdef enum:
    WANTS_REPLY = 1
    STREAMS = 2
    CANCELLED = 4


cdef class ReplyTo:
    """Where the outcome of a request goes: a local call, or a peer."""
    cdef readonly uint64_t number        # of the request, at its sender
    cdef public int64_t deadline_ns      # this node's clock; 0: none
    cdef public object place             # Destination that carries the request now, or None
    cdef public int64_t credit           # of a stream: what the reader still takes

    cpdef object expire(self)
    cpdef object end(self)
    cpdef object item_payload(self, object payload)

    cpdef object resolve(self, object value)
    cpdef object reject(self, object error)
    cpdef object resolve_payload(self, object payload)


cdef class Envelope:
    cdef readonly object method          # declaration of the method (MethodType)
    cdef readonly object arguments       # tuple, when no codec is between; else None
    cdef readonly object payload         # encoded arguments (bytes), else None
    cdef readonly int64_t deadline_ns    # this node's clock; 0: none
    cdef readonly uint8_t priority       # 0 high, 1 normal, 2 low
    cdef public uint8_t flags            # WANTS_REPLY | STREAMS | CANCELLED
    cdef readonly ReplyTo reply          # None for a tell
    cdef readonly object caller          # Turn that asked, in this process; else None
    cdef readonly object chain           # tuple of (address, turn id), when asked from elsewhere; else None
    cdef readonly object trace           # bytes, opaque; else None
    cdef public object cell              # Cell in whose mailbox it waits, or None
    cdef public object turn              # Turn, while it runs


cdef class Accounting:
    """Each term is counted where it happens; the identities are checked, never used to compute."""
    # sender
    cdef public int64_t sent, acknowledged, retained, sender_refused, sender_expired, unknown
    # receiver
    cdef public int64_t accepted, handled, failed, cancelled, refused, expired
    cdef public int64_t dead_lettered, moved, waiting, running
