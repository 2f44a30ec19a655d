"""Runs a worker node or a broker in this process until it is told to end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

from denoagents.broker.broker import Broker
from denoagents.cli.failure import ExitCode
from denoagents.cli.parent_pipe import teller
from denoagents.cli.stop_signal import StoppedError, StopSignal
from denoagents.config.load import Config
from denoagents.config.plan import (
    to_cluster_settings,
    to_link_settings,
    to_security_settings,
)
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings
from denoagents.store.lease_store import FileLeaseStore
from denoagents.store.settings import StoreSettings
from denoagents.store.state_store import SqliteStateStore

if TYPE_CHECKING:
    from denoagents.actor.actor import Actor

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What one worker serves, and where."""

    broker: str
    types: Sequence[type[Actor]]
    name: str | None
    group: str
    bind: str
    settings: NodeSettings
    report: int | None = None
    store: Path | None = None
    """File of the durable actors; None if the app has none."""
    store_settings: StoreSettings | None = None


def raise_descriptor_limit() -> None:
    """As many descriptors as the system lets this process have: links take one or two each."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve_worker(plan: WorkerPlan) -> int | None:
    """Serve until the end; returns the exit code, or None when the node was evicted."""
    raise_descriptor_limit()
    stop = StopSignal()
    node = Node(
        broker=plan.broker,
        serve=plan.types,
        name=plan.name,
        group=plan.group,
        bind=plan.bind,
        settings=plan.settings,
        store=None if plan.store is None else SqliteStateStore(plan.store, plan.store_settings),
    )
    try:
        return await _serve(plan, node, stop)
    except StoppedError:
        log.warning("stopped without draining", node=node.name)
        return ExitCode.INTERRUPTED
    finally:
        await node.close(drain=False)


async def _serve(plan: WorkerPlan, node: Node, stop: StopSignal) -> int | None:
    teller(plan.report)("starting", name=node.name, incarnation=node.incarnation)
    await stop.or_first(node.start())
    if node.state != "running":  # a signal came before the broker's word
        raise StoppedError
    names = [one.__name__ for one in plan.types]
    teller(plan.report)("joined", name=node.name, incarnation=node.incarnation, types=names)
    kept = {} if plan.store is None else {"store": str(plan.store)}
    log.info("joined", node=node.name, group=plan.group, types=names, broker=plan.broker, **kept)
    reason = await stop.or_first(node.wait_ended())
    if reason is not None and reason.startswith("evicted"):
        log.warning("begins anew", node=node.name, reason=reason)
        return None
    log.info("draining", node=node.name, reason=reason or "asked by a signal")
    await stop.unless_insisted(node.close(drain=True))
    log.info("drained", node=node.name)
    teller(plan.report)("drained", name=node.name)
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """Where a broker listens, and what it remembers."""

    bind: str
    store: Path | None
    config: Config
    report: int | None = None


async def serve_broker(plan: BrokerPlan) -> int:
    """Serve until told to end."""
    stop = StopSignal()
    broker = Broker(
        bind=plan.bind,
        cluster=str(plan.config["cluster.name"]),
        settings=to_cluster_settings(plan.config),
        link_settings=to_link_settings(plan.config),
        store=FileLeaseStore(plan.store) if plan.store is not None else None,
        security=to_security_settings(plan.config),
    )
    try:
        await broker.start()
        teller(plan.report)(
            "listening", endpoint=broker.endpoint, incarnation=broker.incarnation, name=broker.name
        )
        await stop.first()
        await stop.unless_insisted(broker.close())
        teller(plan.report)("drained", name=broker.name)
    except StoppedError:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def replace_process() -> NoReturn:
    """Begin anew as another incarnation: same process, same words, same descriptors."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(  # noqa: S606 - our own words again
        sys.executable, [sys.executable, *sys.orig_argv[1:]]
    )
