"""daemon.json: what it may say about registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.registries import read_registries, settings_folder
from gasang.images.registry.settings import Endpoint


def test_without_a_file_all_is_as_usual(tmp_path: Path) -> None:
    found = read_registries(tmp_path)
    assert found.mirrors_of("docker.io") == []
    assert found.endpoints("quay.example") == [Endpoint("https://quay.example")]
    assert (found.parallel, found.patience.attempts, found.patience.stall) == (4, 5, 30.0)


def test_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(
        """{"registry-mirrors": ["https://mirror.example/"], "insecure-registries": ["old.example", "10.0.0.0/8"],
        "max-concurrent-downloads": 2, "max-download-attempts": 3, "registry-timeout": 7}"""
    )
    found = read_registries(tmp_path)
    assert [endpoint.base for endpoint in found.mirrors_of("docker.io")] == ["https://mirror.example"]
    assert found.mirrors_of("quay.example") == []
    assert found.is_insecure("old.example:5000")
    assert found.is_insecure("10.1.2.3:5000")
    assert not found.is_insecure("11.1.2.3:5000")
    assert (found.parallel, found.patience.attempts, found.patience.stall) == (2, 3, 7.0)
    assert found.certificates == tmp_path / "certs.d"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a JSON object"),
        ('{"registry-mirror": []}', "there is no setting 'registry-mirror'"),
        ('{"registry-mirrors": "x"}', "not a list of texts"),
        ('{"registry-mirrors": ["mirror.example"]}', "that is no address"),
        ('{"insecure-registries": ["10.0.0.0/99"]}', "that is no network"),
        ('{"max-concurrent-downloads": 0}', "not between 1 and 64"),
        ('{"registry-timeout": true}', "not a whole number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_registries(tmp_path)


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_folder({"GASANG_HOME": "/h"}) == Path("/h")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert settings_folder({"GASANG_HOME": "relative"}) == Path("/etc/gasang")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert settings_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/gasang")
