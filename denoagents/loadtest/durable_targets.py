"""The durable actors that benches talk to; an app of its own: its worker opens a store."""

from __future__ import annotations

from denoagents.actor.actor import Actor
from denoagents.actor.durable import durable

__all__ = ["KeptByTheSystem", "KeptOnDisk"]


@durable(mode="os")
class KeptByTheSystem(Actor):
    """Counts; each count outlives the process before it is answered."""

    count: int = 0

    async def add(self, n: int) -> int:
        """The smallest useful transaction."""
        self.count += n
        return self.count


@durable(mode="disk")
class KeptOnDisk(KeptByTheSystem):
    """Counts; each count outlives the machine before it is answered."""
