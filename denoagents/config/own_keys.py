"""Keys of our own: the fleet's name and times, links, actors, nodes, logs, the broker."""

from __future__ import annotations

from typing import Final

from denoagents.config.key import ON, Key

# A table is read by columns:
# fmt: off

CLUSTER: Final = (
    Key("cluster.name", "text", "default", "",
        "nodes of another cluster are refused at the handshake", ON),
    Key("cluster.beat", "duration", "200ms", "2.8", "between two heartbeats", ON, least=1),
    Key("cluster.stop_after", "duration", "1600ms", "2.8",
        "without an answered beat for this long, a node starts no turn", ON, least=1),
    Key("cluster.replace_after", "duration", "2400ms", "2.8",
        "without a beat for this long, a node is replaced", ON, least=1),
    Key("cluster.block_limit", "duration", "10s", "2.8",
        "a worker whose loop is held for longer ends itself", ON, least=1),
    Key("cluster.blocked_after", "duration", "500ms", "2.8",
        "a loop that is held for longer is called blocked", ON, least=1),
    Key("cluster.starved_after", "duration", "100ms", "2.8",
        "a loop whose ticks come this late is called starved", ON, least=1),
    Key("cluster.rename_after", "duration", "1700ms", "",
        "a new process takes the name of one on its host that is silent for this long", ON),
    Key("cluster.max_members", "count", "4096", "6.1",
        "joins beyond this are refused", ON, least=1),
)

LINK: Final = (
    Key("link.window", "bytes", "8MiB", "1.8",
        "bytes sent and not yet accepted at which a link's senders wait", ON, least=1024),
    Key("link.max_payload", "bytes", "16MiB", "",
        "a larger message is refused at its sender", ON, least=1024),
    Key("link.handshake_timeout", "duration", "5s", "",
        "a connection without an answer to its hello is given up", ON, least=1),
    Key("link.backoff.first", "duration", "50ms", "",
        "wait before the second attempt to connect; doubles each time", ON, least=1),
    Key("link.backoff.longest", "duration", "5s", "", "the longest such wait", ON, least=1),
    Key("link.session_expiry", "duration", "5m", "",
        "a session whose dialler does not come back is over after this", ON, least=1),
    Key("link.max_sessions", "count", "16384", "6.1",
        "sessions accepted by one node", ON, least=1),
)

ACTOR: Final = (
    Key("actor.passivate_after", "duration", "15m", "1.2",
        "an actor without a turn for this long gives up its instance; its state is kept", ON,
        least=1_000_000),
    Key("actor.passivated_state", "bytes", "256MiB", "6.1",
        "state of passivated actors kept in memory", ON),
    Key("actor.mailbox_limit", "count", "8192", "6.1",
        "waiting messages at which an actor's senders pause", ON, least=1),
    Key("actor.mailbox_reserve", "count", "262144", "6.1",
        "waiting messages at which one more is refused", ON, least=1),
    Key("actor.park_limit", "count", "100000", "6.1",
        "messages that may wait for a destination in one node", ON, least=1),
    Key("actor.stream_items", "count", "64", "3.8",
        "items by which a writer may be ahead of its reader", ON, least=1),
    Key("actor.stream_credit_timeout", "duration", "30s", "3.8",
        "a writer whose reader takes nothing for this long is cancelled", ON, least=1),
    Key("actor.dead_letters", "count", "200", "6.1", "last undeliverable messages kept", ON),
    Key("actor.check_local_calls", "choice", "auto", "",
        "calls inside a process pass the codec too; auto: under pytest; `up --reload` sets it", ON,
        choices=("auto", "on", "off")),
)

NODE: Final = (
    Key("node.join_timeout", "duration", "10s", "",
        "a node that the broker has not admitted by then gives up", ON, least=1_000_000),
    Key("node.advertise", "text", "", "",
        "where others find a worker that listens behind 0.0.0.0 or a NAT", ON),
    Key("node.drain_timeout", "duration", "30s", "6.4",
        "a worker that ends waits this long for its turns and its hand-over", ON),
)

SPILL: Final = (
    Key("spill.folder", "text", "", "1.8",
        "where waiting messages go that memory has no room for; empty: /var/tmp/denoagents-UID",
        ON),
    Key("spill.disk", "bytes", "10GB", "1.8",
        "most bytes of them on the disk; beyond it, senders wait", ON, least=1 << 20),
)

LOGS: Final = (
    Key("logs.level", "choice", "info", "",
        "the least important lines that are written", ON,
        choices=("debug", "info", "warning", "error")),
    Key("logs.form", "choice", "auto", "",
        "console on a terminal, json elsewhere, or always one", ON,
        choices=("auto", "console", "json")),
    Key("logs.payloads", "switch", "off", "",
        "log lines may show what messages carry: payloads, prompts, long quotations", ON),
)

BROKER: Final = (
    Key("broker.address", "text", "tcp://127.0.0.1:7400", "",
        "where the broker listens, and where everybody else looks for it", ON),
    Key("broker.store", "text", "", "",
        "file that keeps the broker's records over a restart; empty: none", ON),
    Key("broker.quarantine.messages", "count", "10000", "6.1",
        "given up messages that the broker keeps; the next ones stay with their senders", ON,
        least=1),
    Key("broker.quarantine.payloads", "bytes", "256MiB", "6.1",
        "bytes of their payloads; as above", ON, least=1024),
)

STORE: Final = (
    Key("store.path", "text", ".denoagents/state.db", "",
        "file that keeps the durable actors of a host, shared by its workers", ON),
    Key("store.low_mark", "bytes", "64MiB", "",
        "with less room on its disk, the store keeps nothing new", ON),
    Key("store.busy_timeout", "duration", "5s", "",
        "a write that other processes hold up for longer is refused", ON, least=1_000_000),
)

SECURITY: Final = (
    Key("security.keys", "text", "", "",
        "the keys folder; empty: ./.denoagents/keys if it is there; off: no keys", ON),
    Key("security.key", "text", "", "",
        "the key of this process; empty: by its node's name, or its role", ON),
)

KEYS: Final = (
    *STORE, *CLUSTER, *LINK, *ACTOR, *NODE, *SPILL, *LOGS, *BROKER, *SECURITY
)
