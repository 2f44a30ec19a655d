"""Messages on the disk: a run of one queue as one record, and how many bytes a message keeps in memory.

Rules:
    A plain tell leaves nothing but its method behind; what has a reply (an ask, a reliable message) stays
    as an envelope without contents, so that cancels and deadlines find it.
    A run keeps its place in its queue: what is read back stands where it stood.
"""

import msgspec
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE

from denoagents._native.envelope cimport CANCELLED, RELIABLE, SPILLED, Envelope

from denoagents.errors import CorruptError, DenoagentsError

cdef Py_ssize_t OVERHEAD = 256           # an envelope and its place in a queue
cdef Py_ssize_t ASKED = 256              # its reply, deadline and entry in the tables
cdef Py_ssize_t LOOKED_AT = 16           # elements of a container, to judge it by
cdef object encode = msgspec.msgpack.Encoder().encode
cdef object decode = msgspec.msgpack.Decoder(
    list[tuple[bytes | None, int, int, int, bytes | None]]
).decode


cdef Py_ssize_t estimate(object value, int depth) except -1:
    """About how many bytes `value` takes."""
    cdef Py_ssize_t total = 0, seen = 0
    if PyBytes_CheckExact(value):
        return 40 + PyBytes_GET_SIZE(value)
    if isinstance(value, (str, bytearray, memoryview)):
        return 60 + len(value)
    if value is None or isinstance(value, (int, float)):
        return 32
    if depth and isinstance(value, (list, tuple, set, frozenset, dict)):
        for one in value:
            total += estimate(one, depth - 1)
            if isinstance(value, dict):
                total += estimate(value[one], depth - 1)
            seen += 1
            if seen == LOOKED_AT:
                return 64 + total * len(value) // LOOKED_AT
        return 64 + total
    return 256


cdef Py_ssize_t size_of(Envelope envelope) except -1:
    """About how many bytes `envelope` keeps in memory."""
    cdef Py_ssize_t size = OVERHEAD if envelope.reply is None else OVERHEAD + ASKED
    if envelope.reply is not None and envelope.reply.outgoing is not None:
        return size                      # its sender in this process keeps it
    if envelope.payload is not None:
        return size + len(envelope.payload)
    if envelope.arguments is not None:
        for one in envelope.arguments:
            size += estimate(one, 3)
    return size


cdef class Spilled:
    """A run of messages whose contents are on the disk."""

    cdef list restore(self, object data):
        """The messages, without those that were cancelled; `data` is None when the disk has lost it.

        Of what is lost, tells have no payload and no arguments, and asks come as they are.
        """
        cdef Envelope envelope
        cdef list found = []
        fields = None
        if data is not None:
            try:
                fields = decode(data)
            except msgspec.MsgspecError as error:
                raise CorruptError(f"what came back are no messages: {error}") from error
            if len(fields) != len(self.parts):
                raise CorruptError(f"{len(fields)} messages came back, {len(self.parts)} were spilled")
        for at, part in enumerate(self.parts):
            if part is None or (isinstance(part, Envelope) and (<Envelope> part).flags & CANCELLED):
                continue
            if isinstance(part, Envelope):
                envelope = <Envelope> part
                envelope.flags &= ~SPILLED
            else:
                envelope = Envelope.__new__(Envelope)
                envelope.method = part
            if fields is not None:
                payload, deadline, priority, flags, trace = fields[at]
                if payload is not None:
                    envelope.payload = payload
                if envelope is not part:
                    envelope.deadline_ns, envelope.priority, envelope.flags = deadline, priority, flags
                    envelope.trace = trace
            found.append(envelope)
        return found

    cdef Py_ssize_t prune(self) except -1:
        """Forget cancelled messages; how many are left."""
        cdef Py_ssize_t left = 0, at
        for at in range(len(self.parts)):
            part = self.parts[at]
            if isinstance(part, Envelope) and (<Envelope> part).flags & CANCELLED:
                self.parts[at] = None
            elif part is not None:
                left += 1
        return left

    cdef bint has_later(self, Envelope envelope) except -1:
        """Whether a reliable message of the same stream that was sent after `envelope` is inside."""
        for part in self.parts:
            if isinstance(part, Envelope) and is_later(<Envelope> part, envelope):
                return True
        return False

    def __repr__(self):
        return f"<Spilled {len(self.parts)} messages at {self.place}>"


cdef class OnDisk:
    """Stands for a payload; whoever needs it reads it once."""


cdef bint is_later(Envelope envelope, Envelope other) noexcept:
    """Whether `envelope` was sent after `other`, reliably, by the same sender."""
    return (
        envelope.flags & RELIABLE and envelope.reply.stream == other.reply.stream
        and envelope.reply.sequence > other.reply.sequence
    )


cdef Spilled spill_run(list run, object store):
    """Put `run` (without cancelled ones) onto the disk; raises `StoreError`, and nothing has changed."""
    cdef Spilled made = Spilled.__new__(Spilled)
    cdef Envelope envelope
    cdef list fields = []
    made.parts = []
    for envelope in run:
        payload = envelope.payload
        if payload is None and envelope.arguments is not None:
            try:
                payload = envelope.method.encode_arguments(envelope.arguments, {})
            except DenoagentsError:
                payload = None           # its arguments stay in memory
        if envelope.reply is not None and envelope.reply.outgoing is not None:
            payload = None               # its sender in this process keeps it
        fields.append((payload, envelope.deadline_ns, envelope.priority, envelope.flags, envelope.trace))
        made.parts.append(
            envelope.method if envelope.reply is None and payload is not None else envelope
        )
    made.place = store.put(encode(fields))
    for (payload, _, _, _, _), part in zip(fields, made.parts):
        if isinstance(part, Envelope):
            envelope = <Envelope> part
            made.freed += envelope.size
            envelope.flags |= SPILLED
            if payload is not None:
                envelope.payload = envelope.arguments = None
            envelope.size = <int> size_of(envelope)
            made.freed -= envelope.size
    for envelope in run:
        if envelope.reply is None and not envelope.flags & SPILLED:
            made.freed += envelope.size
    return made
