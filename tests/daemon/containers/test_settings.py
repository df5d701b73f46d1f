"""What a client may say of a container."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.daemon.containers import settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_everything_missing_has_its_default() -> None:
    host = settings.host_config_of(None)
    assert host["NetworkMode"] == "default"
    assert host["ShmSize"] == 64 << 20
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


def test_names_are_matched_without_case() -> None:
    assert settings.config_of({"image": "x", "CMD": ["a"]})["Cmd"] == ["a"]


def test_a_command_may_be_a_text() -> None:
    assert settings.config_of({"Cmd": "echo 'a b'"})["Cmd"] == ["echo", "a b"]


@pytest.mark.parametrize(
    "host",
    [
        {"Memory": 1},
        {"Memory": -1},
        {"MemorySwap": 1 << 30},
        {"Memory": 1 << 30, "MemorySwap": 1 << 20},
        {"NanoCpus": 10**9, "CpuQuota": 1000},
        {"RestartPolicy": {"Name": "sometimes"}},
        {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
        {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
        {"LogConfig": {"Type": "syslog"}},
        {"LogConfig": {"Type": "json-file", "Config": {"max-sise": "1m"}}},
        {"Memory": "1g"},
        {"Memory": 1 << 70},
        {"Binds": "a:b"},
        {"Binds": ["a\0b"]},
        {"Privileged": 1},
    ],
)
def test_what_makes_no_sense_is_refused(host: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        settings.host_config_of(host)


def test_what_the_image_says_fills_in() -> None:
    image = {
        "Env": ["PATH=/x", "A=1"],
        "Cmd": ["c"],
        "Entrypoint": ["e"],
        "Labels": {"l": "1"},
        "Volumes": {"/v": {}},
        "User": "u",
        "WorkingDir": "/w",
    }
    merged = settings.merged(settings.config_of({"Env": ["A=2"], "Labels": {"m": "2"}}), image)
    assert merged["Env"] == ["PATH=/x", "A=2"]
    assert (merged["Entrypoint"], merged["Cmd"]) == (["e"], ["c"])
    assert merged["Labels"] == {"l": "1", "m": "2"}
    assert (merged["User"], merged["WorkingDir"], merged["Volumes"]) == ("u", "/w", {"/v": {}})


def test_an_entry_point_of_the_client_takes_the_images_command_away() -> None:
    image = {"Cmd": ["c"], "Entrypoint": ["e"]}
    assert settings.merged(settings.config_of({"Entrypoint": ["x"]}), image)["Cmd"] is None
    assert settings.merged(settings.config_of({"Cmd": ["x"]}), image)["Entrypoint"] == ["e"]
    empty = settings.merged(settings.config_of({"Entrypoint": [""], "Cmd": ["y"]}), image)
    assert (empty["Entrypoint"], empty["Cmd"]) == (None, ["y"])


def test_health_checks_are_completed_by_the_images() -> None:
    image = {"Healthcheck": {"Test": ["CMD", "a"], "Interval": 5_000_000, "Retries": 2}}
    merged = settings.merged(settings.config_of({"Healthcheck": {"Interval": 7_000_000}}), image)["Healthcheck"]
    assert (merged["Test"], merged["Interval"], merged["Retries"]) == (["CMD", "a"], 7_000_000, 2)


@pytest.mark.parametrize("name", ["a", "", "-a", "a b", "a/b", "ä", "a\0b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        settings.checked_name(name)


@given(st.dictionaries(st.sampled_from([*settings.CONFIG, *settings.HOST_CONFIG]), JSON, max_size=6))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    for read in (settings.config_of, settings.host_config_of):
        with suppress(UsageError):
            read(document)
