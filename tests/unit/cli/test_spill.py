"""`denoagents spill`: what is on the disk, and whether the disk kept it."""

import json

from denoagents.cli.command_line import run
from denoagents.store.segment_log import SegmentLog


def make_log(folder) -> None:
    log = SegmentLog(str(folder), segment_bytes=1000)
    log.open()
    for number in range(10):
        log.append(b"%d" % number * 300)
    log.commit()
    log.close()


def test_inspect_lists_the_segments(tmp_path, capsys):
    make_log(tmp_path / "node")
    assert run(["spill", "inspect", str(tmp_path), "-o", "json"]) == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert [one["segment"] for one in segments] == [1, 3, 5, 7, 9]
    assert sum(one["records"] for one in segments) == 10
    assert run(["spill", "inspect", str(tmp_path)]) == 0
    assert "RECORDS" in capsys.readouterr().out


def test_verify_says_that_all_is_whole(tmp_path, capsys):
    make_log(tmp_path)
    assert run(["spill", "verify", str(tmp_path)]) == 0
    assert "10 records are whole" in capsys.readouterr().out


def test_verify_finds_a_flipped_bit_and_changes_nothing(tmp_path, capsys):
    make_log(tmp_path)
    path = min(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    assert run(["spill", "verify", str(tmp_path), "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 9
    assert "record 2: the checksum does not fit" in found["damage"][0]
    assert path.read_bytes() == data


def test_verify_of_nothing_is_not_found(tmp_path, capsys):
    assert run(["spill", "verify", str(tmp_path / "none")]) == 4
    assert "no folder" in capsys.readouterr().err
