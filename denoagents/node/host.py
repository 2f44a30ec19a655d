"""Where this process runs."""

from __future__ import annotations

import os
import socket


def this_host() -> tuple[str, int]:
    """(host name, process id)."""
    return socket.gethostname(), os.getpid()
