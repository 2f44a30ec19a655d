"""Here or there: which destination a message takes, and what waits until there is one.

Rules:
    A message inside the process meets no socket and no serializer; another goes to the owner of its slot.
    What has no destination (a slot that changes hands, a link that is down, a full target) is parked, in
    order, up to `park_limit` messages in all; beyond it the sender gets `Overloaded`. Their payloads share
    the mailboxes' memory, and its disk; a reliable message's is its sender's, who counts it already.
    What was parked is not refused when it is parked again.
    Peers with something to send are flushed at the end of the loop's tick, or of the drain.
"""

from cpython.bytes cimport PyBytes_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.deadlines cimport Deadlines
from denoagents._native.envelope cimport ReplyTo
from denoagents._native.runtime cimport STOPPED, Cell, Runtime

from denoagents.errors import (
    ActorStoppedError,
    DenoagentsError,
    ExpiredError,
    Overloaded,
    UnknownActorTypeError,
    nearest,
)

cdef int SLOTS = 4096


cdef class Destination:
    cdef int transmit(
        self, uint8_t kind, str target, object method, uint64_t number, uint8_t priority,
        int64_t deadline_ns, object chain, object trace, object payload, ReplyTo reply,
    ) except -1:
        raise NotImplementedError

    cdef object gate(self, str target):
        """What whoever sends to `target` one way should wait for now, or None."""
        return None

    cpdef object withdraw(self, ReplyTo reply):
        """The asker gave up: cancel what has been sent, forget what has not."""
        raise NotImplementedError


cdef class Local(Destination):
    """This process."""


cdef class Parking(Destination):
    """Messages without a destination, in order."""

    def __init__(self, Router router, reason):
        self.router, self.reason, self.entries, self.waiters = router, reason, {}, []

    cdef int transmit(
        self, uint8_t kind, str target, object method, uint64_t number, uint8_t priority,
        int64_t deadline_ns, object chain, object trace, object payload, ReplyTo reply,
    ) except -1:
        cdef Router router = self.router
        cdef bint must = router.replaying or (reply is not None and reply.sequence)
        if router.parked >= router.park_limit and not must:
            raise Overloaded(f"{router.parked} messages wait already ({self.reason})", 1.0)
        if PyBytes_CheckExact(payload) and is_counted(reply):
            kept = router.runtime.park(payload, must)
            if kept is None:
                raise router.runtime.no_room(self.reason)
            payload = kept
        if number > self.newest:
            self.newest = number
        else:
            self.is_mixed = True
        self.entries[number] = (kind, target, method, priority, deadline_ns, chain, trace, payload, reply)
        router.parked += 1
        if reply is not None:
            reply.place = self
        return 0

    cdef object gate(self, str target):
        waiter = self.router.runtime.loop.create_future()
        self.waiters.append(waiter)
        return waiter

    cpdef object withdraw(self, ReplyTo reply):
        if self.remove(reply):
            self.router.books.retained -= 1
            self.router.books.sender_refused += 1

    cdef bint remove(self, ReplyTo reply) except -1:
        """Forget a message that waits here; False when it does not."""
        entry = self.entries.pop(reply.number, None)
        if entry is None:
            return False
        self.router.parked -= 1
        if is_counted(reply):
            self.router.runtime.unpark(entry[7])
        self.router.runtime.forget_parked(entry[7])
        return True

    cpdef bint expire(self, ReplyTo reply):
        """The deadline of a message that waits has passed: it will not be sent. False when it does not wait."""
        if not self.remove(reply):
            return False
        self.router.books.retained -= 1
        self.router.books.sender_expired += 1
        return True

    def replay(self) -> int:
        """Route everything again, in order; how many found a destination."""
        cdef Router router = self.router
        cdef Destination destination
        cdef ReplyTo reply
        cdef int64_t now = router.runtime.clock.now()
        cdef int count = 0
        entries, self.entries = self.entries, {}
        if self.is_mixed:                # what is sent again was sent before what waited
            entries = dict(sorted(entries.items()))
        self.newest, self.is_mixed = 0, False
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        router.parked -= len(entries)
        router.replaying += 1
        for number, (kind, target, method, priority, deadline, chain, trace, payload, reply) in entries.items():
            if is_counted(reply):
                router.runtime.unpark(payload)
            try:
                if deadline and deadline <= now:
                    raise ExpiredError(f"the deadline passed: {self.reason}")
                destination = router.destination(target)
                if destination is router.here:
                    payload = router.runtime.read_parked(payload)
                    router.receive_parked(kind, target, method, priority, deadline, chain, trace, payload, reply)
                else:
                    destination.transmit(
                        kind, target, method, number, priority, deadline, chain, trace, payload, reply
                    )
                count += 1
            except DenoagentsError as error:
                router.runtime.forget_parked(payload)
                self.turn_away(target, method, reply, error)
        router.replaying -= 1
        return count

    cdef int turn_away(self, str target, object method, ReplyTo reply, object error) except -1:
        """A message that waited will not be sent: its asker hears why; a tell becomes a dead letter."""
        self.router.books.retained -= 1
        if isinstance(error, ExpiredError):
            self.router.books.sender_expired += 1
        else:
            self.router.books.sender_refused += 1
        if reply is not None:
            reply.reject(error)
        else:
            name = method if isinstance(method, str) else method.name
            self.router.runtime.guardian.dead_letter(target, name, str(error))
        return 0

    def is_used_by(self, tables) -> bool:
        """Whether a slot of `tables` still leads here, or something waits here."""
        return bool(self.entries) or any(self in (<SlotTable> table).owners for table in tables)

    def __len__(self):
        return len(self.entries)

    def __repr__(self):
        return f"<Parking {len(self.entries)} messages: {self.reason}>"


