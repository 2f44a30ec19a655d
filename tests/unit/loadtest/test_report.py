import msgspec
import pytest

from denoagents.loadtest.accounting import add_up
from denoagents.loadtest.overload import OverloadReport, judge_overload
from denoagents.loadtest.report import Report, judge

LATENCY = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "p999": 4.0, "max": 5.0}


def statistics(**terms: int) -> dict:
    sender = {"sent": 10, "acknowledged": 7, "retained": 2, "unknown": 1}
    receiver = {"accepted": 10, "handled": 8, "failed": 1, "running": 1}
    return {"accounting": {"sender": {**sender, **terms}, "receiver": receiver}}


@pytest.fixture
def report() -> Report:
    return Report(
        agents=100, chats=50, clients=4, workers=2, seconds=20.0, target_per_s=1000.0,
        offered_per_s=1000.0, lookups_per_s=1000.0, requests_per_s=1300.0, messages_per_s=2000.0,
        latency_ms=LATENCY, latency_kill_window_ms=LATENCY, latency_by_priority_ms={},
        generator_late_p99_ms=0.1, chat_answers=10, chat_first_word_ms=LATENCY,
        chat_answer_ms=LATENCY, chat_asked_again=0, answers_checked=20000, answers_wrong=0,
        requests=20000, errors=0, errors_by_code={}, cpu_share=0.5, cpu_share_by_process={},
        cores=2, rss_mb={}, recovery_s=2.5, lost_agents=50, index_s=3.0, definitions=1, modules=1,
        accounting=add_up({"a": statistics()}),
    )  # fmt: skip


def test_a_good_run_passes(report):
    assert judge(report) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"answers_wrong": 1}, "1 of 20000 answers were wrong"),
        ({"answers_checked": 0}, "no answer was checked"),
        ({"accounting": {"off": 1}}, "the accounting is off by 1"),
        ({"errors": 20}, "0.100% of all requests failed"),
        ({"latency_ms": {**LATENCY, "p999": 50.0}}, "p99.9 was 50.0 ms"),
        ({"recovery_s": 5.0}, "recovery took 5.0 s"),
        ({"offered_per_s": 999.0}, "999 look-ups/s were offered"),
        ({"lookups_per_s": 998.0}, "998.0 look-ups/s were answered"),
        ({"requests_per_s": 999.9}, "1000 requests/s were answered"),
    ],
)
def test_each_missed_limit_fails_the_verdict(report, change, sentence):
    failed = judge(msgspec.structs.replace(report, **change))
    assert len(failed) == 1
    assert failed[0].startswith(sentence)


def test_a_run_without_a_kill_has_no_recovery_to_judge(report):
    assert judge(msgspec.structs.replace(report, recovery_s=None)) == []


def test_accounting_is_summed_over_processes_and_sides():
    summed = add_up({"a": statistics(), "b": statistics()})
    assert summed["sender"]["sent"] == 20
    assert summed["receiver"]["handled"] == 16
    assert summed["off"] == 0
    assert set(summed["processes"]) == {"a", "b"}


def test_what_is_off_in_one_process_is_not_hidden_by_another():
    summed = add_up({"a": statistics(sent=11), "b": statistics(sent=9)})
    assert summed["sender"]["off"] == 2
    assert summed["off"] == 2


def test_the_tables_can_be_drawn(report):
    from io import StringIO

    from rich.console import Console

    from denoagents.loadtest.chats import Exchange
    from denoagents.loadtest.display import show_report

    report.verdict = ["p99.9 was [50] ms"]
    report.rss_mb = report.cpu_share_by_process = {"broker": 0.25}
    console = Console(file=StringIO(), width=100)
    show_report(console, report, [Exchange("who?", "\n".join("abcdefgh"), 3)])
    text = console.file.getvalue()
    for shown in ("look-ups", "kill window", "2.50 s", "off by 0", "who?", "2 more lines", "[50]"):
        assert shown in text


def test_an_overloaded_client_passes_only_with_the_bucket_rate_and_exact_sums():
    good = OverloadReport(
        seconds=10, offered=20000, offered_per_s=2000, granted=10100, granted_per_s=1004.0,
        answered=10100, wrong=0, errors={"expired": 9900}, by_priority={}, sum_off=0,
    )  # fmt: skip
    assert judge_overload(good) == []
    for change in (
        {"granted_per_s": 1011.0},
        {"sum_off": 1},
        {"wrong": 1},
        {"errors": {"expired": 9899, "remote": 1}},
        {"errors": {}},
    ):
        assert len(judge_overload(msgspec.structs.replace(good, **change))) == 1
