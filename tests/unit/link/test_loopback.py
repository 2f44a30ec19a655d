"""Nothing listens beyond the loopback while there are no keys."""

import pytest

from denoagents.errors import ConfigurationError
from denoagents.link.connection import check_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "lo"])
def test_the_loopback_may_be_listened_on(host):
    check_loopback(f"tcp://{host}:7400")


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "10.1.2.3", "[::]", "eth0", "example.org"])
def test_what_other_machines_reach_is_refused_with_the_remedy(host):
    with pytest.raises(ConfigurationError, match=r"no keys.*listen on tcp://127"):
        check_loopback(f"tcp://{host}:7400")
