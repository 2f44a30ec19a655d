"""The mailbox against an oracle: three lists served 8:4:1, from which cancelled messages vanish."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from denoagents._native.envelope import Envelope
from denoagents._native.mailbox import Mailbox

WEIGHTS = (8, 4, 1)
SLACK = 32


class Oracle:
    """What a mailbox promises, said in the plainest way."""

    def __init__(self) -> None:
        self.queues: tuple[list[Any], ...] = ([], [], [])
        self.left = list(WEIGHTS)

    def take(self) -> Any:
        if not any(self.queues):
            return None
        for _ in range(2):
            for priority in range(3):
                if self.queues[priority] and self.left[priority]:
                    self.left[priority] -= 1
                    return self.queues[priority].pop(0)
            self.left = list(WEIGHTS)
        raise AssertionError("a full round of turns was left")

    @property
    def inside(self) -> list[Any]:
        return [message for queue in self.queues for message in queue]


class MailboxModel(RuleBasedStateMachine):
    """Random use; after each step both have the same inside."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox, self.oracle = Mailbox(), Oracle()
        self.number = 0

    @rule(priority=st.integers(0, 2), count=st.integers(1, 40))
    def put(self, priority: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            envelope = Envelope(None, (self.number,), None, 0, priority)
            self.mailbox.put(envelope)
            self.oracle.queues[priority].append(envelope)

    @rule(count=st.integers(1, 30))
    def take(self, count: int) -> None:
        for _ in range(count):
            assert self.mailbox.take() is self.oracle.take()

    @precondition(lambda self: self.oracle.inside)
    @rule(data=st.data(), count=st.integers(1, 30))
    def cancel(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            inside = self.oracle.inside
            if inside:
                chosen = inside[data.draw(st.integers(0, len(inside) - 1))]
                self.mailbox.cancel(chosen)
                for queue in self.oracle.queues:
                    if chosen in queue:
                        queue.remove(chosen)

    @rule()
    def drain(self) -> None:
        assert self.mailbox.drain() == self.oracle.inside
        for queue in self.oracle.queues:
            queue.clear()

    @invariant()
    def counts_are_exact_and_memory_is_bounded(self) -> None:
        assert self.mailbox.waiting == len(self.mailbox) == len(self.oracle.inside)
        assert self.mailbox.waiting <= self.mailbox.held <= 2 * self.mailbox.waiting + SLACK


TestMailbox = MailboxModel.TestCase


def test_nobody_starves() -> None:
    """In any 13 turns with everyone waiting each priority gets its share."""
    mailbox = Mailbox()
    for priority in range(3):
        for _ in range(200):
            mailbox.put(Envelope(None, (), None, 0, priority))
    taken = [message.priority for message in iter(mailbox.take, None)]
    for start in range(0, 13 * 15, 13):
        part = taken[start : start + 13]
        assert [part.count(priority) for priority in range(3)] == [8, 4, 1]
