"""A dialed link that is not up for too long is reported once, and goes on trying."""

import asyncio

from link_nodes import until, with_pair
from structlog.testing import capture_logs


def late(logs):
    return [one for one in logs if one["event"] == "link.not_up"]


def apart(pair):
    pair.network.block("caller", "owner")
    pair.network.block("owner", "caller")


def test_a_peer_that_does_not_answer_is_reported_once_and_then_found():
    async def scenario(pair):
        apart(pair)
        with capture_logs() as logs:
            await pair.start()
            await asyncio.sleep(2.0)
            assert not late(logs)
            await asyncio.sleep(20.0)
            (said,) = late(logs)
            assert said["endpoint"] == pair.endpoint
            assert said["after_s"] < 5
            pair.network.heal()
            await until(lambda: pair.link.is_up, 20.0)

    with_pair(scenario, connect_timeout_s=3.0)


def test_a_link_that_was_up_has_the_same_time_again_each_time():
    async def scenario(pair):
        with capture_logs() as logs:
            await pair.stand()
            await asyncio.sleep(10.0)
            assert not late(logs)
            for times in (1, 2):
                apart(pair)
                pair.network.cut("caller", "owner")
                await until(lambda times=times: len(late(logs)) == times, 20.0)
                assert 3 <= late(logs)[-1]["after_s"] < 5
                pair.network.heal()
                await until(lambda: pair.link.is_up, 20.0)

    with_pair(scenario, connect_timeout_s=3.0)
