"""What a node behind a wildcard or a NAT tells others of where it is."""

import pytest

from denoagents.errors import ConfigurationError
from denoagents.link.advertising import advertised, check_advertised


@pytest.mark.parametrize(
    "bind", ["tcp://0.0.0.0:7401", "tcp://*:7401", "tcp://[::]:7401", "tcp://*:*"]
)
def test_a_wildcard_needs_an_address_to_tell_and_the_error_says_how(bind):
    with pytest.raises(ConfigurationError, match="--advertise tcp://HOST:PORT"):
        check_advertised(bind, "")
    check_advertised(bind, "tcp://gpu1.example")
    check_advertised(bind, "tcp://[2001:db8::1]:7401")


@pytest.mark.parametrize("told", ["gpu1:7401", "tcp://0.0.0.0:1", "tcp://*:1", "udp://gpu1:1"])
def test_what_nobody_could_dial_is_not_advertised(told):
    with pytest.raises(ConfigurationError, match="cannot be advertised"):
        check_advertised("tcp://127.0.0.1:1", told)


def test_a_real_address_needs_nothing():
    for bind in ("tcp://127.0.0.1:0", "tcp://10.1.2.3:7401", "tcp://[::1]:0"):
        check_advertised(bind, "")


@pytest.mark.parametrize(
    ("advertise", "told"),
    [
        ("", "tcp://0.0.0.0:53211"),
        ("tcp://gpu1", "tcp://gpu1:53211"),
        ("tcp://gpu1:0", "tcp://gpu1:53211"),
        ("tcp://gpu1:9", "tcp://gpu1:9"),
        ("tcp://[2001:db8::1]", "tcp://[2001:db8::1]:53211"),
        ("tcp://[2001:db8::1]:9", "tcp://[2001:db8::1]:9"),
    ],
)
def test_the_real_port_stands_in_for_one_that_is_not_told(advertise, told):
    assert advertised("tcp://0.0.0.0:53211", advertise) == told
