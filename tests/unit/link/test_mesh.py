"""Links over a network in memory, in virtual time: what a node hears, and when."""

import asyncio
import itertools
import random

import pytest
from link_nodes import LinkNode, until, with_pair

from denoagents.errors import (
    EvictedError,
    HandshakeError,
    LinkError,
    LinkLost,
    PayloadTooLargeError,
    UsageError,
)
from denoagents.link import LinkSettings


def test_both_ends_hear_that_a_link_is_up_and_who_is_there():
    async def scenario(pair):
        link = await pair.stand()
        assert pair.caller.ups == [("owner", True)] and pair.owner.ups == [("caller", True)]
        assert (link.state, link.dialed, link.peer.name, link.peer.role) == (
            "up", True, "owner", "worker",
        )  # fmt: skip
        assert link.peer.incarnation == sum(map(ord, "owner"))
        assert not pair.accepted_link.dialed
        assert repr(link) == "<Link -> owner up, 0 retained>"

    with_pair(scenario)


def test_batches_arrive_once_in_order_in_both_directions():
    async def scenario(pair):
        pair.owner.echo = True
        link = await pair.stand()
        sent = [b"%d" % number for number in range(50)]
        for body in sent:
            link.send(body, 1)
        await until(lambda: len(pair.caller.bodies) == 50)
        assert pair.owner.bodies == sent == pair.caller.bodies
        await until(lambda: pair.owner.accepted_count == pair.caller.accepted_count == 50)
        assert link.acknowledged_count == 50

    with_pair(scenario)


def test_what_is_sent_before_the_link_is_up_is_retained_and_then_sent():
    async def scenario(pair):
        link = await pair.start()
        link.send(b"early", 3)
        assert (link.state, link.retained_count, link.retained_bytes) == ("connecting", 3, 5)
        await link.when_accepted()
        assert pair.owner.bodies == [b"early"]

    with_pair(scenario)


def test_the_clock_and_the_placement_version_of_the_sender_travel_with_each_batch():
    async def scenario(pair):
        link = await pair.stand()
        pair.caller.mesh.placement_version = 7
        sent_ns = pair.clock.now_ns()
        link.send(b"x", 1)
        await link.when_accepted()
        assert pair.owner.stamps == [(sent_ns, 7)]

    with_pair(scenario)


def test_credit_falls_with_what_is_retained_and_comes_back():
    async def scenario(pair):
        link = await pair.stand()
        assert link.credit_bytes == 1000
        link.send(bytes(600), 1)
        link.send(bytes(600), 1)
        assert link.credit_bytes == -200
        await link.when_accepted()
        assert link.credit_bytes == 1000

    with_pair(scenario, window_bytes=1000)


def test_an_acknowledgement_waits_for_a_reply_but_not_longer_than_its_delay():
    async def scenario(pair):
        link = await pair.stand()
        pair.network.shortest_s = pair.network.longest_s = 0.001
        for _ in range(7):
            link.send(b"x", 1)
        start_ns = pair.clock.now_ns()
        await until(lambda: pair.caller.accepted_count == 7)
        took_s = (pair.clock.now_ns() - start_ns) / 1e9
        assert 0.006 <= took_s <= 0.01  # there, the delay of 5 ms, back
        pair.owner.echo = True
        link.send(b"x", 1)
        start_ns = pair.clock.now_ns()
        await until(lambda: pair.caller.accepted_count == 8)
        assert (pair.clock.now_ns() - start_ns) / 1e9 < 0.005

    with_pair(scenario)


def test_many_batches_are_acknowledged_without_delay():
    async def scenario(pair):
        link = await pair.stand()
        pair.network.shortest_s = pair.network.longest_s = 0.0001
        for _ in range(8):
            link.send(b"x", 1)
        await asyncio.sleep(0.001)
        assert pair.caller.accepted_count == 8

    with_pair(scenario)


def test_when_accepted_hurries_the_acknowledgement():
    async def scenario(pair):
        link = await pair.stand()
        pair.network.shortest_s = pair.network.longest_s = 0.0001
        link.send(b"x", 1)
        start_ns = pair.clock.now_ns()
        await link.when_accepted()
        assert pair.clock.now_ns() - start_ns < 1_000_000

    with_pair(scenario, ack_delay_s=1.0)


