from libc.stdint cimport int64_t, uint8_t, uint64_t

cpdef enum:
    WANTS_REPLY = 1
    STREAMS = 2
    CANCELLED = 4
    RELIABLE = 8     # has an identity: is handled once, and its sender hears of it
    LATE = 16        # messages that were sent after it came before it
    SPILLED = 32     # its contents are on the disk


cdef class ReplyTo:
    """Where the outcome of a request goes: a local call, or a peer."""
    cdef readonly uint64_t number        # of the request, at its sender
    cdef public int64_t deadline_ns      # this node's clock; 0: none
    cdef public object place             # Destination that carries the request now, or None
    cdef public int64_t credit           # of a stream: what the reader still takes
    # of a reliable message, else 0:
    cdef public uint64_t stream          # identity: who numbered it, and
    cdef public uint64_t sequence        # which number it has there, from 1
    cdef public uint64_t floor           # all below it are settled
    cdef public uint64_t deaths          # lives of its actor that may have ended by it
    cdef public object letter            # of an ask: (priority, chain, trace, payload or None)
    cdef public bint started             # its owner has said that it is about to run it
    cdef public object outgoing          # Stream that keeps it; None for one of another process

    cpdef object expire(self)
    cpdef object end(self)
    cpdef object item_payload(self, object payload)

    cpdef object resolve(self, object value)
    cpdef object reject(self, object error)
    cpdef object resolve_payload(self, object payload)
    cpdef object handled(self)
    cpdef object owner_ended(self, bint is_death)
    cpdef object repeat(self, object answer)


cdef class Envelope:
    cdef readonly object method          # declaration of the method (MethodType)
    cdef readonly object arguments       # tuple, when no codec is between; else None
    cdef readonly object payload         # encoded arguments (bytes), else None
    cdef readonly int64_t deadline_ns    # this node's clock; 0: none
    cdef readonly uint8_t priority       # 0 high, 1 normal, 2 low
    cdef public uint8_t flags            # WANTS_REPLY | STREAMS | CANCELLED | RELIABLE | LATE
    cdef public uint8_t attempts         # turns of a reliable tell that failed
    cdef readonly ReplyTo reply          # None for a plain tell
    cdef readonly object caller          # Turn that asked, in this process; else None
    cdef readonly object chain           # tuple of (address, turn id), when asked from elsewhere; else None
    cdef readonly object trace           # bytes, opaque; else None
    cdef int size                        # bytes in memory, while it waits in a mailbox
    cdef public object cell              # Cell in whose mailbox it waits, or None
    cdef public object turn              # Turn, while it runs


cdef object misfit(ReplyTo reply, str what)


cdef class Accounting:
    """Each term is counted where it happens; the identities are checked, never used to compute."""
    # sender
    cdef public int64_t sent, acknowledged, retained, sender_refused, sender_expired, unknown
    cdef public int64_t resent           # of reliable messages: a session ended before it was accepted
    # sender, of reliable messages
    cdef public int64_t reliable_sent, reliable_handled, reliable_refused, reliable_expired
    cdef public int64_t reliable_quarantined, reliable_withdrawn, reliable_outstanding
    # receiver
    cdef public int64_t accepted, handled, failed, cancelled, refused, expired
    cdef public int64_t dead_lettered, moved, waiting, running
    cdef public int64_t duplicates       # reliable, handled before: answered from the window
    cdef public int64_t repeats          # reliable, here already: answered when that one is
    cdef public int64_t retried          # turns of reliable tells that failed, to be run again
