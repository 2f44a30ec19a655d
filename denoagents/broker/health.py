"""Deep health probes of the workers: who is due, who did not answer, who is unhealthy; pure.

Rules: a worker is probed every `probe_every_s`; no good answer within `probe_timeout_s` is a
failure; `probe_failures` in a row make it unhealthy, one good answer makes it healthy again (plan
2.8). An unhealthy worker is probed on. The first probe comes at a random point of the interval, so
that a fleet is not probed all at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from denoagents.cluster.settings import ClusterSettings


@dataclass(slots=True)
class Health:
    """What the probes know of one worker."""

    due_ns: int
    asked_ns: int = 0
    """When the probe without an answer left, 0 if there is none."""
    failures: int = 0
    """In a row."""
    is_healthy: bool = True
    detail: dict[str, Any] | None = None
    """The last answer."""
    reason: str = ""
    """Why the last probe failed."""


class Prober:
    """The probes of all workers of a fleet."""

    def __init__(self, settings: ClusterSettings, chance: Random | None = None) -> None:
        self._settings = settings
        self._chance = chance or Random()
        self._workers: dict[int, Health] = {}

    def health(self, incarnation: int) -> Health | None:
        """What is known of a worker."""
        return self._workers.get(incarnation)

    def due(self, workers: Iterable[int], now_ns: int) -> tuple[list[int], list[int]]:
        """Who shall be probed now, and whose probe has just failed by timeout."""
        alive = set(workers)
        for gone in self._workers.keys() - alive:
            del self._workers[gone]
        probe: list[int] = []
        failed: list[int] = []
        for incarnation in alive:
            health = self._workers.get(incarnation)
            if health is None:
                first_ns = int(self._settings.probe_every_s * 1e9 * self._chance.random())
                self._workers[incarnation] = Health(due_ns=now_ns + first_ns)
                continue
            if health.asked_ns and now_ns - health.asked_ns > self._settings.probe_timeout_s * 1e9:
                health.asked_ns = 0
                timeout_s = self._settings.probe_timeout_s
                self._fail(health, f"no answer within {timeout_s:g} s", None)
                failed.append(incarnation)
            if now_ns >= health.due_ns:
                health.due_ns = now_ns + int(self._settings.probe_every_s * 1e9)
                health.asked_ns = now_ns
                probe.append(incarnation)
        return probe, failed

    def answered(self, incarnation: int, detail: dict[str, Any]) -> bool | None:
        """An answer came: the worker's health if it changed, else None."""
        health = self._workers.get(incarnation)
        if health is None or not health.asked_ns:
            return None
        health.asked_ns = 0
        if detail.get("ok") is not True:
            reason = str(detail.get("reason") or "the node says so")
            return self._fail(health, reason, detail)
        was_healthy, health.is_healthy = health.is_healthy, True
        health.failures, health.reason, health.detail = 0, "", detail
        return None if was_healthy else True

    def _fail(self, health: Health, reason: str, detail: dict[str, Any] | None) -> bool | None:
        health.failures += 1
        health.reason, health.detail = reason, detail
        if health.failures < self._settings.probe_failures or not health.is_healthy:
            return None
        health.is_healthy = False
        return False