def test_a_cut_connection_loses_nothing_and_the_link_comes_back_as_the_same():
    async def scenario(pair):
        link = await pair.stand()
        accepted = pair.accepted_link
        for number in range(20):
            link.send(b"%d" % number, 1)
        pair.network.cut()
        await link.when_accepted()
        assert pair.owner.bodies == [b"%d" % number for number in range(20)]
        assert pair.caller.ups == [("owner", True), ("owner", False)]
        assert pair.owner.ups == [("caller", True), ("caller", False)]
        assert pair.accepted_link is accepted
        assert link.statistics().connections == 2

    with_pair(scenario)


def test_what_is_sent_again_leaves_before_what_is_new():
    async def scenario(pair):
        link = await pair.stand()
        pair.caller.accepted = lambda freed, count: freed.send(b"new", 1) if count > 1 else None
        pair.network.block("owner", "caller")  # no acknowledgement comes back
        link.send(b"first", 2)
        await until(lambda: pair.owner.bodies)
        for number in range(10):
            link.send(b"%d" % number, 1)
        pair.network.cut()
        await asyncio.sleep(0.01)
        pair.network.heal()
        await until(lambda: b"new" in pair.owner.bodies)
        assert pair.owner.bodies == [b"first", *(b"%d" % number for number in range(10)), b"new"]
        told = link.statistics()
        assert told.resends > 0 and told.connections == 2

    with_pair(scenario)


@pytest.mark.parametrize("fault", ["damage_share", "loss_share"])
def test_damaged_and_missing_packets_make_a_new_connection_and_lose_nothing(fault):
    async def scenario(pair):
        pair.owner.echo = True
        link = await pair.stand()
        setattr(pair.network, fault, 0.05)
        sent = [b"%d" % number for number in range(200)]
        for body in sent:
            link.send(body, 1)
            await asyncio.sleep(0.005)
        setattr(pair.network, fault, 0.0)
        await until(lambda: len(pair.caller.bodies) >= 200, 100)
        assert pair.owner.bodies == sent == pair.caller.bodies
        assert link.statistics().connections > 3

    with_pair(scenario)


@pytest.mark.parametrize(("fault", "within_s"), [("damage_share", 1), ("loss_share", 60)])
def test_the_last_packet_is_missed_too(fault, within_s):
    async def scenario(pair):
        link = await pair.stand()
        setattr(pair.network, fault, 1.0)
        link.send(b"the last", 1)
        setattr(pair.network, fault, 0.0)
        await until(lambda: pair.owner.bodies, within_s)
        setattr(pair.network, fault, 1.0)
        pair.accepted_link.send(b"the very last", 1)
        setattr(pair.network, fault, 0.0)
        await until(lambda: pair.caller.bodies, within_s)

    with_pair(scenario)


def test_a_silent_network_is_found_within_the_keep_alive_time():
    async def scenario(pair):
        link = await pair.stand()
        await asyncio.sleep(100)
        assert link.state == "up" and len(pair.caller.ups) == 1
        pair.network.block("owner", "caller")
        pair.network.block("caller", "owner")
        await until(lambda: link.state == "down", 60)
        await until(lambda: pair.accepted_link.state == "down", 60)
        pair.network.heal()
        await until(lambda: len(pair.caller.ups) == 2, 10)

    with_pair(scenario)


def test_attempts_back_off_up_to_a_bound_and_go_on():
    async def scenario(pair):
        dials = []
        dial = pair.network.dial
        pair.network.dial = lambda *of: (dials.append(pair.clock.now_ns() / 1e9), dial(*of))[1]
        pair.endpoint = "tcp://nobody:1"
        await pair.caller.mesh.start(None)
        link = pair.caller.mesh.dial("tcp://nobody:1")
        await asyncio.sleep(60)
        waits = [later - earlier for earlier, later in itertools.pairwise(dials)]
        for number, wait in enumerate(waits):
            expected = min(5.0, 0.05 * 2**number)
            assert 0.79 * expected <= wait <= 1.21 * expected
        assert link.state == "connecting" and len(waits) > 15
        pair.caller.mesh.end(link, "no more")
        count = len(dials)
        await asyncio.sleep(60)
        assert len(dials) == count

    with_pair(scenario)


