"""What a child process tells its parent: one JSON line for each event, through an inherited pipe.

Rules: the child never waits for its parent (the pipe is non-blocking, a line that does not fit is
lost); the parent bounds the length of a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

LONGEST_LINE: Final = 16384
"""Bytes of one line; a longer one ends the reading."""


def teller(descriptor: int | None) -> Callable[..., None]:
    """The child's side: a function that tells an event with its facts."""
    if descriptor is not None:
        os.set_blocking(descriptor, False)

    def tell(event: str, **facts: Any) -> None:
        if descriptor is not None:
            line = json.dumps({"event": event, **facts}, default=str) + "\n"
            with contextlib.suppress(OSError):
                os.write(descriptor, line.encode())

    return tell


async def read_lines(descriptor: int) -> AsyncIterator[dict[str, Any]]:
    """The parent's side: every event until the child has ended; closes the descriptor."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LONGEST_LINE)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        async for line in reader:
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if isinstance(fields, dict):
                    yield fields
    except ValueError:  # a line over the bound
        return
    finally:
        transport.close()
