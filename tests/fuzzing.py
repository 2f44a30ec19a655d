"""Throws damaged input at every decoder: tests/fuzzing.py [--executions N] [--seed S] [NAME...].

Each decoder may return, or raise the errors that it promises; anything else is a finding, and so
is a report of the sanitizers when the native parts were built with them (tools/fuzz).
"""

import argparse
import asyncio
import gzip
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import lz4.block
import msgpack
import msgspec
import structlog

from denoagents import Actor, Node, reliable, tell
from denoagents._native import packet, records
from denoagents._native.peer import Peer
from denoagents._native.router import RecordKind, SlotTable
from denoagents.address import Address
from denoagents.cluster import messages, slots
from denoagents.errors import CorruptError, DenoagentsError, EncodingError, ProtocolError, from_wire
from denoagents.link import compression, handshake
from denoagents.node import handover
from denoagents.store import segment

WEIRD = (b"\xff" * 8, b"\x00" * 8, b"\x7f", b"\x80", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 90)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """`data` after a few accidents; now and then something that never was any."""
    if chance.random() < 0.03:
        return chance.randbytes(chance.randrange(200))
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes([chance.randrange(20)])
            case 2:
                del changed[at : at + chance.choice((1, 2, 8, 200))]
            case 3:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 8, 40)))
            case 4:
                changed[at:at] = chance.choice(WEIRD)
            case 5:
                changed[at:at] = changed[at : at + chance.choice((1, 4, 30))]
            case 6:
                if changed:
                    changed[at % len(changed)] ^= 1 << chance.randrange(8)
    return bytes(changed)


@dataclass
class Decoder:
    """One decoder: what it reads when all is well, and what it may raise when not."""

    corpus: Sequence[bytes]
    read: Callable[[bytes], object]
    promised: tuple[type[BaseException], ...] = (ProtocolError,)


class Kept(msgspec.Struct):
    """A payload with about everything in it."""

    name: Annotated[str, msgspec.Meta(max_length=100)]
    numbers: list[int] = []
    more: dict[str, float | None] = {}
    kind: Literal["a", "b"] = "a"


class Fuzzed(Actor):
    """The actor whose messages are damaged."""

    total: int = 0
    kept: list[Kept] = []  # noqa: RUF012 - the default of a state field

    async def add(self, n: int, kept: Kept | None = None, *, names: list[str] = []) -> int:  # noqa: B006
        """Counts."""
        self.total += n + len(names) + (kept is not None)
        return self.total

    @reliable
    async def keep(self, n: int) -> int:
        """Is delivered reliably."""
        return n

    async def count_to(self, n: int):
        """Streams."""
        for i in range(min(n, 5)):
            yield i


class Ends:
    """Where the batches of a peer end."""

    credit_bytes = 1 << 30

    def __init__(self) -> None:
        self.batches: list[bytes] = []

    def send(self, body: bytes, records: int) -> None:
        """Keep it."""
        del records
        self.batches.append(bytes(body))


async def written_batches() -> list[bytes]:
    """Batches with records of every kind, as a node writes them."""
    link = Ends()
    async with Node() as node:
        peer = Peer(node.router, link, "other", 7)
        peer.open()
        node.actor(Fuzzed, "1")
        node.router.tables["Fuzzed"] = SlotTable("default", peer, True)
        for key in "abc":
            ref = node.actor(Fuzzed, key)
            await tell(ref.add, 1, Kept("x", [1, 2]))
            tasks = [
                asyncio.ensure_future(ref.add(2)),
                asyncio.ensure_future(anext(ref.count_to(4))),
            ]
            await asyncio.sleep(0)
            tasks[1].cancel()
            tasks.append(asyncio.ensure_future(ref.keep(3)))
            await tell(ref.keep, 4)
            await asyncio.sleep(0)
            peer.signal(RecordKind.STARTED, 3)
            peer.signal(RecordKind.LOST, 3)
            for kind in (RecordKind.REPLY, RecordKind.ITEM, RecordKind.ERROR):
                peer.answer(kind, 1, msgpack.packb({"code": "remote", "text": "x"}))
            peer.signal(RecordKind.END, 1)
            peer.grant(1, 1000)
            peer.pause(f"Fuzzed/{key}")
            peer.resume(f"Fuzzed/{key}")
            peer.flush()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        peer.end("enough")
    link.batches.append(bytes([RecordKind.HANDLED, 3, 2, 8, 5]))
    # A name defined in one batch is used in later ones: each stands with those before it.
    return [b"".join(link.batches[:count]) for count in range(1, len(link.batches) + 1)]


