"""Keys reach the settings of the rooms, and the rooms' own defaults are the plan's."""

import dataclasses

import pytest

from denoagents.config import plan
from denoagents.config.keys import KEYS
from denoagents.config.load import load
from denoagents.errors import ConfigurationError
from denoagents.units import Rate

ROOMS = {
    "link": (plan.to_link_settings, plan.LINK),
    "actor": (plan.to_actor_settings, plan.ACTOR),
    "cluster": (plan.to_cluster_settings, plan.CLUSTER),
    "admission": (plan.to_admission_settings, plan.ADMISSION),
    "node": (plan.to_node_settings, plan.NODE),
    "store": (plan.to_store_settings, plan.STORE),
    "spill": (plan.to_spill_settings, plan.SPILL),
}
INTERNAL = {
    "link": {"ack_delay_s", "ack_batches", "drain_packets"},
    "actor": {"sweep_every_s"},
    "cluster": {"late_tick_s", "tick_every_s", "report_timeout_s"},
    "admission": {"weights", "max_waiting"},
    "store": set(),
    "spill": {"is_on"},
    "node": {
        "spill",
        "security",
        "link",
        "actor",
        "cluster",
        "admission",
        "tick_s",
        "ends_blocked_process",
    },
}
"""Fields that no operator needs: each has its reason beside it."""
ROUNDED = {"compression_threshold_bytes", "link"}
"""1 KB is 1000 bytes to people and 1024 to the link: the plan's "over 1 KB" is both."""

ELSEWHERE = {
    "broker.address": "the commands",
    "broker.store": "the broker command",
    "message_router.memory.spillover": "to_spill_settings",
    "store.path": "the store and worker commands",
    "security.keys": "to_security_settings",
    "security.key": "to_security_settings",
    "logs.level": "the commands",
    "logs.form": "the commands",
    "logs.payloads": "the commands",
    "request_handling.backpressure.strategy": "to_admission_settings",
    "optimization.network.keep_alive.enabled": "to_link_settings",
}
"""Keys in effect that are no field's value -> who reads them."""


def config(*flags):
    return load(environment={}, flags=flags)


@pytest.mark.parametrize("room", ROOMS)
def test_every_field_has_a_key_or_is_internal(room):
    compose, table = ROOMS[room]
    fields = {field.name for field in dataclasses.fields(compose(config()))}
    assert fields - set(table) == INTERNAL[room]


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_own_defaults_are_the_configurations(room):
    compose, _ = ROOMS[room]
    composed = compose(config())
    own = dataclasses.asdict(type(composed)())
    effective = dataclasses.asdict(composed)
    assert {k: v for k, v in effective.items() if k not in ROUNDED} == {
        k: v for k, v in own.items() if k not in ROUNDED
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_key_of_the_tables_exists_and_is_in_effect(room):
    by_name = {key.name: key for key in KEYS}
    assert all(by_name[name].in_effect for name in ROOMS[room][1].values())


def test_every_key_in_effect_is_read_by_somebody():
    read = {name for _, table in ROOMS.values() for name in table.values()} | set(ELSEWHERE)
    said = {key.name for key in KEYS if key.in_effect and not has_only_one_value(key)}
    assert said == read


def has_only_one_value(key):
    return len(key.choices) == 1 or key.name == "request_handling.queueing.priority"


def test_values_arrive_in_the_rooms_units():
    assert plan.to_link_settings(config("link.window=1MiB")).window_bytes == 1 << 20
    assert type(plan.to_link_settings(config()).window_bytes) is int
    assert plan.to_cluster_settings(config("cluster.beat=300ms")).beat_every_s == 0.3
    settings = plan.to_admission_settings(config("request_handling.backpressure.rate=600/minute"))
    assert settings.rate == Rate(600, 60)


def test_the_bucket_can_be_lifted():
    assert plan.to_admission_settings(load(environment={}, profile="open")).rate is None


def test_keep_alive_can_be_switched_off():
    settings = plan.to_link_settings(config("optimization.network.keep_alive.enabled=off"))
    assert settings.keep_alive_s == plan.NEVER_S


def test_what_a_room_refuses_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="less than 2 GiB"):
        plan.to_link_settings(config("link.max_payload=3GiB"))
