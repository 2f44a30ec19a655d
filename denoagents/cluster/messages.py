"""The control messages between members and broker, and between two members: shapes and checks.

Rules: a message is a msgpack map whose "t" names its verb; requests carry "id", answers the same
number as "re"; unknown fields are ignored, so that a newer peer may say more. Sets of slots are 512
bytes (`slots.pack`). Incarnations have 63 bits, 0 means nobody. Everything is checked while it is
decoded; what does not fit is a `ProtocolError`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from denoagents.errors import ProtocolError
from denoagents.security.allow_list import MAX_ENTRIES, Entry

Incarnation = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
MAX_VERSION = 2**32 - 1
Version = Annotated[int, msgspec.Meta(ge=0, le=MAX_VERSION)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
SlotBits = Annotated[bytes, msgspec.Meta(min_length=512, max_length=512)]
Hops = Annotated[int, msgspec.Meta(ge=0, le=255)]
Role = Literal["worker", "client"]
MemberState = Literal["member", "placed", "draining", "unhealthy"]

EMPTY_SLOTS = bytes(512)

MAX_MESSAGE_BYTES = 8 << 20
"""A control message above this is not decoded."""


class Lingering(msgspec.Struct, frozen=True, array_like=True):
    """An actor that stays with `holder` until its running turn ends, though its slot has moved."""

    group: Name
    slot: Annotated[int, msgspec.Meta(ge=0, lt=4096)]
    actor: Text
    """Text of the root address: children move with it."""
    holder: Incarnation


class MemberRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker as every node knows it; only those in state "placed" own slots."""

    name: Name
    incarnation: Incarnation
    endpoint: Name = ""
    group: Name = ""
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    role: Role = "worker"
    state: MemberState = "member"


class GroupRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the workers of a group host."""

    types: dict[Name, str] = {}
    """Actor type to a digest of its signature."""


class Source(msgspec.Struct, frozen=True, array_like=True):
    """The living incarnation that still holds slots whose owner is another one by now."""

    incarnation: Incarnation
    slots: SlotBits


class VersionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One placement version: all that a node needs to route, to hold and to activate."""

    version: Version
    members: list[MemberRecord] = []
    groups: dict[Name, GroupRecord] = {}
    sources: dict[Name, list[Source]] = {}
    lingering: list[Lingering] = []
    over: list[Incarnation] = []
    """Incarnations declared over most recently, clients too; workers also vanish from `members`."""
    settings: dict[str, dict[str, Any]] = {}
    """Live settings by path, such as {"pool/NAME": {"weight.WORKER": 3}}."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t", kw_only=True):
    """What all control messages have in common."""

    id: int = 0
    re: int = 0


# --- member to broker -------------------------------------------------------------------------


class Join(Message, frozen=True, tag="join"):
    """Asks for admission; sent again, with the same incarnation, to a broker that started anew."""

    name: Name
    incarnation: Incarnation
    role: Role = "worker"
    endpoint: Name = ""
    group: Name = ""
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    types: dict[Name, dict[str, Any]] = {}
    host: Name = ""
    pid: int = 0
    version: Version = 0
    """The last version that this member acknowledged, 0 for a new one."""
    holding: dict[Name, SlotBits] = {}
    """Slots it holds, by group: the broker's truth after a restart."""
    lingering: list[Lingering] = []
    """Actors in held slots that still live elsewhere."""
    over: list[Incarnation] = []
    """Incarnations it knows to be over."""
    store: Text = ""
    """Names the place where its durable actors are kept; "" if it has none."""
    fence: Version = 0
    """The highest fence in there: versions are to be above it."""


class Ack(Message, frozen=True, tag="ack"):
    """All sent before to former owners is accepted, and nothing of evicted members is let in."""

    version: Version


class Activated(Message, frozen=True, tag="activated"):
    """The sender runs these slots, except for actors that still live elsewhere."""

    version: Version
    group: Name
    slots: SlotBits
    excepted: list[Lingering] = []


class ActivatedActors(Message, frozen=True, tag="activated_actors"):
    """Actors that lived elsewhere have arrived."""

    group: Name
    actors: list[Text]


class Leave(Message, frozen=True, tag="leave"):
    """`drain`: take my slots first. Otherwise: I am gone."""

    drain: bool = False
    reason: Text = ""


class Reaped(Message, frozen=True, tag="reaped"):
    """A parent has seen the end of its child process."""

    incarnation: Incarnation


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reliable message that nobody will run any more, unless somebody replays it."""

    stream: Annotated[int, msgspec.Meta(ge=0)]
    number: Annotated[int, msgspec.Meta(ge=0)]
    """With `stream` the message's identity: the same one is kept once."""
    target: Text
    method: Name
    payload: bytes
    reason: Text
    priority: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    deaths: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Lives of its actor that it ended, as far as its sender knows."""
    node: Name = ""
    """Who sent it."""
    age_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Time since it was sent first, when it was quarantined."""
    trace: bytes = b""


