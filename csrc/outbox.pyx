"""The sending half of a peer: messages become records, records batches, batches wait for credit.

Rules:
    What cannot go now is parked, in order: while the link is down (`held`), or while the peer has asked to
    hold one target back (`paused`). What was handed to the link is the link's to deliver.
    A batch leaves at the end of the tick, at `batch_messages` records, or at 64 KiB.
    Names (addresses and methods) are defined once and numbered from 1; both ends forget them on RESET and
    with the session.
"""

from collections import deque

import msgpack
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.delivery cimport Stream
from denoagents._native.envelope cimport ReplyTo
from denoagents._native.records cimport Batch
from denoagents._native.router cimport (
    CANCEL, CONTROL, CREDIT, DEFINE, HANDLED, RESET, Destination, Parking, Router,
)

from denoagents.errors import EncodingError, Overloaded

cdef Py_ssize_t BATCH_BYTES = 64 << 10
cdef Py_ssize_t LARGE_BYTES = 32 << 10       # a payload from here on travels in a batch of its own
cdef Py_ssize_t MAX_NAMES = 65_536       # of one session and direction; RESET comes before it is reached
cdef Py_ssize_t MAX_NAME_BYTES = 4096
cdef Py_ssize_t WINDOW_RECORDS = 8192    # not yet accepted; a full target's reserve has room for them
cdef Py_ssize_t MAX_DONE = 1024          # reliable tells acknowledged by one record
cdef Py_ssize_t OVERRUN_BYTES = 32 << 20     # over a full window, by senders that do not wait


