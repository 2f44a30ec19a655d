"""Restart intensity and back-off against an oracle that keeps every restart there ever was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from denoagents.actor.supervision import RestartWindow, Supervision

rules = st.builds(
    Supervision,
    intensity=st.integers(0, 6),
    within_s=st.sampled_from([0.001, 0.3, 1.0, 5.0]),
    backoff_first_s=st.sampled_from([0.0, 0.1, 1.0]),
    backoff_longest_s=st.sampled_from([0.2, 5.0]),
)
STEPS = (0, 1, 1_000_000, 299_999_999, 300_000_000, 10**9, 5 * 10**9 - 1, 5 * 10**9)


@given(rules, st.lists(st.sampled_from(STEPS), max_size=60))
def test_at_every_instant_the_window_allows_exactly_intensity_restarts(rules, steps):
    window, done, now_ns = RestartWindow(rules), [], 17
    within_ns = round(rules.within_s * 1e9)
    for step_ns in steps:
        now_ns += step_ns
        recent = [at_ns for at_ns in done if at_ns > now_ns - within_ns]
        assert window.count(now_ns) == len(recent)
        wait_s = window.restart(now_ns)
        if len(recent) >= rules.intensity:
            assert wait_s is None
            continue
        done.append(now_ns)
        doubled_s = 0.0 if not recent else rules.backoff_first_s * 2 ** (len(recent) - 1)
        assert wait_s == min(doubled_s, rules.backoff_longest_s)


def test_a_thousand_restarts_in_one_window_wait_the_longest_wait():
    window = RestartWindow(Supervision(intensity=5000, within_s=1e6))
    assert [window.restart(n) for n in range(2000)][-1] == 5.0
