"""The client node behind a command: joins, does one thing, leaves.

Rules: a broker that cannot be reached is an error within a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from denoagents.address import Address
from denoagents.cli.event_loop import run
from denoagents.cli.invocation import Invocation
from denoagents.cli.log_output import configure
from denoagents.config.plan import to_node_settings
from denoagents.errors import (
    UnknownActorTypeError,
    UnknownMethodError,
    UnreachableError,
    UsageError,
    nearest,
)
from denoagents.node.node import Node

CONNECT_S: Final = 2.0
"""A host that does not accept a connection within this is not there."""

ANSWER_S: Final = 4.0
"""A broker that does not admit a client within this does not answer."""

OPERATOR: Final = "operator-"
"""How the names of these short-lived clients begin."""

T = TypeVar("T")


def with_node(invocation: Invocation, work: Callable[[Node], Awaitable[T]]) -> T:
    """Join the fleet as a client, do `work`, leave."""
    configure(level="error", form=str(invocation.config["logs.form"]))

    async def joined() -> T:
        async with operator_node(invocation) as node:
            return await work(node)

    return run(joined(), "asyncio")


async def signature_of(node: Node, address: str, method: str) -> dict[str, Any]:
    """What the fleet says of a method; raises when there is no such type or method."""
    type_name = Address.parse(address).type
    types = (await node.control("types"))["types"]
    if type_name not in types:
        hosted = (
            f" Hosted are: {', '.join(sorted(types)[:20])}" if types else " No worker is there."
        )
        raise UnknownActorTypeError(
            f"no worker hosts actors of type {type_name!r}.{nearest(type_name, types)}{hosted}"
        )
    methods: dict[str, dict[str, Any]] = types[type_name]["signature"]["methods"]
    if method not in methods:
        raise UnknownMethodError(
            f"{type_name} has no method {method!r}.{nearest(method, methods)} "
            f"Its methods: {', '.join(methods)}"
        )
    return methods[method]


@contextlib.asynccontextmanager
async def operator_node(invocation: Invocation) -> AsyncIterator[Node]:
    """A client node of the invocation's fleet; raises `UnreachableError` within a few seconds."""
    address = invocation.broker
    await _check_listens(address)
    settings = to_node_settings(invocation.config)
    security = replace(settings.security, roles=("operator", "client"))
    settings = replace(settings, security=security)
    node = Node(broker=address, name=f"{OPERATOR}{os.getpid()}", settings=settings)
    try:
        async with asyncio.timeout(ANSWER_S):
            await node.start()
    except TimeoutError:
        await node.close(drain=False)
        raise UnreachableError(
            f"{address} takes connections but does not answer (waited {ANSWER_S:g} s): "
            "the broker there is frozen, or it is no denoagents broker, "
            "or it wants keys (name their folder with --keys); name another with --broker"
        ) from None
    try:
        yield node
    finally:
        await node.close(drain=True)  # what was told is accepted, or a second has passed


async def _check_listens(address: str) -> None:
    """Raise unless somebody takes TCP connections at `address`; ZeroMQ itself would try forever."""
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        if "://" in address:
            return
        raise UsageError(f"{address!r} is no address; write for example tcp://127.0.0.1:7400")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"{address!r} has no host or port; write tcp://127.0.0.1:7400")
    remedy = "start one with `denoagents up APP`, or name another with --broker"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise UnreachableError(
            f"no answer from {address} within {CONNECT_S:g} s: host or network is down; {remedy}"
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnreachableError(f"no broker at {address} ({reason}); {remedy}") from None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
