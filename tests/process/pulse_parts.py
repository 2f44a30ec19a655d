"""The processes of test_pulse: a member that ticks and watches its lease, a broker that answers.

Both read commands from standard input, one a line, and end with it; both write JSON, line by line.
"""

import contextlib
import json
import select
import sys
import time
from collections import deque

import structlog
import zmq

from denoagents._native.pulse import Pulse
from denoagents.cluster.beat import BeatAnswer, BeatStatus, decode_beat, encode_answer
from denoagents.errors import ProtocolError
from denoagents.node.blocked import BlockedTurns


def now_ns():
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def say(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def commands():
    """Commands that are there now; None when standard input has ended."""
    found = []
    while select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if not line:
            return None
        found.append(line.split())
    return found


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def hold_gil(seconds):
    """Hold the GIL in C for about `seconds`, in one call that nothing can interrupt."""
    started = time.monotonic()
    sum(range(1_000_000))
    sum(range(int(1_000_000 * seconds / (time.monotonic() - started))))


HOLDS = {"spin": spin, "gil": hold_gil, "sleep": time.sleep}


def member(endpoint, incarnation, **settings):
    """Tick every 5 ms; say whenever the lease comes or goes, or the flags change."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    pulse = Pulse(**settings)
    pulse.start(endpoint, incarnation)
    blocked = BlockedTurns(pulse)
    blocked.start()
    shown = None
    ticks = True
    say(ready=True)
    while (found := commands()) is not None:
        for command in found:
            if command[0] == "hold":
                pulse.watch.enter('Librarian/hea"pq', f"ask_{command[1]}", now_ns())
                HOLDS[command[1]](float(command[2]))
                pulse.watch.leave()
                say(held=command[1], logged=blocked.logged)
            elif command[0] == "deaf":
                ticks = False
            else:
                say(
                    statistics=pulse.statistics(),
                    cpu_s=time.process_time(),
                    broker=[pulse.broker_incarnation, pulse.broker_version],
                )
        flags = pulse.tick() if ticks else pulse.flags
        state = (now_ns() <= pulse.lease_until_ns, flags)
        if state != shown:
            shown = state
            say(leased=state[0], flags=flags, at_ns=now_ns())
        time.sleep(0.005)
    pulse.stop()
    blocked.join()


def broker(port, replace_after_ns):
    """Answer beats; one silent for longer than replace_after is evicted for good."""
    mode = "ok"
    seen, evicted, newest, count = {}, set(), None, 0
    held_back = deque()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        bound = router.bind(f"tcp://127.0.0.1:{port or '*'}")
        say(endpoint=bound.addr)
        while (found := commands()) is not None:
            for command in found:
                if command[0] == "beat":
                    say(beat=newest and newest._asdict(), count=count)
                else:
                    mode = command[0]
            evicted |= {i for i, at in seen.items() if now_ns() - at > replace_after_ns}
            while held_back and held_back[0][0] < now_ns():
                router.send_multipart(held_back.popleft()[1:])
            if not router.poll(10):
                continue
            route, packet = router.recv_multipart()
            with contextlib.suppress(ProtocolError):
                newest = decode_beat(packet)
                count += 1
                seen[newest.incarnation] = now_ns()
                status = BeatStatus.EVICTED if newest.incarnation in evicted else BeatStatus.OK
                if mode in {"unknown", "evicted"}:
                    status = BeatStatus[mode.upper()]
                answer = encode_answer(
                    BeatAnswer(status, newest.incarnation, newest.sent_ns, 77, 5)
                )
                if mode == "junk":
                    answer = b"\xff" * len(answer)
                if mode == "foreign":
                    answer = encode_answer(BeatAnswer(status, 1, newest.sent_ns, 77, 5))
                if mode == "future":
                    sent_ns = newest.sent_ns + 10**12
                    answer = encode_answer(BeatAnswer(status, newest.incarnation, sent_ns, 77, 5))
                if mode == "late":
                    held_back.append((now_ns() + 900_000_000, route, answer))
                elif mode != "quiet":
                    router.send_multipart([route, answer])


if __name__ == "__main__":
    {"member": member, "broker": broker}[sys.argv[1]](**json.loads(sys.argv[2]))
