from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.containers import values
from gasang.core.errors import UsageError


@pytest.mark.parametrize(("text", "share"), [("1", 10**9), ("0.5", 5 * 10**8), (".25", 25 * 10**7), ("2.", 2 * 10**9), ("0.000000001", 1)])
def test_processors_in_billionths(text: str, share: int) -> None:
    assert values.processors(text, "--cpus") == share


@given(st.text())
def test_processors_are_more_than_none(text: str) -> None:
    with suppress(UsageError):
        assert values.processors(text, "--cpus") > 0


@pytest.mark.parametrize(
    ("text", "policy"),
    [("no", ("no", 0)), ("always", ("always", 0)), ("on-failure", ("on-failure", 0)), ("on-failure:3", ("on-failure", 3))],
)
def test_restart_policies(text: str, policy: tuple[str, int]) -> None:
    assert values.restart_policy(text, "--restart") == {"Name": policy[0], "MaximumRetryCount": policy[1]}


@pytest.mark.parametrize("text", ["", "never", "always:3", "on-failure:x", "on-failure:"])
def test_other_policies_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--restart"):
        values.restart_policy(text, "--restart")


def test_a_source_from_here_becomes_absolute() -> None:
    here = os.getcwd()
    assert values.bind("./a:/b:ro", "-v") == f"{here}/a:/b:ro"
    assert values.bind("..:/b", "-v") == f"{os.path.dirname(here)}:/b"
    assert values.bind("data:/b", "-v") == "data:/b"
    assert values.bind("/b", "-v") == "/b"


@pytest.mark.parametrize("text", ["", ":", "a:", ":/b", "a:b:c:d", "a::ro"])
def test_what_binds_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        values.bind(text, "-v")


def test_pairs() -> None:
    assert values.pair("a=b=c", "--label") == ("a", "b=c")
    assert values.pair("a", "--label") == ("a", "")
    with pytest.raises(UsageError, match="it has no name"):
        values.pair("=b", "--label")


def test_devices() -> None:
    assert values.device("/dev/fuse", "--device")["PathInContainer"] == "/dev/fuse"
    assert values.device("/dev/a:/dev/b:r", "--device") == {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}
    with pytest.raises(UsageError):
        values.device("fuse", "--device")


def test_a_profile_is_read_here(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    assert values.security(f"seccomp={tmp_path}/p.json", "--security-opt") == "seccomp={}"
    assert values.security("seccomp=unconfined", "--security-opt") == "seccomp=unconfined"
    assert values.security("no-new-privileges", "--security-opt") == "no-new-privileges"


def test_a_number_is_digits() -> None:
    assert values.whole_number("12", "-t") == 12
    with pytest.raises(UsageError, match="is no number"):
        values.whole_number("-1", "-t")
