"""How an actor's exception reaches its asker, and what is kept of messages that nobody took."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from typing import Any

from denoagents.errors import DenoagentsError, OutcomeUnknownError, RemoteError, to_wire

MAX_TRACEBACK = 16_000
"""Characters of a traceback that travel; the middle of a longer one is cut out."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A one-way message that nobody took."""

    address: str
    method: str
    reason: str
    at_ns: int


def traceback_text(error: BaseException) -> str:
    """The traceback as text, the runtime's own frames left out."""
    text = "".join(traceback.format_exception(error))
    if len(text) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        text = f"{text[:half]}\n… {len(text) - MAX_TRACEBACK} characters left out …\n{text[-half:]}"
    return text


def as_local_error(error: BaseException) -> DenoagentsError:
    """The typed error for an exception raised in this process; the exception is its cause."""
    if isinstance(error, DenoagentsError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return OutcomeUnknownError("the turn was cancelled at its owner")
    typed = RemoteError(str(error) or type(error).__name__, type(error).__name__, traceback_text(error))
    typed.__cause__ = error
    return typed


def as_wire_error(error: BaseException) -> dict[str, Any]:
    """The same, as plain values for a message."""
    if isinstance(error, DenoagentsError | asyncio.CancelledError):
        return to_wire(as_local_error(error))
    return to_wire(error, traceback_text(error))
