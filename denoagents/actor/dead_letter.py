"""One-way messages that nobody took: counted, logged, and the last ones kept."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import structlog

log = structlog.get_logger("denoagents.actor")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A one-way message that nobody took."""

    address: str
    method: str
    reason: str
    at_ns: int


class DeadLetters:
    """The dead letters of one node."""

    def __init__(self, kept: int) -> None:
        self.last: deque[DeadLetter] = deque(maxlen=kept)
        self.count = 0

    def add(self, letter: DeadLetter) -> None:
        """Keep one; every doubling of their number is logged."""
        self.count += 1
        self.last.append(letter)
        if self.count.bit_count() == 1:
            log.warning(
                "dead letter",
                actor=letter.address,
                method=letter.method,
                reason=letter.reason,
                so_far=self.count,
            )
