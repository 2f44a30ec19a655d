"""Sources, precedence, origins, and everything that can be wrong."""

import pytest

from denoagents.config.keys import KEYS
from denoagents.config.load import ConfigurationProblemsError, check, load
from denoagents.errors import ConfigurationError
from denoagents.units import Bytes, Duration

PEAK = "agent.memory.peak"
PEAK_VARIABLE = "DENOAGENTS_AGENT__MEMORY__PEAK"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fleet.toml"

    def write(text):
        path.write_text(text)
        return path

    return write


def problems_of(**sources):
    sources.setdefault("environment", {})
    with pytest.raises(ConfigurationProblemsError) as caught:
        load(**sources)
    return caught.value.problems


def test_every_key_has_its_default():
    config = load(environment={})
    assert {one.key.name for one in config} == {key.name for key in KEYS}
    assert {one.origin for one in config} == {"default"}
    assert config[PEAK] == Bytes(150_000_000)


def test_flags_win_over_environment_over_file_over_profile_over_default(file):
    path = file('[agent.memory]\npeak = "151MB"\n[agent.cpu.throttling]\naction = "queue requests"')
    in_file = load(file=path, profile="open", environment={})
    assert in_file.setting(PEAK).origin == f"file {path}"
    assert in_file["agent.cpu.throttling.action"] == "queue requests"
    assert in_file.setting("request_handling.backpressure.strategy").origin == "profile open"
    in_environment = load(file=path, environment={PEAK_VARIABLE: "152MB"})
    assert in_environment[PEAK] == Bytes(152_000_000)
    assert in_environment.setting(PEAK).origin == f"environment {PEAK_VARIABLE}"
    by_flag = load(file=path, environment={PEAK_VARIABLE: "152MB"}, flags=[f"{PEAK}=153MB"])
    assert by_flag[PEAK] == Bytes(153_000_000)
    assert by_flag.setting(PEAK).origin == "flag --set"


def test_a_value_is_shown_as_it_was_written():
    config = load(environment={}, flags=["agent.connections.timeout=90s"])
    assert config.setting("agent.connections.timeout").text == "90s"
    assert config["agent.connections.timeout"] == Duration(90)


def test_the_file_is_found_by_its_variable(file):
    path = file('cluster.name = "tests"')
    assert load(environment={"DENOAGENTS_CONFIG": str(path)})["cluster.name"] == "tests"


def test_a_file_in_the_working_directory_is_found(file, monkeypatch):
    written = file('cluster.name = "here"')
    path = written.rename(written.with_name("denoagents.toml"))
    monkeypatch.chdir(path.parent)
    assert load(environment={})["cluster.name"] == "here"


def test_the_profile_comes_from_its_variable_unless_a_flag_names_one():
    environment = {"DENOAGENTS_PROFILE": "open"}
    assert load(environment=environment).profile == "open"
    assert load(environment=environment, profile="default").profile == "default"


def test_the_open_profile_lifts_admission_and_throttles():
    config = load(environment={}, profile="open")
    assert config["request_handling.backpressure.strategy"] == "off"
    assert config["agent.cpu.throttling.action"] == "off"
    changed = {one.key.name for one in config if one.origin != "default"}
    assert all(load(environment={}).setting(name).text != config.setting(name).text
               for name in changed)  # fmt: skip


def test_an_unknown_profile_names_the_nearest():
    assert problems_of(profile="opne") == (
        "there is no profile 'opne' (default, open, wan). Did you mean 'open'?",
    )


def test_an_unknown_key_names_the_nearest(file):
    (problem,) = problems_of(file=file('[agent.memory]\npaek = "1MB"'))
    assert "there is no key 'agent.memory.paek'. Did you mean 'agent.memory.peak'?" in problem


def test_an_unknown_section_is_an_error_even_when_empty_of_near_names(file):
    (problem,) = problems_of(file=file("[zzz]\nqqq = 1"))
    assert "there is no key 'zzz.qqq'. See `denoagents config show`." in problem


def test_a_section_where_a_value_belongs_is_an_error(file):
    (problem,) = problems_of(file=file('agent.memory = "150MB"'))
    assert "'agent.memory' is a section" in problem
    (problem,) = problems_of(file=file('agent.memory.peak.hard = "150MB"'))
    assert "agent.memory.peak: {'hard': '150MB'} cannot be used" in problem


def test_one_underscore_between_sections_is_found_out():
    (problem,) = problems_of(environment={"DENOAGENTS_AGENT_MEMORY_PEAK": "1MB"})
    assert f"Did you mean '{PEAK_VARIABLE}'?" in problem


def test_variables_of_others_are_left_alone():
    load(environment={"DENOAGENTS_PORT": "tcp://10.0.0.1:80", "DENOAGENTS_DEBUG": "1", "PATH": ""})


def test_a_flag_without_a_value_says_how_to_write_it():
    assert problems_of(flags=[PEAK]) == (f"flag --set {PEAK}: write --set section.key=value",)


def test_everything_wrong_is_reported_at_once(file):
    path = file('[agent]\nx = 1\n[link]\nwindow = "much"\nmax_payload = -1')
    found = problems_of(file=path, environment={"DENOAGENTS_CLUSTER__BEAT": "soon"})
    assert len(found) == 4
    assert any("link.window" in one and '"50MB"' in one for one in found)


def test_a_file_that_is_not_toml_or_not_there_is_named(file, tmp_path):
    (problem,) = problems_of(file=file("a = = 1"))
    assert "is not TOML" in problem
    (problem,) = problems_of(file=tmp_path / "none.toml")
    assert problem == f"there is no file {tmp_path / 'none.toml'}"
    (problem,) = problems_of(file=tmp_path)
    assert "cannot be read" in problem


def test_check_looks_at_the_file_alone(file, monkeypatch):
    monkeypatch.setenv(PEAK_VARIABLE, "nonsense")
    assert check(file('agent.memory.peak = "200MB"'))[PEAK] == Bytes(200_000_000)


@pytest.mark.parametrize(
    ("flag", "part"),
    [
        ("agent.memory.peak=100MB", "= 140MB (default) is above agent.memory.peak = 100MB"),
        ("agent_scaling.limits.min=11", "agent_scaling.limits.min = 11 (flag --set) is above"),
        ("caching.memory.segments.routing=20%", "make 1.1 of the cache"),
        (
            "cluster.replace_after=1s",
            "replace_after = 1s (flag --set) must be above cluster.stop_after",
        ),
        ("cluster.beat=800ms", "cluster.stop_after = 1600ms (default) must be above twice"),
    ],
)
def test_values_that_contradict_each_other_are_named(flag, part):
    (problem,) = problems_of(flags=[flag])
    assert part in problem


def test_an_unknown_name_asked_of_a_config_is_an_error():
    with pytest.raises(ConfigurationError, match=r"Did you mean 'agent\.memory\.peak'"):
        load(environment={})["agent.memory.peek"]
