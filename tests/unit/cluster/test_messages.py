import msgspec
import pytest

from denoagents.cluster import messages as m
from denoagents.errors import ProtocolError
from denoagents.security.allow_list import Entry

RECORD = m.VersionRecord(
    version=3,
    members=[m.MemberRecord(name="w", incarnation=5, endpoint="tcp://x", state="placed")],
    groups={"g": m.GroupRecord(types={"T": "abc"})},
    sources={"g": [m.Source(5, bytes(512))]},
    lingering=[m.Lingering("g", 4095, "T/a", 5)],
    over=[1, 2],
    settings={"pool/p": {"weight.w": 3}},
)
EVERY = [
    m.Join(id=4, name="w", incarnation=2**63 - 1, types={"T": {"methods": {}}}),
    m.Ack(version=1),
    m.Activated(version=1, group="g", slots=bytes(512), excepted=RECORD.lingering),
    m.ActivatedActors(group="g", actors=["T/a"]),
    m.Leave(drain=True),
    m.Reaped(incarnation=4),
    m.Quarantine(id=1, message=m.Quarantined(1, 2, "T/a", "add", b"x", "y", deaths=3)),
    m.Operate(id=1, verb="status"),
    m.Joined(record=RECORD, settled=2, broker=9),
    m.Refused(reason="no", retry_after_s=0.5),
    m.Published(record=RECORD),
    m.Settled(version=3),
    m.Keys(entries=[Entry("ab" * 32, "w", "worker")]),
    m.Probe(id=1),
    m.Report(id=1),
    m.Drain(reason="x"),
    m.Evicted(reason="x"),
    m.Answer(re=1, body={"a": [1, 2.5, None]}),
    m.Ship(version=1, group="g", slot=3, actor="T/a", state=b"s", waiting=[b"w"]),
    m.Released(version=1, group="g", via=4),
    m.Watch("T/a", "T/b", ends=True, died="x", hops=3),
    m.Watched("T/a", "T/b"),
    m.Terminated("T/a", "T/b", "it was stopped"),
]


@pytest.mark.parametrize("message", EVERY, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire(message):
    assert m.decode(m.encode(message)) == message


def test_every_verb_is_listed_here():
    tags = {one.__struct_config__.tag for one in m.ControlMessage.__args__}
    assert tags == {type(message).__struct_config__.tag for message in EVERY}


@pytest.mark.parametrize("message", EVERY, ids=lambda message: type(message).__name__)
def test_a_cut_message_is_refused(message):
    packed = m.encode(message)
    for size in range(len(packed)):
        with pytest.raises(ProtocolError):
            m.decode(packed[:size])


@pytest.mark.parametrize(
    "fields",
    [
        {"t": "nonsense"},
        {"t": "ack"},
        {"t": "ack", "version": -1},
        {"t": "ack", "version": 2**32},
        {"t": "ack", "version": "1"},
        {"t": "activated", "version": 1, "group": "g", "slots": bytes(511)},
        {"t": "join", "name": "x" * 201, "incarnation": 1},
        {"t": "join", "name": "x", "incarnation": 2**63},
        {"t": "released", "version": 1, "group": "g", "actors": [["g", 4096, "a", 1]]},
        [],
        7,
    ],
)
def test_what_does_not_fit_is_refused(fields):
    with pytest.raises(ProtocolError):
        m.decode(msgspec.msgpack.encode(fields))


def test_a_newer_peer_may_say_more():
    fields = {"t": "ack", "version": 1, "mood": "fine"}
    assert m.decode(msgspec.msgpack.encode(fields)) == m.Ack(version=1)


def test_deep_nesting_is_refused():
    deep = b"\x81\xa1a" * 100_000 + b"\xc0"
    packed = b"\x83\xa1t\xa7operate\xa4verb\xa1x\xa4body" + deep
    with pytest.raises(ProtocolError):
        m.decode(packed)


def test_a_message_over_the_limit_is_not_decoded():
    with pytest.raises(ProtocolError, match="limit"):
        m.decode(bytes(m.MAX_MESSAGE_BYTES + 1))
