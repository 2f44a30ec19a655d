"""The wheel of deadlines against an oracle: a plain dict that is searched from end to end."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from denoagents._native.deadlines import TICK_S, Deadlines
from denoagents._native.envelope import ReplyTo

TICK_NS = round(TICK_S * 1e9)


class DeadlinesModel(RuleBasedStateMachine):
    """Time passes by little, by ticks, by turns of the wheel; nothing is early, late or lost."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel, self.now_ns = Deadlines(), 10**12
        self.watched: set[ReplyTo] = set()
        self.former: list[ReplyTo] = []
        self.wheel.due(self.now_ns)

    def _reply(self, deadline_ns: int) -> ReplyTo:
        reply = ReplyTo()
        reply.deadline_ns = deadline_ns
        return reply

    @rule(
        after_ns=st.one_of(
            st.integers(1, 3 * TICK_NS),
            st.integers(1, 2000 * TICK_NS),
            st.integers(-600 * TICK_NS, 0),
            st.just(10**18),
        ),
        count=st.integers(1, 5),
    )
    def add(self, after_ns: int, count: int) -> None:
        for n in range(count):
            reply = self._reply(max(1, self.now_ns + after_ns + n))
            assert self.wheel.add(reply)
            assert not self.wheel.add(reply)
            self.watched.add(reply)

    @precondition(lambda self: self.watched)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        order = sorted(self.watched, key=lambda reply: (reply.deadline_ns, id(reply)))
        reply = order[data.draw(st.integers(0, len(order) - 1))]
        assert self.wheel.discard(reply)
        assert not self.wheel.discard(reply)
        self.watched.discard(reply)
        self.former.append(reply)

    @precondition(lambda self: self.former)
    @rule(data=st.data())
    def discard_again(self, data: st.DataObject) -> None:
        reply = self.former[data.draw(st.integers(0, len(self.former) - 1))]
        assert not self.wheel.discard(reply)

    @rule(
        step_ns=st.one_of(
            st.integers(0, TICK_NS), st.integers(0, 20 * TICK_NS), st.integers(0, 1500 * TICK_NS)
        )
    )
    def let_time_pass(self, step_ns: int) -> None:
        self.now_ns += step_ns
        due = self.wheel.due(self.now_ns)
        expected = {reply for reply in self.watched if reply.deadline_ns <= self.now_ns}
        assert len(due) == len(set(due))
        assert set(due) == expected
        self.watched -= expected
        self.former += due

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.wheel.count == len(self.wheel) == len(self.watched)


TestDeadlines = DeadlinesModel.TestCase
