"""All groups of a fleet: which state each worker shall have, and when it may get it.

Rules: deaths change owners with the next version, whatever else is under way; plans (join, drain,
health, weight) change a group only when its last hand-over is done, or nobody of it is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from denoagents.cluster import slots as slot_set
from denoagents.cluster.group import Group
from denoagents.cluster.member import Member, StoredFleet
from denoagents.cluster.messages import GroupRecord, Join, Lingering, MemberState, Source

MAX_GROUPS: Final = 1024
"""Beyond this, groups without workers are forgotten."""


class Groups(dict[str, Group]):
    """Groups by name; a group stays when its last worker is gone, so that asks can wait for one."""

    @classmethod
    def restored(cls, stored: StoredFleet, assign: slot_set.Assign) -> Groups:
        """As the last broker knew them; who holds what is heard from the members."""
        groups = cls()
        record = stored.record
        for name, types in stored.types.items():
            group = groups[name] = Group(name, types)
            placed = [
                (member.incarnation, member.name, member.weight)
                for member in record.members
                if member.group == name and member.state == "placed"
            ]
            group.place(placed, assign)
            for source in record.sources.get(name, ()):
                group.former[source.incarnation] = slot_set.unpack(source.slots)
            for entry in record.lingering:
                if entry.group == name:
                    group.lingering[entry.actor] = entry
        return groups

    def open(self, join: Join, workers: Iterable[Member]) -> Group:
        """The group of a worker that joins; without other workers it takes the newcomer's types."""
        group = self.setdefault(join.group, Group(join.group, join.types))
        is_alone = all(member.incarnation == join.incarnation for member in workers)
        group.host(join.incarnation, join.types, is_alone=is_alone)
        return group

    def have_plans(self, workers: Sequence[Member]) -> bool:
        """Some group is ready to change, and wants to."""
        return any(
            group.is_handed_over and _has_plans(_of(workers, name)) for name, group in self.items()
        )

    def place(self, workers: Sequence[Member], assign: slot_set.Assign) -> None:
        """New owners: deaths in full, plans where the hand-over is done."""
        alive = {member.incarnation for member in workers}
        for name, group in list(self.items()):
            mine = _of(workers, name)
            if not mine and len(self) > MAX_GROUPS:
                del self[name]
                continue
            if group.is_handed_over or not group.living_owners(alive):
                for member in mine:
                    member.state = _planned_state(member, mine)
                    member.weight = member.wanted_weight
            placed = [
                (member.incarnation, member.name, member.weight)
                for member in mine
                if member.state == "placed"
            ]
            group.place(placed, assign)

    def records(self) -> dict[str, GroupRecord]:
        """What every node is told of each group."""
        return {name: group.record() for name, group in self.items()}

    def sources(self) -> dict[str, list[Source]]:
        """The living holders of slots that others own, where there are some."""
        return {name: found for name, group in self.items() if (found := group.sources())}

    def lingering(self) -> list[Lingering]:
        """Actors that stay with a former holder."""
        return [entry for group in self.values() for entry in group.lingering.values()]


def _of(workers: Iterable[Member], group: str) -> list[Member]:
    return [member for member in workers if member.group == group]


def _has_plans(workers: Sequence[Member]) -> bool:
    return any(
        member.state != _planned_state(member, workers) or member.weight != member.wanted_weight
        for member in workers
    )


def _planned_state(member: Member, workers: Iterable[Member]) -> MemberState:
    if member.is_leaving:
        return "draining"
    if member.is_healthy or not any(one.is_healthy and not one.is_leaving for one in workers):
        return "placed"  # with no healthy worker at all, unhealthy ones are better than none
    return "unhealthy"
