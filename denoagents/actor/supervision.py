"""What happens to an actor whose method raised: directives, restart intensity and back-off.

Rules:
    The asker always gets the error; supervision decides what becomes of the actor. A typed error
    (`DenoagentsError`) that leaves a method is an answer, and no failure of the actor.
    `resume` keeps the state, `restart` makes a new instance, `stop` ends the actor. The mailbox
    outlives a restart.
    More than `intensity` restarts within `within_s` seconds stop the actor.
    Source of intensity and period: Erlang/OTP's supervisor; of the back-off: doubling, bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Directive = Literal["resume", "restart", "stop"]


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a parent looks after each of its children (one_for_one)."""

    directive: Directive | Callable[[BaseException], Directive] = "restart"
    """What to do about an error, or a function that says so for each."""
    intensity: int = 3
    """Restarts allowed within `within_s`."""
    within_s: float = 5.0
    backoff_first_s: float = 0.1
    """The wait before the second restart within the window; the first one is at once."""
    backoff_longest_s: float = 5.0

    def decide(self, error: BaseException) -> Directive:
        """The directive for `error`; a decider that raises means restart."""
        if not callable(self.directive):
            return self.directive
        return self.directive(error)


ROOT_SUPERVISION = Supervision(directive="resume")
"""Actors without a parent: the error goes to the asker, the state stays."""


class RestartWindow:
    """The restarts of one actor within the sliding window."""

    __slots__ = ("_restarts_ns", "_supervision")

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._restarts_ns: deque[int] = deque()

    def restart(self, now_ns: int) -> float | None:
        """Seconds to wait before this restart; None when it would be one too many."""
        rules = self._supervision
        while self._restarts_ns and now_ns - self._restarts_ns[0] >= rules.within_s * 1e9:
            self._restarts_ns.popleft()
        if len(self._restarts_ns) >= rules.intensity:
            return None
        self._restarts_ns.append(now_ns)
        earlier = len(self._restarts_ns) - 1
        if not earlier:
            return 0.0
        doubled_s: float = rules.backoff_first_s * 2 ** (earlier - 1)
        return min(doubled_s, rules.backoff_longest_s)

    def __len__(self) -> int:
        return len(self._restarts_ns)
