"""The numbers and contents of placement versions: when one is due, and what it says; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from denoagents.cluster.departed import Departed
from denoagents.cluster.groups import Groups
from denoagents.cluster.member import Member
from denoagents.cluster.messages import MAX_VERSION, VersionRecord
from denoagents.cluster.slots import Assign
from denoagents.cluster.wishes import Wishes

GAP: Final = 1000
"""A restarted broker numbers on from here above the stored version."""

MAX_LEAP: Final = 1 << 20
"""No member of this fleet knows a version so far beyond the broker's: so many are never lost."""


class Versions:
    """The version in force, and the next one."""

    def __init__(self, assign: Assign, record: VersionRecord | None = None) -> None:
        """`record` is what a broker that ended had published last."""
        self.record = record or VersionRecord(version=0)
        """The version in force, as published."""
        self.settled = 0
        self.is_urgent = False
        """A death is not published yet."""
        self.quiet_until_ns = 0
        """No version before: a fleet that is known from its members alone is being heard."""
        self._assign = assign
        self._next = 1 if record is None else min(record.version + GAP, MAX_VERSION)

    @property
    def is_settled(self) -> bool:
        """Every living member has acknowledged the version in force."""
        return self.settled == self.record.version

    def is_due(
        self, groups: Groups, workers: Sequence[Member], wishes: Wishes, now_ns: int
    ) -> bool:
        """Deaths wait for nothing; plans wait for the last version to settle."""
        if now_ns < self.quiet_until_ns:
            return False
        if self.is_urgent:
            return True
        return self.is_settled and (wishes.are_waiting or groups.have_plans(workers))

    def make(
        self, groups: Groups, workers: Sequence[Member], wishes: Wishes, departed: Departed
    ) -> VersionRecord:
        """The next version: deaths in full, plans where the hand-over is done."""
        self.is_urgent = False
        groups.place(workers, self._assign)
        number, self._next = self._next, min(self._next + 1, MAX_VERSION)
        return VersionRecord(
            version=number,
            members=[member.record() for member in workers],
            groups=groups.records(),
            sources=groups.sources(),
            lingering=groups.lingering(),
            over=departed.incarnations(),
            settings=wishes.take(),
        )

    def believes(self, version: int) -> bool:
        """Whether a member of this fleet may know this version.

        A broker that knows none itself asks only that numbers are left above it.
        """
        known = self.record.version
        return version <= MAX_VERSION - MAX_LEAP and (not known or version - known <= MAX_LEAP)

    def stay_above(self, fence: int) -> None:
        """Fences are versions: no version is one that a store has seen under another owner."""
        if fence >= max(1, self.record.version):
            self.surpass(fence)

    def surpass(self, version: int) -> None:
        """A member knows a later version than this broker: go beyond it, soon."""
        self._next = min(max(self._next, version + 1), MAX_VERSION)
        self.is_urgent = True
