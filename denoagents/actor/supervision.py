"""What happens to an actor whose method raised: directives, strategies, intensity and back-off.

Rules:
    The asker always gets the error; supervision decides what becomes of the actor. A typed error
    (`DenoagentsError`) that leaves a method is an answer, and no failure of the actor.
    `resume` keeps the state, `restart` makes a new instance, `stop` ends the actor, `escalate`
    lets its parent fail with the same error. The mailbox outlives a restart.
    At most `intensity` restarts in any `within_s` seconds (a restart exactly `within_s` ago is
    out); one more is what `beyond` says.
    Source of strategies, intensity and period: Erlang/OTP's supervisor; of the back-off: doubling,
    bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Directive = Literal["resume", "restart", "stop", "escalate"]
RestartStrategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

DIRECTIVES = ("resume", "restart", "stop", "escalate")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a parent looks after its children."""

    directive: Directive | Callable[[BaseException], Directive] = "restart"
    """What to do about an error, or a function that says so for each."""
    intensity: int = 3
    """Restarts allowed within `within_s`: of one child (one_for_one), of all together (others)."""
    within_s: float = 5.0
    backoff_first_s: float = 0.1
    """The wait before the second restart within the window; the first one is at once."""
    backoff_longest_s: float = 5.0
    strategy: RestartStrategy = "one_for_one"
    """Who is restarted: the child that failed; all children; that child and those made after it."""
    beyond: Literal["escalate", "stop"] = "escalate"
    """After one restart too many: the parent fails with the error, or the child is stopped."""

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {STRATEGIES}, got {self.strategy!r}")
        if not callable(self.directive) and self.directive not in DIRECTIVES:
            raise ValueError(f"directive must be one of {DIRECTIVES}, got {self.directive!r}")
        if self.beyond not in {"escalate", "stop"}:
            raise ValueError(f"beyond must be escalate or stop, got {self.beyond!r}")
        if self.intensity < 0 or self.within_s <= 0 or self.backoff_first_s < 0:
            raise ValueError("intensity and waits must not be below 0, within_s must be above")

    def decide(self, error: BaseException) -> Directive:
        """The directive for `error`; a decider that raises means restart."""
        if not callable(self.directive):
            return self.directive
        return self.directive(error)


ROOT_SUPERVISION = Supervision(directive="resume", beyond="stop")
"""Actors without a parent: the error goes to the asker, the state stays."""


class RestartWindow:
    """The restarts of one actor within the sliding window."""

    __slots__ = ("_restarts_ns", "_supervision", "_within_ns")

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._within_ns = round(supervision.within_s * 1e9)
        self._restarts_ns: deque[int] = deque()

    def restart(self, now_ns: int) -> float | None:
        """Seconds to wait before this restart; None when it would be one too many."""
        rules = self._supervision
        if self.count(now_ns) >= rules.intensity:
            return None
        self._restarts_ns.append(now_ns)
        earlier = len(self._restarts_ns) - 1
        if not earlier:
            return 0.0
        doubled_s: float = rules.backoff_first_s * 2.0 ** min(earlier - 1, 60)
        return min(doubled_s, rules.backoff_longest_s)

    def count(self, now_ns: int) -> int:
        """Restarts within the window that ends now."""
        while self._restarts_ns and now_ns - self._restarts_ns[0] >= self._within_ns:
            self._restarts_ns.popleft()
        return len(self._restarts_ns)
