"""How values are shown."""

import json

import pytest

from denoagents.cli.call_options import read_arguments, read_timeout
from denoagents.cli.output import print_json, print_table, show, show_bytes, show_seconds
from denoagents.errors import ConfigurationError, UsageError


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (False, "no"), (1234567, "1 234 567"), (0.25, "0.2"),
     (12345.6, "12 346"), (["a", 1], "a, 1"), ("x", "x")],
)  # fmt: skip
def test_cells(value, text):
    assert show(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (48_300_000, "48 MB"), (2e9, "2.0 GB"),
     (5e15, "5000.0 TB")],
)  # fmt: skip
def test_bytes(count, text):
    assert show_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8s"), (12.3, "12s"), (60, "1m"), (312, "5m 12s"), (3600, "1h"), (273_600, "3d 4h")],
)
def test_durations(seconds, text):
    assert show_seconds(seconds) == text


def test_tables_for_a_pipe_are_whole_lines_without_colour(capsys):
    print_table(("name", "count"), [("a" * 300, 5), ("b", 12000)])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "COUNT"]
    assert first.split() == ["a" * 300, "5"]
    assert second.split(maxsplit=1) == ["b", "12 000"]


def test_an_empty_table_says_so(capsys):
    print_table(("name",), [], empty="no workers")
    assert capsys.readouterr().out == "no workers\n"


def test_json_takes_any_value(capsys):
    print_json({"b": b"x\xff", "s": {1}, "t": (1, 2), "o": object})
    fields = json.loads(capsys.readouterr().out)
    assert fields["b"] == "x\\xff"
    assert fields["s"] == [1]


def test_arguments_are_json_or_plain_words():
    words = ["2", "-1.5", "true", "null", '"2"', "[1, 2]", '{"a": 1}', "hello", "heapq.merge"]
    values = [2, -1.5, True, None, "2", [1, 2], {"a": 1}, "hello", "heapq.merge"]
    assert read_arguments(words) == values
    with pytest.raises(UsageError, match="is no JSON"):
        read_arguments(["[1, 2"])


def test_timeouts_have_units():
    assert read_timeout("1500ms") == 1.5
    assert read_timeout(None) is None
    with pytest.raises(ConfigurationError):
        read_timeout("soon")
