"""Gives a node's queues a disk for what its memory has no room for."""

from __future__ import annotations

from typing import Protocol

from denoagents._native.runtime import Runtime
from denoagents.store.settings import SpillSettings
from denoagents.store.spill import Spill, remove_leftovers


class Host(Protocol):
    """The node."""

    name: str
    incarnation: int
    runtime: Runtime


def attach_spill(host: Host, settings: SpillSettings, *, cleans: bool) -> Spill | None:
    """Set the bound of the queues' memory, and what happens beyond it; dead processes' files go."""
    runtime = host.runtime
    runtime.queue_limit = settings.memory_bytes
    if not settings.is_on:
        return None
    spill = Spill(settings, host.name, host.incarnation)
    if cleans:
        remove_leftovers(spill.root)
    runtime.disk = spill
    return spill
