"""What a demo run found: one object for machines, and the verdict on it.

Verdict: no wrong answer; accounting exact; errors under 0.1 % of all requests; p99.9 under 50 ms
outside the kill window; recovery under 5 s; the clients' look-ups offered at the full rate (their
number is drawn exactly, see `schedule.py`) and answered but for the errors allowed; all external
requests together at least that rate.
"""

from __future__ import annotations

from typing import Any

import msgspec

P999_LIMIT_MS = 50.0
"""Plan 1.9."""
RECOVERY_LIMIT_S = 5.0
"""Time within which a killed worker's actors answer again."""
ERRORS_LIMIT = 0.001
"""Plan 4.6: share of all requests."""


class Report(msgspec.Struct, kw_only=True):
    """The figures of one run; times in the unit that their name says."""

    agents: int
    chats: int
    clients: int
    workers: int
    seconds: float
    target_per_s: float
    """Look-ups that the clients are to offer, together."""
    offered_per_s: float
    lookups_per_s: float
    """Look-ups of the clients that were answered."""
    requests_per_s: float
    """All external requests that were answered: look-ups and the chats' streamed asks."""
    messages_per_s: float
    """Messages that all nodes accepted, replies not counted."""
    latency_ms: dict[str, float]
    """Of look-ups, from the scheduled time, outside the kill window."""
    latency_kill_window_ms: dict[str, float] | None
    latency_by_priority_ms: dict[str, dict[str, float]]
    generator_late_p99_ms: float
    """How late the clients themselves sent, at p99."""
    chat_answers: int
    chat_first_word_ms: dict[str, float]
    chat_answer_ms: dict[str, float]
    chat_asked_again: int
    answers_checked: int
    answers_wrong: int
    requests: int
    errors: int
    errors_by_code: dict[str, int]
    cpu_share: float
    """Of all cores of the machine, all processes of the demo together."""
    cpu_share_by_process: dict[str, float]
    """Of one core."""
    cores: int
    rss_mb: dict[str, float]
    recovery_s: float | None
    lost_agents: int
    index_s: float
    definitions: int
    modules: int
    accounting: dict[str, Any]
    verdict: list[str] = []
    """What failed; empty when all is well."""


def judge(report: Report) -> list[str]:
    """Each figure that misses its limit, in words."""
    accounted_off = report.accounting["off"]
    error_share = report.errors / max(1, report.requests)
    least_per_s = report.target_per_s * (1 - ERRORS_LIMIT)
    p999_ms, recovery_s = report.latency_ms["p999"], report.recovery_s
    checks = {
        f"{report.answers_wrong} of {report.answers_checked} answers were wrong": (
            report.answers_wrong > 0
        ),
        "no answer was checked": report.answers_checked == 0,
        f"the accounting is off by {accounted_off}": accounted_off != 0,
        f"{error_share:.3%} of all requests failed, the limit is {ERRORS_LIMIT:.1%}": (
            error_share >= ERRORS_LIMIT
        ),
        f"p99.9 was {p999_ms:.1f} ms outside the kill window, the limit is {P999_LIMIT_MS} ms": (
            p999_ms >= P999_LIMIT_MS
        ),
        f"recovery took {recovery_s} s, the limit is {RECOVERY_LIMIT_S} s": (
            recovery_s is not None and recovery_s >= RECOVERY_LIMIT_S
        ),
        f"{report.offered_per_s:.0f} look-ups/s were offered, not {report.target_per_s:.0f}": (
            report.offered_per_s < report.target_per_s
        ),
        f"{report.lookups_per_s:.1f} look-ups/s were answered, not {least_per_s:.1f}": (
            report.lookups_per_s < least_per_s
        ),
        f"{report.requests_per_s:.0f} requests/s were answered, not {report.target_per_s:.0f}": (
            report.requests_per_s < report.target_per_s
        ),
    }
    return [sentence for sentence, failed in checks.items() if failed]
