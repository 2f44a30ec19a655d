import pytest

from denoagents._native.histogram import Histogram
from denoagents.errors import UsageError
from denoagents.loadtest import bench
from denoagents.loadtest.sample import Sample, compared, row
from denoagents.loadtest.workloads import (
    BETWEEN_PROCESSES,
    IN_PROCESS,
    Bench,
    ask_by_hundred,
    ask_one_at_a_time,
    carry,
    open_loop_1000,
)
from denoagents.node.node import Node

COLUMNS = ["workload", "n", "rate_per_s", "p50_us", "p95_us", "p99_us", "max_us"]
SECONDS = 0.05


def sample(n: int, seconds: float, ns: int) -> Sample:
    latency = Histogram()
    latency.record(ns)
    return Sample(n, seconds, latency)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "workload",
    [*IN_PROCESS.values(), ask_one_at_a_time, ask_by_hundred, open_loop_1000, carry(1024)],
)
async def test_a_workload_counts_what_was_handled_and_times_it(workload):
    async with Node() as node:
        seen = await workload(Bench(node), SECONDS)
    assert seen.n > 0
    assert seen.seconds > 0
    assert 0 < seen.latency.count <= seen.n
    assert "not_handled" not in seen.figures


def test_every_workload_of_the_list_has_a_function_or_starts_its_own_processes():
    assert set(bench.NAMES) == {*BETWEEN_PROCESSES, *bench.DURABLE, *IN_PROCESS, *bench.ALONE}


def test_a_row_has_the_columns_that_all_rows_have_first():
    one = row("spawn", sample(100, 2.0, 1_500))
    assert list(one) == COLUMNS
    assert (one["n"], one["rate_per_s"]) == (100, 50.0)
    assert one["p50_us"] == pytest.approx(1.5, rel=0.01)


def test_stretches_of_one_workload_add_up():
    total = Sample()
    total.add(sample(100, 1.0, 1_000))
    total.add(sample(300, 1.0, 9_000))
    assert total.rate_per_s == 200
    assert total.latency.count == 2


def test_a_peer_stands_beside_our_figures_with_the_ratio_of_ours_to_theirs():
    ours, theirs = row("x", sample(800, 1.0, 1_000)), row("x", sample(100, 1.0, 4_000))
    both = compared(ours, "zmq-asyncio", theirs)
    assert both["rate_ratio"] == 8
    assert both["p50_ratio"] == pytest.approx(0.25, rel=0.02)
    assert both["peer_rate_per_s"] == 100


def test_an_unknown_workload_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean 'spawn'"):
        bench.run(bench.BenchOptions(names=["spwan"]))
