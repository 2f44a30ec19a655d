"""A client that tells durably, says so, and waits to be killed: `BROKER STORE COUNT`."""

import asyncio
import sys
from pathlib import Path

from real_fleet import OPEN, load

from denoagents import Node, options, tell

app = load(Path(__file__).parent / "apps" / "banking.py")


async def main(broker: str, store: str, count: str) -> None:
    async with Node(broker=broker, name="sender", store=store, settings=OPEN) as node:
        account = options(node.actor(app.Account, "target"), durability="os")
        for _ in range(int(count)):
            await tell(account.receive, 1)
        print("kept", flush=True)
        await asyncio.sleep(60 if int(count) else 3)


asyncio.run(main(*sys.argv[1:]))
