"""Questions that the broker asks its members, and their answers; bounded in time and number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from denoagents.cluster.messages import Answer, Message

MAX_OPEN: Final = 65536
"""Open questions; each ends with its answer or its time."""


class Requests:
    """Numbers questions and matches answers, by (member, number)."""

    def __init__(self, send: Callable[[int, Message], None]) -> None:
        self._send = send
        self._open: dict[tuple[int, int], asyncio.Future[dict[str, Any]]] = {}
        self._number = 0

    def next_number(self) -> int:
        """A number for a question whose answer comes to `answered` alone."""
        self._number += 1
        return self._number

    async def ask_all(
        self, members: Iterable[int], make: Callable[[int], Message], timeout_s: float
    ) -> dict[int, dict[str, Any]]:
        """The answers of those who answer in time."""
        waiting: dict[asyncio.Future[dict[str, Any]], tuple[int, int]] = {}
        for incarnation in members:
            if len(self._open) >= MAX_OPEN:
                break
            key = (incarnation, self.next_number())
            future = asyncio.get_running_loop().create_future()
            waiting[future] = key
            self._open[key] = future
            self._send(incarnation, make(key[1]))
        try:
            if waiting:
                await asyncio.wait(waiting, timeout=timeout_s)
        finally:
            for key in waiting.values():
                self._open.pop(key, None)
        return {
            key[0]: future.result()
            for future, key in waiting.items()
            if future.done() and not future.cancelled()
        }

    def answered(self, incarnation: int, answer: Answer) -> None:
        """A member answered."""
        future = self._open.get((incarnation, answer.re))
        if future is not None and not future.done():
            future.set_result(answer.body)

    def close(self) -> None:
        """Nobody waits any more."""
        for future in self._open.values():
            future.cancel()
        self._open.clear()
