"""The bare form of our workloads: pyzmq's asyncio sockets, uvloop, msgpack, and nothing else.

What one writes without a framework: a DEALER and a ROUTER, a list packed by msgpack in each message
(number, method, arguments), every send and every receive awaited, replies matched by number.

Started by `denoagents bench --peers zmq-asyncio`. As `python zmq_asyncio.py`, it starts a server in
a second process, then reads JSON lines {"workload": ..., "seconds": ...} and answers each with one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import subprocess
import sys
import threading
import time
from typing import Any

import msgpack
import uvloop
import zmq
import zmq.asyncio

from denoagents._native.histogram import Histogram

SAMPLE_EVERY = 16
PAYLOADS = {"payload_1KiB": 1024, "payload_64KiB": 64 * 1024, "payload_1MiB": 1024 * 1024}


class Target:
    """What the other process does with messages."""

    def __init__(self) -> None:
        self.count = 0
        self.latency = Histogram()

    def add(self, n: int) -> int:
        self.count += n
        return self.count

    def put(self, sent_ns: int) -> None:
        self.count += 1
        self.latency.record(max(0, time.monotonic_ns() - sent_ns))

    def take(self, sent_ns: int, _payload: bytes) -> None:
        self.put(sent_ns)

    def received(self) -> list[Any]:
        seen = [self.count, self.latency.to_bytes()]
        self.count, self.latency = 0, Histogram()
        return seen


def end_with_parent() -> None:
    """End when stdin does: nobody is left to be served."""
    while os.read(0, 4096):
        pass
    os._exit(0)


async def serve(endpoint: str) -> None:
    """Handle messages for ever; number 0 wants no reply."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    router = zmq.asyncio.Context().socket(zmq.ROUTER)
    router.bind(endpoint)
    target = Target()
    while True:
        route, body = await router.recv_multipart()
        number, method, arguments = msgpack.unpackb(body)
        result = getattr(target, method)(*arguments)
        if number:
            await router.send_multipart([route, msgpack.packb([number, result])])


class Client:
    """Asks and tells over one DEALER."""

    def __init__(self, endpoint: str) -> None:
        self.socket = zmq.asyncio.Context().socket(zmq.DEALER)
        self.socket.connect(endpoint)
        self.numbers = 0
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        while True:
            number, result = msgpack.unpackb(await self.socket.recv())
            self.waiting.pop(number).set_result(result)

    async def tell(self, method: str, *arguments: Any) -> None:
        await self.socket.send(msgpack.packb([0, method, arguments]))

    async def ask(self, method: str, *arguments: Any) -> Any:
        self.numbers += 1
        waiter = asyncio.get_running_loop().create_future()
        self.waiting[self.numbers] = waiter
        await self.socket.send(msgpack.packb([self.numbers, method, arguments]))
        return await waiter


async def tell_between_processes(client: Client, seconds: float) -> tuple[int, float, Histogram]:
    """One way, each send awaited."""
    await client.ask("received")
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        await client.tell("put", time.monotonic_ns())
        for _ in range(SAMPLE_EVERY - 1):
            await client.tell("add", 1)
    return await received(client, begin)


async def received(client: Client, begin: float) -> tuple[int, float, Histogram]:
    """What the server got; asked last, so all that was sent before is in it."""
    count, latency = await client.ask("received")
    return count, time.monotonic() - begin, Histogram.from_bytes(latency)


async def ask_between_processes(client: Client, seconds: float) -> tuple[int, float, Histogram]:
    """One request at a time."""
    latency, count = Histogram(), 0
    begin_ns = before_ns = time.monotonic_ns()
    while before_ns < begin_ns + seconds * 1e9:
        await client.ask("add", 1)
        now_ns = time.monotonic_ns()
        latency.record(now_ns - before_ns)
        before_ns = now_ns
        count += 1
    return count, (before_ns - begin_ns) / 1e9, latency


async def ask_between_processes_100(client: Client, seconds: float) -> tuple[int, float, Histogram]:
    """A hundred callers."""
    parts = await asyncio.gather(*(ask_between_processes(client, seconds) for _ in range(100)))
    latency = Histogram()
    for part in parts:
        latency.merge(part[2])
    return sum(part[0] for part in parts), max(part[1] for part in parts), latency


async def carry(client: Client, seconds: float, size_bytes: int) -> tuple[int, float, Histogram]:
    """One way, with a payload."""
    payload = random.Random(1).randbytes(size_bytes)
    await client.ask("received")
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        await client.tell("take", time.monotonic_ns(), payload)
    return await received(client, begin)


async def measure(client: Client, workload: str, seconds: float) -> dict[str, Any]:
    """One stretch of one workload."""
    if workload in PAYLOADS:
        count, took_s, latency = await carry(client, seconds, PAYLOADS[workload])
    else:
        count, took_s, latency = await WORKLOADS[workload](client, seconds)
    text = base64.b64encode(latency.to_bytes()).decode()
    return {"t": "sample", "n": count, "seconds": took_s, "latency": text}


WORKLOADS = {
    "tell_between_processes": tell_between_processes,
    "ask_between_processes": ask_between_processes,
    "ask_between_processes_100": ask_between_processes_100,
}


async def obey(endpoint: str) -> None:
    """Measure what the lines on stdin name, until there are no more."""
    client = Client(endpoint)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        print(
            json.dumps(await measure(client, command["workload"], command["seconds"])), flush=True
        )
    client.reading.cancel()


def main() -> None:
    """Run the server, or a client that starts one."""
    if len(sys.argv) == 3:
        uvloop.run(serve(sys.argv[2]))
        return
    with zmq.Context() as context, context.socket(zmq.ROUTER) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    endpoint = f"tcp://127.0.0.1:{port}"
    words = [sys.executable, __file__, "serve", endpoint]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as server:
        uvloop.run(obey(endpoint))
        server.kill()


if __name__ == "__main__":
    main()
