from __future__ import annotations

from pathlib import Path

import pytest

from gasang.cli.settings import Context, load_config, project_file, user_file
from gasang.core.errors import UsageError
from gasang.daemon.registries import container_source
from gasang.images.origin import Origin


@pytest.fixture
def world(tmp_path: Path) -> dict[str, str]:
    """An environment whose user has a configuration folder below tmp_path."""
    (tmp_path / "config" / "gasang").mkdir(parents=True)
    (tmp_path / "project" / "deep").mkdir(parents=True)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_flag_then_environment_then_project_then_user(tmp_path: Path, world: dict[str, str]) -> None:
    start = tmp_path / "project" / "deep"
    seen = [load_config({}, world, start).value("cpus")]
    user_file(world).write_text("cpus = 2\nmemory = '2G'")
    seen.append(load_config({}, world, start).value("cpus"))
    (tmp_path / "project" / "gasang.toml").write_text("cpus = 3")
    seen.append(load_config({}, world, start).value("cpus"))
    seen.append(load_config({}, world | {"GASANG_CPUS": "4"}, start).value("cpus"))
    seen.append(load_config({"cpus": "5"}, world | {"GASANG_CPUS": "4"}, start).value("cpus"))
    assert seen == [1, 2, 3, 4, 5]
    assert load_config({}, world, start).value("memory") == 2 << 30


def test_the_nearest_project_file_counts(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "gasang.toml").touch()
    (tmp_path / "a" / "gasang.toml").touch()
    assert project_file(tmp_path / "a" / "b") == tmp_path / "a" / "gasang.toml"


def test_a_relative_base_folder_is_ignored() -> None:
    assert user_file({"XDG_CONFIG_HOME": "here"}) == Path.home() / ".config" / "gasang" / "config.toml"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"cpus = ", b"#" * ((1 << 20) + 1)])
def test_a_wrong_file_is_named(content: bytes, tmp_path: Path, world: dict[str, str]) -> None:
    user_file(world).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_config({}, world, tmp_path)
    assert caught.value.subject == str(user_file(world))


def test_a_project_cannot_choose_whose_keys_are_trusted(tmp_path: Path, world: dict[str, str]) -> None:
    user_file(world).write_text("keyring = '/my/keys'")
    assert load_config({}, world, tmp_path).value("keyring") == Path("/my/keys")
    (tmp_path / "gasang.toml").write_text("keyring = '/their/keys'")
    with pytest.raises(UsageError, match=r"a project cannot set 'keyring'; set it in your own config.toml or as GASANG_KEYRING"):
        load_config({}, world, tmp_path)


def test_where_packages_come_from(tmp_path: Path, world: dict[str, str]) -> None:
    user_file(world).write_text("mirror = 'http://mirror.example/debian/'\ntimeout = '2s'")
    origin = Context(load_config({}, world, tmp_path)).origin()
    assert origin == Origin("http://mirror.example/debian", None, 2.0, containers=origin.containers)
    assert type(origin.containers()) is type(container_source())
