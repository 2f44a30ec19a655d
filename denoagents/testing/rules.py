"""The rules of the semantics: an oracle over a simulated fleet and what its application wrote down.

Rules: `watch` is called after every round of every loop and judges what must hold at every instant.
`judge` is called once, when the faults are over and everything is quiet. Losses are excused only
where somebody died who may have held the message.
"""

from __future__ import annotations

from dataclasses import dataclass

from denoagents._native.placement import assign
from denoagents.address import Address
from denoagents.cluster import slots as slot_set
from denoagents.cluster.messages import VersionRecord
from denoagents.testing.journal import Journal, Message
from denoagents.testing.quiet import mesh_of, unquiet, view_of
from denoagents.testing.scheduler import ProcessLoop
from denoagents.testing.world import SimulatedNode, World

STALE_NS = 8_000_000_000
"""So long a sender may act upon an old version (cut off from the broker)."""
BUSY_NS = 2_000_000_000
GROUP = "default"
ACTORS = ("Tally", "Relay", "Account")


@dataclass(frozen=True, slots=True)
class Seen:
    """A version, and when the broker published it."""

    record: VersionRecord
    owners: dict[int, int]
    at_ns: int


class Rules:
    """Judges one simulation."""

    def __init__(self, fleet: World, journal: Journal, keys: list[str], *, is_gentle: bool) -> None:
        self.is_gentle = is_gentle
        self._fleet, self._journal = fleet, journal
        self._slots = {f"{name}/{key}": Address(name, key).slot for name in ACTORS for key in keys}
        self.versions: list[Seen] = []
        self.evictions = 0
        self._over: dict[int, int] = {}
        self._settled_over: dict[int, str] = {}
        self._known: dict[int, SimulatedNode] = {}
        self._seen_version = (0, 0, False)
        journal.over_since = self._over_since
        journal.counts = self._counts
        fleet.scheduler.after_round = self.watch

    # --- at every instant -----------------------------------------------------------------------

    def watch(self, loop: ProcessLoop) -> None:
        """A loop has just run."""
        process = self._fleet.broker_process
        if process is not None and loop is process.loop:
            self._watch_broker()
        elif loop.notes is not None:
            self._watch_books(loop.notes.node)

    def _watch_books(self, one: SimulatedNode) -> None:
        runtime = getattr(one.node, "runtime", None)
        if runtime is None or one.end:
            return
        books = runtime.books
        pages = books.sender(), books.receiver(), books.reliable()
        if any(page["off"] for page in pages):
            self._journal.violated(f"the books of {one} are off: {pages}")

    def _watch_broker(self) -> None:
        fleet = self._fleet.broker.fleet if self._started() else None  # type: ignore[union-attr]
        if fleet is None:
            return
        now = (fleet.incarnation, fleet.version, fleet.is_settled)
        if now == self._seen_version:
            return
        self._seen_version = now
        record = fleet.record
        if not self.versions or record.version != self.versions[-1].record.version:
            self._publish(record)
        if fleet.is_settled:
            self._journal.trace(f"version {fleet.version} is settled")
            for incarnation in record.over:
                reason = f"version {fleet.version}, in which it is over, has settled"
                self._settled_over.setdefault(incarnation, reason)

    def _started(self) -> bool:
        broker = self._fleet.broker
        return broker is not None and broker.operations is not None

    def _publish(self, record: VersionRecord) -> None:
        if self.versions and record.version < self.versions[-1].record.version:
            self._journal.violated(f"version {record.version} comes after a higher one")
        placed = [
            (member.incarnation, member.name, member.weight)
            for member in record.members
            if member.group == GROUP and member.state == "placed"
        ]
        owners = slot_set.owners_of(placed, assign)
        self.versions.append(Seen(record, owners, self._fleet.scheduler.now_ns))
        names = ", ".join(f"{m.name} {m.state}" for m in record.members)
        self._journal.trace(f"version {record.version}: {names}")
        for incarnation in record.over:
            if self._over.setdefault(incarnation, record.version) == record.version:
                self._note_over(incarnation)

    def _note_over(self, incarnation: int) -> None:
        """An incarnation left, or was evicted: then its losses are excused."""
        one, broker = self._node(incarnation), self._fleet.broker
        assert broker is not None
        reason = broker.fleet._departed._reasons.get(incarnation, "")  # noqa: SLF001 - the oracle looks inside
        if one is not None and reason not in {"closed", "it left"}:
            self.evictions += 1
            self._journal.trace(f"{one} is evicted: {reason}")
            if self.is_gentle and one.end != "left":  # whose goodbye may have been lost
                self._journal.violated(f"nobody was silent, but {one} is evicted: {reason}")
            if not one.end:
                one.end, one.ended_ns = "evicted", self._fleet.scheduler.now_ns

    def _node(self, incarnation: int) -> SimulatedNode | None:
        if incarnation not in self._known:
            self._known = {one.incarnation: one for one in self._fleet.nodes}
        return self._known.get(incarnation)

    def _over_since(self, node: SimulatedNode) -> str:
        return self._settled_over.get(node.incarnation, "")

    def _counts(self, node: SimulatedNode) -> bool:
        return node.incarnation not in self._settled_over

    def watch_owners(self) -> None:
        """No two nodes that count run the same slot."""
        nodes = [one for one in self._fleet.workers() if self._counts(one) and one.is_usable]
        for actor, slot in self._slots.items():
            active = [one for one in nodes if view_of(one).is_active(GROUP, slot)]
            leased = [one for one in active if one.node.runtime.has_lease]
            if len(leased) > 1:
                self._journal.violated(f"{actor} (slot {slot}) is active on {leased}")

    def is_at_work(self, actor: str) -> bool:
        """A turn of the actor began in the last two seconds."""
        turns = self._journal.turns.get(actor)
        return (
            turns is not None
            and bool(turns)
            and self._fleet.scheduler.now_ns - turns[-1].began_ns < BUSY_NS
        )

    # --- when it is quiet -------------------------------------------------------------------------

    def unquiet(self) -> str:
        """Why the fleet is not quiet yet, or ""."""
        return next(unquiet(self._fleet), "")

    def judge(self, reports: dict[str, tuple[int, int]]) -> None:
        """The story is over; `reports` is what each actor says of its state."""
        for message in self._journal.messages:
            self._judge_message(message)
        for actor, report in reports.items():
            expected = self._journal.fold(actor)
            if tuple(report) != expected and not self._somebody_died(self._slots[actor], 0):
                self._journal.violated(f"{actor} says {report}, its turns say {expected}")
        for one in self._fleet.living():
            self._judge_links(one)
            unknown = one.node.runtime.books.unknown
            if unknown and not self._deaths():
                self._journal.violated(f"nobody died, but {unknown} messages of {one} are unknown")

    def _judge_message(self, message: Message) -> None:
        sender = message.sender
        if sender.end or sender.is_leaving or message.is_durable:
            return
        if message.is_ask and not message.outcome:
            self._journal.violated(f"{message!r} never had an outcome")
        if message.outcome in {"value", "raised"}:
            return
        if message.is_reliable:
            self._judge_reliable(message)
            return
        is_hasty = (message.timeout_s and message.timeout_s < 10) or "Cancelled" in message.error
        if is_hasty or self._is_excused(message):
            return
        if message.outcome:
            self._journal.violated(
                f"nobody died, but {message!r} ended {message.outcome}: {message.error}"
            )
        elif not message.turns and not message.is_ask:
            self._journal.violated(f"nobody died, but {message!r} is lost")

    def _judge_reliable(self, message: Message) -> None:
        """Deaths excuse nothing; a message that three of them have to do with was given up."""
        if self._journal.was_given_up(message):
            return
        if message.outcome:
            self._journal.violated(f"{message!r} ended {message.outcome}: {message.error}")
        elif not message.is_handled:
            where = ", ".join(repr(turn.node) for turn in message.turns) or "nowhere"
            self._journal.violated(f"{message!r} was never handled; it began on {where}")

    def _is_excused(self, message: Message) -> bool:
        """Somebody died who may have had the message, or who waited for it."""
        if message.voice.startswith("Tally/"):
            slot = self._slots[message.voice]
            if self._somebody_died(slot, message.sent_ns):
                return True
        return self._somebody_died(self._slots[message.target], message.sent_ns)

    def _somebody_died(self, slot: int, since_ns: int) -> bool:
        """A possible owner of the slot died after `since_ns`, or a little before."""
        bit = 1 << slot
        since_ns -= STALE_NS
        owners: set[int] = set()
        for at, seen in enumerate(self.versions):
            is_last = at + 1 == len(self.versions)
            if is_last or self.versions[at + 1].at_ns >= since_ns:
                owners |= {who for who, slots in seen.owners.items() if slots & bit}
        return any(one.incarnation in owners and one.ended_ns >= since_ns for one in self._deaths())

    def _deaths(self) -> list[SimulatedNode]:
        return [one for one in self._fleet.nodes if one.end not in {"", "left"}]

    def _judge_links(self, one: SimulatedNode) -> None:
        """Both ends of every session agree on what was sent."""
        for link in mesh_of(one).links:
            if not link.dialed:
                continue
            other = self._node(link.peer.incarnation)
            if other is None or other.end or not other.is_usable:
                continue
            twin = next(
                (
                    far
                    for far in mesh_of(other).links
                    if not far.dialed
                    and far.peer.incarnation == one.incarnation
                    and far.number == link.number
                ),
                None,
            )
            if twin is None:
                if link.session.sent != link.session.acknowledged:
                    self._journal.violated(f"{other} does not know {link!r} of {one}")
            elif (link.session.sent, twin.session.sent) != (
                twin.session.accepted,
                link.session.accepted,
            ):
                self._journal.violated(f"the ends of {link!r} of {one} disagree with {twin!r}")