cdef bint is_counted(ReplyTo reply) noexcept:
    """Whether a parked payload counts here: a reliable message of this process is counted by its stream."""
    return reply is None or reply.outgoing is None


cdef class SlotTable:
    """Who owns each slot of a group."""

    def __init__(self, group, Destination owner not None, bint active):
        self.group = group
        self.owners = [owner] * SLOTS
        self.active = bytearray([1 if active else 0]) * SLOTS
        self.leaving = bytearray(SLOTS)

    def owner(self, int slot):
        return self.owners[slot & (SLOTS - 1)]

    def assign(self, slots, Destination owner not None) -> None:
        for slot in slots:
            self.owners[slot] = owner

    def set_active(self, slots, bint active) -> None:
        for slot in slots:
            self.active[slot] = active

    def set_leaving(self, slots, bint leaving) -> None:
        """What still comes for these slots waits here, and is shipped with their actors."""
        for slot in slots:
            self.leaving[slot] = leaving


cdef class Router:
    """The routing of one node."""

    def __init__(self, Runtime runtime not None, slot_of, directory):
        self.runtime, self.slot_of, self.directory = runtime, slot_of, directory
        self.books = runtime.books
        self.deadlines = Deadlines()
        self.here = Local()
        self.types, self.tables, self.pinned = {}, {}, {}
        self.dirty = []
        self.park_limit, self.max_payload = 100_000, 16 << 20
        self.tells_left, self.batch_messages = 512, 100
        self.reliable_limit, self.keep_waiters = 500_000_000, []
        self.timeouts_ns = (10_000_000_000, 30_000_000_000, 60_000_000_000)
        self.unplaced = Parking(self, "no worker hosts this type yet")
        self.arriving = Parking(self, "the actor is on its way to this worker")
        self.lingering = set()

    cdef uint64_t next_number(self) noexcept:
        self.numbers += 1
        return self.numbers

    cdef Destination route(self, str type_name, int slot, str pinned):
        cdef SlotTable table
        if pinned is not None:
            destination = self.pinned.get(pinned)
            return self.unplaced if destination is None else <Destination> destination
        table = <SlotTable> self.tables.get(type_name)
        if table is None:
            self.directory.unknown_type(type_name)
            return self.unplaced
        return <Destination> table.owners[slot]

    def slot_at(self, str address) -> int:
        """The slot of the actor at `address`."""
        type_name, key, _ = split(address)
        return self.slot_of(type_name, key)

    def destination(self, str address):
        """Where messages for `address` go now."""
        type_name, key, pinned = split(address)
        slot = self.slot_of(type_name, key)
        found = self.route(type_name, slot, pinned)
        if found is self.here and pinned is None and self.awaits(type_name, key, address, slot):
            return self.arriving
        return found

    def awaits(self, str type_name, str key, str address, int slot) -> bool:
        """Whether a child's family is still on its way here; a root actor's cell waits by itself."""
        cdef SlotTable table = <SlotTable> self.tables.get(type_name)
        if table is None or address.count("/") < 2 or address in self.runtime.cells:
            return False
        return not table.active[slot] or f"{type_name}/{key}" in self.lingering

    cpdef Cell local_cell(self, str address):
        """The cell at `address` in this process; a root actor is made when it is not there yet."""
        cdef Cell cell = <Cell> self.runtime.cells.get(address)
        cdef SlotTable table
        cdef bint held = False
        if cell is not None and cell.state != STOPPED:
            return cell
        type_name, key, pinned = split(address)
        declared = self.types.get(type_name)
        if declared is None:
            raise UnknownActorTypeError(
                f"no actor type {type_name!r} is hosted here.{nearest(type_name, self.types)}"
            )
        if address.count("/") > 1:
            raise ActorStoppedError(f"there is no child {address}; its parent has not spawned it, or it has stopped")
        slot = self.slot_of(type_name, key)
        if pinned is None:
            table = <SlotTable> self.tables.get(type_name)
            held = table is not None and not table.active[slot]
        cell = Cell(self.runtime, address, declared, slot, held)
        self.runtime.cells[address] = cell
        return cell

    def receive_parked(self, kind, target, method, priority, deadline, chain, trace, payload, reply) -> None:
        """A parked message turned out to be for this process."""
        self.directory.deliver_here(kind, target, method, priority, deadline, chain, trace, payload, reply)
        self.books.retained -= 1
        self.books.acknowledged += 1

    def parking(self, reason) -> Parking:
        return Parking(self, reason)

    def is_here(self, str address) -> bool:
        """Whether messages for `address` belong in this process: placed, or not shipped yet."""
        cdef SlotTable table
        type_name, key, pinned = split(address)
        slot = self.slot_of(type_name, key)
        if self.route(type_name, slot, pinned) is self.here:
            return pinned is not None or not self.awaits(type_name, key, address, slot)
        if pinned is not None:
            return self.runtime.cells.get(address) is not None
        table = <SlotTable> self.tables.get(type_name)
        return table is not None and table.leaving[slot] != 0

    @property
    def is_stopped(self) -> bool:
        return self.runtime.stopped

    def forward(
        self, peer, kind, address, method, number, priority, deadline, chain, trace, payload, ReplyTo reply,
    ) -> None:
        """Send a message that came for a former owner on; its outcome travels back the same way."""
        cdef Destination destination = self.destination(address)
        cdef uint64_t own = self.next_number()
        self.books.accepted += 1
        self.books.moved += 1
        self.books.sent += 1
        self.books.retained += 1
        if reply is not None:
            if kind != TELL:
                peer.relay(reply, number)
            reply.number = own
        try:
            destination.transmit(kind, address, method, own, priority, deadline, chain, trace, payload, reply)
        except DenoagentsError as error:
            self.books.retained -= 1
            self.books.sender_refused += 1
            if reply is not None:
                reply.reject(error)

    def add_deadline(self, ReplyTo reply not None) -> None:
        if reply.deadline_ns:
            self.deadlines.add(reply)

    def discard_deadline(self, ReplyTo reply not None) -> None:
        self.deadlines.discard(reply)

    # --- reliable messages --------------------------------------------------------------------

    def keep(self, Py_ssize_t size) -> None:
        """A reliable message of `size` bytes is kept until it is settled."""
        self.kept += size

    def release(self, Py_ssize_t size) -> None:
        """It is settled."""
        self.kept -= size
        if self.keep_waiters and self.has_room():
            waiters, self.keep_waiters = self.keep_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    cdef bint has_room(self):
        """Whether what is kept is below the limit; answers kept for others, who free them, take half of it at most."""
        return self.kept + min(self.runtime.windows.bytes, self.reliable_limit >> 1) < self.reliable_limit

    cdef object keep_gate(self):
        """What whoever tells reliably should wait for now, or None."""
        if self.has_room():
            return None
        waiter = self.runtime.loop.create_future()
        self.keep_waiters.append(waiter)
        return waiter

    # --- sending ------------------------------------------------------------------------------

    cdef int mark(self, Destination peer) except -1:
        self.dirty.append(peer)
        if not self.draining and not self.flush_scheduled:
            self.flush_scheduled = True
            self.runtime.loop.call_soon(self.flush)
        return 0

    cpdef flush(self):
        """Hand every peer's batch to its link."""
        self.flush_scheduled = False
        while self.dirty:
            dirty, self.dirty = self.dirty, []
            for peer in dirty:
                peer.flush()

    def sweep(self) -> int:
        """Expire what is due; how many requests still wait for an answer."""
        cdef ReplyTo reply
        for reply in self.deadlines.due(self.runtime.clock.now()):
            reply.expire()
        return self.deadlines.count


cpdef tuple split(str address):
    """(type, key, worker it is pinned to or None) of an address; children share their root's."""
    cdef Py_ssize_t first = address.find("/")
    cdef Py_ssize_t second
    if first <= 0:
        raise UnknownActorTypeError(f"{address!r} is not an address; write Type/key")
    second = address.find("/", first + 1)
    key = address[first + 1:] if second < 0 else address[first + 1:second]
    pinned = None
    if key.startswith("~"):
        pinned = key[key.find("@") + 1:key.rfind("#")]
    return address[:first], key, pinned
