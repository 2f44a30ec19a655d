"""A fleet whose members say what a test lets them say."""

from denoagents._native.placement import assign
from denoagents.cluster import messages, orders
from denoagents.cluster import slots as slot_set
from denoagents.cluster.beat import Beat
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.settings import ClusterSettings

S = 1_000_000_000
TYPES = {"T": {"name": "T", "methods": {"add": {"parameters": [{"name": "n", "type": "int"}]}}}}


class Script:
    """Runs a real Fleet; stores at once unless told otherwise; remembers what it says."""

    def __init__(self, stored=None, **settings):
        self.now = 100 * S
        self.broken = ""
        self.said = []
        self.blob = stored
        self.fleet = Fleet(
            cluster="c",
            incarnation=999,
            settings=ClusterSettings(**settings),
            assign=assign,
            now_ns=self.now,
            stored=stored,
        )

    def do(self, todo):
        for one in todo:
            self.said.append(one)
            if isinstance(one, orders.Persist):
                if self.broken:
                    self.do(self.fleet.store_failed(one.number, self.broken, self.now))
                else:
                    self.blob = one.state
                    self.do(self.fleet.stored(one.number, self.now))

    def messages(self, kind, to=None):
        return [
            one.message
            for one in self.said
            if isinstance(one, orders.Send)
            and isinstance(one.message, kind)
            and (to is None or to in one.to)
        ]

    def ended(self):
        return [one.incarnation for one in self.said if isinstance(one, orders.End)]

    def join(self, name, incarnation, group="g", types=None, **fields):
        message = messages.Join(
            name=name,
            incarnation=incarnation,
            role="client" if group is None else "worker",
            endpoint=f"tcp://{name}",
            group=group or "",
            types={} if group is None else types or TYPES,
            **{"host": "h", **fields},
        )
        self.do(self.fleet.join(message, self.now))

    def ack(self, *incarnations, version=None):
        for incarnation in incarnations or tuple(self.fleet.members):
            wanted = self.fleet.version if version is None else version
            self.do(self.fleet.acknowledge(incarnation, wanted, self.now))

    def activate(self, incarnation, excepted=()):
        """The worker runs what it owns."""
        group = self.fleet.groups[self.fleet.members[incarnation].group]
        message = messages.Activated(
            version=self.fleet.version,
            group=group.name,
            slots=slot_set.pack(group.owners.get(incarnation, 0)),
            excepted=list(excepted),
        )
        self.do(self.fleet.activated(incarnation, message, self.now))

    def calm(self):
        """Everybody acknowledges and activates until nothing changes any more."""
        version = -1
        while version != self.fleet.version:
            version = self.fleet.version
            self.ack()
            for member in self.fleet.workers():
                self.activate(member.incarnation)

    def beat(self, *incarnations, **fields):
        return [self.fleet.beat(Beat(i, self.now, **fields), self.now) for i in incarnations]

    def wait(self, seconds, beating=()):
        """Time passes in ticks of the broker; some members beat."""
        end = self.now + int(seconds * S)
        while self.now < end:
            self.now = min(end, self.now + S // 10)
            self.beat(*beating)
            self.do(self.fleet.tick(self.now))
