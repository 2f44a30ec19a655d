"""Puts the parts together that every node has, with or without a fleet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from denoagents._native.clock import Clock
from denoagents._native.pulse import Watch
from denoagents._native.router import Router
from denoagents._native.runtime import Runtime
from denoagents.actor.guardian import Guardian, Surroundings
from denoagents.actor.reference import Refs
from denoagents.node.directory import Directory, make_router
from denoagents.node.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """What hosts and reaches actors in one process."""

    guardian: Guardian
    runtime: Runtime
    directory: Directory
    router: Router
    refs: Refs


def assemble(
    surroundings: Surroundings,
    settings: NodeSettings,
    loop: asyncio.AbstractEventLoop,
    clock: Clock,
    watch: Watch,
    incarnation: int,
) -> Parts:
    """The parts of a node, wired to one another."""
    guardian = Guardian(settings.actor, surroundings)
    runtime = Runtime(loop, clock, watch, incarnation, guardian)
    directory = Directory(guardian)
    router = make_router(runtime, directory, settings)
    refs = Refs(router)
    guardian.attach(runtime, router, refs)
    return Parts(guardian, runtime, directory, router, refs)
