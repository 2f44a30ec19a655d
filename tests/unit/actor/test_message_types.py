"""What a signature tells of the types that messages carry."""

import dataclasses
import enum

import msgspec

from denoagents import Actor


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    colour: Colour


class Row(msgspec.Struct, array_like=True):
    x: int
    inner: Inner | None = None


class Painter(Actor):
    last: Row | None = None

    async def paint(self, rows: list[Row]) -> dict[str, Inner]:
        del rows
        return {}


def test_types_inside_types_are_told_with_their_fields():
    assert Painter.__denoagents_type__.signature()["types"] == {
        "Colour": {"values": ["red"]},
        "Inner": {"fields": [{"name": "colour", "type": "Colour"}], "is_array": False},
        "Row": {
            "fields": [
                {"name": "x", "type": "int"},
                {"name": "inner", "type": "Inner | None", "has_default": True},
            ],
            "is_array": True,
        },
    }
