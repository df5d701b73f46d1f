"""userns-remap: who is named, and which numbers the host gives them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.registries import read_users
from gasang.daemon.remap import Remap, read_remap
from gasang.kinds.container.config.linux import IdMapping


@pytest.fixture
def ranges(tmp_path: Path) -> tuple[Path, Path]:
    """An /etc/subuid and an /etc/subgid."""
    uids, gids = tmp_path / "subuid", tmp_path / "subgid"
    uids.write_text("# root:5:5\nother:1:2\nroot:100000:1000\n0:300000:65536\ndockremap:7000:10\n")
    gids.write_text("root:200000:65536\ndaemon:400000:65536\ndockremap:8000:10\n")
    return uids, gids


def test_nothing_is_mapped_unless_asked(tmp_path: Path) -> None:
    assert read_remap("") is None
    assert read_users(tmp_path) is None


@pytest.mark.parametrize("word", ["root", "0"])
def test_a_user_has_all_its_ranges_one_after_another(ranges: tuple[Path, Path], word: str) -> None:
    uids = (IdMapping(0, 100000, 1000), IdMapping(1000, 300000, 65536))
    assert read_remap(word, *ranges) == Remap(uids, (IdMapping(0, 200000, 65536),))


@pytest.mark.parametrize("word", ["root:daemon", "0:1"])
def test_a_group_of_its_own(ranges: tuple[Path, Path], word: str) -> None:
    found = read_remap(word, *ranges)
    assert found is not None
    assert found.gids == (IdMapping(0, 400000, 65536),)


def test_the_usual_user_need_not_be_there(ranges: tuple[Path, Path]) -> None:
    assert read_remap("default", *ranges) == Remap((IdMapping(0, 7000, 10),), (IdMapping(0, 8000, 10),))


@pytest.mark.parametrize(
    ("word", "text", "sentence"),
    [
        ("nobody-of-this-name", "", "user 'nobody-of-this-name': the host has none"),
        ("root:nobody-of-this-name", "root:1:1\n", "group 'nobody-of-this-name': the host has none"),
        ("99999999999999999999", "", "the host has none"),
        ("root", "", "gives it no numbers"),
        ("default", "root:1:1\n", "dockremap: .* gives it no numbers"),
        ("root", "root:1\n", "is no range"),
        ("root", "root:a:1\n", "is no range"),
        ("root", "root:1:0\n", "is no range"),
        ("root", "root:4294967290:65536\n", "is no range"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, word: str, text: str, sentence: str) -> None:
    path = tmp_path / "subuid"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_remap(word, path, path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="subuid: it cannot be read"):
        read_remap("root", tmp_path / "subuid", tmp_path / "subgid")


def test_the_setting_is_read(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text('{"userns-remap": "nobody-of-this-name"}')
    with pytest.raises(UsageError, match="nobody-of-this-name"):
        read_users(tmp_path)
    assert os.listdir(tmp_path) == ["daemon.json"]