def test_a_peer_that_was_restarted_ends_the_link_and_the_unaccepted_are_counted():
    async def scenario(pair):
        link = await pair.stand()
        pair.network.kill("owner")
        link.send(b"lost?", 5)
        await asyncio.sleep(0.3)
        again = LinkNode("owner")
        again.open(pair.network.transport("owner"), pair.clock, incarnation=999)
        await again.mesh.start(pair.endpoint)
        await until(lambda: pair.caller.overs)
        assert pair.caller.overs == [("owner", "other incarnation", 5)]
        assert isinstance(link.error, LinkLost) and again.bodies == []
        with pytest.raises(LinkLost):
            link.send(b"more", 1)
        await again.mesh.close()

    with_pair(scenario)


def test_a_link_to_a_certain_incarnation_accepts_no_other():
    async def scenario(pair):
        link = await pair.start(name="owner", incarnation=12345)
        await until(lambda: pair.caller.overs)
        assert pair.caller.overs == [("owner", "other incarnation", 0)]
        assert pair.owner.ups == [] and link.state == "over"

    with_pair(scenario)


def test_another_cluster_is_refused_with_the_reason():
    async def scenario(pair):
        stranger = LinkNode("stranger")
        stranger.open(pair.network.transport("stranger"), pair.clock, cluster="elsewhere")
        await pair.owner.mesh.start("tcp://owner:1")
        await stranger.mesh.start(None)
        link = stranger.mesh.dial("tcp://owner:1")
        await until(lambda: stranger.overs)
        assert isinstance(link.error, HandshakeError)
        assert "'default', the caller to 'elsewhere'" in stranger.overs[0][1]
        assert pair.owner.ups == []
        await stranger.mesh.close()

    with_pair(scenario)


def test_a_refused_incarnation_ends_and_stays_out():
    async def scenario(pair):
        link = await pair.stand()
        pair.owner.mesh.refuse(sum(map(ord, "caller")), "evicted")
        assert pair.owner.overs == [("caller", "evicted", 0)]
        await until(lambda: pair.caller.overs)
        assert isinstance(link.error, EvictedError)
        again = pair.caller.mesh.dial(pair.endpoint)
        again.send(b"still here", 1)
        await until(lambda: len(pair.caller.overs) == 2)
        assert pair.caller.overs[1] == ("", "evicted", 1)
        assert pair.owner.bodies == [] and len(pair.owner.overs) == 1

    with_pair(scenario)


def test_refusing_ends_the_dialed_links_too():
    async def scenario(pair):
        await pair.stand()
        pair.caller.mesh.refuse(sum(map(ord, "owner")), "evicted")
        assert pair.caller.overs == [("owner", "evicted", 0)]

    with_pair(scenario)


def test_an_ended_link_says_nothing_more_and_reports_once():
    async def scenario(pair):
        link = await pair.stand()
        link.send(b"x", 4)
        waiting = link.when_accepted()
        pair.caller.mesh.end(link, "declared dead")
        pair.caller.mesh.end(link, "again")
        assert pair.caller.overs == [("owner", "declared dead", 4)]
        assert waiting.done() and link.state == "over"
        await asyncio.sleep(1)
        assert list(pair.caller.mesh.links) == []

    with_pair(scenario)


def test_a_session_that_ended_at_the_acceptor_is_over_at_the_dialer():
    async def scenario(pair):
        link = await pair.stand()
        pair.owner.mesh.end(pair.accepted_link, "declared dead")
        link.send(b"x", 1)
        await until(lambda: pair.caller.overs)
        assert pair.caller.overs[0][2] == 1 and pair.owner.bodies == []

    with_pair(scenario)


def test_closing_waits_until_everything_is_accepted_and_says_goodbye():
    async def scenario(pair):
        link = await pair.stand()
        for number in range(100):
            link.send(b"%d" % number, 1)
        await pair.caller.mesh.close()
        assert pair.caller.overs == [("owner", "closed", 0)]
        await until(lambda: pair.owner.overs)
        assert pair.owner.overs == [("caller", "goodbye", 0)]
        assert len(pair.owner.bodies) == 100

    with_pair(scenario)


