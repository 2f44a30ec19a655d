"""The deep health probe of a worker: an actor's round trip, the loop's lag, the disk."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from denoagents._native.clock import Clock
from denoagents.actor.actor import Actor
from denoagents.errors import DenoagentsError


class HealthProbe(Actor):
    """The actor that a probe asks; one in each worker."""

    async def ping(self, token: int) -> int:
        """Returns `token`."""
        return token


async def probe(ref: HealthProbe, lag_ns: int, clock: Clock) -> dict[str, Any]:
    """`ok`, and what was found; times in milliseconds."""
    began = clock.now_ns()
    found: dict[str, Any] = {"ok": True, "lag_ms": round(lag_ns / 1e6, 3)}
    try:
        answer = await ref.ping(began)
        found["actor_ms"] = round((clock.now_ns() - began) / 1e6, 3)
        if answer != began:
            found |= {"ok": False, "reason": "the probe's actor answered something else"}
        _write_and_read()
    except (DenoagentsError, OSError) as error:
        found |= {"ok": False, "reason": f"{type(error).__name__}: {error}"}
    return found


def _write_and_read() -> None:
    data = os.urandom(512)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        if file.read() != data:
            raise OSError("what was written to disk reads differently")
