"""Maps the configuration to every room's settings: one table a room, field to key.

Rules: a field's suffix names its unit (`_s` seconds, `_bytes` bytes); rooms know nothing of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from denoagents.actor.settings import ActorSettings
from denoagents.cluster.settings import ClusterSettings
from denoagents.config.load import Config
from denoagents.errors import ConfigurationError
from denoagents.limits.settings import AdmissionSettings
from denoagents.link.settings import LinkSettings
from denoagents.node.settings import NodeSettings
from denoagents.security.settings import SecuritySettings
from denoagents.store.settings import SpillSettings, StoreSettings
from denoagents.units import Bytes, Duration, Rate

T = TypeVar("T")

LINK: Final = {
    "window_bytes": "link.window",
    "max_payload_bytes": "link.max_payload",
    "compression": "optimization.network.compression.algorithm",
    "compression_threshold_bytes": "optimization.network.compression.threshold",
    "connect_timeout_s": "agent.connections.timeout",
    "handshake_timeout_s": "link.handshake_timeout",
    "backoff_first_s": "link.backoff.first",
    "backoff_longest_s": "link.backoff.longest",
    "keep_alive_s": "optimization.network.keep_alive.timeout",
    "idle_close_s": "agent.connections.idle_timeout",
    "session_expiry_s": "link.session_expiry",
    "max_sessions": "link.max_sessions",
}

ACTOR: Final = {
    "passivate_after_s": "actor.passivate_after",
    "passivated_bytes": "actor.passivated_state",
    "mailbox_limit": "actor.mailbox_limit",
    "mailbox_reserve": "actor.mailbox_reserve",
    "park_limit": "actor.park_limit",
    "reliable_bytes": "message_router.memory.cache",
    "credit_timeout_s": "actor.stream_credit_timeout",
    "stream_items": "actor.stream_items",
    "dead_letters": "actor.dead_letters",
    "check_local_calls": "actor.check_local_calls",
    "timeout_high_s": "request_handling.queueing.timeout.high",
    "timeout_normal_s": "request_handling.queueing.timeout.normal",
    "timeout_low_s": "request_handling.queueing.timeout.low",
}

CLUSTER: Final = {
    "beat_every_s": "cluster.beat",
    "stop_after_s": "cluster.stop_after",
    "replace_after_s": "cluster.replace_after",
    "block_limit_s": "cluster.block_limit",
    "blocked_after_s": "cluster.blocked_after",
    "starved_after_s": "cluster.starved_after",
    "rename_after_s": "cluster.rename_after",
    "max_members": "cluster.max_members",
    "quarantine_messages": "broker.quarantine.messages",
    "quarantine_bytes": "broker.quarantine.payloads",
    "probe_every_s": "message_routing.health_check.interval",
    "probe_timeout_s": "message_routing.health_check.timeout",
    "probe_failures": "message_routing.health_check.unhealthy_threshold",
}

ADMISSION: Final = {
    "rate": "request_handling.backpressure.rate",
    "burst": "request_handling.backpressure.burst",
}

SPILL: Final = {
    "memory_bytes": "message_router.memory.queue",
    "disk_bytes": "spill.disk",
    "folder": "spill.folder",
}

NODE: Final = {
    "batch_messages": "message_router.throughput.batch_size",
    "cluster_name": "cluster.name",
    "advertise": "node.advertise",
    "join_timeout_s": "node.join_timeout",
    "drain_timeout_s": "node.drain_timeout",
}

STORE: Final = {
    "low_mark_bytes": "store.low_mark",
    "busy_timeout_s": "store.busy_timeout",
}

KEYS_FOLDER: Final = Path(".denoagents/keys")
"""Where keys are kept if nobody says otherwise."""
NEVER_S: Final = 10.0 * 365 * 86400
"""Stands for "never" where a room takes a time."""


def to_node_settings(config: Config, *, is_worker: bool = False) -> NodeSettings:
    """Everything about one node; a worker's process ends itself when its loop is blocked."""
    rooms = {
        "link": to_link_settings(config),
        "actor": to_actor_settings(config),
        "cluster": to_cluster_settings(config),
        "admission": to_admission_settings(config),
        "security": to_security_settings(config),
        "spill": to_spill_settings(config),
        "ends_blocked_process": is_worker,
    }
    return _compose(NodeSettings, NODE, config, rooms)


def to_security_settings(config: Config) -> SecuritySettings:
    """The security room's part; a folder that is named must be there, the usual one may."""
    folder = str(config["security.keys"])
    if not folder:
        folder = str(KEYS_FOLDER) if KEYS_FOLDER.is_dir() else ""
    return SecuritySettings("" if folder == "off" else folder, str(config["security.key"]))


def to_link_settings(config: Config) -> LinkSettings:
    """The link room's part."""
    changes: dict[str, Any] = {}
    if not config["optimization.network.keep_alive.enabled"]:
        changes["keep_alive_s"] = NEVER_S
    return _compose(LinkSettings, LINK, config, changes)


def to_actor_settings(config: Config) -> ActorSettings:
    """The actor room's part."""
    checks = {"auto": None, "on": True, "off": False}[str(config["actor.check_local_calls"])]
    return _compose(ActorSettings, ACTOR, config, {"check_local_calls": checks})


def to_cluster_settings(config: Config) -> ClusterSettings:
    """The cluster room's part; broker and members must agree on it."""
    return _compose(ClusterSettings, CLUSTER, config)


def to_admission_settings(config: Config) -> AdmissionSettings:
    """The limits room's part; `off` admits everything at once."""
    is_off = config["request_handling.backpressure.strategy"] == "off"
    return _compose(AdmissionSettings, ADMISSION, config, {"rate": None} if is_off else {})


def to_store_settings(config: Config) -> StoreSettings:
    """The store room's part."""
    return _compose(StoreSettings, STORE, config)


def to_spill_settings(config: Config) -> SpillSettings:
    """The store room's part of waiting messages."""
    is_on = config["message_router.memory.spillover"] != "off"
    return _compose(SpillSettings, SPILL, config, {"is_on": is_on})


def _compose(
    cls: type[T], table: Mapping[str, str], config: Config, changes: Mapping[str, Any] | None = None
) -> T:
    fields = {field: _plain(field, config[key]) for field, key in table.items()}
    try:
        return cls(**{**fields, **(changes or {})})
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _plain(field: str, value: Any) -> Any:
    """The number a room wants, without the type that carries its unit."""
    if isinstance(value, Duration):
        assert field.endswith("_s"), f"{field} is no time in seconds"
        return float(value)
    if isinstance(value, Bytes):
        assert field.endswith("_bytes"), f"{field} is no size in bytes"
        return int(value)
    return cast("Rate | int | bool | str", value)
