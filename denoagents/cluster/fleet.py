"""The broker's core: members, versions, acknowledgements, hand-over, evictions; pure.

Rules:
    Every public method takes an event and the time, and returns orders (`orders.py`).
    A version is stored before it is published, and versions only rise; after a restart numbers
    jump by `versions.GAP`, above whatever an unstored version may have had.
    A version is settled when every living member has acknowledged it, once. A client whose loop is
    blocked (a notebook that computes) is not waited for: it sends nothing meanwhile.
    Planned changes of a group (join, drain, health, weight) wait until its last hand-over is done
    and the last version is settled; deaths wait for nothing but the store.
    A store that fails refuses joins and settings; members go on, and deaths are still published.
    Nobody is evicted before `grace_until_ns`: after a start, and after a late tick of our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from denoagents.cluster import messages
from denoagents.cluster import slots as slot_set
from denoagents.cluster.admission import Applications, check_join
from denoagents.cluster.beat import Beat, BeatAnswer, BeatStatus
from denoagents.cluster.departed import Departed
from denoagents.cluster.detector import Detector
from denoagents.cluster.groups import Groups
from denoagents.cluster.member import Member, StoredFleet, decode_fleet, encode_fleet
from denoagents.cluster.messages import Join, VersionRecord
from denoagents.cluster.orders import End, Note, Order, Persist, Send
from denoagents.cluster.settings import ClusterSettings
from denoagents.cluster.storing import AGAIN_S, Storing
from denoagents.cluster.versions import Versions
from denoagents.cluster.wishes import Wishes


class Fleet:
    """All members, and the placement version that holds for them."""

    def __init__(
        self,
        *,
        cluster: str,
        incarnation: int,
        settings: ClusterSettings,
        assign: slot_set.Assign,
        now_ns: int,
        stored: bytes | None = None,
    ) -> None:
        """`stored` is what the last broker saved; raises `StoreError` if it is none of ours."""
        self.cluster, self.incarnation, self.settings = cluster, incarnation, settings
        self.members: dict[int, Member] = {}
        self.groups = Groups()
        self.grace_until_ns = now_ns + self._ns(settings.replace_after_s)
        self.wishes = Wishes()
        self._assign = assign
        self._versions = Versions(assign)
        self._storing = Storing()
        self._departed = Departed()
        self._last_tick_ns = now_ns
        self._applications = Applications()
        if stored is not None:
            self._restore(decode_fleet(stored, cluster), now_ns)

    # --- looking ------------------------------------------------------------------------------

    @property
    def record(self) -> VersionRecord:
        """The version in force, as published."""
        return self._versions.record

    @property
    def version(self) -> int:
        """Its number."""
        return self.record.version

    @property
    def is_settled(self) -> bool:
        """Every living member has acknowledged it."""
        return self._versions.is_settled

    def named(self, name: str) -> Member | None:
        """The living member of this name."""
        return next((m for m in self.members.values() if m.name == name), None)

    def workers(self, group: str | None = None) -> list[Member]:
        """Living workers, of one group or of all."""
        return [
            member
            for member in self.members.values()
            if member.role == "worker" and group in (None, member.group)
        ]

    @property
    def store_error(self) -> str:
        """Why the last state could not be stored, "" if it was."""
        return self._storing.error

    def is_over(self, incarnation: int) -> bool:
        """The incarnation was declared over, as far as this broker remembers."""
        return incarnation in self._departed

    def unacknowledged(self) -> list[Member]:
        """Members that the version in force waits for."""
        return [
            member
            for member in self.members.values()
            if member.acknowledged < self.version
            and not (member.role == "client" and member.detector.is_asleep)
        ]

    # --- events from members ------------------------------------------------------------------

    def beat(self, beat: Beat, now_ns: int) -> BeatAnswer | None:
        """A heartbeat came in; answer it, unless it must not renew the member's lease."""
        member = self.members.get(beat.incarnation)
        status = BeatStatus.OK
        if member is not None:
            if not member.detector.observe(beat, now_ns):
                return None
        elif beat.incarnation in self._departed:
            status = BeatStatus.EVICTED
        else:
            status = BeatStatus.UNKNOWN
        return BeatAnswer(
            status, beat.incarnation, beat.sent_ns, self.incarnation, self.record.version
        )

    def join(self, join: Join, now_ns: int) -> list[Order]:
        """A process asks for admission, or a member presents itself to a broker that restarted."""
        out = self._learn_over(join.over, now_ns)
        known = self.members.get(join.incarnation)
        if known is not None:
            return out + self._rejoin(known, join, now_ns)
        refusal = check_join(self, self._versions, self._applications, join, now_ns)
        if refusal is not None:
            note = Note("join_refused", {"name": join.name, "reason": refusal.reason})
            return [*out, Send((join.incarnation,), refusal), note]
        if self._applications.has(join.incarnation):
            return out
        old = self.named(join.name)
        if old is not None:
            out += self._remove(old, f"replaced by a new process named {join.name!r}", now_ns)
        member = Member.from_join(join, Detector(self.settings, now_ns), now_ns)
        self._applications.add(join, member)
        return out + self._advance(now_ns)

    def acknowledge(self, incarnation: int, version: int, now_ns: int) -> list[Order]:
        """A member acknowledged a version."""
        member = self.members.get(incarnation)
        if member is None:
            return []
        member.acknowledged = max(member.acknowledged, version)
        return self._settle() + self._advance(now_ns)

    def activated(self, incarnation: int, message: messages.Activated, now_ns: int) -> list[Order]:
        """A worker runs slots."""
        member = self.members.get(incarnation)
        if member is None or member.group != message.group:
            return []
        alive = [entry for entry in message.excepted if entry.holder in self.members]
        slots = slot_set.unpack(message.slots)
        self.groups[member.group].activated(incarnation, slots, alive, message.version)
        return self._advance(now_ns)

    def actors_activated(
        self, incarnation: int, message: messages.ActivatedActors, now_ns: int
    ) -> list[Order]:
        """Actors that lingered elsewhere run at their owner."""
        member = self.members.get(incarnation)
        if member is None or member.group != message.group:
            return []
        self.groups[member.group].arrived(message.actors)
        return self._advance(now_ns)

    def leave(self, incarnation: int, message: messages.Leave, now_ns: int) -> list[Order]:
        """A member wants to give up its slots, or is gone by its own will."""
        member = self.members.get(incarnation)
        if member is None:
            return []
        if message.drain:
            member.is_leaving = True
            return self._advance(now_ns)
        out = self._remove(member, message.reason or "it left", now_ns, is_clean=True)
        return out + self._settle() + self._advance(now_ns)

    def reaped(self, incarnation: int, now_ns: int) -> list[Order]:
        """A parent saw the end of this process: its lease ends now."""
        return self.evict(incarnation, "its process ended", now_ns)

    def evict(self, incarnation: int, reason: str, now_ns: int) -> list[Order]:
        """The incarnation is over."""
        member = self.members.get(incarnation)
        if member is None:
            return []
        return self._remove(member, reason, now_ns) + self._settle() + self._advance(now_ns)

    # --- operators ----------------------------------------------------------------------------

    def drain(self, member: Member, reason: str, now_ns: int) -> list[Order]:
        """Take a worker's slots, and tell it to end when it holds none."""
        member.is_leaving = True
        message = messages.Drain(reason=reason)
        return [Send((member.incarnation,), message), *self._advance(now_ns)]

    def set_weight(self, member: Member, weight: int, now_ns: int) -> list[Order]:
        """Give a worker another share of its group's slots."""
        member.wanted_weight = weight
        return self._advance(now_ns)

    def set_values(self, path: str, values: Mapping[str, Any], now_ns: int) -> list[Order]:
        """Change live settings; None takes a value out."""
        self.wishes.change(path, values)
        return self._advance(now_ns)

    def set_health(self, incarnation: int, is_healthy: bool, now_ns: int) -> list[Order]:
        """The deep probe's verdict on a worker."""
        member = self.members.get(incarnation)
        if member is None or member.is_healthy == is_healthy:
            return []
        member.is_healthy = is_healthy
        word = "healthy" if is_healthy else "unhealthy"
        return [Note(word, {"name": member.name}), *self._advance(now_ns)]

    # --- time and the store -------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Order]:
        """Look for silent members; a tick that comes late gives everyone grace."""
        out: list[Order] = []
        late_ns = now_ns - self._last_tick_ns - self._ns(self.settings.tick_every_s)
        self._last_tick_ns = now_ns
        if late_ns > self._ns(self.settings.late_tick_s):
            self.grace_until_ns = now_ns + self._ns(self.settings.replace_after_s)
            out.append(Note("late_tick", {"late_s": round(late_ns / 1e9, 3)}))
        if now_ns >= self.grace_until_ns:
            for member in list(self.members.values()):
                if member.detector.is_dead(now_ns):
                    silent_s = member.detector.silent_ns(now_ns) / 1e9
                    out += self._remove(member, f"silent for {silent_s:.1f} s", now_ns)
        overdue = self._storing.overdue(now_ns)
        if overdue:
            out += self.store_failed(overdue, "the store does not answer", now_ns)
        return out + self._settle() + self._advance(now_ns)

    def stored(self, number: int, now_ns: int) -> list[Order]:
        """The state of `Persist(number)` is safe."""
        if not self._storing.is_current(number):
            return []
        out = self._publish(self._storing.end()) + self._admit(now_ns)
        return out + self._settle() + self._advance(now_ns)

    def store_failed(self, number: int, reason: str, now_ns: int) -> list[Order]:
        """The state of `Persist(number)` could not be saved: no joins, but deaths go on."""
        if not self._storing.is_current(number):
            return []
        record = self._storing.fail(reason, now_ns)
        out: list[Order] = [Note("store_failed", {"reason": reason})]
        for join, _ in self._applications.take_stored():
            refusal = messages.Refused(
                re=join.id,
                reason=f"the broker cannot store the join: {reason}",
                retry_after_s=AGAIN_S,
            )
            out.append(Send((join.incarnation,), refusal))
        return out + self._publish(record) + self._settle() + self._advance(now_ns)

    # --- steps: members -----------------------------------------------------------------------

    def _rejoin(self, member: Member, join: Join, now_ns: int) -> list[Order]:
        """A known member presents itself again: it knows best what it holds."""
        self._take_member_facts(member, join, now_ns)
        out: list[Order] = [Send((member.incarnation,), self._joined(join))]
        return out + self._settle() + self._advance(now_ns)

    def _take_member_facts(self, member: Member, join: Join, now_ns: int) -> None:
        member.endpoint = join.endpoint
        member.detector.last_beat_ns = now_ns
        member.acknowledged = max(member.acknowledged, min(join.version, self.version))
        if join.version > self.version and self._versions.believes(join.version):
            self._versions.surpass(join.version)
        self._versions.stay_above(join.fence)
        if member.role == "worker":
            group = self.groups.open(join, self.workers(member.group))
            mine = [entry for entry in join.lingering if entry.group == member.group]
            for name, packed in join.holding.items():
                if name == member.group:
                    group.activated(member.incarnation, slot_set.unpack(packed), mine, join.version)

    def _admit(self, now_ns: int) -> list[Order]:
        """Applicants whose admission is stored become members."""
        out: list[Order] = []
        for join, member in self._applications.take_stored():
            self.members[member.incarnation] = member
            if member.role == "worker":
                self.groups.open(join, self.workers(join.group))
            if join.version > self.version == self._versions.quiet_until_ns == 0:
                # The store is new, the fleet is not: hear the others before anyone is placed.
                self._versions.quiet_until_ns = now_ns + self._ns(self.settings.replace_after_s)
            self._take_member_facts(member, join, now_ns)
            if join.version == 0:
                member.acknowledged = self.version  # it never sent anything under an older one
            out.append(Send((member.incarnation,), self._joined(join)))
            out.append(Note("joined", {"name": member.name, "role": member.role}))
        return out

    def _joined(self, join: Join) -> messages.Joined:
        return messages.Joined(
            re=join.id,
            record=self.record,
            settled=self._versions.settled,
            broker=self.incarnation,
        )

    def _remove(
        self, member: Member, reason: str, now_ns: int, *, is_clean: bool = False
    ) -> list[Order]:
        """Take a member out; whoever is published next knows that it is over."""
        del self.members[member.incarnation]
        self._departed.add(member.incarnation, reason)
        if member.group in self.groups:
            self.groups[member.group].forget(member.incarnation)
        is_quiet = is_clean and member.role == "client"
        self._versions.is_urgent |= not is_quiet
        self._storing.is_dirty = True
        facts = {"name": member.name, "role": member.role, "reason": reason}
        facts["silent_s"] = str(round(member.detector.silent_ns(now_ns) / 1e9, 3))
        out: list[Order] = [Note("left" if is_clean else "evicted", facts)]
        if not is_clean:
            out.append(Send((member.incarnation,), messages.Evicted(reason=reason)))
        out.append(End(member.incarnation, reason, is_clean))
        return out

    def _learn_over(self, over: Iterable[int], now_ns: int) -> list[Order]:
        """A member knows of deaths that this broker does not: those were published once."""
        out: list[Order] = []
        for incarnation in over:
            member = self.members.get(incarnation)
            if member is not None:
                out += self._remove(member, "the fleet had evicted it before", now_ns)
            self._departed.add(incarnation, "told by a member")
        return out

    # --- steps: versions ----------------------------------------------------------------------

    def _advance(self, now_ns: int) -> list[Order]:
        """Store and publish what is due; one store operation at a time."""
        storing = self._storing
        if storing.is_busy:
            return []
        record: VersionRecord | None = None
        workers = self.workers()
        if self._versions.is_due(self.groups, workers, self.wishes, now_ns):
            record = self._versions.make(self.groups, workers, self.wishes, self._departed)
        if record is None and not storing.is_due(now_ns) and not self._applications.are_waiting:
            return []
        state = self._stored_fleet(record or self.record)
        return [Persist(storing.begin(record, now_ns), encode_fleet(state))]

    def _publish(self, record: VersionRecord | None) -> list[Order]:
        if record is None:
            return []
        self._versions.record = record
        note = Note("version", {"version": record.version})
        return [note, Send(tuple(self.members), messages.Published(record=record))]

    def _settle(self) -> list[Order]:
        """Tell everyone, once, that everyone has acknowledged the version in force."""
        is_passing = self._versions.is_urgent or self._storing.has_version
        if self.is_settled or is_passing or self.unacknowledged():
            return []
        self._versions.settled = self.version
        return [Send(tuple(self.members), messages.Settled(version=self.version))]

    # --- steps: the store ---------------------------------------------------------------------

    def _stored_fleet(self, record: VersionRecord) -> StoredFleet:
        applicants = self._applications.store()
        return StoredFleet(
            cluster=self.cluster,
            record=record,
            members=[member.stored() for member in (*self.members.values(), *applicants)],
            types={name: group.types for name, group in self.groups.items()},
        )

    def _restore(self, stored: StoredFleet, now_ns: int) -> None:
        """Go on where the last broker stopped; members have some time to present themselves."""
        self._versions = Versions(self._assign, stored.record)
        self.wishes = Wishes(stored.record.settings)
        self._departed = Departed(stored.record.over)
        for one in stored.members:
            detector = Detector(self.settings, now_ns)
            self.members[one.incarnation] = Member.from_stored(one, detector, now_ns)
        self.groups = Groups.restored(stored, self._assign)

    @staticmethod
    def _ns(seconds: float) -> int:
        return int(seconds * 1e9)

    def __repr__(self) -> str:
        settled = "settled" if self.is_settled else "not settled"
        return f"<Fleet version {self.version} {settled}, {len(self.members)} members>"
