"""Named sets of values: `default` holds the plan's limits, `open` lifts what would bound a bench.

Rules: a profile stands below file, environment and flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROFILES: Final[Mapping[str, Mapping[str, str]]] = {
    "default": {},
    "open": {
        "request_handling.backpressure.strategy": "off",
        "agent.cpu.throttling.action": "off",
        "agent.memory.cleanup": "off",
    },
    "wan": {
        "cluster.beat": "1s",
        "cluster.stop_after": "8s",
        "cluster.replace_after": "12s",
        "cluster.block_limit": "30s",
        "cluster.rename_after": "8500ms",
    },
}
"""What each profile changes; keys that it does not name keep their defaults."""