def batches_into(node: Node) -> Callable[[bytes], None]:
    """Reads batches as the peer of `node` would."""
    node.actor(Fuzzed, "1")
    here = node.router.here
    node.router.directory.control = lambda *_: None
    node.router.tables["Fuzzed"] = SlotTable("default", here, True)

    def read(data: bytes) -> None:
        peer = Peer(node.router, Ends(), "other", 7)
        peer.open()
        try:
            peer.deliver(data, 0)
        finally:
            peer.end("fuzzed")

    return read


def control_messages() -> list[bytes]:
    """One of every kind, with something in most fields."""
    slot_bits = slots.pack(1 << 1 | 1 << 4095)
    member = messages.MemberRecord(name="w", incarnation=5, endpoint="tcp://127.0.0.1:1", group="g")
    lingering = messages.Lingering("g", 3, "Fuzzed/a", 5)
    record = messages.VersionRecord(
        version=3,
        members=[member],
        groups={"g": messages.GroupRecord({"Fuzzed": "x"})},
        sources={"g": [messages.Source(5, slot_bits)]},
        lingering=[lingering],
        over=[9],
        settings={"pool/p": {"size": 3}},
    )
    made = [
        messages.Join(
            name="w", incarnation=5, types={"Fuzzed": {"methods": []}}, holding={"g": slot_bits}
        ),
        messages.Joined(record=record),
        messages.Published(record=record),
        messages.Activated(version=3, group="g", slots=slot_bits, excepted=[lingering]),
        messages.Operate(verb="set", body={"a": [1, None, "x"]}),
        messages.Answer(re=3, body={"a": 1}, error={"code": "x"}),
        messages.Ship(version=1, group="g", slot=3, actor="Fuzzed/a", state=b"x", waiting=[b"y"]),
        messages.Released(version=1, group="g", actors=[lingering]),
        messages.Quarantine(
            message=messages.Quarantined(5, 6, "Fuzzed/a", "add", b"x", "poison", trace=b"t")
        ),
    ]
    return [messages.encode(message) for message in made]


def packed_actors() -> tuple[bytes, bytes]:
    """A shipped actor with family and timers; a shipped message."""
    timer = handover.PackedTimer("add", b"\x91\x01", 1.0, 0.0)
    child = handover.PackedChild("Fuzzed/a/b", "Fuzzed", handover.PackedActor(b"\x80", [], [timer]))
    return msgspec.msgpack.encode(handover.PackedActor(b"\x80", [child], [timer])), b""


def segment_of_three() -> bytes:
    """A segment of a log with three records."""
    rows = (segment.pack_record(7, number, 1, b"payload %d" % number) for number in (1, 2, 3))
    return segment.pack_header(segment.Header(7, 1, 0)) + b"".join(rows)


def read_segment(data: bytes) -> None:
    """Whatever happened to the file, only what was written is found."""
    try:
        found = segment.scan(data).found
    except CorruptError as error:
        raise ProtocolError(str(error)) from None
    for one in found:
        payload = data[one.offset : one.offset + one.size]
        if payload != b"payload %d" % one.sequence:
            raise FoundError(f"record {one.sequence} reads {payload!r}")
    if len(found) < 3:
        raise ProtocolError("cut or damaged")


