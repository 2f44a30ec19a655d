"""Keys of the plan's sections 1 and 2: resource profiles, scaling, distribution, requests."""

from __future__ import annotations

from typing import Final

from denoagents.config.key import ON, Key

# A table is read by columns:
# fmt: off

AGENT: Final = (
    Key("agent.memory.baseline", "bytes", "50MB", "1.1", "own bytes of an idle worker"),
    Key("agent.memory.thresholds.warning", "bytes", "120MB", "1.2",
        "own bytes at which idle actors are passivated"),
    Key("agent.memory.thresholds.critical", "bytes", "140MB", "1.2",
        "own bytes at which pools shrink and nothing new is activated"),
    Key("agent.memory.peak", "bytes", "150MB", "1.2",
        "own bytes at which the worker drains and is replaced"),
    Key("agent.memory.cleanup", "choice", "automated", "1.2",
        "who frees memory at the thresholds", choices=("automated", "off")),
    Key("agent.cpu.baseline", "percent", "5%", "1.3", "share of a core that an agent expects"),
    Key("agent.cpu.throttling.threshold", "percent", "20%", "1.3",
        "share above which external requests wait"),
    Key("agent.cpu.throttling.action", "choice", "queue requests", "1.3",
        "what happens above the threshold", choices=("queue requests", "off")),
    Key("agent.cpu.peak", "percent", "25%", "1.3", "long-run share that is never passed"),
    Key("agent.cpu.of", "choice", "core", "1.3",
        "what the CPU shares are shares of", choices=("core", "machine")),
    Key("agent.connections.pool_size", "count", "10", "1.4",
        "HTTP and store connections an agent may lease"),
    Key("agent.connections.timeout", "duration", "30s", "1.4",
        "a link that is not up after this is reported, and goes on trying", ON),
    Key("agent.connections.idle_timeout", "duration", "5m", "1.4",
        "an idle link is closed after this, and dialled again when needed", ON),
)

LLM_PROVIDER: Final = (
    Key("llm_provider.memory.baseline", "bytes", "100MB", "1.5",
        "bytes in flight a provider expects"),
    Key("llm_provider.memory.peak", "bytes", "300MB", "1.5",
        "bytes in flight over which new calls wait"),
    Key("llm_provider.memory.buffer", "bytes", "50MB", "1.5",
        "bytes unread over which streams pause"),
    Key("llm_provider.network.bandwidth", "byte_rate", "10MB/s", "1.6", "bytes a second"),
    Key("llm_provider.network.connections.max", "count", "50", "1.6",
        "open connections in all", least=1),
    Key("llm_provider.network.connections.per_host", "count", "10", "1.6",
        "open connections to one host", least=1),
    Key("llm_provider.network.timeout", "duration", "60s", "1.6", "one call, from start to end"),
    Key("llm_provider.rate_limit.requests", "rate", "3500/minute", "1.7",
        "requests of the whole fleet with one API key"),
    Key("llm_provider.rate_limit.tokens", "rate", "90000/minute", "1.7",
        "tokens of the whole fleet with one API key"),
    Key("llm_provider.rate_limit.backoff", "choice", "exponential", "1.7",
        "how waits grow after a refusal", choices=("exponential", "fixed")),
)

MESSAGE_ROUTER: Final = (
    Key("message_router.memory.queue", "bytes", "200MB", "1.8",
        "waiting and parked messages kept in memory; what is over it goes to the disk", ON,
        least=1 << 20),
    Key("message_router.memory.cache", "bytes", "500MB", "1.8",
        "reliable messages kept until handled, answers kept for repeats; then senders wait",
        ON, least=65536),
    Key("message_router.memory.spillover", "choice", "disk-backed", "1.8",
        "where messages over the queue's budget go; off: senders wait", ON,
        choices=("disk-backed", "off")),
    Key("message_router.throughput.messages", "rate", "1000/s", "1.9",
        "requests a second a fleet is judged by"),
    Key("message_router.throughput.batch_size", "count", "100", "1.9",
        "most messages in one batch on a link", ON, least=1),
    Key("message_router.throughput.latency", "duration", "<50ms", "1.9",
        "p99.9 of a request the fleet is judged by"),
)

