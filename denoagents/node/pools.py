"""Pools of interchangeable actors: who gets the next request.

Rules:
    A pool has `size` members on each worker of its group; their keys name pool, worker, number.
    round_robin takes turns; least_connections takes the member with the fewest unanswered asks of
    this node, ties at random; weighted is smooth weighted round robin over the workers' weights,
    which can be set live.
    Source of the smooth form: nginx's upstream round robin.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from denoagents._native.call import Ref
from denoagents.actor.reference import Refs
from denoagents.actor.settings import Strategy
from denoagents.address import Address
from denoagents.errors import NoWorkerError, UsageError

STRATEGIES: tuple[Strategy, ...] = ("round_robin", "least_connections", "weighted")


@dataclass(slots=True, eq=False)
class PoolMember:
    """One actor of a pool, as seen by this node."""

    worker: str
    ref: Ref
    weight: float = 1.0
    open_requests: int = 0
    chosen: int = 0
    lead: float = 0.0
    variants: dict[tuple[int, int], Ref] = field(default_factory=dict)

    def finished(self) -> None:
        """A request to it is over."""
        self.open_requests -= 1

    def with_options_of(self, ref: Ref) -> Ref:
        """A ref to this member with the timeout and priority of `ref`."""
        timeout_ns, priority = Ref.timeout_ns.__get__(ref), Ref.priority.__get__(ref)
        if not timeout_ns and priority < 0:
            return self.ref
        variant = self.variants.get((timeout_ns, priority))
        if variant is None:
            if len(self.variants) >= 64:
                self.variants.clear()
            variant = self.variants[timeout_ns, priority] = Ref.with_options(
                self.ref, timeout_ns, priority
            )
        return variant


class Pool:
    """Chooses a member for each request."""

    def __init__(
        self,
        name: str,
        size: int,
        strategy: Strategy,
        *,
        workers: Callable[[], dict[str, float]],
        make_ref: Callable[[str, int], Ref],
        chance: random.Random | None = None,
    ) -> None:
        if strategy not in STRATEGIES:
            raise UsageError(
                f"the strategy {strategy!r} is unknown; use one of {', '.join(STRATEGIES)}"
            )
        if not 1 <= size <= 1000:
            raise UsageError(f"a pool has 1 to 1000 members on each worker, got size={size}")
        self.name, self.size, self.strategy = name, size, strategy
        self._workers, self._make_ref = workers, make_ref
        self._chance = chance or random.Random()
        self._seen: dict[str, float] = {}
        self.members: list[PoolMember] = []
        self._next = 0

    def refresh(self) -> None:
        """Take in workers that came, went or changed weight."""
        workers = self._workers()
        if workers is self._seen or workers == self._seen:
            self._seen = workers
            return
        self._seen = workers
        kept = {(m.worker, Ref.address.__get__(m.ref)): m for m in self.members}
        members = []
        for worker in sorted(workers):
            for number in range(self.size):
                ref = self._make_ref(worker, number)
                member = kept.get((worker, Ref.address.__get__(ref))) or PoolMember(worker, ref)
                member.weight = workers[worker]
                members.append(member)
        self.members = members

    def choose(self, ref: Ref, request: Any) -> Ref:
        """The member for one request."""
        self.refresh()
        if not self.members:
            raise NoWorkerError(f"no worker is there for pool {self.name!r}; start one")
        member = self._pick()
        member.chosen += 1
        if request is not None:
            member.open_requests += 1
            request.count_for(member)
        return member.with_options_of(ref)

    def _pick(self) -> PoolMember:
        if self.strategy == "round_robin":
            self._next = (self._next + 1) % len(self.members)
            return self.members[self._next]
        if self.strategy == "least_connections":
            fewest = min(member.open_requests for member in self.members)
            return self._chance.choice([m for m in self.members if m.open_requests == fewest])
        weights = [max(member.weight, 0.0) for member in self.members]
        total = sum(weights)
        if not total:
            raise NoWorkerError(
                f"all weights of pool {self.name!r} are 0; set one with: denoagents set"
            )
        for member, weight in zip(self.members, weights, strict=True):
            member.lead += weight
        best = max(self.members, key=lambda member: member.lead)
        best.lead -= total
        return best

    def statistics(self) -> dict[str, Any]:
        """Share of each worker, and imbalance (maximum over mean)."""
        by_worker: dict[str, int] = {}
        for member in self.members:
            by_worker[member.worker] = by_worker.get(member.worker, 0) + member.chosen
        total = sum(by_worker.values())
        mean = total / len(by_worker) if by_worker else 0
        return {
            "name": self.name,
            "strategy": self.strategy,
            "members": len(self.members),
            "chosen": by_worker,
            "open": sum(member.open_requests for member in self.members),
            "imbalance": max(by_worker.values()) / mean if mean else 1.0,
        }


class Pools:
    """The pools that one node uses."""

    def __init__(self, refs: Refs, weights: Callable[[str, str], dict[str, float]]) -> None:
        """`weights` gives the workers that have members of (type, pool), and their weights."""
        self._refs, self._weights = refs, weights
        self._pools: dict[str, Pool] = {}

    def ref(self, cls: type, name: str, strategy: Strategy, size: int) -> Ref:
        """A ref that chooses a member for each request."""
        type_name = self._refs.type_of(cls).name
        full_name = f"{type_name}/{name}"
        pool = self._pools.get(full_name)
        if pool is None:
            pool = self._pools[full_name] = Pool(
                name,
                size,
                strategy,
                workers=lambda: self._weights(type_name, name),
                make_ref=lambda worker, number: self._member(cls, type_name, name, worker, number),
            )
        elif (pool.strategy, pool.size) != (strategy, size):
            raise UsageError(
                f"pool {full_name} exists with strategy={pool.strategy!r}, size={pool.size}"
            )
        return self._refs.ref(cls, Address(type_name, f"~{name}@any#0").text, pool.choose)

    def _member(self, cls: type, type_name: str, name: str, worker: str, number: int) -> Ref:
        return self._refs.ref(cls, Address(type_name, f"~{name}@{worker}#{number}").text)

    def statistics(self) -> list[dict[str, Any]]:
        """Each pool's share of each worker."""
        return [pool.statistics() for pool in self._pools.values()]
