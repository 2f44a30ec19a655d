"""Admission against a model of lists and fractions: who goes when, and every request counted."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from denoagents.errors import Overloaded
from denoagents.limits.admission import Admission
from denoagents.limits.settings import AdmissionSettings
from denoagents.units import Rate

MS = 10**6
SECOND = 10**9
priorities = st.integers(0, 2)


class AdmissionMachine(RuleBasedStateMachine):
    """The model keeps one list of waiting requests, and tokens as a fraction."""

    @initialize(rate=st.integers(1, 2000), burst=st.integers(1, 20), room=st.integers(0, 30))
    def begin(self, rate, burst, room):
        self.now_ns = 10**15
        settings = AdmissionSettings(rate=Rate(rate), burst=burst, max_waiting=room)
        self.admission = Admission(settings, self.now_ns)
        self.rate, self.burst, self.room = Fraction(rate, SECOND), burst, room
        self.tokens, self.filled_ns = Fraction(burst), self.now_ns
        self.waiting, self.turns = [], [8, 4, 1]
        self.counts = {
            name: [0, 0, 0]
            for name in ("requested", "granted", "queued", "expired", "cancelled", "refused")
        }

    def count(self, name, priority):
        self.counts[name][priority] += 1

    def take(self):
        self.tokens += (self.now_ns - self.filled_ns) * self.rate
        self.tokens, self.filled_ns = min(self.tokens, Fraction(self.burst)), self.now_ns
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def first(self):
        while True:
            for priority in range(3):
                of_it = [ticket for ticket in self.waiting if ticket.priority == priority]
                if of_it and self.turns[priority]:
                    self.turns[priority] -= 1
                    return of_it[0]
            self.turns = [8, 4, 1]

    @rule(ns=st.one_of(st.integers(0, 10 * MS), st.integers(0, SECOND)))
    def time_passes(self, ns):
        self.now_ns += ns

    @rule(priority=priorities, left_ns=st.integers(-MS, SECOND))
    def a_request_comes(self, priority, left_ns):
        deadline_ns = self.now_ns + left_ns
        self.count("requested", priority)
        if left_ns > 0 and not self.waiting and self.take():
            expected = "granted"
        elif left_ns > 0 and len(self.waiting) >= self.room:
            self.count("refused", priority)
            with pytest.raises(Overloaded) as caught:
                self.admission.request(self.now_ns, priority, deadline_ns)
            assert caught.value.retry_after_s >= 0
            return
        else:
            expected = "waiting" if left_ns > 0 else "expired"
        ticket = self.admission.request(self.now_ns, priority, deadline_ns, item=object())
        assert ticket.state == expected
        self.count("queued" if expected == "waiting" else expected, priority)
        if expected == "waiting":
            self.waiting.append(ticket)

    @precondition(lambda self: getattr(self, "waiting", None))
    @rule(data=st.data())
    def one_gives_up(self, data):
        ticket = data.draw(st.sampled_from(self.waiting))
        assert self.admission.cancel(ticket)
        assert not self.admission.cancel(ticket)
        self.waiting.remove(ticket)
        self.count("cancelled", ticket.priority)

    @rule()
    def advance(self):
        late = [ticket for ticket in self.waiting if ticket.deadline_ns <= self.now_ns]
        self.waiting = [ticket for ticket in self.waiting if ticket not in late]
        granted = []
        while self.waiting and self.take():
            granted.append(self.first())
            self.waiting.remove(granted[-1])
        got = self.admission.advance(self.now_ns)
        assert got.granted == granted
        assert sorted(map(id, got.expired)) == sorted(map(id, late))
        assert [ticket.deadline_ns for ticket in got.expired] == sorted(
            ticket.deadline_ns for ticket in late
        )
        for ticket in granted:
            self.count("granted", ticket.priority)
        for ticket in late:
            self.count("expired", ticket.priority)

    @precondition(lambda self: getattr(self, "waiting", None))
    @rule()
    def sleep_until_the_next_wake(self):
        self.now_ns = max(self.now_ns, self.admission.next_wake_ns)
        waiting = len(self.admission)
        self.advance()
        assert len(self.admission) < waiting

    @invariant()
    def counts_are_exact(self):
        if not hasattr(self, "admission"):
            return
        told = self.admission.statistics()
        for name, counts in self.counts.items():
            assert getattr(told, name) == tuple(counts)
        waiting = [sum(ticket.priority == p for ticket in self.waiting) for p in range(3)]
        assert told.waiting == tuple(waiting)
        assert len(self.admission) == len(self.waiting)
        assert (self.admission.next_wake_ns is None) == (not self.waiting)
        for p in range(3):
            ends = told.granted[p] + told.expired[p] + told.cancelled[p] + told.refused[p]
            assert told.requested[p] == ends + told.waiting[p]


TestAdmission = AdmissionMachine.TestCase


def run(admission, arrivals, until_ns):
    """Feed (at_ns, priority, timeout_ns), wake when asked; the tickets, and when each went."""
    granted_ns, tickets, now_ns = {}, [], 0

    def advance(now_ns):
        for ticket in admission.advance(now_ns).granted:
            granted_ns[ticket.number] = now_ns

    for at_ns, priority, timeout_ns in [*arrivals, (until_ns, None, 0)]:
        while (wake_ns := admission.next_wake_ns) is not None and wake_ns <= at_ns:
            now_ns = max(now_ns, wake_ns)
            advance(now_ns)
        if priority is not None:
            ticket = admission.request(at_ns, priority, at_ns + timeout_ns)
            tickets.append(ticket)
            if ticket.state == "granted":
                granted_ns[ticket.number] = at_ns
    return tickets, granted_ns


TIMEOUT_NS = (10 * SECOND, 30 * SECOND, 60 * SECOND)


def test_2000_a_second_offered_admits_1000_and_expires_the_rest_by_priority():
    admission = Admission(AdmissionSettings(), 0)
    arrivals = [(n * SECOND // 2000, n % 3, TIMEOUT_NS[n % 3]) for n in range(2000 * 80)]
    tickets, granted_ns = run(admission, arrivals, 80 * SECOND)
    told = admission.statistics()
    assert sum(told.granted) == pytest.approx(80_000, rel=0.01)
    for second in range(5, 80, 5):
        in_it = sum(second <= at / SECOND < second + 1 for at in granted_ns.values())
        assert in_it == pytest.approx(1000, rel=0.01)
    assert sum(told.requested) == len(tickets) == 160_000
    assert told.granted[0] > 1.8 * told.granted[1] > 3 * told.granted[2] > 0
    assert sum(told.expired) > 10_000
    for ticket in tickets:
        if ticket.number in granted_ns:
            assert granted_ns[ticket.number] < ticket.deadline_ns


@given(st.lists(priorities, min_size=1, max_size=60))
def test_within_a_priority_nobody_overtakes(kinds):
    admission = Admission(AdmissionSettings(rate=Rate(100), burst=1), 0)
    arrivals = [(0, kind, 10 * SECOND) for kind in kinds]
    tickets, granted_ns = run(admission, arrivals, 10 * SECOND - 1)
    for priority in range(3):
        order = [granted_ns[t.number] for t in tickets if t.priority == priority]
        assert order == sorted(order)
    assert len(granted_ns) == len(kinds)


@given(st.lists(priorities, max_size=40), priorities)
def test_whoever_is_first_of_its_priority_waits_for_24_others_at_most(before, priority):
    admission = Admission(AdmissionSettings(rate=Rate(1000), burst=1), 0)
    for kind in before:
        admission.request(0, kind, SECOND * 100)
    now_ns = 0
    while admission.statistics().waiting[priority]:
        now_ns += MS
        admission.advance(now_ns)
    ticket = admission.request(now_ns, priority, SECOND * 100)
    others = 0
    while ticket.state == "waiting":
        for kind in range(3):
            if kind != priority:
                admission.request(now_ns, kind, SECOND * 100)
        now_ns += MS
        others += sum(got is not ticket for got in admission.advance(now_ns).granted)
    assert others <= 24


def test_with_all_three_waiting_the_shares_are_8_to_4_to_1():
    admission = Admission(AdmissionSettings(rate=Rate(1000), burst=1), 0)
    for _ in range(1000):
        for priority in range(3):
            admission.request(0, priority, SECOND * 100)
    for now_ms in range(1, 131):
        admission.advance(now_ms * MS)
    told = admission.statistics()
    assert tuple(b - a for a, b in zip((1, 0, 0), told.granted, strict=True)) == (80, 40, 10)


def test_an_open_edge_grants_everything_at_once():
    admission = Admission(AdmissionSettings(rate=None), 0)
    assert all(admission.request(0, 2, 1).state == "granted" for _ in range(10_000))
    assert admission.request(1, 2, 1).state == "expired"
    assert admission.next_wake_ns is None


def test_waiting_requests_that_give_up_leave_no_memory_behind():
    admission = Admission(AdmissionSettings(rate=Rate(1), burst=1), 0)
    admission.request(0, 0, SECOND * 100)
    for _ in range(10_000):
        admission.cancel(admission.request(0, 1, SECOND * 100))
    assert len(admission._deadlines) < 200
    assert len(admission) == 0