AGENT_SCALING: Final = (
    Key("agent_scaling.triggers.cpu.threshold", "percent", "75%", "2.1",
        "share of a worker's CPU allowance"),
    Key("agent_scaling.triggers.cpu.duration", "duration", "5m", "2.1", "how long it lasts"),
    Key("agent_scaling.triggers.cpu.action", "choice", "scale_out", "2.1",
        "what follows", choices=("scale_out", "off")),
    Key("agent_scaling.triggers.memory.threshold", "percent", "80%", "2.1",
        "share of a worker's memory allowance"),
    Key("agent_scaling.triggers.memory.duration", "duration", "5m", "2.1", "how long it lasts"),
    Key("agent_scaling.triggers.memory.action", "choice", "scale_out", "2.1",
        "what follows", choices=("scale_out", "off")),
    Key("agent_scaling.triggers.queue.length", "count", "1000", "2.1", "messages that wait"),
    Key("agent_scaling.triggers.queue.wait_time", "duration", "30s", "2.1", "how long they wait"),
    Key("agent_scaling.triggers.queue.action", "choice", "scale_out", "2.1",
        "what follows", choices=("scale_out", "off")),
    Key("agent_scaling.limits.min", "count", "2", "2.2", "fewest workers of a group"),
    Key("agent_scaling.limits.max", "count", "10", "2.2", "most workers of a group", least=1),
    Key("agent_scaling.limits.increment", "count", "1", "2.2",
        "workers added or removed at once", least=1),
    Key("agent_scaling.cooldown", "duration", "10m", "2.2", "between two changes of size"),
    Key("agent_scaling.events", "switch", "on", "2.3", "keep each decision with its readings"),
    Key("agent_scaling.launcher", "choice", "local", "2.4",
        "where workers come from", choices=("local", "kubernetes", "none")),
)

RESOURCE_POOLING: Final = (
    Key("resource_pooling.connection.strategy", "choice", "adaptive", "2.5",
        "how the connection pool grows", choices=("adaptive", "fixed")),
    Key("resource_pooling.connection.initial", "count", "10", "2.5", "connections at first"),
    Key("resource_pooling.connection.max", "count", "50", "2.5", "connections at most", least=1),
    Key("resource_pooling.connection.idle_timeout", "duration", "5m", "2.5",
        "an idle connection is closed after this"),
    Key("resource_pooling.memory.strategy", "choice", "elastic", "2.6",
        "how the budgeted pools grow", choices=("elastic", "fixed")),
    Key("resource_pooling.memory.baseline", "bytes", "500MB", "2.6", "their budget at first"),
    Key("resource_pooling.memory.max", "bytes", "2GB", "2.6", "their budget at most"),
    Key("resource_pooling.memory.shrink_delay", "duration", "15m", "2.6",
        "calm that lets them shrink"),
)

MESSAGE_ROUTING: Final = (
    Key("message_routing.algorithm", "choice", "round_robin", "2.7",
        "how a pool picks its member when the code names no strategy",
        choices=("round_robin", "least_connections", "weighted")),
    Key("message_routing.health_check.interval", "duration", "30s", "2.8",
        "between two deep probes of a worker", ON, least=1),
    Key("message_routing.health_check.timeout", "duration", "5s", "2.8",
        "a probe not answered by then has failed", ON, least=1),
    Key("message_routing.health_check.unhealthy_threshold", "count", "3", "2.8",
        "failed probes in a row that take a worker out of placement", ON, least=1),
    Key("message_routing.distribution.local", "choice", "in-memory", "2.9",
        "how messages reach an actor of the same process", ON, choices=("in-memory",)),
    Key("message_routing.distribution.remote", "choice", "consistent-hashing", "2.9",
        "how the owner of an actor is found", ON, choices=("consistent-hashing",)),
)

REQUEST_HANDLING: Final = (
    Key("request_handling.queueing.priority", "list", "high, normal, low", "2.10",
        "the three priorities, most urgent first", ON, choices=("high", "normal", "low")),
    Key("request_handling.queueing.timeout.high", "duration", "10s", "2.10",
        "deadline of a high request that names none", ON, least=1),
    Key("request_handling.queueing.timeout.normal", "duration", "30s", "2.10",
        "deadline of a normal request that names none", ON, least=1),
    Key("request_handling.queueing.timeout.low", "duration", "60s", "2.10",
        "deadline of a low request that names none", ON, least=1),
    Key("request_handling.backpressure.strategy", "choice", "token_bucket", "2.11",
        "how external requests are admitted at each node's edge", ON,
        choices=("token_bucket", "off")),
    Key("request_handling.backpressure.rate", "rate", "1000/s", "2.11",
        "external requests admitted a second", ON, least=1),
    Key("request_handling.backpressure.burst", "count", "100", "2.11",
        "external requests admitted at once after a rest", ON, least=1),
)

KEYS: Final = (
    *AGENT,
    *LLM_PROVIDER,
    *MESSAGE_ROUTER,
    *AGENT_SCALING,
    *RESOURCE_POOLING,
    *MESSAGE_ROUTING,
    *REQUEST_HANDLING,
)
