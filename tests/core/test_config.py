from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.config import SETTINGS, Config, Source, from_environment, from_toml, parse_boolean
from gasang.core.errors import UsageError


def test_defaults_are_valid() -> None:
    config = Config([])
    assert config.value("cpus") == 1
    assert config.value("memory") == 1 << 30
    assert config.value("progress") == "auto"
    assert config.value("debug") is False
    assert all(config.origin(name) == "default" for name in SETTINGS)


def test_the_strongest_source_wins() -> None:
    sources = [Source("flag", {}), from_environment({"GASANG_CPUS": "3"}), from_toml("cpus = 2\nmemory = '2G'", "gasang.toml")]
    config = Config(sources)
    assert (config.value("cpus"), config.origin("cpus")) == (3, "environment")
    assert (config.value("memory"), config.origin("memory")) == (2 << 30, "gasang.toml")
    assert Config([Source("flag", {"cpus": "4"}), *sources]).value("cpus") == 4


def test_an_empty_variable_is_not_set() -> None:
    assert Config([from_environment({"GASANG_CPUS": ""})]).value("cpus") == 1


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ([from_environment({"GASANG_CPUS": "many"})], "GASANG_CPUS: 'many' is no number"),
        ([from_toml("memory = '1Q'", "/etc/x.toml")], "/etc/x.toml, memory: '1Q' is no size"),
        ([Source("flag", {"memory": "1M"})], "--memory: a machine cannot have 1M"),
        ([from_environment({"GASANG_MIRROR": "ftp://a"})], "GASANG_MIRROR: 'ftp://a' is no address"),
        ([from_environment({"GASANG_TIMEOUT": "0"})], "GASANG_TIMEOUT: '0' is too short"),
        ([from_environment({"GASANG_TIMEOUT": "soon"})], "GASANG_TIMEOUT: 'soon' is no duration"),
        ([from_environment({"GASANG_KEYRING": "a\0b"})], "GASANG_KEYRING: its value has a NUL"),
        ([from_environment({"GASANG_PROGRESS": "loud"})], "GASANG_PROGRESS: there is no 'loud'"),
        ([from_environment({"GASANG_DEBUG": "maybe"})], "GASANG_DEBUG: 'maybe' is neither"),
    ],
)
def test_a_wrong_value_names_its_source(sources: list[Source], sentence: str) -> None:
    config = Config(sources)
    with pytest.raises(UsageError) as caught:
        [config.value(name) for name in SETTINGS]
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("text", ["cpus = ", "processors = 2", "cpus = [1]", "cpus = 1.5", "memory = {a = 1}", "[run]\ncpus = 1"])
def test_a_wrong_file_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_toml(text, "gasang.toml")
    assert caught.value.subject == "gasang.toml"


def test_toml_booleans_and_numbers_are_taken() -> None:
    config = Config([from_toml("cpus = 8\ndebug = true", "f")])
    assert config.value("cpus") == 8
    assert config.value("debug") is True


@pytest.mark.parametrize("text", ["0", "65", "-1", "1.0", "²", "9" * 5000])
def test_wrong_numbers_of_processors(text: str) -> None:
    with pytest.raises(UsageError):
        Config([Source("flag", {"cpus": text})]).value("cpus")


def test_memory_is_whole_pages() -> None:
    assert Config([Source("flag", {"memory": str((64 << 20) + 5)})]).value("memory") == 64 << 20


@given(st.text(), st.text())
def test_any_file_is_settings_or_an_error(text: str, label: str) -> None:
    with suppress(UsageError):
        assert from_toml(text, label).label == label


@pytest.mark.parametrize(("text", "meaning"), [("yes", True), ("ON", True), ("0", False), ("", False), ("false", False)])
def test_words_for_true_and_false(text: str, meaning: bool) -> None:
    assert parse_boolean(text, "x") is meaning
