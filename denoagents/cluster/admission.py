"""Who may join a fleet: one name, one life; one group, one set of actor types; pure."""

from __future__ import annotations

from typing import Final, Protocol

from denoagents.cluster.groups import Groups
from denoagents.cluster.member import Member
from denoagents.cluster.messages import Join, Refused
from denoagents.cluster.settings import ClusterSettings
from denoagents.cluster.versions import Versions

DOUBTS_KEPT: Final = 256
"""Applicants for a name that is taken, of whom the fleet remembers when they first asked."""


class Roll(Protocol):
    """What the checks look at: the fleet."""

    settings: ClusterSettings
    members: dict[int, Member]
    groups: Groups

    def named(self, name: str) -> Member | None:
        """The living member of this name."""

    def workers(self, group: str | None = None) -> list[Member]:
        """Living workers, of one group or of all."""

    def is_over(self, incarnation: int) -> bool:
        """The incarnation was declared over."""


class Applications:
    """Joins that passed the checks, until the store has them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Join, Member]] = []
        self._being_stored: list[tuple[Join, Member]] = []
        self._doubts: dict[tuple[int, int], int] = {}

    @property
    def are_waiting(self) -> bool:
        """Somebody is not being stored yet."""
        return bool(self._waiting)

    def add(self, join: Join, member: Member) -> None:
        """One more."""
        self._waiting.append((join, member))

    def store(self) -> list[Member]:
        """Everyone who waits goes into this store operation."""
        self._being_stored, self._waiting = self._waiting, []
        return [member for _, member in self._being_stored]

    def take_stored(self) -> list[tuple[Join, Member]]:
        """Everyone of the last store operation; each only once."""
        stored, self._being_stored = self._being_stored, []
        return stored

    def has(self, incarnation: int) -> bool:
        """The incarnation is about to be admitted."""
        applicants = (*self._waiting, *self._being_stored)
        return any(join.incarnation == incarnation for join, _ in applicants)

    def has_beaten_since_asked(self, join: Join, old: Member) -> bool:
        """Whether the holder of a name has shown life since this applicant first asked for it."""
        if len(self._doubts) >= DOUBTS_KEPT:
            del self._doubts[next(iter(self._doubts))]
        last_ns = old.detector.last_beat_ns
        return last_ns > self._doubts.setdefault((join.incarnation, old.incarnation), last_ns)

    def named(self, name: str) -> Member | None:
        """Who is about to be admitted under this name."""
        applicants = (*self._waiting, *self._being_stored)
        return next((member for join, member in applicants if join.name == name), None)


def check_join(
    roll: Roll, versions: Versions, applications: Applications, join: Join, now_ns: int
) -> Refused | None:
    """The refusal, or None if the process may join."""
    if not join.name or not join.incarnation:
        return Refused(re=join.id, reason="a member needs a name and an incarnation")
    if roll.is_over(join.incarnation):
        return Refused(
            re=join.id,
            reason=f"this incarnation of {join.name!r} was declared dead; start a new process",
        )
    if not versions.believes(join.version):
        return Refused(
            re=join.id,
            reason=f"it knows the placement version {join.version}, which is far beyond all that "
            "this fleet can have had; start a new process",
        )
    if len(roll.members) >= roll.settings.max_members:
        return Refused(
            re=join.id,
            reason=f"the fleet has {len(roll.members)} members, the limit is "
            f"{roll.settings.max_members} (cluster.max_members)",
            retry_after_s=5.0,
        )
    return _check_name(roll, applications, join, now_ns) or _check_group(roll, join)


def _check_name(roll: Roll, applications: Applications, join: Join, now_ns: int) -> Refused | None:
    old = applications.named(join.name) or roll.named(join.name)
    if old is None or old.incarnation == join.incarnation:
        return None
    silent_s = old.detector.silent_ns(now_ns) / 1e9
    settings = roll.settings
    if old.host == join.host and silent_s > settings.rename_after_s:
        return None
    is_member = old.incarnation in roll.members
    if is_member and not applications.has_beaten_since_asked(join, old):
        wait_s = settings.replace_after_s if old.host != join.host else settings.rename_after_s
        left_s = wait_s - silent_s + settings.tick_every_s
        if silent_s <= settings.beat_every_s:  # it may have died this instant: wait for one beat
            left_s = 1.25 * settings.beat_every_s
        return Refused(
            re=join.id,
            reason=f"the {old.role} {join.name!r} at {old.endpoint or old.host} has been silent "
            f"for {silent_s:.1f} s and is not given up yet; its name is free soon",
            retry_after_s=round(max(0.05, left_s), 3),
        )
    return Refused(
        re=join.id,
        reason=f"a {old.role} named {join.name!r} is alive in this fleet (at "
        f"{old.endpoint or old.host}, process {old.pid}); "
        "choose another name, or stop that one first",
    )


def _check_store(roll: Roll, join: Join) -> Refused | None:
    """All workers of a group keep its durable actors in one place."""
    durable = sorted(name for name, one in join.types.items() if one.get("durable"))
    other = next((one for one in roll.workers(join.group) if one.store != join.store), None)
    if not durable or other is None:
        return None
    return Refused(
        re=join.id,
        reason=f"the group {join.group!r} has durable actors ({durable[0]}), and this worker's "
        f"store is another one than that of {other.name!r}: {join.store or 'none'}, not "
        f"{other.store or 'none'}. A file serves the workers of one host: start this one on "
        f"{other.host or 'the same host'} with the same --store PATH, or give all of them a store "
        "that hosts can share",
    )


def _check_group(roll: Roll, join: Join) -> Refused | None:
    if join.role != "worker":
        return None
    for name, group in roll.groups.items():
        taken = sorted(group.types.keys() & join.types.keys())
        if name != join.group and taken and roll.workers(name):
            return Refused(
                re=join.id,
                reason=f"the actor type {taken[0]!r} is hosted by the group {name!r} already; "
                "a type belongs to one group",
            )
    group_known = roll.groups.get(join.group)
    if group_known is None or not roll.workers(join.group):
        return None
    found = group_known.misfit(join.types, is_known=join.version > 0)
    if not found:
        return _check_store(roll, join)
    return Refused(
        re=join.id,
        reason=f"the worker does not fit into the group {join.group!r}: {found}. All workers of a "
        "group run the same app; give this one another group, or the same version of the app",
    )
