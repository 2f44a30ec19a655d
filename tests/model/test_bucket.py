"""The token bucket against exact fractions: never a token too many, never one too late."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from denoagents._native.bucket import TokenBucket

SECOND = 10**9


class Oracle:
    """Tokens as a fraction; time goes on from its newest value, or from a jump of over a second."""

    def __init__(self, rate, burst, now_ns, per_s):
        self.rate, self.burst = Fraction(rate, per_s * SECOND), burst
        self.tokens, self.last_ns = Fraction(burst), now_ns

    def refill(self, now_ns):
        if now_ns >= self.last_ns:
            gained = (now_ns - self.last_ns) * self.rate
            self.tokens = min(Fraction(self.burst), self.tokens + gained)
            self.last_ns = now_ns
        elif now_ns < self.last_ns - SECOND:
            self.last_ns = now_ns

    def take(self, now_ns, n):
        self.refill(now_ns)
        if self.tokens >= n:
            self.tokens -= n
            return 0
        missing = (n - self.tokens) / self.rate
        return -(-missing.numerator // missing.denominator) + self.last_ns - now_ns


class BucketMachine(RuleBasedStateMachine):
    @initialize(
        rate=st.integers(1, 10**6),
        burst=st.integers(1, 10**4),
        per_s=st.sampled_from([1, 60, 3600]),
        now_ns=st.integers(0, 2**61),
    )
    def begin(self, rate, burst, per_s, now_ns):
        self.now_ns, self.per_s, self.burst = now_ns, per_s, burst
        self.bucket = TokenBucket(rate, burst, now_ns, per_s=per_s)
        self.oracle = Oracle(rate, burst, now_ns, per_s)

    @rule(ns=st.one_of(st.integers(0, 1000), st.integers(0, 10 * SECOND), st.integers(0, 2**60)))
    def time_passes(self, ns):
        self.now_ns = min(self.now_ns + ns, 2**62)

    @rule(ns=st.one_of(st.integers(0, SECOND), st.integers(0, 2**61)))
    def clock_jumps_back(self, ns):
        self.now_ns = max(self.now_ns - ns, 0)

    @rule(data=st.data())
    def take(self, data):
        n = data.draw(st.integers(1, self.burst))
        assert self.bucket.take(self.now_ns, n) == self.oracle.take(self.now_ns, n)

    @rule(rate=st.integers(1, 10**6), burst=st.integers(1, 10**4))
    def limits_change(self, rate, burst):
        self.bucket.change(self.now_ns, rate, burst)
        self.oracle.refill(self.now_ns)
        self.oracle.rate, self.oracle.burst = Fraction(rate, self.per_s * SECOND), burst
        self.oracle.tokens = min(self.oracle.tokens, Fraction(burst))
        self.burst = burst

    @invariant()
    def holds_the_same(self):
        if hasattr(self, "bucket"):
            held = self.bucket.available(self.now_ns)
            self.oracle.refill(self.now_ns)
            assert held == self.oracle.tokens.numerator // self.oracle.tokens.denominator


TestBucket = BucketMachine.TestCase


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(1, 100), st.integers(0, 10**12))
def test_the_wait_it_names_is_exact(rate, burst, n, now_ns):
    n = min(n, burst)
    bucket = TokenBucket(rate, burst, now_ns)
    while not (wait_ns := bucket.take(now_ns, n)):
        pass
    assert bucket.take(now_ns + wait_ns - 1, n) == 1
    assert bucket.take(now_ns + wait_ns, n) == 0


@pytest.mark.parametrize(("rate", "per_s"), [(1000, 1), (3500, 60), (7, 1), (90_000, 60)])
def test_an_hour_of_odd_steps_drifts_by_nothing(rate, per_s):
    bucket = TokenBucket(rate, 1, 0, per_s=per_s)
    bucket.take(0)
    granted, now_ns, step, hour = 0, 0, 333_333, 3600 * SECOND
    while now_ns < hour:
        now_ns = min(now_ns + step, hour)
        step = step * 7 % 7_919_000 + 1_000_000
        wait_ns = bucket.take(now_ns)
        while wait_ns == 0:
            granted += 1
            wait_ns = bucket.take(now_ns)
        now_ns = min(now_ns + wait_ns, hour)
        granted += bucket.take(now_ns) == 0
    # A burst of one loses what comes while nobody asks, but never gains.
    assert granted <= rate * 3600 // per_s


def test_taking_at_the_named_instants_gives_exactly_the_rate():
    bucket = TokenBucket(3500, 5, 0, per_s=60)
    now_ns = granted = 0
    while True:
        wait_ns = bucket.take(now_ns)
        if now_ns + wait_ns > 600 * SECOND:
            break
        granted += wait_ns == 0
        now_ns += wait_ns
    assert granted == 5 + 35_000


def test_a_clock_that_jumps_back_neither_starves_nor_grants():
    bucket = TokenBucket(1000, 10, 10**18)
    for _ in range(10):
        assert bucket.take(10**18) == 0
    assert bucket.take(5) == 1_000_000
    assert bucket.take(5 + 1_000_000) == 0


def test_callers_out_of_order_gain_nothing():
    bucket = TokenBucket(1000, 1, 0)
    granted = sum(bucket.take(now_ns) == 0 for now_ns in [0, 10**6, 0, 10**6, 0, 10**6, 500, 10**6])
    assert granted == 2


@pytest.mark.parametrize(
    ("rate", "burst", "per_s"),
    [(0, 1, 1), (1, 0, 1), (-1, 1, 1), (1, 10**10, 1), (1, 1, 0), (1, 1, 86401)],
)
def test_limits_that_cannot_work_are_refused(rate, burst, per_s):
    with pytest.raises(ValueError, match="must be"):
        TokenBucket(rate, burst, 0, per_s=per_s)


@pytest.mark.parametrize("n", [0, -1, 11])
def test_more_than_the_burst_can_never_be_taken(n):
    with pytest.raises(ValueError, match="burst of 10"):
        TokenBucket(1000, 10, 0).take(0, n)
