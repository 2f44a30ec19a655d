"""The fleet in plain values: what `status`, `get` and `describe` show."""

from __future__ import annotations

from typing import Any

from denoagents.broker.health import Prober
from denoagents.cluster import slots as slot_set
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.group import Group, digest
from denoagents.cluster.member import Member
from denoagents.envelope import SLOTS


def describe_member(fleet: Fleet, member: Member, prober: Prober, now_ns: int) -> dict[str, Any]:
    """One member: who, where, how it lives, what it owns."""
    detector = member.detector
    beat = detector.last
    row: dict[str, Any] = {
        "name": member.name,
        "role": member.role,
        "incarnation": member.incarnation,
        "endpoint": member.endpoint,
        "host": member.host,
        "pid": member.pid,
        "state": member.state,
        "liveness": detector.liveness(now_ns),
        "silent_ms": detector.silent_ns(now_ns) // 1_000_000,
        "loop_lag_ms": 0.0 if beat is None else beat.loop_lag_us / 1000,
        "tick_age_ms": 0.0 if beat is None else beat.tick_age_us / 1000,
        "turn_ms": 0.0 if beat is None else beat.turn_us / 1000,
        "acknowledged": member.acknowledged,
        "joined_s": round((now_ns - member.joined_ns) / 1e9, 3),
    }
    if member.role == "worker":
        row |= _work(fleet, member, prober)
    return row


def _work(fleet: Fleet, member: Member, prober: Prober) -> dict[str, Any]:
    group = fleet.groups.get(member.group)
    owned = 0 if group is None else group.owners.get(member.incarnation, 0)
    held = 0 if group is None else group.holders.get(member.incarnation, 0)
    health = prober.health(member.incarnation)
    return {
        "group": member.group,
        "weight": member.weight,
        "is_leaving": member.is_leaving,
        "slots_owned": owned.bit_count(),
        "slots_held": held.bit_count(),
        "is_healthy": member.is_healthy,
        "probe_failures": 0 if health is None else health.failures,
        "probe_reason": "" if health is None else health.reason,
        "probe": None if health is None else health.detail,
    }


def describe_group(fleet: Fleet, group: Group) -> dict[str, Any]:
    """One group: types, workers, how far its hand-over is."""
    held = slot_set.union(owned & group.holders.get(who, 0) for who, owned in group.owners.items())
    return {
        "name": group.name,
        "types": sorted(group.types),
        "workers": sorted(member.name for member in fleet.workers(group.name)),
        "slots_active": held.bit_count(),
        "slots_waiting": SLOTS - held.bit_count(),
        "is_handed_over": group.is_handed_over,
        "lingering": [
            {"actor": entry.actor, "holder": _name_of(fleet, entry.holder)}
            for entry in group.lingering.values()
        ],
    }


def describe_type(group: Group, name: str) -> dict[str, Any]:
    """One actor type: its group and its signature."""
    signature = group.types[name]
    return {
        "name": name,
        "group": group.name,
        "digest": digest(signature),
        "signature": signature,
    }


def describe_slot(fleet: Fleet, group: Group, slot: int) -> dict[str, Any]:
    """Who owns and who holds a slot."""
    bit = 1 << slot
    owner = next((who for who, owned in group.owners.items() if owned & bit), 0)
    holder = next((who for who, held in group.holders.items() if held & bit), 0)
    return {
        "slot": slot,
        "group": group.name,
        "owner": _name_of(fleet, owner),
        "holder": _name_of(fleet, holder),
    }


def _name_of(fleet: Fleet, incarnation: int) -> str:
    member = fleet.members.get(incarnation)
    return "" if member is None else member.name
