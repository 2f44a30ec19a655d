"""Node: the process's part in the fleet, where the cores meet."""

from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings

__all__ = ["Node", "NodeSettings"]
