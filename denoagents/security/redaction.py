"""What log lines may not show: secrets always, what messages carry unless `logs.payloads` is on.

Rules: pure. By the field's name, and by what a text looks like. An exception's own words may quote
a prompt, so long quotations and long words are cut; its type, its place and the rest stay. A line
that cannot be cleaned is replaced, never written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

HIDDEN: Final = "[hidden]"
MAX_DEPTH: Final = 6
LONGEST_TEXT: Final = 300
"""Characters of an exception's words, or of any value, while payloads are off."""
LONGEST_QUOTE: Final = 60
"""A longer quotation inside them is what somebody said, not what went wrong."""

_SECRET_NAME = re.compile(
    r"(?i)(secret|token|passw|api_?-?key|apikey|authorization|credential|private|cookie|bearer)"
)
_HARMLESS_NAMES = {"tokens", "token_count", "max_tokens", "input_tokens", "output_tokens"}
_PAYLOAD_NAME = re.compile(
    r"(?i)^(.*_)?(payloads?|prompts?|arguments?|args|kwargs|body|content|completion|state|letter)$"
)
_SECRETS = (
    re.compile(r"dna1-[A-Za-z0-9_-]{20,}"),  # our invitations
    re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{12,}"),
    re.compile(r"\b(?:gh[pousr]|xox[abpr])[_-][A-Za-z0-9_-]{12,}"),
    re.compile(r"\bAKIA[A-Z0-9]{12,}"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password of an address
    re.compile(
        r"(?i)\b(?:secret|password|passwd|api_?-?key|access_token|auth_token|token|authorization)"
        r"[\"']?\s*[=:]\s*[\"']?[^\s\"',;}]{4,}"
    ),
)
_STRUCTURE = ("Traceback ", "During handling", "The above exception")
_QUOTES = re.compile(
    rf"""'(?:[^'\\\n]|\\.){{{LONGEST_QUOTE},}}'|"(?:[^"\\\n]|\\.){{{LONGEST_QUOTE},}}\""""
)


class Redaction:
    """A structlog processor; it stands last before the one that makes the text."""

    def __init__(self, *, shows_payloads: bool = False) -> None:
        self._shows_payloads = shows_payloads

    def __call__(
        self, _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The same line without what it may not show."""
        for name in list(event):
            if name in {"event", "level", "timestamp"} and isinstance(event[name], str):
                event[name] = clean_text(event[name])
                continue
            try:
                event[name] = self._clean(name, event[name], 0)
            except Exception as error:  # a value whose repr raises, say
                event[name] = f"[unprintable: {type(error).__name__}]"
        return event

    def _clean(self, name: str, value: Any, depth: int) -> Any:
        if is_secret(name):
            return HIDDEN
        if not self._shows_payloads and _PAYLOAD_NAME.match(name):
            return _size_of(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            return {str(key): self._clean(str(key), one, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
            return [self._clean("", one, depth + 1) for one in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return _size_of(value)
        if isinstance(value, BaseException):
            value = f"{type(value).__name__}: {value}"
        return self.clean(value if isinstance(value, str) else repr(value), name)

    def clean(self, text: str, name: str = "") -> str:
        """A text without secrets and, unless payloads are shown, without long quotations."""
        text = clean_text(text)
        if self._shows_payloads:
            return text
        if name in {"exception", "stack", "remote_traceback"}:
            return "\n".join(_traceback_lines(text))
        return _cut(_without_quotes(text))


def is_secret(name: str) -> bool:
    """Whether a field of this name must never be shown."""
    return _SECRET_NAME.search(name) is not None and name.lower() not in _HARMLESS_NAMES


def clean_text(text: str) -> str:
    """A text without what looks like a secret."""
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    return text


def _traceback_lines(text: str) -> Iterator[str]:
    """The lines of a traceback; of an exception's words only the first line."""
    is_told = False
    for line in text.splitlines():
        if line.lstrip().startswith('File "'):
            yield line
        elif not line or line[0] == " " or line.startswith(_STRUCTURE):
            is_told = False
            yield _cut(_without_quotes(line))
        elif not is_told:
            is_told = True
            yield _cut(_without_quotes(line))


def _without_quotes(text: str) -> str:
    return _QUOTES.sub(lambda found: f"'…({len(found[0]) - 2} characters)'", text)


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}…({len(text)} characters)"


def _size_of(value: Any) -> str:
    try:
        return f"[{type(value).__name__} of {len(value)}]"
    except TypeError:
        return f"[{type(value).__name__}]"
