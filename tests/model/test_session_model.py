"""Two sessions over connections that cut anywhere, against an oracle that is two lists."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from denoagents.link.session import Session


class SessionPair(RuleBasedStateMachine):
    """`a` dials `b`; under way are tuples (seq, body, ack), per direction, in order, or nothing."""

    @initialize()
    def begin(self):
        self.sessions = {"a": Session(), "b": Session()}
        self.sent = {"a": [], "b": []}
        self.arrived = {"a": [], "b": []}  # what a and b were handed
        self.under_way = {"a": deque(), "b": deque()}  # from a, from b
        self.connected = False
        self.hello = None

    @staticmethod
    def other(name):
        return "b" if name == "a" else "a"

    def transmit(self, name, batch):
        if self.connected:
            session = self.sessions[name]
            self.under_way[name].append((batch.seq, batch.body, session.accepted))
            session.acknowledgement_left()

    @rule(name=st.sampled_from("ab"), count=st.integers(1, 3))
    def send(self, name, count):
        body = b"%d" % len(self.sent[name])
        self.sent[name].append(body)
        self.transmit(name, self.sessions[name].retain(body * count, count))

    @rule(name=st.sampled_from("ab"), many=st.integers(1, 5))
    def arrive(self, name, many):
        queue, receiver = self.under_way[name], self.sessions[self.other(name)]
        for _ in range(min(many, len(queue))):
            seq, body, ack = queue.popleft()
            receiver.acknowledge(ack)
            if seq and receiver.is_new(seq):
                receiver.accept(seq, len(body))
                self.arrived[self.other(name)].append(body)

    @precondition(lambda self: self.connected)
    @rule(name=st.sampled_from("ab"))
    def acknowledge(self, name):
        self.under_way[name].append((0, b"", self.sessions[name].accepted))
        self.sessions[name].acknowledgement_left()

    @rule(keep_a=st.integers(0, 5), keep_b=st.integers(0, 5))
    def cut(self, keep_a, keep_b):
        """A prefix of what is under way still arrives; then the connection is gone."""
        self.arrive("a", keep_a)
        self.arrive("b", keep_b)
        self.under_way["a"].clear()
        self.under_way["b"].clear()
        self.connected = False
        self.hello = None

    @precondition(lambda self: not self.connected and self.hello is None)
    @rule()
    def say_hello(self):
        self.hello = self.sessions["a"].accepted

    @precondition(lambda self: self.hello is not None)
    @rule(welcome_is_lost=st.booleans())
    def welcome(self, welcome_is_lost):
        welcome = self.sessions["b"].accepted
        self.connected = True
        _, batches = self.sessions["b"].resume(self.hello)
        self.hello = None
        for batch in batches:
            self.transmit("b", batch)
        if welcome_is_lost:
            self.under_way["b"].clear()
            self.connected = False
            return
        _, batches = self.sessions["a"].resume(welcome)
        for batch in batches:
            self.transmit("a", batch)

    @invariant()
    def arrives_in_order_exactly_once(self):
        for name in "ab" if hasattr(self, "sent") else "":
            arrived = self.arrived[self.other(name)]
            for got, body in zip(arrived, self.sent[name], strict=False):
                assert got in {body, body * 2, body * 3}
            assert len(arrived) <= len(self.sent[name])

    @invariant()
    def every_message_is_acknowledged_or_retained(self):
        for name in "ab" if hasattr(self, "sent") else "":
            session, peer = self.sessions[name], self.sessions[self.other(name)]
            assert session.acknowledged <= peer.accepted <= session.sent
            assert session.sent == len(self.sent[name])
            kept = list(session.retained)
            assert [one.seq for one in kept] == [*range(session.acknowledged + 1, session.sent + 1)]
            assert session.retained_count == sum(one.count for one in kept)
            assert session.retained_bytes == sum(len(one.body) for one in kept)

    def teardown(self):
        """Whatever happened: one more connection that holds brings everything."""
        if not hasattr(self, "sent"):
            return
        self.cut(0, 0)
        self.say_hello()
        self.welcome(welcome_is_lost=False)
        for name in "ab":
            self.arrive(name, len(self.under_way[name]))
        for name in "ab":
            assert len(self.arrived[self.other(name)]) == len(self.sent[name])
            self.acknowledge(name)
        for name in "ab":
            self.arrive(name, len(self.under_way[name]))
        for name in "ab":
            assert self.sessions[name].retained_count == 0


TestSessionPair = SessionPair.TestCase
TestSessionPair.settings = settings(stateful_step_count=60)
