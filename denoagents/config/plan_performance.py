"""Keys of the plan's sections 3 to 5: caching, execution, measuring, criteria, optimisation."""

from __future__ import annotations

from typing import Final

from denoagents.config.key import ON, Key

# A table is read by columns:
# fmt: off

CACHING: Final = (
    Key("caching.memory.size", "bytes", "1GB", "3.1", "bytes of all segments"),
    Key("caching.memory.algorithm", "choice", "LRU", "3.1",
        "what is dropped first", choices=("LRU",)),
    Key("caching.memory.ttl", "duration", "5m", "3.1", "how long an entry is valid"),
    Key("caching.memory.segments.responses", "percent", "60%", "3.1", "share of completions"),
    Key("caching.memory.segments.metadata", "percent", "30%", "3.1",
        "share of token counts, model limits and summaries"),
    Key("caching.memory.segments.routing", "percent", "10%", "3.1", "share of resolved owners"),
    Key("caching.persistent.type", "choice", "disk-backed", "3.2",
        "where the second layer is", choices=("disk-backed", "off")),
    Key("caching.persistent.size", "bytes", "10GB", "3.2", "bytes on disk, never passed"),
    Key("caching.persistent.cleanup", "choice", "periodic", "3.2",
        "when old entries go", choices=("periodic", "off")),
    Key("caching.persistent.compression", "switch", "on", "3.2", "compress what is written"),
    Key("caching.invalidation.strategy", "choice", "time-based", "3.3",
        "what makes an entry invalid", choices=("time-based", "version-based")),
    Key("caching.invalidation.cascade", "switch", "on", "3.3", "dependents follow"),
    Key("caching.invalidation.async", "switch", "on", "3.3",
        "return at once; off: after every live node confirmed"),
    Key("caching.preload.criteria", "choice", "access-pattern", "3.4",
        "what is fetched ahead of need", choices=("access-pattern", "off")),
    Key("caching.preload.threshold", "percent", "80%", "3.4",
        "hit rate under which entries are refreshed ahead"),
    Key("caching.preload.schedule", "choice", "off-peak", "3.4",
        "when", choices=("off-peak", "always")),
)

EXECUTION: Final = (
    Key("execution.pooling.workers.min", "count", "4", "3.5", "pool threads kept", least=1),
    Key("execution.pooling.workers.max", "count", "16", "3.5", "pool threads at most", least=1),
    Key("execution.pooling.workers.scaling", "choice", "dynamic", "3.5",
        "follow demand", choices=("dynamic", "fixed")),
    Key("execution.pooling.tasks.queue", "choice", "priority-based", "3.5",
        "who goes first", choices=("priority-based", "fifo")),
    Key("execution.pooling.tasks.batch.size", "count", "100", "3.5",
        "tasks taken at once", least=1),
    Key("execution.pooling.tasks.batch.timeout", "duration", "1s", "3.5",
        "longest wait for a full batch"),
    Key("execution.concurrency.limits.global", "count", "1000", "3.6",
        "calls in flight in all", least=1),
    Key("execution.concurrency.limits.per_agent", "count", "50", "3.6", "of one agent", least=1),
    Key("execution.concurrency.limits.per_host", "count", "20", "3.6", "to one host", least=1),
    Key("execution.concurrency.control.semaphore", "choice", "counting", "3.6",
        "how calls are held", choices=("counting",)),
    Key("execution.concurrency.control.timeout", "duration", "30s", "3.6",
        "longest wait for a permit"),
    Key("execution.concurrency.control.fairness", "switch", "on", "3.6",
        "first come, first served"),
)

OPTIMIZATION: Final = (
    Key("optimization.batching.enabled", "switch", "on", "3.7",
        "fill batches while a link is busy"),
    Key("optimization.batching.max_size", "count", "100", "3.7",
        "most messages in one batch; the smaller of this and message_router's holds",
        least=1),
    Key("optimization.batching.max_delay", "duration", "50ms", "3.7",
        "the longest a message may wait for its batch; an idle link sends at once"),
    Key("optimization.streaming.chunks", "count", "1", "3.8",
        "items of a stream carried by one message", least=1),
    Key("optimization.streaming.buffer", "choice", "adaptive", "3.8",
        "how many unread items a writer may be ahead", choices=("adaptive", "fixed")),
    Key("optimization.streaming.backpressure", "choice", "on", "3.8",
        "a slow reader slows the writer", ON,
        choices=("on",)),
    Key("optimization.memory.gc.strategy", "choice", "generational", "5.1",
        "how the collector runs", choices=("generational", "off")),
    Key("optimization.memory.gc.threshold", "percent", "75%", "5.1",
        "share of the memory allowance at which it runs"),
    Key("optimization.memory.gc.aggressive", "percent", "85%", "5.1",
        "share at which it runs in full"),
    Key("optimization.memory.pooling.buffers", "switch", "on", "5.2", "use buffers again"),
    Key("optimization.memory.pooling.connections", "switch", "on", "5.2",
        "use connections again"),
    Key("optimization.memory.pooling.objects", "switch", "on", "5.2",
        "use hot objects again"),
    Key("optimization.network.multiplexing", "choice", "on", "5.3",
        "one connection per direction and pair of nodes carries all actors", ON,
        choices=("on",)),
    Key("optimization.network.compression.threshold", "bytes", "1KB", "5.4",
        "smaller batches are not compressed", ON),
    Key("optimization.network.compression.algorithm", "choice", "lz4", "5.4",
        "what this node proposes to its peers", ON, choices=("lz4", "gzip", "none")),
    Key("optimization.network.keep_alive.enabled", "switch", "on", "5.5",
        "ask a silent link whether it lives", ON),
    Key("optimization.network.keep_alive.timeout", "duration", "60s", "5.5",
        "a dead idle link is found within this", ON, least=1),
)

