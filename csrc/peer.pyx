"""A peer: one session's records in both directions, from mailboxes to batches and back.

Rules:
    Layout of a record: one byte of kind, then its fields. Integers are LEB128 varints unless said otherwise.
        DEFINE   length, UTF-8            a name; the first is number 1; names are addresses and methods
        RESET                             numbers start again at 1
        TELL ASK STREAM   target, method (numbers), bits u8, message number,
                 [deadline u64 in the sender's clock] [slot epoch u32] [chain] [trace] [tenant] payload
                 bits: priority (0-1), deadline (2), chain (3), trace (4), epoch (5), tenant, budget (6), identity (7)
                 an identity stands before the payload: deaths u8 (bit 3: a stream u64 follows; else the one
                 before), number, number - floor
        REPLY ITEM ERROR CONTROL   number, length, bytes
        CANCEL END   number               CREDIT   number, units
        HANDLED   count, then the difference of each number from the one before, zigzag
        STARTED LOST   number of a reliable message
        PAUSE RESUME   length, UTF-8      a target whose mailbox is full, or has room again
    A link delivers batches in order and once, so a number defined in one is known in every later one.
    A wrong record ends the batch with `ProtocolError`, and the node ends the link.
"""

import denoagents._native.remote
from libc.stdint cimport int64_t, uint64_t

from denoagents._native.envelope cimport RELIABLE, STREAMS, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.outbox cimport Outbox
from denoagents._native.records cimport Cursor, decode_text, unpack_chain, unpack_map
from denoagents._native.remote cimport RemoteReply
from denoagents._native.router cimport (
    ASK, CANCEL, CONTROL, CREDIT, DEFINE, END, ERROR, HANDLED, ITEM, LOST, PAUSE, REPLY, RESET, RESUME, STARTED,
    STREAM, TELL,
    Destination, Parking, Router, SlotTable,
)
from denoagents._native.runtime cimport STOPPED, Cell

from denoagents.errors import DenoagentsError, EncodingError, ProtocolError, from_wire

globals().update(                        # what belongs together is imported from one place
    RemoteReply=denoagents._native.remote.RemoteReply,
)

cdef Py_ssize_t MAX_NAMES = 65_536       # of one session and direction
cdef Py_ssize_t MAX_NAME_BYTES = 4096
cdef int STREAM_CREDIT = 256 << 10       # bytes a writer may be ahead of its reader