cdef class Outbox(Destination):
    """What one node sends to another, and the requests that wait for its answers."""

    def __init__(self, Router router not None, link=None, str node_name=""):
        self.router, self.link, self.node_name = router, link, node_name
        self.batch = Batch()
        self.batches = deque()
        self.credit_waiters, self.done = [], []
        self.names_out, self.pending, self.paused = {}, {}, {}
        self.incoming = {}
        self.held = router.parking(f"there is no link to {node_name or 'the peer'} yet")

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
        if self.records >= self.router.batch_messages or self.batch.size >= BATCH_BYTES:
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
        if self.blocked and -self.link.credit_bytes > OVERRUN_BYTES and (reply is None or not reply.sequence):
            if self.router.replaying:    # it has waited, and goes on waiting
                self.held, self.congested = self.router.parking("the link's window is full"), True
                return (<Parking> self.held).transmit(
                    kind, target, method, number, priority, deadline_ns, chain, trace, payload, reply
                )
            raise Overloaded(f"{self.node_name} has not taken what was sent to it; the link's window is full", 1.0)
        payload = self.router.runtime.read_parked(payload)
        if PyBytes_GET_SIZE(payload) >= LARGE_BYTES and batch.size:
            self.flush()
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
        if reply is not None and reply.sequence:
            bits |= 128
            self.again += 1
        batch.put_byte(bits)
        batch.put_varint(number)
        if deadline_ns:
            batch.put_u64(deadline_ns)
        if chain_bytes is not None:
            batch.put_sized(chain_bytes)
        if trace is not None:
            batch.put_sized(trace)
        if bits & 128:
            self.put_identity(reply)
        if PyBytes_GET_SIZE(payload) >= LARGE_BYTES:
            batch.put_varint(PyBytes_GET_SIZE(payload))
            if reply is not None:
                self.pending[number] = reply
                reply.place = self
            self.count += 1
            self.records += 1
            self.flush_with(payload)
            return 0
        batch.put_sized(payload)
        if reply is not None:
            self.pending[number] = reply
            reply.place = self
        self.count += 1
        return self.commit()

    cdef int put_identity(self, ReplyTo reply) except -1:
        if reply.outgoing is not None:
            reply.floor = (<Stream> reply.outgoing).floor
        if reply.stream == self.stream_out:
            self.batch.put_byte(min(reply.deaths, <uint64_t> 7))
        else:
            self.batch.put_byte(8 | min(reply.deaths, <uint64_t> 7))
            self.batch.put_u64(reply.stream)
            self.stream_out = reply.stream
        self.batch.put_varint(reply.sequence)
        self.batch.put_varint(reply.sequence - min(reply.floor, reply.sequence))
        return 0

    cdef int acknowledge(self, uint64_t number) except -1:
        """A reliable tell of the peer was handled."""
        if self.over or self.link is None:
            return 0
        self.done.append(number)
        if len(self.done) >= MAX_DONE:
            self.put_handled()
        elif not self.marked:
            self.marked = True
            self.router.mark(self)
        return 0

    cdef int put_handled(self) except -1:
        cdef uint64_t number, before = 0
        cdef int64_t step
        done, self.done = self.done, []
        self.batch.put_byte(HANDLED)
        self.batch.put_varint(len(done))
        for number in done:
            step = <int64_t> (number - before)
            self.batch.put_varint((<uint64_t> step << 1) ^ <uint64_t> (step >> 63))
            before = number
        return self.commit()

    def answer(self, int kind, uint64_t number, bytes payload not None) -> None:
        """Write a REPLY, ERROR or ITEM."""
        cdef bint is_large = PyBytes_GET_SIZE(payload) >= LARGE_BYTES
        if self.over:
            return
        if is_large and self.batch.size:
            self.flush()
        self.batch.put_byte(kind)
        self.batch.put_varint(number)
        if is_large:
            self.batch.put_varint(PyBytes_GET_SIZE(payload))
            self.records += 1
            self.flush_with(payload)
        else:
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

    def disown(self, ReplyTo reply not None) -> None:
        """Whatever the peer answers, nobody here waits for it any more."""
        self.pending.pop(reply.number, None)

    cdef object gate(self, str target):
        if self.held is not None:
            return (<Destination> self.held).gate(target)
        if self.paused and target in self.paused:
            return (<Destination> self.paused[target]).gate(target)
        if not self.blocked or self.over:
            return None
        waiter = self.router.runtime.loop.create_future()
        self.credit_waiters.append(waiter)
        return waiter

    def flush(self) -> None:
        """Hand the batch to the link."""
        if self.done:
            self.put_handled()
        if self.batch.size:
            self.flush_with(None)
        self.marked = False

    cdef int flush_with(self, object tail) except -1:
        """Hand the batch to the link; `tail` are the last bytes of its last record, copied once."""
        cdef object body = self.batch.take()
        self.marked = False
        if tail is not None:
            body += tail
        count, records, again = self.count, self.records, self.again
        self.count = self.records = self.again = 0
        if self.over or self.link is None:
            self.router.books.retained -= count
            self.router.books.unknown += count - again
            self.router.books.resent += again
            return 0
        self.batches.append((records, count, again))
        self.link.send(body, records)
        self.in_flight += records
        self.blocked = self.in_flight >= WINDOW_RECORDS or self.link.credit_bytes <= 0

    def unblock(self) -> None:
        """The link's window has room again."""
        self.blocked = False
        waiters, self.credit_waiters = self.credit_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.congested and self.link is not None:
            self.open()

    # --- the link's life ----------------------------------------------------------------------

    def hold(self, reason) -> None:
        """The link is down: park what is sent from now on."""
        self.congested = False
        if self.held is None and not self.over:
            self.held = self.router.parking(reason)

    def open(self) -> None:
        """The link is up, or has room: send what was parked."""
        self.congested = False
        cdef Parking parked = <Parking> self.held
        if parked is not None:
            self.held = None
            parked.replay()

    def accepted(self, int records) -> None:
        """The peer has taken responsibility for its next `records` records."""
        cdef int64_t messages = 0
        self.in_flight -= records
        while records > 0 and self.batches:
            part, count, _ = self.batches.popleft()
            records -= part
            messages += count
        self.router.books.retained -= messages
        self.router.books.acknowledged += messages
        if (self.blocked or self.congested) and self.in_flight < WINDOW_RECORDS and self.link.credit_bytes > 0:
            self.unblock()

    def reroute(self) -> None:
        """Slots have changed hands: give everything parked another look."""
        self.replay_parked(list(self.paused.values()), "there is no link")

    def replay_parked(self, list paused, reason, lost=(), bint is_death=False) -> None:
        """What is sent again came before what waits for a paused target, that before what was held back."""
        cdef Parking parking, held = <Parking> self.held
        cdef ReplyTo reply
        if held is not None:
            self.held = None if self.over else self.router.parking(reason)
        for reply in lost:
            reply.owner_ended(is_death)
        for parking in paused:
            parking.replay()
        if held is not None:
            held.replay()

    def expect(self, ReplyTo reply not None) -> int:
        """Register a request that went to the peer inside a control message; its number."""
        cdef uint64_t number = reply.number
        if number == 0 or not reply.sequence:
            number = reply.number = self.router.next_number()
        reply.place = self
        self.pending[number] = reply
        return number

    def forget_session(self, reason, bint is_death=False) -> list:
        """The session is over: requests whose outcome is unknown. What was parked stays; names start anew.

        Reliable messages that have no outcome are sent again, before what was parked.
        """
        self.link = None                 # first: what is in the batch has nowhere to go
        self.congested = False
        self.done.clear()
        self.flush()
        messages = sum([count for _, count, _ in self.batches])
        again = sum([again for _, _, again in self.batches])
        self.router.books.retained -= messages
        self.router.books.unknown += messages - again
        self.router.books.resent += again
        self.batches.clear()
        self.in_flight = 0
        self.names_out, self.stream_out = {}, 0
        requests, self.pending = self.pending, {}
        lost = [requests.pop(number) for number in sorted(requests) if (<ReplyTo> requests[number]).sequence]
        paused, self.paused = self.paused, {}
        if self.held is None:
            self.held = self.router.parking(reason)
        self.replay_parked(list(paused.values()), reason, lost, is_death)
        self.unblock()
        return list(requests.values())

    @property
    def open_requests(self) -> int:
        return len(self.pending)
