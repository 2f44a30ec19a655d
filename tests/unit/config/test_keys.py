"""The table itself: unique, documented, and with every figure of the plan."""

import re

import pytest

from denoagents.config.key import Kind
from denoagents.config.keys import KEYS
from denoagents.config.load import load

PLAN = """
agent.memory.baseline 50MB | agent.memory.peak 150MB | agent.memory.cleanup automated
agent.memory.thresholds.warning 120MB | agent.memory.thresholds.critical 140MB
agent.cpu.baseline 5% | agent.cpu.peak 25% | agent.cpu.throttling.threshold 20%
agent.cpu.throttling.action queue requests
agent.connections.pool_size 10 | agent.connections.timeout 30s | agent.connections.idle_timeout 5m
llm_provider.memory.baseline 100MB | llm_provider.memory.peak 300MB
llm_provider.memory.buffer 50MB | llm_provider.network.bandwidth 10MB/s
llm_provider.network.connections.max 50 | llm_provider.network.connections.per_host 10
llm_provider.network.timeout 60s | llm_provider.rate_limit.requests 3500/minute
llm_provider.rate_limit.tokens 90000/minute | llm_provider.rate_limit.backoff exponential
message_router.memory.queue 200MB | message_router.memory.cache 500MB
message_router.memory.spillover disk-backed | message_router.throughput.messages 1000/s
message_router.throughput.batch_size 100 | message_router.throughput.latency <50ms
agent_scaling.triggers.cpu.threshold 75% | agent_scaling.triggers.cpu.duration 5m
agent_scaling.triggers.cpu.action scale_out
agent_scaling.triggers.memory.threshold 80% | agent_scaling.triggers.memory.duration 5m
agent_scaling.triggers.memory.action scale_out
agent_scaling.triggers.queue.length 1000 | agent_scaling.triggers.queue.wait_time 30s
agent_scaling.triggers.queue.action scale_out
agent_scaling.limits.min 2 | agent_scaling.limits.max 10 | agent_scaling.limits.increment 1
agent_scaling.cooldown 10m | resource_pooling.connection.strategy adaptive
resource_pooling.connection.initial 10 | resource_pooling.connection.max 50
resource_pooling.connection.idle_timeout 5m | resource_pooling.memory.strategy elastic
resource_pooling.memory.baseline 500MB | resource_pooling.memory.max 2GB
resource_pooling.memory.shrink_delay 15m | message_routing.algorithm round_robin
message_routing.health_check.interval 30s | message_routing.health_check.timeout 5s
message_routing.health_check.unhealthy_threshold 3
message_routing.distribution.local in-memory
message_routing.distribution.remote consistent-hashing
request_handling.queueing.priority high, normal, low
request_handling.queueing.timeout.high 10s | request_handling.queueing.timeout.normal 30s
request_handling.queueing.timeout.low 60s
request_handling.backpressure.strategy token_bucket
request_handling.backpressure.rate 1000/s | request_handling.backpressure.burst 100
caching.memory.size 1GB | caching.memory.algorithm LRU | caching.memory.ttl 5m
caching.memory.segments.responses 60% | caching.memory.segments.metadata 30%
caching.memory.segments.routing 10% | caching.persistent.type disk-backed
caching.persistent.size 10GB | caching.persistent.cleanup periodic
caching.persistent.compression on | caching.invalidation.strategy time-based
caching.invalidation.cascade on | caching.invalidation.async on
caching.preload.criteria access-pattern | caching.preload.threshold 80%
caching.preload.schedule off-peak
execution.pooling.workers.min 4 | execution.pooling.workers.max 16
execution.pooling.workers.scaling dynamic | execution.pooling.tasks.queue priority-based
execution.pooling.tasks.batch.size 100 | execution.pooling.tasks.batch.timeout 1s
execution.concurrency.limits.global 1000 | execution.concurrency.limits.per_agent 50
execution.concurrency.limits.per_host 20 | execution.concurrency.control.semaphore counting
execution.concurrency.control.timeout 30s | execution.concurrency.control.fairness on
optimization.batching.enabled on | optimization.batching.max_size 100
optimization.batching.max_delay 50ms | optimization.streaming.backpressure on
optimization.streaming.buffer adaptive
collection.system.metrics cpu_usage, memory_usage, network_io, disk_io
collection.system.interval 10s | collection.system.aggregation 1m
collection.application.metrics request_latency, queue_length, error_rate, throughput
collection.application.tags component, operation, status
collection.business.metrics message_count, agent_activity, completion_rate, token_usage
collection.business.interval 1m | collection.business.retention 30d
criteria.latency.p95 200ms | criteria.latency.p99 500ms | criteria.latency.max 1s
criteria.throughput.messages 1000/s | criteria.throughput.concurrent_agents 100
criteria.throughput.concurrent_chats 50 | criteria.reliability.uptime 99.9%
criteria.reliability.error_rate <0.1% | criteria.reliability.recovery_time <30s
validation.load_test.duration 1h | validation.load_test.ramp_up 5m
validation.load_test.scenarios normal_load, peak_load, stress_test
validation.soak_test.duration 24h | validation.soak_test.steady_load 70%
validation.soak_test.monitoring continuous
optimization.memory.gc.strategy generational | optimization.memory.gc.threshold 75%
optimization.memory.gc.aggressive 85% | optimization.memory.pooling.buffers on
optimization.memory.pooling.connections on | optimization.memory.pooling.objects on
optimization.network.multiplexing on | optimization.network.compression.threshold 1KB
optimization.network.keep_alive.enabled on | optimization.network.keep_alive.timeout 60s
monitoring.thresholds.warning 80% | monitoring.thresholds.critical 90%
monitoring.thresholds.action 95% | monitoring.alerts.channels log, metric, notification
monitoring.alerts.frequency real-time
"""
FIGURES = [line.split(" ", 1) for line in re.split(r" \| |\n", PLAN.strip())]
CHOSEN = {"optimization.network.compression.algorithm": "lz4; the plan's gzip is negotiated, too"}
WITHOUT_A_FIGURE = {"6.6"}
"""A row about behaviour (the share per worker is shown) that no number sets."""


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=[name for name, _ in FIGURES])
def test_every_figure_of_the_plan_is_a_default(name, figure):
    by_name = {key.name: key for key in KEYS}
    assert by_name[name].default == figure
    assert by_name[name].row, "it names its row"


def test_every_row_of_the_plan_has_a_key():
    rows = {f"{part}.{row}" for part, last in enumerate((9, 11, 8, 9, 7, 6), 1)
            for row in range(1, last + 1)}  # fmt: skip
    assert rows - {key.row for key in KEYS} == WITHOUT_A_FIGURE


def test_names_are_unique_snake_case_and_no_name_is_a_section_too():
    names = [key.name for key in KEYS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name) for name in names)
    assert not [one for one in names for other in names if other.startswith(f"{one}.")]
    assert not [name for name in names if "__" in name], "two underscores set sections apart"


def test_environment_names_are_unique():
    assert len({key.environment_name for key in KEYS}) == len(KEYS)
    config = load(environment={"DENOAGENTS_LINK__MAX_PAYLOAD": "2MB"})
    assert config["link.max_payload"] == 2_000_000


def test_every_key_says_what_it_means():
    assert all(key.meaning and not key.meaning.endswith(".") for key in KEYS)
    assert all(key.kind in Kind.__args__ for key in KEYS)
    assert all(key.choices for key in KEYS if key.kind in {"choice", "list"})
