"""Everything that can be set about one node: the settings of its rooms, and its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from denoagents.actor.settings import ActorSettings
from denoagents.cluster.settings import ClusterSettings
from denoagents.limits.settings import AdmissionSettings
from denoagents.link.settings import LinkSettings
from denoagents.security.settings import SecuritySettings
from denoagents.store.settings import SpillSettings


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node's settings; the defaults are the plan's."""

    cluster_name: str = "default"
    """Nodes of different clusters refuse each other."""
    actor: ActorSettings = field(default_factory=ActorSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    spill: SpillSettings = field(default_factory=SpillSettings)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    advertise: str = ""
    """Where others find a worker that listens behind 0.0.0.0 or a NAT; "": where it listens."""
    batch_messages: int = 100
    """Most records in one batch on a link (plan 1.9); a batch never waits to be filled."""
    join_timeout_s: float = 10.0
    """How long `start` waits for the broker's word."""
    drain_timeout_s: float = 30.0
    """How long a worker that ends waits for its turns and its hand-over."""
    tick_s: float = 0.05
    """How often the loop tells the heartbeat thread that it lives."""
    ends_blocked_process: bool = False
    """Whether a loop blocked for `cluster.block_limit_s` ends the process (workers: yes)."""
