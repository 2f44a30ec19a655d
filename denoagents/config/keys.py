"""Every key that exists, in the plan's order, then ours."""

from __future__ import annotations

from typing import Final

from denoagents.config import own_keys, plan_performance, plan_resources
from denoagents.config.key import Key

KEYS: Final[tuple[Key, ...]] = (*plan_resources.KEYS, *plan_performance.KEYS, *own_keys.KEYS)
"""The one table; names are unique."""
