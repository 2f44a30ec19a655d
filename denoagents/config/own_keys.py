"""Keys of our own: the fleet's name and times, links, actors, nodes, the broker."""

from __future__ import annotations

from typing import Final

from denoagents.config.key import ON, Key

# fmt: off - a table is read by columns

CLUSTER: Final = (
    Key(
        "cluster.name",
        "text",
        "denoagents",
        "",
        "nodes of another cluster are refused at the handshake",
        ON,
    ),
    Key("cluster.beat", "duration", "200ms", "2.8", "between two heartbeats", ON, least=1),
    Key(
        "cluster.stop_after",
        "duration",
        "1600ms",
        "2.8",
        "without an answered beat for this long, a node starts no turn",
        ON,
        least=1,
    ),
    Key(
        "cluster.replace_after",
        "duration",
        "2400ms",
        "2.8",
        "without a beat for this long, a node is replaced",
        ON,
        least=1,
    ),
    Key(
        "cluster.block_limit",
        "duration",
        "10s",
        "2.8",
        "a worker whose loop is held for longer ends itself",
        ON,
        least=1,
    ),
    Key(
        "cluster.blocked_after",
        "duration",
        "500ms",
        "2.8",
        "a loop that is held for longer is called blocked",
        ON,
        least=1,
    ),
    Key(
        "cluster.starved_after",
        "duration",
        "100ms",
        "2.8",
        "a loop whose ticks come this late is called starved",
        ON,
        least=1,
    ),
    Key(
        "cluster.rename_after",
        "duration",
        "1s",
        "",
        "a new process takes the name of one on its host that is silent for this long",
        ON,
    ),
    Key(
        "cluster.max_members", "count", "4096", "6.1", "joins beyond this are refused", ON, least=1
    ),
)

LINK: Final = (
    Key(
        "link.window",
        "bytes",
        "8MiB",
        "1.8",
        "bytes sent and not yet accepted at which a link's senders wait",
        ON,
        least=1024,
    ),
    Key(
        "link.max_payload",
        "bytes",
        "16MiB",
        "",
        "a larger message is refused at its sender",
        ON,
        least=1024,
    ),
    Key(
        "link.handshake_timeout",
        "duration",
        "5s",
        "",
        "a connection without an answer to its hello is given up",
        ON,
        least=1,
    ),
    Key(
        "link.backoff.first",
        "duration",
        "50ms",
        "",
        "wait before the second attempt to connect; doubles each time",
        ON,
        least=1,
    ),
    Key("link.backoff.longest", "duration", "5s", "", "the longest such wait", ON, least=1),
    Key(
        "link.session_expiry",
        "duration",
        "5m",
        "",
        "a session whose dialler does not come back is over after this",
        ON,
        least=1,
    ),
    Key("link.max_sessions", "count", "16384", "6.1", "sessions accepted by one node", ON, least=1),
)

BROKER: Final = (
    Key(
        "broker.address",
        "text",
        "tcp://127.0.0.1:7400",
        "",
        "where the broker listens, and where everybody else looks for it",
        ON,
    ),
    Key(
        "broker.store",
        "text",
        "",
        "",
        "file that keeps the broker's records over a restart; empty: none",
        ON,
    ),
)

KEYS: Final = (*CLUSTER, *LINK, *BROKER)
