"""A member as the broker knows it, and what of it outlives the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from denoagents.cluster.detector import Detector
from denoagents.cluster.messages import (
    Incarnation,
    Join,
    MemberRecord,
    MemberState,
    Name,
    Role,
    VersionRecord,
)
from denoagents.errors import StoreError

LAYOUT: Final = 1
"""Raised when the stored blob changes its shape."""


class StoredMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a broker that starts anew must know of a member."""

    name: Name
    incarnation: Incarnation
    role: Role
    endpoint: Name = ""
    group: Name = ""
    weight: int = 1
    host: Name = ""
    pid: int = 0
    state: MemberState = "member"
    is_leaving: bool = False
    store: str = ""


class StoredFleet(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that outlives the broker; one blob for the lease store."""

    cluster: str
    record: VersionRecord
    members: list[StoredMember] = []
    types: dict[str, dict[str, dict[str, Any]]] = {}
    """Group to actor types to signatures."""
    layout: int = LAYOUT


@dataclass(slots=True, eq=False)
class Member:
    """One incarnation that the fleet counts on."""

    name: str
    incarnation: int
    role: Role
    endpoint: str
    group: str
    weight: int
    host: str
    pid: int
    detector: Detector
    state: MemberState = "member"
    """In the version that is in force, or being stored."""
    acknowledged: int = 0
    is_leaving: bool = False
    is_healthy: bool = True
    wanted_weight: int = 1
    joined_ns: int = 0
    store: str = ""
    """The place where its durable actors are kept; "" for none."""

    @classmethod
    def from_join(cls, join: Join, detector: Detector, now_ns: int) -> Member:
        """The member that asks for admission."""
        return cls(
            name=join.name,
            incarnation=join.incarnation,
            role=join.role,
            endpoint=join.endpoint,
            group=join.group,
            weight=join.weight,
            wanted_weight=join.weight,
            host=join.host,
            pid=join.pid,
            store=join.store,
            detector=detector,
            joined_ns=now_ns,
        )

    @classmethod
    def from_stored(cls, stored: StoredMember, detector: Detector, now_ns: int) -> Member:
        """The member as the last broker knew it."""
        fields = msgspec.structs.asdict(stored)
        return cls(**fields, wanted_weight=stored.weight, detector=detector, joined_ns=now_ns)

    def stored(self) -> StoredMember:
        """What outlives the broker."""
        return StoredMember(
            name=self.name,
            incarnation=self.incarnation,
            role=self.role,
            endpoint=self.endpoint,
            group=self.group,
            weight=self.weight,
            host=self.host,
            pid=self.pid,
            state=self.state,
            is_leaving=self.is_leaving,
            store=self.store,
        )

    def record(self) -> MemberRecord:
        """What every node is told."""
        return MemberRecord(
            name=self.name,
            incarnation=self.incarnation,
            endpoint=self.endpoint,
            group=self.group,
            weight=self.weight,
            role=self.role,
            state=self.state,
        )


def encode_fleet(fleet: StoredFleet) -> bytes:
    """The blob for the lease store."""
    return msgspec.msgpack.encode(fleet)


def decode_fleet(blob: bytes, cluster: str) -> StoredFleet:
    """The fleet in `blob`; anything else, or another cluster's fleet, is a `StoreError`."""
    try:
        fleet = msgspec.msgpack.decode(blob, type=StoredFleet)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise StoreError(f"the broker's store holds no fleet: {error}") from None
    if fleet.layout != LAYOUT:
        raise StoreError(f"the broker's store has layout {fleet.layout}, not {LAYOUT}")
    if fleet.cluster != cluster:
        raise StoreError(
            f"the broker's store belongs to the cluster {fleet.cluster!r}, not {cluster!r}; "
            "give this broker another file"
        )
    return fleet
