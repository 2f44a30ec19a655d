"""Settings of admission: what cannot work is refused when it is set."""

import pytest

from denoagents.errors import ConfigurationError
from denoagents.limits.settings import AdmissionSettings
from denoagents.units import Rate


def test_the_defaults_are_the_plans():
    settings = AdmissionSettings()
    assert (str(settings.rate), settings.burst, settings.weights) == ("1000/s", 100, (8, 4, 1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rate": Rate(0)}, "rate 0/s admits nothing; use 1/s or more"),
        ({"burst": 0}, "burst 0 admits nothing; use 1 or more"),
        ({"weights": (8, 4, 0)}, r"weights \(8, 4, 0\) would starve a priority; use"),
        ({"max_waiting": -1}, "max_waiting -1 must be 0 or more"),
    ],
)
def test_a_wrong_setting_names_value_rule_and_remedy(wrong, words):
    with pytest.raises(ConfigurationError, match=words):
        AdmissionSettings(**wrong)
