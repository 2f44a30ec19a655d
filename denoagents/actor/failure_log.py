"""What the log hears of failures: of each kind the first, with its traceback, then each doubling.

Rules: an asker gets the error, so the log need not have it; what nobody waits for is logged here. A
failure that comes ten thousand times a second must not stop the loop by being written down.
"""

from __future__ import annotations

from typing import Any

import structlog

from denoagents.actor.failure import text_of

log = structlog.get_logger("denoagents.actor")

MAX_KINDS = 1000


class FailureLog:
    """Counts failures by event, actor type, method and error."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str, str], int] = {}

    def note(self, event: str, actor: str, method: str, error: BaseException, **words: Any) -> None:
        """Count one, and log it if it is the first of its kind, or their number has doubled."""
        kind = (event, actor.partition("/")[0], method, type(error).__name__)
        if len(self.counts) >= MAX_KINDS:
            self.counts.clear()
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count.bit_count() == 1:
            log.warning(
                event,
                actor=actor,
                method=method,
                error=text_of(error),
                **words,
                **({"exc_info": error} if count == 1 else {"so_far": count}),
            )
