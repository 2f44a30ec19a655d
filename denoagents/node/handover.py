"""Moves actors between workers: packs state, children, timers, messages that wait.

Rules:
    Messages that wait travel with their actor and come before those that the new owner kept for it.
    Their askers need not know: the former owner relays the outcome.
    An actor with a running turn (its own or a child's) stays until the turn has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import structlog

from denoagents._native.envelope import RELIABLE, STREAMS, WANTS_REPLY, Envelope
from denoagents._native.peer import Peer
from denoagents._native.router import RecordKind, Router
from denoagents._native.runtime import Cell
from denoagents.actor.family import Family
from denoagents.actor.guardian import Guardian
from denoagents.cluster.messages import Ship
from denoagents.errors import DenoagentsError, EncodingError

log = structlog.get_logger("denoagents.node")


class PackedTimer(msgspec.Struct, frozen=True, array_like=True):
    """One timer: what it sends, when, and how often (0: once)."""

    method: str
    payload: bytes
    left_s: float
    every_s: float


class PackedActor(msgspec.Struct, frozen=True, array_like=True):
    """State of an actor and of its children, and their timers."""

    state: bytes
    children: list[PackedChild] = []
    timers: list[PackedTimer] = []
    watchers: list[str] = []
    watched: list[tuple[str, int]] = []


class PackedChild(msgspec.Struct, frozen=True, array_like=True):
    """One child: its name, its type's name, and what it is packed as."""

    address: str
    type: str
    packed: PackedActor


_Number = Annotated[int, msgspec.Meta(ge=0)]


class PackedIdentity(msgspec.Struct, frozen=True, array_like=True):
    """Which reliable message it is, and how often its turn failed."""

    stream: _Number
    number: Annotated[int, msgspec.Meta(ge=1)]
    floor: _Number
    deaths: Annotated[int, msgspec.Meta(ge=0, le=255)]
    attempts: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0


class PackedWindow(msgspec.Struct, frozen=True, array_like=True):
    """What an actor answered to the reliable messages of one stream: a number and an answer each.

    An answer is None for a tell, one part for a value, in a list for an error."""

    address: str
    stream: _Number
    floor: _Number
    answers: list[tuple[_Number, bytes | tuple[bytes] | None]]


class PackedMessage(msgspec.Struct, frozen=True, array_like=True):
    """One waiting message; `number` is the relay's, `left_ns` what is left of its deadline."""

    address: str
    kind: Annotated[int, msgspec.Meta(ge=int(RecordKind.TELL), le=int(RecordKind.STREAM))]
    method: str
    priority: Annotated[int, msgspec.Meta(ge=0, le=2)]
    left_ns: Annotated[int, msgspec.Meta(ge=0)]
    number: Annotated[int, msgspec.Meta(ge=0)]
    chain: list[tuple[str, int, int]] | None
    trace: bytes | None
    payload: bytes
    identity: PackedIdentity | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_actor = msgspec.msgpack.Decoder(PackedActor).decode
_decode_message = msgspec.msgpack.Decoder(PackedMessage).decode
_decode_windows = msgspec.msgpack.Decoder(list[PackedWindow]).decode