def decoders(node: Node, batches: list[bytes]) -> dict[str, Decoder]:
    """Every decoder of bytes from outside, by name."""
    declared = node.router.types["Fuzzed"]
    add = declared.method("add")
    body = json.dumps(list(range(2000))).encode()
    hello = handshake.Hello(1, "c", "n", "worker", 5, 6, 7, 1 << 20, compression=["lz4"])
    state = declared.encode_state(Fuzzed.__new__(Fuzzed))
    typed = (ProtocolError, EncodingError)
    return {
        "packet": Decoder(
            [
                packet.encode(3, 1, 4, 5, 6, 7, 8, len(body), body[:100]),
                packet.encode(1, body=b"x"),
            ],
            lambda data: packet.decode(data, strict=True),
        ),
        "batch": Decoder(batches, batches_into(node)),
        "chain": Decoder([msgpack.packb([("A/b", 1 << 62, 3)] * 5)], records.unpack_chain),
        "map": Decoder([msgpack.packb({"code": "x", "n": [1, {"a": None}]})], records.unpack_map),
        "remote error": Decoder(
            [msgpack.packb({"code": "remote", "text": "x", "details": {"a": 1}})],
            lambda data: from_wire(records.unpack_map(data)),
        ),
        "hello": Decoder(
            [handshake.encode(hello)], lambda data: handshake.decode(handshake.Hello, data)
        ),
        "control message": Decoder(control_messages(), messages.decode),
        "lz4": Decoder(
            [lz4.block.compress(body, store_size=False)],
            lambda data: compression.decompress(1, data, len(body), 1 << 20),
        ),
        "gzip": Decoder(
            [gzip.compress(body)], lambda data: compression.decompress(2, data, len(body), 1 << 20)
        ),
        "arguments": Decoder(
            [add.encode_arguments((3, Kept("x", [1], {"a": 0.5})), {"names": ["x"]})],
            add.decode_arguments,
            (DenoagentsError,),
        ),
        "state": Decoder([state, b"\x82\xa5total\x05\xa4kept\x90"], declared.decode_state, typed),
        "shipped actor": Decoder(
            packed_actors()[:1],
            msgspec.msgpack.Decoder(handover.PackedActor).decode,
            (msgspec.MsgspecError, RecursionError, ValueError),
        ),
        "segment": Decoder([segment_of_three()], read_segment),
        "address": Decoder(
            [b"Type/key/child", b"Type/%2F%20key"],
            lambda data: Address.parse(data.decode("utf-8", "replace")),
            (DenoagentsError,),
        ),
    }


class FoundError(Exception):
    """A decoder did what it never should."""


async def fuzz(name: str, decoder: Decoder, executions: int, seed: int) -> tuple[int, float]:
    """Throw `executions` inputs at `decoder`: (how many it refused, executions a second)."""
    chance = random.Random(f"{name} {seed}")
    for data in decoder.corpus:
        decoder.read(data)  # what is well is read
    began, refused = time.perf_counter(), 0
    for number in range(executions):
        if number % 500 == 0:
            await asyncio.sleep(0)  # what has come into a mailbox is run
        data = damaged(chance, chance.choice(decoder.corpus))
        try:
            decoder.read(data)
        except decoder.promised:
            refused += 1
        except Exception as error:
            what = f"{name}, seed {seed}, execution {number}: {error!r} for {data.hex()}"
            raise FoundError(what) from error
    return refused, executions / max(1e-9, time.perf_counter() - began)


async def run(executions: int, seed: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Fuzz the decoders; one row each."""
    batches = await written_batches()
    rows = []
    async with Node() as node:
        node.actor(Fuzzed, "1")
        known = decoders(node, batches)
        for name in names or known:
            refused, rate = await fuzz(name, known[name], executions, seed)
            rows.append(
                {
                    "decoder": name,
                    "executions": executions,
                    "refused": refused,
                    "per_s": round(rate),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def drop(*_: object) -> NoReturn:
    """No log lines: each refused message would be one."""
    raise structlog.DropEvent


def main() -> int:
    """Fuzz from the command line."""
    logging.basicConfig(level=logging.CRITICAL)
    structlog.configure(processors=[drop])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=20_000, help="of each decoder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    asyncio.run(run(given.executions, given.seed, given.names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