cdef class Peer(Outbox):
    """One link's name tables and open requests in both directions."""

    def __init__(self, Router router not None, link=None, str node_name="", uint64_t incarnation=0):
        Outbox.__init__(self, router, link, node_name)
        self.incarnation = incarnation
        self.names_in, self.cells_in, self.pausing = [], [], set()

    # --- the link's life ----------------------------------------------------------------------

    def detach(self, reason, bint is_death=False) -> list:
        """The session is over: requests whose outcome is unknown. Those of the peer are cancelled.

        Reliable ones are not: they are sent again from here, and go on here.
        """
        cdef RemoteReply incoming
        requests = self.forget_session(reason, is_death)
        self.names_in, self.cells_in, self.pausing, self.stream_in = [], [], set(), 0
        served, self.incoming = list(self.incoming.values()), {}
        for incoming in served:
            if incoming.sequence:
                continue
            if incoming.envelope is not None:
                self.router.runtime.cancel(incoming.envelope)
            elif incoming.place is not None:
                (<Destination> incoming.place).withdraw(incoming)
            if incoming.place is None:
                incoming.grant(1 << 60)
        return requests

    def end(self, reason, bint is_death=False) -> list:
        """The peer's process is over: requests whose outcome is unknown. What was parked is routed anew."""
        cdef Parking parked
        requests = self.detach(reason, is_death)
        self.over = True
        parked, self.held = <Parking> self.held, None
        if parked is not None:
            parked.replay()
        return requests

    def relay(self, RemoteReply reply not None, uint64_t origin) -> None:
        """A request of this peer is being sent on; its cancel and its credit must follow."""
        self.incoming[origin] = reply

    def adopt(self, Cell cell not None, str method_name, payload, int64_t deadline_ns, int priority,
              int kind, uint64_t number, chain, trace, identity=None) -> Envelope:
        """A message that came inside a control message, ready for a mailbox; its outcome goes to this peer."""
        cdef Envelope envelope = Envelope.__new__(Envelope)
        cdef RemoteReply reply
        envelope.method = cell.type.method(method_name)
        envelope.payload, envelope.deadline_ns, envelope.priority = payload, deadline_ns, priority
        envelope.chain, envelope.trace = chain, trace
        if kind != TELL or identity is not None:
            reply = RemoteReply()
            reply.peer, reply.origin, reply.deadline_ns = self, number, deadline_ns
            reply.method, reply.envelope = envelope.method, envelope
            reply.credit = STREAM_CREDIT
            envelope.reply = reply
            if identity is not None:
                reply.stream, reply.sequence, reply.floor, reply.deaths = identity
                envelope.flags |= RELIABLE
            if kind != TELL:
                envelope.flags |= WANTS_REPLY | (STREAMS if kind == STREAM else 0)
                self.incoming[number] = reply
        return envelope

    def pause(self, str target not None) -> None:
        """Ask the peer to hold messages for `target` back."""
        if not self.over and target not in self.pausing:
            self.pausing.add(target)
            self.batch.put_byte(PAUSE)
            self.batch.put_sized(target.encode())
            self.commit()

    def resume(self, str target not None) -> None:
        """Tell the peer that `target` has room again."""
        if target in self.pausing:
            self.pausing.discard(target)
            self.batch.put_byte(RESUME)
            self.batch.put_sized(target.encode())
            self.commit()

    # --- in -----------------------------------------------------------------------------------

    def deliver(self, body, int64_t sender_now_ns) -> int:
        """Read one batch; how many messages were in it. Raises ProtocolError on a wrong record."""
        cdef const unsigned char[::1] view = body
        cdef Cursor cursor = Cursor()
        cdef int64_t shift = self.router.runtime.clock.now() - sender_now_ns
        cdef int kind
        cdef int count = 0
        cdef uint64_t number
        cdef ReplyTo reply
        if view.shape[0] == 0:
            return 0
        cursor.data, cursor.size = &view[0], view.shape[0]
        while cursor.at < cursor.size:
            kind = cursor.byte()
            if kind == TELL or kind == ASK or kind == STREAM:
                self.receive(kind, cursor, shift)
                count += 1
            elif kind == REPLY:
                number = cursor.varint()
                payload = cursor.sized()
                reply = <ReplyTo> self.pending.pop(number, None)
                if reply is not None:
                    reply.resolve_payload(payload)
            elif kind == DEFINE:
                if len(self.names_in) >= MAX_NAMES:
                    raise ProtocolError(f"more than {MAX_NAMES} names are defined")
                name = cursor.sized()
                if len(name) > MAX_NAME_BYTES:
                    raise ProtocolError(f"a name has {len(name)} bytes, the limit is {MAX_NAME_BYTES}")
                self.names_in.append(decode_text(name))
                self.cells_in.append(None)
            else:
                self.receive_rare(kind, cursor)
        return count

    def receive_rare(self, int kind, Cursor cursor not None) -> None:
        cdef uint64_t number
        cdef ReplyTo reply
        cdef RemoteReply incoming
        cdef Parking parked
        if kind == ITEM:
            number = cursor.varint()
            payload = cursor.sized()
            reply = <ReplyTo> self.pending.get(number)
            if reply is not None:
                reply.item_payload(payload)
        elif kind == ERROR:
            number = cursor.varint()
            error = from_wire(unpack_map(cursor.sized()))
            reply = <ReplyTo> self.pending.pop(number, None)
            if reply is not None:
                reply.reject(error)
        elif kind == END:
            reply = <ReplyTo> self.pending.pop(cursor.varint(), None)
            if reply is not None:
                reply.end()
        elif kind == CANCEL:
            incoming = <RemoteReply> self.incoming.pop(cursor.varint(), None)
            if incoming is not None and incoming.envelope is not None:
                self.router.runtime.cancel(incoming.envelope)
            elif incoming is not None and incoming.place is not None:
                (<Destination> incoming.place).withdraw(incoming)
        elif kind == CREDIT:
            number = cursor.varint()
            units = min(cursor.varint(), 1 << 40)
            incoming = <RemoteReply> self.incoming.get(number)
            if incoming is not None:
                incoming.grant(units)
        elif kind == PAUSE:
            target = decode_text(cursor.sized())
            if target not in self.paused:
                if len(self.paused) >= MAX_NAMES:
                    raise ProtocolError(f"more than {MAX_NAMES} mailboxes are said to be full")
                self.paused[target] = self.router.parking(f"the mailbox of {target} is full")
        elif kind == RESUME:
            parked = <Parking> self.paused.pop(decode_text(cursor.sized()), None)
            if parked is not None:
                parked.replay()
        elif kind == CONTROL:
            cursor.varint()
            self.router.directory.control(self, cursor.sized())
        elif kind == HANDLED:
            self.read_handled(cursor)
        elif kind == STARTED:
            reply = <ReplyTo> self.pending.get(cursor.varint())
            if isinstance(reply, RemoteReply):
                (<RemoteReply> reply).peer.signal(STARTED, (<RemoteReply> reply).origin)
            elif reply is not None:
                reply.started = True
        elif kind == LOST:
            reply = <ReplyTo> self.pending.get(cursor.varint())
            if reply is not None and reply.sequence:
                del self.pending[reply.number]
                reply.owner_ended(True)
        elif kind == RESET:
            self.names_in.clear()
            self.cells_in.clear()
        else:
            raise ProtocolError(f"there is no record of kind {kind}")

    cdef int read_handled(self, Cursor cursor) except -1:
        cdef uint64_t count = cursor.varint(), number = 0, step
        cdef ReplyTo reply
        while count:
            count -= 1
            step = cursor.varint()
            number += (step >> 1) ^ -(step & 1)
            reply = <ReplyTo> self.pending.pop(number, None)
            if reply is not None:
                reply.handled()
        return 0

    cdef int read_identity(self, Cursor cursor, RemoteReply reply) except -1:
        cdef int bits = cursor.byte()
        cdef uint64_t behind
        if bits > 15:
            raise ProtocolError(f"an identity has the bits {bits}")
        if bits & 8:
            self.stream_in = cursor.u64()
        reply.deaths, reply.stream, reply.sequence = bits & 7, self.stream_in, cursor.varint()
        behind = cursor.varint()
        if not reply.stream or not reply.sequence or behind >= reply.sequence:
            raise ProtocolError(f"there is no message {reply.sequence} of {reply.stream}, {behind} above its floor")
        reply.floor = reply.sequence - behind
        return 0

    cdef int receive(self, int kind, Cursor cursor, int64_t shift) except -1:
        cdef uint64_t target = cursor.varint()
        cdef uint64_t method_number = cursor.varint()
        cdef int bits = cursor.byte()
        cdef uint64_t number = cursor.varint()
        cdef int64_t deadline = 0
        cdef Py_ssize_t names = len(self.names_in)
        cdef Cell cell
        cdef Envelope envelope
        cdef RemoteReply reply = None
        cdef object chain = None, trace = None, payload, method
        cdef str address, method_name
        if (
            not 1 <= target <= <uint64_t> names or not 1 <= method_number <= <uint64_t> names
            or bits & 3 == 3 or (bits & 128 and kind == STREAM)
        ):
            raise ProtocolError(f"a request names {target}.{method_number} of {names} defined names, bits {bits}")
        if bits & 4:
            deadline = <int64_t> (cursor.u64() & 0x7FFFFFFFFFFFFFFF) + shift
        if bits & 32:
            cursor.skip(4)
        if bits & 8:
            chain = unpack_chain(cursor.sized())
        if bits & 16:
            trace = cursor.sized()
        if bits & 64:
            cursor.sized()
        if kind != TELL or bits & 128:
            reply = RemoteReply()
            reply.peer, reply.origin, reply.deadline_ns = self, number, deadline
            if kind == STREAM:
                reply.credit = STREAM_CREDIT
            elif bits & 128:
                self.read_identity(cursor, reply)
        payload = cursor.sized()
        address = <str> self.names_in[target - 1]
        method_name = <str> self.names_in[method_number - 1]
        cell = <Cell> self.cells_in[target - 1]
        if cell is None or cell.state == STOPPED or not self.owns(cell):
            try:
                cell = self.router.directory.place(
                    self, kind, address, method_name, number, bits & 3, deadline, chain, trace, payload, reply
                )
            except DenoagentsError as error:
                self.refuse(reply, error)
                return 0
            if cell is None:
                return 0
            self.cells_in[target - 1] = cell
        method = cell.type.methods.get(method_name)
        if method is None or (kind == STREAM) != method.is_stream:
            try:
                cell.type.method(method_name)
                raise EncodingError(f"{address}.{method_name} and the caller disagree on whether it streams")
            except DenoagentsError as error:
                self.refuse(reply, error)
                return 0
        envelope = Envelope.__new__(Envelope)
        envelope.method, envelope.payload, envelope.deadline_ns = method, payload, deadline
        envelope.priority, envelope.chain, envelope.trace = bits & 3, chain, trace
        if reply is None:
            self.router.runtime.deliver(cell, envelope)
        else:
            envelope.reply = reply
            reply.method, reply.envelope = method, envelope
            if kind != TELL:
                envelope.flags = WANTS_REPLY | (STREAMS if kind == STREAM else 0)
                self.incoming[number] = reply
            if bits & 128:
                envelope.flags |= RELIABLE
                self.router.runtime.arrive(cell, envelope)
            else:
                self.router.runtime.deliver(cell, envelope)
        if cell.full and address not in self.pausing:
            self.pause(address)
        return 0

    cdef bint owns(self, Cell cell):
        """Whether messages for `cell` still belong in this process."""
        cdef SlotTable table
        if "/~" in cell.address:
            return True
        table = <SlotTable> self.router.tables.get(cell.type.name)
        return (
            table is None or table.owners[cell.slot] is self.router.here
            or table.leaving[cell.slot] != 0
        )

    def refuse(self, RemoteReply reply, error) -> None:
        """Account for a message that no actor took."""
        books = self.router.books
        books.accepted += 1
        if reply is None:
            books.dead_lettered += 1
            self.router.directory.dead_letter(self, error)
        else:
            books.refused += 1
            reply.reject(error)

    @property
    def is_quiet(self) -> bool:
        """Whether no request is open in either direction."""
        return not self.pending and not self.incoming and self.batch.size == 0

    @property
    def served_requests(self) -> int:
        return len(self.incoming) + sum([isinstance(one, RemoteReply) for one in self.pending.values()])

    def __repr__(self):
        return f"<Peer {self.node_name} pending={len(self.pending)} serving={len(self.incoming)}>"
