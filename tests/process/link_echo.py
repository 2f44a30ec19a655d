"""A process with one mesh that sends every batch back: link_echo.py INCARNATION CLUSTER ENDPOINT.

It prints its endpoint, then a line for each link that is over, and ends when its input does.
Batches that begin with "keep" are kept.
"""

import asyncio
import sys

import uvloop

from denoagents._native.clock import Clock
from denoagents.link import Identity, Mesh, ZeroMQTransport


class Echo:
    """Sends back."""

    def link_up(self, link, is_new):
        print("up", link.peer.name, is_new, flush=True)

    def batch(self, link, body, count, sender_now_ns, placement_version):
        if bytes(body[:4]) != b"keep":
            link.send(bytes(body), count)

    def accepted(self, link, count):
        """Counts nothing."""

    def drained(self):
        """Flushes nothing."""

    def link_over(self, link, reason, unaccepted):
        print("over", link.peer.name, unaccepted, reason, flush=True)

    def datagram(self, route, packet):
        """Answers nothing."""

    def may_rest(self, link):
        return True


async def main(incarnation: int, cluster: str, endpoint: str) -> None:
    mesh = Mesh(
        identity=Identity("echo", "worker", incarnation, cluster),
        events=Echo(),
        transport=ZeroMQTransport(),
        clock=Clock(),
    )
    print(await mesh.start(endpoint), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await mesh.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
