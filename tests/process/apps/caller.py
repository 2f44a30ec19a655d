"""A client as a process of its own: asks one counter again and again, and says how it goes."""

import asyncio
import json
import os
import sys
import time
from collections import Counter as Tally

from proving import Counter

from denoagents import DenoagentsError, Node, options
from denoagents.cli.lifeline import hold


async def main(broker: str) -> None:
    tally: Tally[str] = Tally()
    async with Node(broker=broker, name="caller") as client:
        ref = options(client.actor(Counter, "called"), timeout_s=5)
        told = 0.0
        while True:
            try:
                await ref.add(1)
                tally["answers"] += 1
            except DenoagentsError as error:
                tally[type(error).__name__] += 1
            if time.monotonic() - told > 0.05:
                told = time.monotonic()
                print(json.dumps(dict(tally)), flush=True)
            await asyncio.sleep(0.002)


hold(os.getppid(), None)
asyncio.run(main(sys.argv[1]))
