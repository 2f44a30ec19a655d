"""Requests that the broker answers when their work is done; bounded in number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from denoagents.cluster.messages import Answer, Message
from denoagents.errors import DenoagentsError, Overloaded, to_wire

MAX_UNDER_WAY: Final = 256
"""Requests under way; more are refused."""

log = structlog.get_logger("denoagents.broker")


class Answering:
    """Runs the work that a member asked for, and sends what came of it."""

    def __init__(self, send: Callable[[int, Message], None]) -> None:
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, sender: int, number: int, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Answer request `number` of `sender` with what `work` returns, or its error."""
        if len(self._tasks) >= MAX_UNDER_WAY:
            work.close()
            error = Overloaded(f"{MAX_UNDER_WAY} requests are under way", 1.0)
            self._send(sender, Answer(re=number, error=to_wire(error)))
            return
        task = asyncio.get_running_loop().create_task(self._answer(sender, number, work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(
        self, sender: int, number: int, work: Coroutine[Any, Any, dict[str, Any]]
    ) -> None:
        try:
            answer = Answer(re=number, body=await work)
        except DenoagentsError as error:
            answer = Answer(re=number, error=to_wire(error))
        except Exception as error:
            log.exception("broker.request_failed", work=repr(work))
            answer = Answer(re=number, error=to_wire(error))
        self._send(sender, answer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("broker.task_failed", error=repr(error))