COLLECTION: Final = (
    Key("collection.system.metrics", "list", "cpu_usage, memory_usage, network_io, disk_io",
        "4.1", "what is read", choices=("cpu_usage", "memory_usage", "network_io", "disk_io")),
    Key("collection.system.interval", "duration", "10s", "4.1", "between two readings"),
    Key("collection.system.aggregation", "duration", "1m", "4.1", "over which they are merged"),
    Key("collection.application.metrics", "list",
        "request_latency, queue_length, error_rate, throughput", "4.2",
        "what is counted",
        choices=("request_latency", "queue_length", "error_rate", "throughput")),
    Key("collection.application.tags", "list", "component, operation, status", "4.2",
        "by what", choices=("component", "operation", "status")),
    Key("collection.business.metrics", "list",
        "message_count, agent_activity, completion_rate, token_usage", "4.3",
        "what is kept",
        choices=("message_count", "agent_activity", "completion_rate", "token_usage")),
    Key("collection.business.interval", "duration", "1m", "4.3", "one record for each"),
    Key("collection.business.retention", "duration", "30d", "4.3", "how long it is kept"),
    Key("collection.exposition.address", "text", "127.0.0.1:9464", "4.9",
        "where Prometheus may scrape"),
    Key("collection.exposition.tracing", "switch", "off", "4.9", "OpenTelemetry traces"),
)

CRITERIA: Final = (
    Key("criteria.latency.p95", "duration", "200ms", "4.4", "verdict of a load test"),
    Key("criteria.latency.p99", "duration", "500ms", "4.4", "verdict of a load test"),
    Key("criteria.latency.max", "duration", "1s", "4.4", "verdict of a load test"),
    Key("criteria.throughput.messages", "rate", "1000/s", "4.5", "load of the default test"),
    Key("criteria.throughput.concurrent_agents", "count", "100", "4.5", "agents of that load"),
    Key("criteria.throughput.concurrent_chats", "count", "50", "4.5", "chats of that load"),
    Key("criteria.reliability.uptime", "percent", "99.9%", "4.6",
        "share of seconds with every probe answered"),
    Key("criteria.reliability.error_rate", "percent", "<0.1%", "4.6", "share of requests"),
    Key("criteria.reliability.recovery_time", "duration", "<30s", "4.6", "after a lost process"),
)

VALIDATION: Final = (
    Key("validation.load_test.duration", "duration", "1h", "4.7", "of the whole run"),
    Key("validation.load_test.ramp_up", "duration", "5m", "4.7", "until the full rate"),
    Key("validation.load_test.scenarios", "list", "normal_load, peak_load, stress_test", "4.7",
        "what is run", choices=("normal_load", "peak_load", "stress_test")),
    Key("validation.soak_test.duration", "duration", "24h", "4.8", "of the whole run"),
    Key("validation.soak_test.steady_load", "percent", "70%", "4.8", "share of the target rate"),
    Key("validation.soak_test.monitoring", "choice", "continuous", "4.8",
        "when drift is looked at", choices=("continuous", "end")),
    Key("validation.schedule", "text", "", "6.5",
        "when the load test runs by itself (cron form)"),
)

MONITORING: Final = (
    Key("monitoring.thresholds.warning", "percent", "80%", "5.6", "first level of each resource"),
    Key("monitoring.thresholds.critical", "percent", "90%", "5.6", "second level"),
    Key("monitoring.thresholds.action", "percent", "95%", "5.6", "the level that acts"),
    Key("monitoring.alerts.channels", "list", "log, metric, notification", "5.7",
        "where alerts go", choices=("log", "metric", "notification")),
    Key("monitoring.alerts.frequency", "choice", "real-time", "5.7",
        "how soon", choices=("real-time", "hourly")),
    Key("monitoring.trends.enabled", "switch", "on", "6.2",
        "forecast when a resource meets its thresholds"),
    Key("monitoring.trends.window", "duration", "24h", "6.2", "readings a forecast looks at"),
)

PLANNING: Final = (
    Key("planning.headroom", "percent", "30%", "6.3", "kept free by a capacity plan"),
)

KEYS: Final = (
    *CACHING,
    *EXECUTION,
    *OPTIMIZATION,
    *COLLECTION,
    *CRITERIA,
    *VALIDATION,
    *MONITORING,
    *PLANNING,
)