def test_closing_does_not_wait_longer_than_it_may():
    async def scenario(pair):
        link = await pair.stand()
        pair.network.block("caller", "owner")
        link.send(b"x", 3)
        start_ns = pair.clock.now_ns()
        await pair.caller.mesh.close(linger_s=0.5)
        assert 0.5e9 <= pair.clock.now_ns() - start_ns < 0.6e9
        assert pair.caller.overs == [("owner", "closed", 3)]

    with_pair(scenario)


def test_an_idle_link_ends_if_both_nodes_agree():
    async def scenario(pair):
        await pair.stand()
        await asyncio.sleep(290)
        assert pair.caller.overs == []
        await asyncio.sleep(20)
        assert pair.caller.overs == [("owner", "idle", 0)]
        await asyncio.sleep(1)
        assert pair.owner.overs == [("caller", "goodbye", 0)]

    with_pair(scenario)


@pytest.mark.parametrize("busy", ["caller", "owner"])
def test_an_idle_link_on_which_a_call_is_open_stays(busy):
    async def scenario(pair):
        getattr(pair, busy).rests = False
        link = await pair.stand()
        await asyncio.sleep(700)
        assert pair.caller.overs == [] and link.state == "up" and len(pair.caller.ups) == 1

    with_pair(scenario)


def test_a_link_that_is_used_does_not_end():
    async def scenario(pair):
        link = await pair.stand()
        for _ in range(10):
            await asyncio.sleep(100)
            link.send(b"x", 1)
        assert link.state == "up"

    with_pair(scenario)


def test_a_session_whose_dialer_stays_away_expires():
    async def scenario(pair):
        pair.owner.echo = True
        link = await pair.stand()
        pair.network.kill("caller")
        pair.caller.mesh.end(link, "killed")
        pair.accepted_link.send(b"for nobody", 2)
        await asyncio.sleep(290)
        assert pair.owner.overs == []
        await asyncio.sleep(30)
        assert pair.owner.overs == [("caller", "expired", 2)]

    with_pair(scenario)


def test_sessions_without_a_connection_make_room_for_new_ones():
    async def scenario(pair):
        await pair.owner.mesh.start("tcp://owner:9")
        await pair.caller.mesh.start(None)
        first, second = (pair.caller.mesh.dial("tcp://owner:9") for _ in range(2))
        await until(lambda: len(pair.owner.ups) == 2)
        third = pair.caller.mesh.dial("tcp://owner:9")
        await until(lambda: third.state == "over")
        assert "2 sessions" in str(third.error)
        pair.owner.mesh.refuse(0, "nobody")
        pair.network.cut()
        pair.network.block("owner", "caller")
        pair.caller.mesh.end(first, "gone")
        pair.network.heal()
        await until(lambda: second.state == "up")
        pair.owner.links[0]._owner.link_lost(pair.owner.links[0])
        fourth = pair.caller.mesh.dial("tcp://owner:9")
        await until(lambda: fourth.state == "up")
        assert pair.owner.overs == [("caller", "expired", 0)]

    with_pair(scenario, max_sessions=2)


def test_a_body_over_the_limit_is_refused_before_a_byte_leaves():
    async def scenario(pair):
        link = await pair.stand()
        with pytest.raises(PayloadTooLargeError, match="1001"):
            link.send(bytes(1001), 1)
        assert link.retained_count == 0
        link.send(bytes(1000), 1)
        await link.when_accepted()

    with_pair(scenario, max_payload_bytes=1000)


def test_the_smaller_limit_of_the_two_ends_counts():
    async def scenario(pair):
        small = LinkNode("small")
        settings = LinkSettings(max_payload_bytes=100)
        small.open(pair.network.transport("small"), pair.clock, settings=settings)
        endpoint = await small.mesh.start("tcp://small:0")
        await pair.caller.mesh.start(None)
        link = pair.caller.mesh.dial(endpoint)
        await until(lambda: pair.caller.ups)
        with pytest.raises(PayloadTooLargeError):
            link.send(bytes(101), 1)
        await small.mesh.close()

    with_pair(scenario)


