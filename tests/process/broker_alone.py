"""A broker as a process: `python broker_alone.py ENDPOINT STORE`; it ends with its parent."""

import asyncio
import os
import sys

from denoagents.broker.broker import Broker
from denoagents.store.lease_store import FileLeaseStore


async def main(endpoint, store):
    parent = os.getppid()
    async with Broker(bind=endpoint, store=FileLeaseStore(store)) as broker:
        print(f"listening {broker.endpoint}", flush=True)
        while os.getppid() == parent:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.1)


asyncio.run(main(sys.argv[1], sys.argv[2]))
