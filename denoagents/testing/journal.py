"""What was sent, what ran where, and how it ended: written by the simulated application itself.

Rules: every message has a number; numbers rise in the order of sending. A rule that can be judged
when a turn starts is judged then; what needs the end of the story is in `rules.py`. All that
happens goes into the trace, whose hash is the same for the same seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from denoagents.testing.scheduler import Scheduler
from denoagents.testing.world import SimulatedNode

Outcome = Literal["", "value", "raised", "rejected", "unknown"]
FACTOR = 1_000_003
SIZE = 2**61 - 1


@dataclass(slots=True, eq=False)
class Turn:
    """One time that a message was handled."""

    message: Message
    node: SimulatedNode
    began_ns: int
    is_running: bool = True
    is_done: bool = False
    """It ended well: its change of the state counts."""
    is_cut: bool = False
    """Its process ended, or it was cancelled, in the middle."""

    @property
    def has_failed(self) -> bool:
        """It raised."""
        return not self.is_running and not self.is_done and not self.is_cut

    @property
    def died(self) -> bool:
        """Its process is over: whether the turn ended well, nobody may know."""
        return self.node.end not in {"", "left"}


@dataclass(slots=True, eq=False)
class Message:
    """One tell or ask."""

    number: int
    sender: SimulatedNode
    voice: str
    """Messages of one voice of one sender are ordered; "" for none."""
    target: str
    method: str
    priority: str
    is_ask: bool
    timeout_s: float
    sent_ns: int
    turns: list[Turn] = field(default_factory=list)
    outcome: Outcome = ""
    error: str = ""
    ended_ns: int = 0
    is_void: bool = False
    """Its sender was over already, and may not have known: nobody must take it."""
    is_reliable: bool = False
    is_durable: bool = False
    """Its target keeps what it did: how often it was tried does not matter."""
    value: Any = None

    @property
    def is_handled(self) -> bool:
        """A turn ended well, or, of an ask, with an error that is its answer."""
        return any(turn.is_done or (self.is_ask and turn.has_failed) for turn in self.turns)

    def __repr__(self) -> str:
        kind = "ask" if self.is_ask else "tell"
        return f"{kind} {self.number} {self.sender} -> {self.target}.{self.method}"


class Journal:
    """All messages of one simulation, and what broke a rule."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.messages: list[Message] = []
        self.violations: list[str] = []
        self.listen: Callable[[str], None] | None = None
        """Called with each line of the trace."""
        self.over_since: Callable[[SimulatedNode], str] = lambda _: ""
        """Why a node must not start a turn any more, or ""."""
        self.counts: Callable[[SimulatedNode], bool] = lambda _: True
        """Whether a node's turns still mean something to the fleet."""
        self.turns: dict[str, list[Turn]] = {}
        """By actor, in the order in which they began."""
        self.repeats = 0
        """Reliable messages that were handled again because of a death."""
        self.given_up: set[tuple[str, str]] = set()
        """(actor, method) of messages that went into quarantine."""
        self.refused: set[tuple[str, str]] = set()
        """Those of them that a full disk refused."""
        self._last: dict[tuple[str, str, str, str], int] = {}
        self._sent: dict[tuple[str, str, str, str], list[Message]] = {}
        self._at: dict[tuple[str, str, str, str], int] = {}
        self._hash = hashlib.blake2b(digest_size=16)

    # --- the trace ------------------------------------------------------------------------------

    def trace(self, what: str) -> None:
        """Something happened now."""
        line = f"{self._scheduler.now_ns - self._scheduler.start_ns} {what}\n"
        self._hash.update(line.encode())
        if self.listen is not None:
            self.listen(what)

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()

    def violated(self, rule: str) -> None:
        """A rule of the semantics is broken."""
        self.violations.append(f"at {self._scheduler.elapsed_s:.6f} s: {rule}")
        self.trace(f"VIOLATED {rule}")

    # --- what the application writes ----------------------------------------------------------

    def send(  # noqa: PLR0913 - what a message has
        self,
        sender: SimulatedNode,
        voice: str,
        target: str,
        method: str,
        priority: str,
        timeout_s: float = 0.0,
        *,
        is_ask: bool,
        is_reliable: bool = False,
        is_durable: bool = False,
    ) -> Message:
        """A message is about to be sent."""
        message = Message(
            len(self.messages),
            sender,
            voice,
            target,
            method,
            priority,
            is_ask,
            timeout_s,
            self._scheduler.now_ns,
        )
        self.messages.append(message)
        message.is_void = bool(self.over_since(sender))
        message.is_reliable, message.is_durable = is_reliable, is_durable
        if is_reliable and voice:
            self._sent.setdefault(_stream(message), []).append(message)
        self.trace(f"{message!r} {priority}")
        return message

    def end(self, message: Message, outcome: Outcome, error: BaseException | None = None) -> None:
        """An ask has its outcome; or a tell was refused."""
        self.trace(f"{message!r}: {outcome} {type(error).__name__ if error else ''}")
        if message.outcome:
            self.violated(f"{message!r} had the outcome {message.outcome} and now {outcome}")
        message.outcome, message.ended_ns = outcome, self._scheduler.now_ns
        message.error = f"{type(error).__name__}: {error}" if error is not None else ""
        if outcome == "rejected" and message.turns:
            self.violated(f"{message!r} ran, and was then rejected: {message.error}")
        elif outcome in {"value", "raised"} and not message.turns:
            self.violated(f"{message!r} never ran, and was answered: {outcome} {message.error}")

    def begin(self, number: int, actor: str, node: SimulatedNode) -> Turn:
        """A turn starts."""
        message = self.messages[number]
        turn = Turn(message, node, self._scheduler.now_ns)
        self.trace(f"{node} begins {actor} {message!r}")
        self._judge_node(message, actor, node)
        self._judge_message(message, actor, node)
        message.turns.append(turn)
        self.turns.setdefault(actor, []).append(turn)
        return turn

    def finish(self, turn: Turn, *, is_done: bool) -> None:
        """A turn is over."""
        turn.is_running, turn.is_done = False, is_done
        self.trace(f"{turn.node} ends {turn.message!r} {is_done}")

    # --- rules ------------------------------------------------------------------------------------

    def _judge_node(self, message: Message, actor: str, node: SimulatedNode) -> None:
        reason = self.over_since(node)
        if reason:
            self.violated(f"{node} starts {message!r}, but {reason}")
        if node.is_worker and node.process.clock.now_ns() > node.pulse.lease_until_ns:
            self.violated(f"{node} starts {message!r} without a lease")
        for other in self.turns.get(actor, ())[-20:]:
            if other.is_running and other.node.process.is_alive and self.counts(other.node):
                where = "the same" if other.node is node else "another"
                self.violated(
                    f"{node} starts {message!r} while {other.node} ({where} node) runs "
                    f"{other.message!r}"
                )

    def _judge_message(self, message: Message, actor: str, node: SimulatedNode) -> None:
        if actor != message.target:
            self.violated(f"{message!r} is handled by {actor}")
        if message.is_durable:
            self.repeats += bool(message.turns)
        elif message.is_reliable:
            self._judge_repeat(message)
        elif len(message.turns) >= (2 if message.method == "look" else 1):
            where = ", ".join(repr(turn.node) for turn in message.turns)
            self.violated(f"{message!r} is handled again; before on {where}")
        if message.is_void:
            self.violated(f"{message!r} is handled, but its sender was over when it sent it")
        if message.outcome == "rejected":
            self.violated(f"{message!r} runs after it was rejected: {message.error}")
        if message.voice and message.method != "look" and not message.is_durable:
            if message.is_reliable:
                self._judge_reliable_order(message, node)
            else:
                self._judge_order(message)

    def _judge_repeat(self, message: Message) -> None:
        """Handled again only because somebody died who handled it, or because it failed."""
        for turn in message.turns:
            if not turn.died and (turn.is_done or turn.is_running):
                self.violated(f"{message!r} is handled again; before on {turn.node}, which lives")
        self.repeats += any(turn.died for turn in message.turns)

    def _judge_reliable_order(self, message: Message, node: SimulatedNode) -> None:
        """Each owner sees them rising; a new one starts when all before it were handled."""
        stream = _stream(message)
        seen = (*stream[:3], f"{message.priority} {node}")
        last = self._last.get(seen, -1)
        if message.number < last:
            self.violated(f"{message!r} starts on {node} after {self.messages[last]!r}")
        self._last[seen] = max(last, message.number)
        sent, at = self._sent[stream], self._at.get(stream, 0)
        while at < len(sent) and sent[at].number < message.number and self._is_through(sent[at]):
            at += 1
        self._at[stream] = at
        if at < len(sent) and sent[at].number < message.number:
            self.violated(f"{message!r} starts, but {sent[at]!r} before it was not handled")

    def _is_through(self, message: Message) -> bool:
        return message.is_handled or bool(message.outcome) or self.was_given_up(message)

    def was_given_up(self, message: Message) -> bool:
        """Such a message was quarantined: by a full disk, or after three ends of a turn."""
        if (message.target, message.method) in self.refused:
            return True
        ends = sum(turn.died or turn.has_failed or turn.is_cut for turn in message.turns)
        return ends >= 3 and (message.target, message.method) in self.given_up

    def _judge_order(self, message: Message) -> None:
        key = (repr(message.sender), message.voice, message.target, message.priority)
        last = self._last.get(key, -1)
        if message.number < last:
            self.violated(f"{message!r} starts after {self.messages[last]!r} of the same sender")
        self._last[key] = max(last, message.number)

    def fold(self, actor: str) -> tuple[int, int]:
        """The state that an actor must have: total and mark, from the turns that ended well."""
        total = mark = 0
        for turn in sorted(
            (
                one
                for one in self.turns.get(actor, ())
                if one.is_done and one.message.method != "look"
            ),
            key=lambda one: one.began_ns,
        ):
            total += 1
            mark = folded(mark, turn.message.number)
        return total, mark


def _stream(message: Message) -> tuple[str, str, str, str]:
    return repr(message.sender), message.voice, message.target, message.priority


def folded(mark: int, number: int) -> int:
    """A mark that tells which messages were handled, and in which order."""
    return (mark * FACTOR + number + 1) % SIZE