class Quarantine(Message, frozen=True, tag="quarantine"):
    """Keep this message; answered when it is stored. Until then it is the sender's."""

    message: Quarantined


class Operate(Message, frozen=True, tag="operate"):
    """An operator's request: status, get, describe, set, drain, types."""

    verb: Name
    body: dict[str, Any] = {}


# --- broker to member -------------------------------------------------------------------------


class Joined(Message, frozen=True, tag="joined"):
    """Admission, with the version in force."""

    record: VersionRecord
    settled: Version = 0
    broker: Incarnation = 0


class Refused(Message, frozen=True, tag="refused"):
    """No admission; `retry_after_s` above 0 says that trying again makes sense."""

    reason: Text
    retry_after_s: float = 0.0


class Published(Message, frozen=True, tag="version"):
    """A new version."""

    record: VersionRecord


class Settled(Message, frozen=True, tag="settled"):
    """Every living member has acknowledged the version."""

    version: Version


class Keys(Message, frozen=True, tag="keys"):
    """The keys that the fleet lets in; every node checks them."""

    entries: Annotated[list[Entry], msgspec.Meta(max_length=MAX_ENTRIES)]


class Probe(Message, frozen=True, tag="probe"):
    """Deep health probe: answer with `{"ok": bool, ...}`."""


class Report(Message, frozen=True, tag="report"):
    """Answer with the node's statistics."""


class Drain(Message, frozen=True, tag="drain"):
    """Give up your slots and end, as on SIGTERM."""

    reason: Text = ""


class Evicted(Message, frozen=True, tag="evicted"):
    """This incarnation is over for the fleet."""

    reason: Text = ""


# --- both ways --------------------------------------------------------------------------------


class Answer(Message, frozen=True, tag="answer"):
    """The answer to a request: `error` is what `errors.to_wire` made, or empty."""

    body: dict[str, Any] = {}
    error: dict[str, Any] = {}


# --- member to member -------------------------------------------------------------------------


class Ship(Message, frozen=True, tag="ship"):
    """An actor on its way to its new owner, or only messages that waited for one elsewhere.

    The receiver runs what waits in this order: that of the whole actor, then what others relayed
    (`is_whole` False), then what it has kept itself; whichever of them came first."""

    version: Version
    group: Name
    slot: int
    actor: Text
    is_whole: bool = True
    state: bytes = b""
    waiting: list[bytes] = []
    timers: list[bytes] = []
    duplicates: bytes = b""
    part: int = 0
    is_last: bool = True


class Released(Message, frozen=True, tag="released"):
    """The sender holds these slots and actors no longer; all it had has been shipped before.

    `via` 0: given to the receiver. Otherwise: given earlier, to the incarnation `via`."""

    version: Version
    group: Name
    slots: SlotBits = EMPTY_SLOTS
    actors: list[Lingering] = []
    """Single actors that are released; `holder` is the sender."""
    excepted: list[Lingering] = []
    """Actors in `slots` that still live with their `holder`."""
    via: Incarnation = 0


class Watch(Message, frozen=True, tag="watch"):
    """`watcher` wants to hear of the end of `target`, whose process the receiver is."""

    target: Text
    watcher: Text
    ends: bool = False
    """It does not want to any more."""
    died: Text = ""
    """How the process ended that had the target: has it, and the watch, moved here before that?"""
    hops: Hops = 0

    def once_more(self) -> Watch:
        """The same, sent on."""
        return msgspec.structs.replace(self, hops=self.hops + 1)


class Watched(Message, frozen=True, tag="watched"):
    """The sender has the target, and knows its watcher."""

    target: Text
    watcher: Text


class Terminated(Message, frozen=True, tag="terminated"):
    """The life of `target` has ended."""

    target: Text
    watcher: Text
    reason: Text = ""
    hops: Hops = 0

    def once_more(self) -> Terminated:
        """The same, sent on."""
        return msgspec.structs.replace(self, hops=self.hops + 1)


ControlMessage = (
    Join
    | Ack
    | Activated
    | ActivatedActors
    | Leave
    | Reaped
    | Quarantine
    | Operate
    | Joined
    | Refused
    | Published
    | Settled
    | Keys
    | Probe
    | Report
    | Drain
    | Evicted
    | Answer
    | Ship
    | Released
    | Watch
    | Watched
    | Terminated
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ControlMessage)


def encode(message: Message) -> bytes:
    """The msgpack map of a message."""
    return _encoder.encode(message)


def decode(payload: bytes | memoryview) -> ControlMessage:
    """The message in `payload`; anything else is a `ProtocolError` that names what is wrong."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"a control message has {len(payload)} bytes, the limit is {MAX_MESSAGE_BYTES}"
        )
    try:
        message: ControlMessage = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a control message: {error}") from None
    return message