def test_what_was_retained_and_is_too_large_for_the_peer_ends_the_link():
    async def scenario(pair):
        small = LinkNode("small")
        settings = LinkSettings(max_payload_bytes=100)
        small.open(pair.network.transport("small"), pair.clock, settings=settings)
        endpoint = await small.mesh.start("tcp://small:0")
        await pair.caller.mesh.start(None)
        link = pair.caller.mesh.dial(endpoint)
        link.send(bytes(101), 2)
        await until(lambda: pair.caller.overs)
        assert isinstance(link.error, PayloadTooLargeError)
        assert pair.caller.overs[0][2] == 2
        await small.mesh.close()

    with_pair(scenario)


@pytest.mark.parametrize("algorithm", ["lz4", "gzip"])
def test_a_long_body_travels_compressed_and_arrives_as_it_was(algorithm):
    async def scenario(pair):
        pair.owner.echo = True
        link = await pair.stand()
        body = b"the same words again " * 500
        link.send(body, 1)
        await until(lambda: pair.caller.bodies == [body])
        told = link.statistics()
        assert told.bytes_out < len(body) / 5 and told.bytes_in < len(body) / 5
        await link.when_accepted()
        assert (link.retained_bytes, link.credit_bytes) == (0, 8 << 20)

    with_pair(scenario, compression=algorithm)


@pytest.mark.parametrize(
    ("compression", "body"),
    [("none", b"a" * 5000), ("lz4", random.Random(1).randbytes(5000)), ("lz4", b"a" * 1024)],
)
def test_what_is_short_or_does_not_shrink_or_must_not_travels_as_it_is(compression, body):
    async def scenario(pair):
        link = await pair.stand()
        link.send(body, 1)
        await link.when_accepted()
        assert pair.owner.bodies == [body]
        assert link.statistics().bytes_out == len(body)

    with_pair(scenario, compression=compression)


def test_a_heartbeat_reaches_the_node_and_its_answer_the_sender():
    async def scenario(pair):
        answers = []

        class Pulse:
            def connected(self): ...
            def lost(self): ...
            def received(self, packets):
                answers.extend(bytes(one.body) for one in packets)

        endpoint = await pair.owner.mesh.start("tcp://owner:0")
        wire = pair.network.transport("pulse").dial(endpoint, Pulse())
        await asyncio.sleep(0.1)
        beat = b"dA\x01\x09 its own layout"
        wire.send_datagram(None, beat)
        await until(lambda: pair.owner.datagrams)
        route, seen = pair.owner.datagrams[0]
        assert seen == beat
        pair.owner.mesh.send_datagram(route, b"dA\x01\x0a answer")
        await until(lambda: answers)
        assert answers == [b"dA\x01\x0a answer"]
        wire.close()

    with_pair(scenario)


def test_a_node_that_raises_disturbs_no_other_batch():
    async def scenario(pair):
        heard = []

        def batch(link, body, count, sender_now_ns, placement_version):
            heard.append(bytes(body))
            if len(heard) == 2:
                raise RuntimeError("planted")

        pair.owner.batch = batch
        link = await pair.stand()
        for number in range(5):
            link.send(b"%d" % number, 1)
        await link.when_accepted()
        assert heard == [b"0", b"1", b"2", b"3", b"4"] and link.statistics().connections == 1

    with_pair(scenario)


def test_an_endpoint_that_is_none_is_refused_at_once():
    async def scenario(pair):
        await pair.caller.mesh.start(None)
        with pytest.raises(UsageError, match="tcp://HOST:PORT"):
            pair.caller.mesh.dial("nonsense")
        assert list(pair.caller.mesh.links) == []

    with_pair(scenario)


def test_a_port_in_use_is_a_clear_error():
    async def scenario(pair):
        await pair.owner.mesh.start("tcp://owner:7")
        with pytest.raises(LinkError, match="the port is in use"):
            await pair.caller.mesh.start("tcp://owner:7")

    with_pair(scenario)


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        trace = []

        async def scenario(pair):
            pair.owner.echo = True
            link = await pair.stand()
            for number in range(50):
                link.send(b"%d" % number, 1)
                if pair.network.chance.random() < 0.2:
                    pair.network.cut_one()
                await asyncio.sleep(pair.network.chance.uniform(0, 0.05))
            await until(lambda: len(pair.caller.bodies) == 50)
            trace.append((pair.clock.now_ns(), link.statistics(), pair.owner.ups))

        with_pair(scenario, seed)
        return trace

    assert run(5) == run(5)
    assert run(5) != run(6)
