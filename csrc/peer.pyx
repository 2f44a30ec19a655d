"""The native half of a link: writes messages into batches, reads batches into mailboxes.

Rules:
    Layout of a record: one byte of kind, then its fields. Integers are LEB128 varints unless said otherwise.
        DEFINE   length, UTF-8            a name; the first is number 1; names are addresses and methods
        RESET                             numbers start again at 1
        TELL ASK STREAM   target, method (numbers), bits u8, message number,
                 [deadline u64 in the sender's clock] [slot epoch u32] [chain] [trace] [tenant] payload
                 bits: priority (0-1), deadline (2), chain (3), trace (4), epoch (5), tenant and budget (6)
        REPLY ITEM ERROR CONTROL   number, length, bytes
        CANCEL END   number               CREDIT   number, units
        PAUSE RESUME   length, UTF-8      a target whose mailbox is full, or has room again
    A link delivers batches in order and once, so a number defined in one is known in every later one.
    The reader trusts nothing: each length is checked against what is there; a wrong record ends the batch
    with `ProtocolError`, and the node ends the link.
"""

from collections import deque

import msgpack
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from denoagents._native.envelope cimport STREAMS, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.router cimport (
    ASK, CANCEL, CONTROL, CREDIT, DEFINE, END, ERROR, ITEM, PAUSE, REPLY, RESET, RESUME, STREAM, TELL,
    Destination, Parking, Router, SlotTable,
)
from denoagents._native.runtime cimport STOPPED, Cell

from denoagents.errors import (
    DenoagentsError,
    EncodingError,
    PayloadTooLargeError,
    ProtocolError,
    from_wire,
)

cdef int BATCH_MESSAGES = 100            # plan 1.9
cdef Py_ssize_t BATCH_BYTES = 64 << 10
cdef Py_ssize_t MAX_NAMES = 65_536       # of one session and direction
cdef Py_ssize_t MAX_NAME_BYTES = 4096
cdef Py_ssize_t MAX_CHAIN_BYTES = 64 << 10
cdef int STREAM_CREDIT = 256 << 10       # bytes a writer may be ahead of its reader


