"""How an actor's exception reaches its asker."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

from denoagents.errors import DenoagentsError, OutcomeUnknownError, RemoteError, to_wire

MAX_TRACEBACK = 16_000
"""Characters of a traceback that travel; the middle of a longer one is cut out."""
MAX_TEXT = 4000
"""Characters of an exception's own words that travel."""


def text_of(error: BaseException) -> str:
    """What an exception says, in one line of log; never raises, whatever its `__str__` does."""
    said = _words_of(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _words_of(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception:
        return "(its text cannot be made)"
    return said if len(said) <= MAX_TEXT else f"{said[:MAX_TEXT]}…"


def traceback_text(error: BaseException) -> str:
    """The traceback as text; the middle of a long one is left out."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        return text_of(error)
    if len(text) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        cut = len(text) - MAX_TRACEBACK
        text = f"{text[:half]}\n… {cut} characters left out …\n{text[-half:]}"
    return text


def as_local_error(error: BaseException) -> DenoagentsError:
    """The typed error for an exception raised in this process; the exception is its cause."""
    if isinstance(error, DenoagentsError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return OutcomeUnknownError("the turn was cancelled at its owner")
    name = type(error).__name__
    typed = RemoteError(_words_of(error) or name, name, traceback_text(error))
    typed.__cause__ = error
    return typed


def as_wire_error(error: BaseException) -> dict[str, Any]:
    """The same, as plain values for a message."""
    return to_wire(as_local_error(error))
