"""Logs: console or JSON, never blocking, never failing."""

import io
import json
import threading
import time

import pytest
import structlog

from denoagents.cli.log_output import LineWriter, configure
from denoagents.config.load import load


@pytest.fixture(autouse=True)
def _restored():
    yield
    structlog.reset_defaults()


def lines_of(form, log, **context):
    stream = io.StringIO()
    writer = configure(form=form, stream=stream, context=context)
    log(structlog.get_logger("room"))
    writer.close()
    return stream.getvalue().splitlines()


def test_elsewhere_each_line_is_json():
    (line,) = lines_of("auto", lambda log: log.info("joined", actors=3), node="w1")
    fields = json.loads(line)
    assert fields["event"] == "joined"
    assert (fields["actors"], fields["node"], fields["level"]) == (3, "w1", "info")
    assert fields["timestamp"].endswith("Z")


def test_for_people_a_line_is_text():
    (line,) = lines_of("console", lambda log: log.warning("slow turn", actor="A/1"), node="w1")
    assert "slow turn" in line
    assert "actor=A/1" in line
    assert "\x1b" not in line


def test_an_exception_is_part_of_its_line():
    def fail(log):
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            log.exception("it failed")

    (line,) = lines_of("json", fail)
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_what_json_does_not_know_is_shown_as_text():
    (line,) = lines_of("json", lambda log: log.info("odd", value=object(), key={1, 2}))
    assert "object object" in json.loads(line)["value"]


def test_lines_below_the_level_are_dropped():
    stream = io.StringIO()
    writer = configure(level="warning", stream=stream)
    structlog.get_logger().info("no")
    structlog.get_logger().error("yes")
    writer.close()
    assert "yes" in stream.getvalue()
    assert "no" not in [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


class Stuck(io.StringIO):
    """A terminal that takes nothing until it is told to."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()

    def write(self, text):
        self.open.wait(5)
        return super().write(text)


def test_a_stuck_reader_does_not_stop_the_writer():
    stream = Stuck()
    writer = LineWriter(stream, bound=10)
    begun = time.perf_counter()
    for number in range(100):
        writer.write_line(str(number))
    assert time.perf_counter() - begun < 0.5
    assert writer.dropped >= 89
    stream.open.set()
    writer.close()
    assert f"{writer.dropped} log lines were dropped" in stream.getvalue()


def test_a_reader_that_is_gone_ends_nothing():
    stream = io.StringIO()
    stream.close()
    writer = LineWriter(stream)
    writer.write_line("x")
    writer.close()
    assert writer.dropped >= 1


def test_level_and_form_are_keys():
    config = load(environment={}, flags=["logs.level=debug", "logs.form=json"])
    assert config["logs.level"] == "debug"
    assert config["logs.form"] == "json"