cdef class Batch:
    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.room
        cdef char* data
        if self.size + more <= room:
            return 0
        room = max(2 * room, self.size + more, 512)
        data = <char*> realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data, self.room = data, room
        return 0

    cdef int put_byte(self, uint8_t value) except -1:
        self.reserve(1)
        self.data[self.size] = <char> value
        self.size += 1
        return 0

    cdef int put_varint(self, uint64_t value) except -1:
        self.reserve(10)
        while value >= 0x80:
            self.data[self.size] = <char> (value | 0x80)
            self.size += 1
            value >>= 7
        self.data[self.size] = <char> value
        self.size += 1
        return 0

    cdef int put_u64(self, uint64_t value) except -1:
        self.reserve(8)
        cdef int i
        for i in range(8):
            self.data[self.size + i] = <char> (value >> (8 * i))
        self.size += 8
        return 0

    cdef int put_bytes(self, object data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.reserve(size)
        memcpy(self.data + self.size, PyBytes_AS_STRING(data), size)
        self.size += size
        return 0

    cdef int put_sized(self, object data) except -1:
        self.put_varint(PyBytes_GET_SIZE(data))
        return self.put_bytes(data)


cdef class Cursor:
    cdef int byte(self) except -1:
        if self.at >= self.size:
            raise ProtocolError("a record ends early")
        self.at += 1
        return self.data[self.at - 1]

    cdef uint64_t varint(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t value = 0
        cdef int shift = 0, byte
        while True:
            byte = self.byte()
            if shift == 63 and byte > 1:
                raise ProtocolError("a number has more than 64 bits")
            value |= (<uint64_t> (byte & 0x7F)) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ProtocolError("a number has more than 64 bits")

    cdef uint64_t u64(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t value = 0
        cdef int i
        if self.size - self.at < 8:
            raise ProtocolError("a record ends early")
        for i in range(8):
            value |= (<uint64_t> self.data[self.at + i]) << (8 * i)
        self.at += 8
        return value

    cdef bytes take(self, Py_ssize_t size):
        if size < 0 or size > self.size - self.at:
            raise ProtocolError(f"a length says {size} bytes, {self.size - self.at} are there")
        self.at += size
        return PyBytes_FromStringAndSize(<const char*> self.data + self.at - size, size)

    cdef bytes sized(self):
        cdef uint64_t size = self.varint()
        if size > <uint64_t> self.size:
            raise ProtocolError(f"a length says {size} bytes, {self.size - self.at} are there")
        return self.take(<Py_ssize_t> size)


cdef class RemoteReply(ReplyTo):
    """Carries the outcome of a request back to the peer that asked; also of one that was sent on."""

    def bind(self, method, Envelope envelope not None) -> None:
        self.method, self.envelope, self.place = method, envelope, None

    @property
    def is_idempotent(self) -> bool:
        return False

    cpdef object resolve(self, object value):
        try:
            payload = self.method.encode_result(value)
            if len(payload) > self.peer.router.max_payload:
                raise PayloadTooLargeError(len(payload), self.peer.router.max_payload)
        except DenoagentsError as error:
            return self.reject(error)
        return self.resolve_payload(payload)

    cpdef object resolve_payload(self, object payload):
        self.peer.incoming.pop(self.origin, None)
        self.peer.answer(REPLY, self.origin, payload)

    cpdef object reject(self, object error):
        self.peer.incoming.pop(self.origin, None)
        self.peer.answer(ERROR, self.origin, msgpack.packb(self.peer.router.directory.describe(error)))

    cpdef object item_payload(self, object payload):
        self.peer.answer(ITEM, self.origin, payload)

    cpdef object end(self):
        self.peer.incoming.pop(self.origin, None)
        self.peer.signal(END, self.origin)

    def send_item(self, value) -> int:
        """Send one item of a stream; what it costs of the reader's credit."""
        payload = self.method.encode_result(value)
        if len(payload) > self.peer.router.max_payload:
            raise PayloadTooLargeError(len(payload), self.peer.router.max_payload)
        self.peer.answer(ITEM, self.origin, payload)
        self.credit -= len(payload) + 16
        return self.credit

    def wait_for_credit(self):
        self.credit_waiter = self.peer.router.runtime.loop.create_future()
        return self.credit_waiter

    def grant(self, int64_t units) -> None:
        if isinstance(self.place, Peer):
            (<Peer> self.place).grant(self.number, units)
            return
        self.credit += units
        if self.credit > 0 and self.credit_waiter is not None and not self.credit_waiter.done():
            self.credit_waiter.set_result(None)


cdef class Peer(Destination):
    """One link's batch under way, its name tables and its open requests in both directions."""

    def __init__(self, Router router not None, link=None, str node_name="", uint64_t incarnation=0):
        self.router, self.link, self.node_name, self.incarnation = router, link, node_name, incarnation
        self.batch = Batch()
        self.credit_waiters = []
        self.names_out, self.names_in, self.cells_in = {}, [], []
        self.pending, self.incoming = {}, {}
        self.paused, self.pausing = {}, set()
        self.batches = deque()
        self.held = router.parking(f"there is no link to {node_name or 'the peer'} yet")

    # --- out ----------------------------------------------------------------------------------

    cdef int number_of(self, str name) except -1:
        number = self.names_out.get(name)
        if number is not None:
            return <int> number
        data = name.encode()
        if len(data) > MAX_NAME_BYTES:
            raise EncodingError(f"the address or name has {len(data)} bytes, the limit is {MAX_NAME_BYTES}")
        self.batch.put_byte(DEFINE)
        self.batch.put_sized(data)
        number = len(self.names_out) + 1
        self.names_out[name] = number
        return <int> number

    cdef int commit(self) except -1:
        self.records += 1
        if self.records >= BATCH_MESSAGES or self.batch.size >= BATCH_BYTES:
            self.flush()
        elif not self.marked:
            self.marked = True
            self.router.mark(self)
        return 0

    cdef int transmit(
        self, uint8_t kind, str target, object method, uint64_t number, uint8_t priority,
        int64_t deadline_ns, object chain, object trace, object payload, ReplyTo reply,
    ) except -1:
        cdef int target_number, method_number
        cdef uint8_t bits = priority
        cdef bytes chain_bytes = None
        cdef Batch batch = self.batch
        cdef Parking parked
        if self.over:
            return self.router.unplaced.transmit(
                kind, target, method, number, priority, deadline_ns, chain, trace, payload, reply
            )
        if self.held is not None:
            if self.link is None:
                self.router.directory.dial(self)
            return (<Parking> self.held).transmit(
                kind, target, method, number, priority, deadline_ns, chain, trace, payload, reply
            )
        if self.paused and target in self.paused:
            parked = <Parking> self.paused[target]
            return parked.transmit(
                kind, target, method, number, priority, deadline_ns, chain, trace, payload, reply
            )
        if len(self.names_out) > MAX_NAMES - 2:
            batch.put_byte(RESET)
            self.names_out.clear()
        target_number = self.number_of(target)
        method_number = self.number_of(method if type(method) is str else method.name)
        batch.put_byte(kind)
        batch.put_varint(target_number)
        batch.put_varint(method_number)
        if deadline_ns:
            bits |= 4
        if chain is not None:
            bits |= 8
            chain_bytes = msgpack.packb(chain)
        if trace is not None:
            bits |= 16
        batch.put_byte(bits)
        batch.put_varint(number)
        if deadline_ns:
            batch.put_u64(deadline_ns)
        if chain_bytes is not None:
            batch.put_sized(chain_bytes)
        if trace is not None:
            batch.put_sized(trace)
        batch.put_sized(payload)
        if reply is not None:
            self.pending[number] = reply
            reply.place = self
        self.count += 1
        return self.commit()

    def answer(self, int kind, uint64_t number, bytes payload not None) -> None:
        """Write a REPLY, ERROR or ITEM."""
        if self.over:
            return
        self.batch.put_byte(kind)
        self.batch.put_varint(number)
        self.batch.put_sized(payload)
        self.commit()

    def signal(self, int kind, uint64_t number) -> None:
        """Write a CANCEL or END."""
        if not self.over:
            self.batch.put_byte(kind)
            self.batch.put_varint(number)
            self.commit()

    def grant(self, uint64_t number, uint64_t units) -> None:
        """Give the writer of a stream `units` of credit."""
        if not self.over:
            self.batch.put_byte(CREDIT)
            self.batch.put_varint(number)
            self.batch.put_varint(units)
            self.commit()

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

    def control(self, bytes payload not None) -> None:
        """Write a control message."""
        if not self.over:
            self.batch.put_byte(CONTROL)
            self.batch.put_varint(0)
            self.batch.put_sized(payload)
            self.commit()

    cpdef object withdraw(self, ReplyTo reply):
        if self.pending.pop(reply.number, None) is not None:
            self.signal(CANCEL, reply.number)

    cdef object gate(self):
        if not self.blocked or self.over:
            return None
        waiter = self.router.runtime.loop.create_future()
        self.credit_waiters.append(waiter)
        return waiter

    def flush(self) -> None:
        """Hand the batch to the link."""
        cdef Batch batch = self.batch
        self.marked = False
        if batch.size == 0:
            return
        body = PyBytes_FromStringAndSize(batch.data, batch.size)
        count, records = self.count, self.records
        batch.size = 0
        self.count = self.records = 0
        if batch.room > 4 * BATCH_BYTES:
            free(batch.data)
            batch.data, batch.room = NULL, 0
        if self.over or self.link is None:
            self.router.books.retained -= count
            self.router.books.unknown += count
            return
        self.batches.append((records, count))
        self.link.send(body, records)
        self.blocked = self.link.credit_bytes <= 0

    def unblock(self) -> None:
        """The link's window has room again."""
        self.blocked = False
        waiters, self.credit_waiters = self.credit_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- the link's life ----------------------------------------------------------------------

    def hold(self, reason) -> None:
        """The link is down: park what is sent from now on."""
        if self.held is None and not self.over:
            self.held = self.router.parking(reason)

    def open(self) -> None:
        """The link is up: send what was parked."""
        cdef Parking parked = <Parking> self.held
        if parked is not None:
            self.held = None
            parked.replay()

    def accepted(self, int records) -> None:
        """The peer has taken responsibility for its next `records` records."""
        cdef int64_t messages = 0
        while records > 0 and self.batches:
            part, count = self.batches.popleft()
            records -= part
            messages += count
        self.router.books.retained -= messages
        self.router.books.acknowledged += messages
        if self.blocked and self.link.credit_bytes > 0:
            self.unblock()

    def detach(self, reason) -> list:
        """The link is over: requests whose outcome is unknown. What was parked stays; names start anew."""
        cdef RemoteReply incoming
        self.flush()
        if self.held is None and not self.over:
            self.held = self.router.parking(reason)
        messages = sum([count for _, count in self.batches])
        self.router.books.retained -= messages
        self.router.books.unknown += messages
        self.batches.clear()
        self.link = None
        self.names_out, self.names_in, self.cells_in = {}, [], []
        paused, self.paused = self.paused, {}
        self.pausing = set()
        for parking in paused.values():
            parking.replay()
        self.unblock()
        requests, self.pending = list(self.pending.values()), {}
        served, self.incoming = list(self.incoming.values()), {}
        for incoming in served:
            if incoming.envelope is not None:
                self.router.runtime.cancel(incoming.envelope)
            elif incoming.place is not None:
                (<Destination> incoming.place).withdraw(incoming)
            if incoming.place is None:
                incoming.grant(1 << 60)
        return requests

    def end(self, reason) -> list:
        """The peer's process is over: requests whose outcome is unknown. What was parked is routed anew."""
        cdef Parking parked
        requests = self.detach(reason)
        self.over = True
        parked, self.held = <Parking> self.held, None
        if parked is not None:
            parked.replay()
        return requests

    def reroute(self) -> None:
        """Slots have changed hands: give everything parked another look."""
        cdef Parking parked = <Parking> self.held
        if parked is not None:
            parked.replay()
        for parking in list(self.paused.values()):
            parking.replay()

    def relay(self, RemoteReply reply not None, uint64_t origin) -> None:
        """A request of this peer is being sent on; its cancel and its credit must follow."""
        self.incoming[origin] = reply

    def expect(self, ReplyTo reply not None) -> int:
        """Register a request that went to the peer inside a control message; its number."""
        cdef uint64_t number = self.router.next_number()
        reply.number = number
        reply.place = self
        self.pending[number] = reply
        return number

    def adopt(self, Cell cell not None, str method_name, payload, int64_t deadline_ns, int priority,
              int kind, uint64_t number, chain, trace) -> Envelope:
        """A message that came inside a control message, ready for a mailbox; its outcome goes to this peer."""
        cdef Envelope envelope = Envelope.__new__(Envelope)
        cdef RemoteReply reply
        envelope.method = cell.type.method(method_name)
        envelope.payload, envelope.deadline_ns, envelope.priority = payload, deadline_ns, priority
        envelope.chain, envelope.trace = chain, trace
        if kind != TELL:
            reply = RemoteReply()
            reply.peer, reply.origin, reply.deadline_ns = self, number, deadline_ns
            reply.method, reply.envelope = envelope.method, envelope
            reply.credit = STREAM_CREDIT
            envelope.reply, envelope.flags = reply, WANTS_REPLY | (STREAMS if kind == STREAM else 0)
            self.incoming[number] = reply
        return envelope

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
                self.paused[target] = self.router.parking(f"the mailbox of {target} is full")
        elif kind == RESUME:
            parked = <Parking> self.paused.pop(decode_text(cursor.sized()), None)
            if parked is not None:
                parked.replay()
        elif kind == CONTROL:
            cursor.varint()
            self.router.directory.control(self, cursor.sized())
        elif kind == RESET:
            self.names_in.clear()
            self.cells_in.clear()
        else:
            raise ProtocolError(f"there is no record of kind {kind}")

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
        if not 1 <= target <= <uint64_t> names or not 1 <= method_number <= <uint64_t> names or bits & 3 == 3 or bits & 128:
            raise ProtocolError(f"a request names {target}.{method_number} of {names} defined names, bits {bits}")
        if bits & 4:
            deadline = <int64_t> (cursor.u64() & 0x7FFFFFFFFFFFFFFF) + shift
        if bits & 32:
            cursor.take(4)
        if bits & 8:
            chain = unpack_chain(cursor.sized())
        if bits & 16:
            trace = cursor.sized()
        if bits & 64:
            cursor.sized()
        payload = cursor.sized()
        address = <str> self.names_in[target - 1]
        method_name = <str> self.names_in[method_number - 1]
        if kind != TELL:
            reply = RemoteReply()
            reply.peer, reply.origin, reply.deadline_ns = self, number, deadline
            if kind == STREAM:
                reply.credit = STREAM_CREDIT
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
        if reply is not None:
            envelope.flags = WANTS_REPLY | (STREAMS if kind == STREAM else 0)
            envelope.reply = reply
            reply.method, reply.envelope = method, envelope
            self.incoming[number] = reply
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
        return table is None or table.owners[cell.slot] is self.router.here

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
    def open_requests(self) -> int:
        return len(self.pending)

    @property
    def served_requests(self) -> int:
        return len(self.incoming)

    def __repr__(self):
        return f"<Peer {self.node_name} pending={len(self.pending)} serving={len(self.incoming)}>"


cdef str decode_text(bytes data):
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a name is not UTF-8: {error}") from None


def unpack_map(bytes data) -> dict:
    """A msgpack map with text keys; anything else is a ProtocolError."""
    try:
        value = msgpack.unpackb(data, strict_map_key=True)
    except Exception as error:
        raise ProtocolError(f"a map cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError("a map was expected")
    return value


def unpack_chain(bytes data) -> tuple:
    """The chain of (address, incarnation, turn number) of an ask."""
    if len(data) > MAX_CHAIN_BYTES:
        raise ProtocolError(f"a chain has {len(data)} bytes, the limit is {MAX_CHAIN_BYTES}")
    try:
        value = msgpack.unpackb(data, use_list=False)
        return tuple((str(address), int(incarnation), int(number)) for address, incarnation, number in value)
    except Exception as error:
        raise ProtocolError(f"a chain cannot be read: {error}") from None
