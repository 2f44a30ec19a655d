"""Rules between keys: what each alone may be, but not all together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from denoagents.config.setting import Setting

ASCENDING: Final = (
    ("agent.memory.baseline", "agent.memory.thresholds.warning",
     "agent.memory.thresholds.critical", "agent.memory.peak"),
    ("agent.cpu.baseline", "agent.cpu.throttling.threshold", "agent.cpu.peak"),
    ("llm_provider.memory.baseline", "llm_provider.memory.peak"),
    ("llm_provider.network.connections.per_host", "llm_provider.network.connections.max"),
    ("agent_scaling.limits.min", "agent_scaling.limits.max"),
    ("resource_pooling.connection.initial", "resource_pooling.connection.max"),
    ("resource_pooling.memory.baseline", "resource_pooling.memory.max"),
    ("execution.pooling.workers.min", "execution.pooling.workers.max"),
    ("optimization.memory.gc.threshold", "optimization.memory.gc.aggressive"),
    ("criteria.latency.p95", "criteria.latency.p99", "criteria.latency.max"),
    ("monitoring.thresholds.warning", "monitoring.thresholds.critical",
     "monitoring.thresholds.action"),
    ("message_routing.health_check.timeout", "message_routing.health_check.interval"),
    ("link.backoff.first", "link.backoff.longest"),
    ("actor.mailbox_limit", "actor.mailbox_reserve"),
)  # fmt: skip
"""Keys whose values must not fall from left to right."""

LEASE: Final = (
    ("cluster.beat", 2, "cluster.stop_after"),
    ("cluster.stop_after", 1, "cluster.replace_after"),
    ("cluster.stop_after", 1, "cluster.rename_after"),
    ("cluster.replace_after", 1, "cluster.block_limit"),
)
"""Times of which the last must be longer than so many times the first."""

SEGMENTS: Final = tuple(
    f"caching.memory.segments.{name}" for name in ("responses", "metadata", "routing")
)
"""Shares that make up one whole."""


def disagreements(settings: Mapping[str, Setting]) -> list[str]:
    """One sentence for each rule that is broken, with the values and where they come from."""
    problems = []
    for names in ASCENDING:
        for low, high in pairwise(names):
            if settings[low].value > settings[high].value:  # type: ignore[operator]
                problems.append(
                    f"{low} = {_said(settings[low])} is above {high} = {_said(settings[high])}"
                )
    for low, factor, high in LEASE:
        if settings[low].value * factor >= settings[high].value:  # type: ignore[operator]
            least = "twice " * (factor == 2) + f"{low} = {_said(settings[low])}"
            problems.append(f"{high} = {_said(settings[high])} must be above {least}")
    shares = [settings[name].value for name in SEGMENTS]
    total = sum(share for share in shares if isinstance(share, float))
    if abs(total - 1.0) > 1e-9:
        parts = " + ".join(settings[name].text for name in SEGMENTS)
        problems.append(f"caching.memory.segments make {total:.4g} of the cache, not 1 ({parts})")
    return problems


def _said(setting: Setting) -> str:
    return f"{setting.text} ({setting.origin})"
