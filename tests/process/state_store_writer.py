"""A process of a test: durable actors that commit as fast as they can, until it is killed.

`python state_store_writer.py FILE TRIALS SEED` kills a child of its own again and again, each time
at another point, and looks after each kill whether all that the child was told is kept, and
nothing else. `python state_store_writer.py FILE share NAME COUNT` only commits, and
`python state_store_writer.py FILE record SESSIONS` says in the file `said` what it begins and what
it was told, for those who write down all that it does to its folder.
"""

import asyncio
import contextlib
import json
import os
import random
import select
import signal
import sys
import time
import zlib
from pathlib import Path

from denoagents.durability import Commit, Handled, Outgoing
from denoagents.store.settings import StoreSettings
from denoagents.store.state_file import connect
from denoagents.store.state_reader import read_actor
from denoagents.store.state_store import SqliteStateStore

ACTORS = 8
SENDER = 1 << 63 | 77


def state_of(actor, number):
    body = b"%s %d " % (actor.encode(), number) * (1 + number % 97)
    return b"%08x" % zlib.crc32(body) + body


def commit_of(actor, fence, number):
    tell = Outgoing(number, "Other/1", "take", 1, b"payload %d" % number)
    settled = (number - 3,) if number > 3 else ()
    return Commit(
        actor, fence, state_of(actor, number), 1, Handled(SENDER, number, b"%d" % number),
        (SENDER, max(1, number - 2)), number, (tell,), settled,
    )  # fmt: skip


def number_of(actor, kept):
    """The number of the turn whose commit this is; all of its parts must be of that one turn."""
    if kept is None:
        return 0
    number = int(kept.state.split(b" ")[1])
    assert kept.state == state_of(actor, number), "a state that nobody wrote"
    assert kept.sent == number
    assert [one.number for one in kept.outgoing] == list(range(max(1, number - 2), number + 1))
    assert [one.number for one in kept.handled] == list(range(max(1, number - 2), number + 1))
    return number


async def live(store, actor, fence, numbers, say, mode_of):
    kept = await store.claim(actor, fence)
    number = number_of(actor, kept)
    for _ in range(numbers):
        number += 1
        say("begun", actor, number)
        await store.commit(commit_of(actor, fence, number), mode_of(actor))
        say("kept", actor, number)


def mode_of(actor):
    return "disk" if actor.endswith(("0", "1", "2")) else "os"


# --- killed again and again -----------------------------------------------------------------------


def child(path, fence, pipe):
    def say(what, actor, number):
        os.write(pipe, b"%s %s %d\n" % (what.encode(), actor.encode(), number))

    async def work():
        store = SqliteStateStore(path, StoreSettings(low_mark_bytes=0))
        await store.open()
        await asyncio.gather(
            *[live(store, f"A/{n}", fence, 10**6, say, mode_of) for n in range(ACTORS)]
        )

    asyncio.run(work())


def read_for(pipe, seconds):
    """What the child said, until the time is over (or it ended)."""
    end = time.monotonic() + seconds
    said = bytearray()
    while (left := end - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            some = os.read(pipe, 1 << 16)
            if not some:
                break
            said += some
    return said


def kill_again_and_again(path, trials, seed):
    chance = random.Random(seed)
    begun, kept = {}, {}
    missing = phantoms = commits = 0
    for trial in range(1, trials + 1):
        reading, writing = os.pipe()
        number = os.fork()
        if number == 0:
            os.close(reading)
            with contextlib.suppress(BaseException):
                child(path, trial, writing)
            os._exit(1)
        os.close(writing)
        said = bytearray(os.read(reading, 1))
        said += read_for(reading, chance.choice((0.005, 0.05)) * chance.random())
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        said += read_for(reading, 5)
        os.close(reading)
        for line in bytes(said).decode().splitlines():
            fields = line.split(" ")
            if len(fields) == 3:
                found = begun if fields[0] == "begun" else kept
                found[fields[1]] = max(int(fields[2]), found.get(fields[1], 0))
                commits += fields[0] == "kept"
        connection = connect(path, timeout_s=5)
        for actor, last in list(begun.items()):
            there = number_of(actor, read_actor(connection, actor)[1])
            missing += there < kept.get(actor, 0)
            phantoms += there > last
            begun[actor] = kept[actor] = there
        connection.close()
    print(json.dumps({"missing": missing, "phantoms": phantoms, "commits": commits}))


def share(path, name, count):
    async def work():
        store = SqliteStateStore(path, StoreSettings(low_mark_bytes=0))
        await store.open()
        worst = 0.0

        async def one(actor):
            nonlocal worst
            await store.claim(actor, 1)
            for number in range(1, count + 1):
                began = time.monotonic()
                await store.commit(commit_of(actor, 1, number), mode_of(actor))
                worst = max(worst, time.monotonic() - began)

        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.monotonic()
        await asyncio.gather(*[one(f"{name}/{n}") for n in range(16)])
        took = time.monotonic() - began
        rate = 16 * count / took
        print(json.dumps({"rate": rate, "worst_s": worst, **store.statistics()}), flush=True)
        await store.close()

    asyncio.run(work())


def record(path, sessions):
    said = os.open(path.with_name("said"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def say(what, actor, number):
        os.write(said, f"{what} {actor} {number}\n".encode())

    async def work(session):
        store = SqliteStateStore(path, StoreSettings(low_mark_bytes=0))
        await store.open()
        lives = [live(store, f"A/{n}", session, 30, say, mode_of) for n in range(ACTORS)]
        await asyncio.gather(*lives)
        await store.close()

    for session in range(1, sessions + 1):
        asyncio.run(work(session))


if __name__ == "__main__":
    if sys.argv[2] == "record":
        record(Path(sys.argv[1]), int(sys.argv[3]))
    elif sys.argv[2] == "share":
        share(Path(sys.argv[1]), sys.argv[3], int(sys.argv[4]))
    else:
        kill_again_and_again(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
