"""Links: sessions between nodes over ZeroMQ, in which nothing is lost, doubled or reordered."""

from denoagents.link.connection import ZeroMQTransport
from denoagents.link.handshake import Identity, Peer
from denoagents.link.link import Link, MeshEvents
from denoagents.link.mesh import Mesh
from denoagents.link.settings import LinkSettings
from denoagents.link.statistics import LinkStatistics, MeshStatistics
from denoagents.link.transport import Receiver, Transport, Wire

__all__ = [
    "Identity",
    "Link",
    "LinkSettings",
    "LinkStatistics",
    "Mesh",
    "MeshEvents",
    "MeshStatistics",
    "Peer",
    "Receiver",
    "Transport",
    "Wire",
    "ZeroMQTransport",
]
