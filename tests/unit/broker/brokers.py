"""A broker in virtual time, and members that say what a test lets them say."""

import asyncio

from denoagents.broker.broker import Broker
from denoagents.broker.records import decode_records, encode_record
from denoagents.cluster import messages as m
from denoagents.cluster.beat import Beat, decode_answer, encode_beat
from denoagents.link.handshake import Identity
from denoagents.link.mesh import Mesh
from denoagents.testing.network import Network

TYPES = {"T": {"name": "T", "methods": {}}}


class Puppet:
    """Speaks with the broker by control messages alone; beats until told otherwise."""

    def __init__(self, stage, name, incarnation, role="worker"):
        self.stage, self.name, self.incarnation, self.role = stage, name, incarnation, role
        self.heard = []
        self.over = ""
        self.answers = {}
        self.beats = True
        identity = Identity(name, role, incarnation, "default")
        transport = stage.network.transport(name)
        self.mesh = Mesh(identity=identity, events=self, transport=transport, clock=stage.clock)
        self.link = None

    async def dial(self):
        await self.mesh.start(None)
        self.link = self.mesh.dial(self.stage.broker.endpoint)
        await asyncio.sleep(0.2)
        return self

    def say(self, message):
        self.link.send(encode_record(m.encode(message)), 1)

    async def join(self, **fields):
        worker = {"types": TYPES, "group": "g", "endpoint": f"tcp://{self.name}:1"}
        fields = {**(worker if self.role == "worker" else {}), **fields}
        self.say(m.Join(name=self.name, incarnation=self.incarnation, role=self.role, **fields))
        await asyncio.sleep(0.1)
        return self

    async def operate(self, verb, **body):
        number = len(self.heard) + 1000
        self.say(m.Operate(id=number, verb=verb, body=body))
        for _ in range(300):
            await asyncio.sleep(0.01)
            for one in self.all(m.Answer):
                if one.re == number:
                    return one
        raise AssertionError("no answer")

    def all(self, kind):
        return [one for one in self.heard if isinstance(one, kind)]

    # --- what the link says -------------------------------------------------------------------

    def batch(self, link, body, count, sender_now_ns, placement_version):
        for payload in decode_records(body, count):
            message = m.decode(payload)
            self.heard.append(message)
            if isinstance(message, m.Published):
                self.say(m.Ack(version=message.record.version))
            body = self.answers.get(type(message))
            if body is not None:
                self.say(m.Answer(re=message.id, body=body))

    def link_over(self, link, reason, unaccepted):
        self.over = reason

    def link_up(self, link, is_new): ...
    def accepted(self, link, count): ...
    def drained(self): ...
    def datagram(self, route, packet): ...
    def may_rest(self, link):
        return False


class Stage:
    """One broker and its network."""

    def __init__(self, clock, **options):
        self.clock = clock
        self.network = Network(1)
        self.options = options
        self.puppets = []
        self.beat_answers = {}
        self.broker = self.make()

    def make(self):
        return Broker(
            bind="tcp://broker:1",
            clock=self.clock,
            transport=self.network.transport("broker"),
            incarnation=999,
            **self.options,
        )

    async def __aenter__(self):
        await self.broker.start()
        self.beating = asyncio.get_running_loop().create_task(self.beat())
        return self

    async def __aexit__(self, *exc):
        self.beating.cancel()
        for puppet in self.puppets:
            await puppet.mesh.close(0)
        await self.broker.close()

    async def beat(self):
        """Heartbeats reach the broker as datagrams of their own connections."""
        self.broker._mesh.send_datagram = self.answered
        while True:
            for puppet in self.puppets:
                if puppet.beats:
                    beat = Beat(puppet.incarnation, self.clock.now_ns())
                    self.broker.datagram(puppet.name.encode(), encode_beat(beat))
            await asyncio.sleep(0.2)

    def answered(self, route, packet):
        self.beat_answers[route.decode()] = decode_answer(packet)

    async def puppet(self, name, incarnation, role="worker"):
        puppet = Puppet(self, name, incarnation, role)
        self.puppets.append(puppet)
        return await puppet.dial()
