"""No secret and no prompt in a log line."""

import io
import json

import pytest
import structlog

from denoagents.cli.log_output import configure
from denoagents.security.redaction import HIDDEN, Redaction

PROMPT = "Please summarise the patient's letter: Mr Smith, born 1961, was seen on Monday with " * 3


def line(*, shows_payloads=False, **fields):
    return Redaction(shows_payloads=shows_payloads)(None, "", {"event": "x", **fields})


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "secret_key",
        "api_key",
        "apikey",
        "API-Key",
        "password",
        "passwd",
        "token",
        "access_token",
        "Authorization",
        "credentials",
        "private_key",
        "set_cookie",
    ],
)
def test_a_field_that_is_named_like_a_secret_is_hidden_at_every_depth(name):
    for shows in (False, True):
        found = line(shows_payloads=shows, deep={"a": [{name: "hunter2"}]}, **{name: "hunter2"})
        assert "hunter2" not in repr(found)
        assert found[name] == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnop1234",
        "Authorization: Bearer abcdef0123456789",
        "dna1-" + "A" * 60,
        "https://user:hunter22@db.example/x",
        "api_key=hunter22hunter22",
        '{"password": "hunter22"}',
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_abcdefghijklmnopqrst",
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(text):
    secrets = ("abcdef", "AAAAAA", "hunter22", "AKIAABC", "MIIB")
    for fields in ({"error": text}, {"deep": [text]}, {"error": ValueError(text)}):
        found = repr(line(shows_payloads=True, **fields))
        assert not any(one in found for one in secrets), found


@pytest.mark.parametrize("name", ["payload", "prompt", "arguments", "body", "user_prompt", "state"])
def test_what_messages_carry_is_not_shown_unless_it_is_asked_for(name):
    assert "Smith" not in repr(line(**{name: PROMPT}))
    assert "Smith" in repr(line(shows_payloads=True, **{name: PROMPT}))


def test_an_exceptions_words_keep_their_sense_and_lose_long_quotations():
    error = ValueError(f"cannot parse {PROMPT!r}: line 3")
    found = line(error=error)["error"]
    assert "Smith" not in found
    assert "cannot parse" in found
    assert "line 3" in found
    assert len(line(error=ValueError("x" * 10_000))["error"]) < 600


def test_figures_and_names_stay_as_they_are():
    fields = {"actor": "Chat/7", "so_far": 3, "ms": 1.5, "max_tokens": 500, "on": True, "no": None}
    assert line(**fields) == {"event": "x", **fields}


def test_what_cannot_be_printed_does_not_stop_the_line():
    class Bad:
        def __repr__(self):
            raise RuntimeError

    assert line(thing=Bad())["thing"] == "[unprintable: RuntimeError]"


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_commands_log_lines_pass_the_redaction_with_tracebacks_too(form):
    stream = io.StringIO()
    before = structlog.get_config()
    writer = configure(form=form, stream=stream)
    try:
        try:
            raise ValueError(f"bad answer to {PROMPT!r} with sk-abcdefghijklmnopqrst")
        except ValueError:
            structlog.get_logger().exception("failed", api_key="hunter22", prompt=PROMPT)
        writer.close()
    finally:
        structlog.configure(**before)
    text = stream.getvalue()
    assert "ValueError" in text
    assert "test_redaction" in text, "the traceback is there"
    assert not [one for one in ("Smith", "hunter22", "sk-abc") if one in text]
    if form == "json":
        json.loads(text)
