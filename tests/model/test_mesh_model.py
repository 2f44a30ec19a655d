"""Whole meshes over a bad network in virtual time: the oracle is what was sent, in order, once."""

import asyncio
import os
from random import Random

import pytest
from link_nodes import LinkNode, until

from denoagents.link import LinkSettings
from denoagents.testing.loop import run_virtually
from denoagents.testing.network import Network

SEEDS = range(2000 if os.environ.get("DENOAGENTS_FULL") else 25)
NAMES = ("ann", "bob", "cyd")
SETTINGS = LinkSettings(keep_alive_s=4.0, compression_threshold_bytes=100, window_bytes=4000)


class Talk:
    """Three meshes; each dials both others, and both ends of each link send."""

    def __init__(self, clock, seed):
        self.network = Network(seed, longest_s=0.02)
        self.chance = Random(seed)
        self.nodes = {name: LinkNode(name) for name in NAMES}
        self.sent = {}
        self.got = {}
        self.links = {}
        for name, node in self.nodes.items():
            node.open(self.network.transport(name), clock, settings=SETTINGS)
            node.batch = self.hear(name)

    def hear(self, name):
        def batch(link, body, count, sender_now_ns, placement_version):
            key = (link.peer.name, name, link.dialed)
            self.got.setdefault(key, []).append(bytes(body))
            if self.chance.random() < 0.2:
                self.send(name, link)

        return batch

    def send(self, name, link):
        number = len(self.sent.setdefault((name, link.peer.name, not link.dialed), []))
        body = b"%d " % number * self.chance.choice([1, 1, 1, 100])
        self.sent[name, link.peer.name, not link.dialed].append(body)
        link.send(body, 1)

    async def begin(self):
        endpoints = {
            name: await node.mesh.start("tcp://host:0") for name, node in self.nodes.items()
        }
        for name in NAMES:
            for other in NAMES:
                if other != name:
                    dial = self.nodes[name].mesh.dial
                    self.links[name, other] = dial(endpoints[other], name=other)

    async def disturb(self):
        chance, network = self.chance, self.network
        act = chance.choice(["cut", "cut", "cut all", "block", "heal", "damage", "calm"])
        if act == "cut":
            network.cut_one()
        elif act == "cut all":
            network.cut()
        elif act == "block":
            network.block(*chance.sample(NAMES, 2))
        elif act == "heal":
            network.heal()
        else:
            network.damage_share = 0.03 if act == "damage" else 0.0
        await asyncio.sleep(chance.choice([0, 0.01, 0.2, 5]))

    async def run(self):
        await self.begin()
        for _ in range(150):
            link = self.chance.choice(list(self.links))
            self.send(link[0], self.links[link])
            if self.chance.random() < 0.15:
                await self.disturb()
            elif self.chance.random() < 0.5:
                await asyncio.sleep(self.chance.choice([0, 0.001, 0.01]))
        self.network.heal()
        self.network.damage_share = 0.0
        await until(lambda: self.got == self.sent, 60)
        await until(self.all_is_acknowledged, 60)
        told = [link.statistics() for node in self.nodes.values() for link in node.mesh.links]
        for node in self.nodes.values():
            assert node.overs == []
            assert len(node.mesh._acceptance._routes) <= len(node.mesh._acceptance.links) == 2
            assert node.accepted_count == sum(
                len(bodies) for key, bodies in self.sent.items() if key[0] == node.name
            )
        for node in self.nodes.values():
            await node.mesh.close()
        return told

    def all_is_acknowledged(self):
        links = [link for node in self.nodes.values() for link in node.mesh.links]
        return not any(link.retained_count for link in links)


def talk(seed):
    async def main(clock):
        one = Talk(clock, seed)
        return await one.run(), one.network.cuts, one.network.frames_lost, clock.now_ns()

    return run_virtually(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_reordered_whatever_the_network_does(seed):
    talk(seed)


def test_the_network_was_really_bad():
    ran = [talk(seed) for seed in range(5)]
    assert sum(cuts for _, cuts, _, _ in ran) > 20
    assert sum(lost for _, _, lost, _ in ran) > 20
    assert sum(one.resends for told, *_ in ran for one in told) > 20


def test_the_same_seed_is_the_same_run():
    assert talk(3) == talk(3)