class Handover:
    """Packs and unpacks the actors of one node."""

    def __init__(self, guardian: Guardian, router: Router) -> None:
        self._guardian, self._router = guardian, router
        self._before: dict[str, set[Envelope]] = {}

    def roots_in(self, slots: set[int]) -> list[str]:
        """Addresses of the root actors in `slots` that have anything to move."""
        found = {
            root_of(cell.address)
            for cell in self._router.runtime.cells.values()
            if cell.slot in slots and "/~" not in cell.address
        }
        found.update(self._roots_of(self._guardian.watches.addresses(), slots))
        found.update(self._roots_of(self._guardian.passivated, slots))
        return sorted(found)

    def _roots_of(self, addresses: Iterable[str], slots: set[int]) -> set[str]:
        return {
            root_of(one)
            for one in addresses
            if self._router.slot_at(one) in slots and "/~" not in one
        }

    def family_of(self, root: str) -> list[Cell]:
        """The cells of a root actor and of all its descendants, parents first."""
        cell = self._router.runtime.cells.get(root)
        return [] if cell is None else _with_descendants(cell)

    def is_busy(self, root: str) -> bool:
        """Whether a turn of the actor or of one of its children runs, or a commit is under way."""
        if not self._guardian.durables.can_leave(root):
            return True
        return any(cell.turn is not None for cell in self.family_of(root))

    def pack(self, root: str, group: str, version: int, to: Peer, *, is_whole: bool = True) -> Ship:
        """Take an idle actor out of this process, as a message for its new owner.

        Not whole: the actor itself is elsewhere, and only what waited for it here goes.
        """
        self._guardian.durables.forget(root)
        cells = self.family_of(root)
        slot = self._router.slot_at(root)
        packed = self._pack_state(root) if is_whole else None
        waiting = [
            self._pack_message(cell.address, envelope, to)
            for cell in cells
            for envelope in self._router.runtime.take_waiting(cell)
        ]
        windows = self._pack_windows(
            [root, *(cell.address for cell in cells if cell.address != root)]
        )
        for cell in reversed(cells):
            if cell.family is not None:
                cell.family.cancel_timers()
            cell.instance = None
            self._guardian.forget_passivated(cell.address)
            self._router.runtime.remove(cell)
            self._guardian.leaving.discard(cell)
            self._guardian.has_space(cell)
        self._guardian.forget_passivated(root)
        return Ship(
            version=version,
            group=group,
            slot=slot,
            actor=root,
            is_whole=is_whole,
            state=b"" if packed is None else _encode(packed),
            waiting=[_encode(message) for message in waiting if message is not None],
            duplicates=_encode(windows) if windows else b"",
        )

    def _pack_windows(self, addresses: Iterable[str]) -> list[PackedWindow]:
        windows = self._router.runtime.windows
        packed = []
        for address in addresses:
            packed += [PackedWindow(address, *entries) for entries in windows.export(address)]
            windows.drop(address)
        return packed

    def _pack_state(self, address: str) -> PackedActor:
        cell = self._router.runtime.cells.get(address)
        watchers, watched = self._guardian.watches.take_out(address)
        if cell is None:
            state = self._guardian.passivated.get(address, b"")
            return PackedActor(state, watchers=watchers, watched=watched)
        try:
            state = self._guardian.capture(cell)
        except DenoagentsError as error:
            log.exception("state_lost_in_hand_over", actor=address, error=str(error))
            state = b""
        family: Family | None = cell.family
        children = (
            []
            if family is None
            else [
                PackedChild(child.address, child.type.name, self._pack_state(child.address))
                for child in family.children.values()
            ]
        )
        timers = [] if family is None else self._pack_timers(family)
        return PackedActor(state, children, timers, watchers, watched)

    def _pack_timers(self, family: Family) -> list[PackedTimer]:
        now_s = self._router.runtime.loop.time()
        packed = []
        for timer in family.timers:
            try:
                payload = timer.method.encode_arguments(timer.arguments, {})
            except EncodingError as error:
                log.warning("timer_cannot_move", method=timer.method.name, error=str(error))
                continue
            left_s = 0.0 if timer.handle is None else max(0.0, timer.handle.when() - now_s)
            packed.append(PackedTimer(timer.method.name, payload, left_s, timer.every_s or 0.0))
        return packed

    def _pack_message(self, address: str, envelope: Envelope, to: Peer) -> PackedMessage | None:
        payload = envelope.payload
        if payload is None:
            try:
                payload = envelope.method.encode_arguments(envelope.arguments or (), {})
            except EncodingError as error:
                if envelope.reply is not None:
                    envelope.reply.reject(error)
                return None
        kind, number = RecordKind.TELL, 0
        identity = None
        if envelope.reply is not None:
            if envelope.flags & WANTS_REPLY:
                kind = RecordKind.STREAM if envelope.flags & STREAMS else RecordKind.ASK
            number = to.expect(envelope.reply)
            if envelope.flags & RELIABLE:
                reply = envelope.reply
                identity = PackedIdentity(
                    reply.stream, reply.sequence, reply.floor, reply.deaths, envelope.attempts
                )
        left_ns = 0
        if envelope.deadline_ns:
            left_ns = max(1, envelope.deadline_ns - self._router.runtime.clock.now_ns())
        chain = envelope.chain if envelope.caller is None else envelope.caller.chain()
        return PackedMessage(
            address,
            int(kind),
            envelope.method.name,
            envelope.priority,
            left_ns,
            number,
            None if chain is None else list(chain),
            envelope.trace,
            payload,
            identity,
        )

    def unpack(self, ship: Ship, peer: Peer) -> None:
        """Take over an actor that `peer` has shipped; it starts when its slot is active."""
        runtime = self._router.runtime
        packed = _decode_actor(ship.state) if ship.state else PackedActor(b"")
        waiting = [_decode_message(data) for data in ship.waiting]
        cell = self._router.local_cell(ship.actor)
        kept = [(c, runtime.take_waiting(c)) for c in self.family_of(ship.actor)]
        self._restore_windows(ship, kept)
        if ship.is_whole:
            self._restore(cell, packed)
        else:  # behind what came with the actor, or was relayed before
            for one, envelopes in kept:
                before = self._before.get(one.address, set())
                self._put_back(one, [envelope for envelope in envelopes if envelope in before])
                envelopes[:] = [envelope for envelope in envelopes if envelope not in before]
        for message in waiting:
            envelope = self._deliver(message, peer)
            if envelope is not None:
                self._before.setdefault(message.address, set()).add(envelope)
        for one, envelopes in kept:
            self._put_back(one, envelopes)

    def _restore_windows(self, ship: Ship, kept: list[tuple[Cell, list[Envelope]]]) -> None:
        """What was handled elsewhere, and has been sent again to here, has its answer."""
        runtime = self._router.runtime
        if not ship.duplicates:
            return
        now_ns = runtime.clock.now_ns()
        for packed in _decode_windows(ship.duplicates):
            entries = [(packed.stream, packed.floor, packed.answers)]
            for envelope, answer in runtime.windows.restore(packed.address, entries, now_ns):
                for _, envelopes in kept:
                    if envelope in envelopes and envelope.reply is not None:
                        envelopes.remove(envelope)
                        envelope.reply.repeat(answer)

    def _put_back(self, cell: Cell, envelopes: list[Envelope]) -> None:
        runtime = self._router.runtime
        for envelope in envelopes:
            runtime.books.moved -= 1
            runtime.put_back(cell, envelope)

    def started(self, cells: Iterable[Cell]) -> None:
        """These actors run: nothing more comes before what they have."""
        for cell in cells:
            self._before.pop(cell.address, None)

    def returned(self, root: str) -> None:
        """The slot of an actor that stayed comes back: what waits was before what others kept."""
        for cell in self.family_of(root):
            if cell.address not in self._before:
                envelopes = self._router.runtime.take_waiting(cell)
                self._put_back(cell, envelopes)
                self._before[cell.address] = set(envelopes)

    def _restore(self, cell: Cell, packed: PackedActor) -> None:
        if packed.state:
            self._guardian.keep_passivated(cell.address, packed.state)
        self._guardian.watches.put_in(cell.address, packed.watchers, packed.watched)
        for timer in packed.timers:
            try:
                method = cell.type.method(timer.method)
                arguments = method.decode_arguments(timer.payload)
            except DenoagentsError as error:
                log.warning("timer_is_lost", actor=cell.address, error=str(error))
                continue
            every_s = timer.every_s or None
            self._guardian.start_timer(cell, method, arguments, timer.left_s, every_s)
        for child in packed.children:
            declared = self._router.types.get(child.type)
            if declared is None:
                log.error("child type is not hosted here", actor=child.address, type=child.type)
                continue
            made = Cell(self._router.runtime, child.address, declared, cell.slot, True)
            made.family = Family(parent=cell, cls=declared.cls)
            if cell.family is None:
                cell.family = Family()
            cell.family.children[child.address.rpartition("/")[2]] = made
            self._router.runtime.cells[child.address] = made
            self._restore(made, child.packed)

    def _deliver(self, message: PackedMessage, peer: Peer) -> Envelope | None:
        runtime = self._router.runtime
        deadline_ns = message.left_ns and runtime.clock.now_ns() + message.left_ns
        chain = None if message.chain is None else tuple(tuple(link) for link in message.chain)
        try:
            cell = self._router.local_cell(message.address)
            envelope = peer.adopt(
                cell,
                message.method,
                message.payload,
                deadline_ns,
                message.priority,
                message.kind,
                message.number,
                chain,
                message.trace,
                None if message.identity is None else _identity(message.identity),
            )
        except DenoagentsError as error:
            runtime.books.accepted += 1
            runtime.books.dead_lettered += 1
            self._guardian.dead_letter(message.address, message.method, str(error))
            return None
        if message.identity is not None:
            envelope.attempts = message.identity.attempts
        runtime.post(cell, envelope)
        return envelope


def _identity(packed: PackedIdentity) -> tuple[int, int, int, int]:
    return packed.stream, packed.number, packed.floor, packed.deaths


def root_of(address: str) -> str:
    """The address of the root actor at or above `address`."""
    parts: list[Any] = address.split("/", 2)
    return f"{parts[0]}/{parts[1]}"


def _with_descendants(cell: Cell) -> list[Cell]:
    found = [cell]
    children: Iterable[Cell] = () if cell.family is None else tuple(cell.family.children.values())
    for child in children:
        found += _with_descendants(child)
    return found
