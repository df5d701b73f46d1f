"""What a verb is given besides its own words: the settings in force and how to show progress."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.cli.options import Parsed
from gasang.cli.standard import DEBUG, PROGRESS
from gasang.core.config import Config, Source, from_environment, from_toml
from gasang.core.errors import UsageError

if TYPE_CHECKING:
    from gasang.images.origin import ContainerSource, Origin

PROJECT_FILE: Final = "gasang.toml"
USER_FILE: Final = "config.toml"
_LARGEST_FILE: Final = 1 << 20


def user_file(environment: Mapping[str, str]) -> Path:
    """The user's configuration file by the XDG Base Directory Specification, or in GASANG_HOME; it need not exist."""
    home = environment.get("GASANG_HOME", "")
    if os.path.isabs(home):
        return Path(home) / USER_FILE
    base = environment.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return folder / "gasang" / USER_FILE


def project_file(start: Path) -> Path | None:
    """The nearest ``gasang.toml`` at or above `start`."""
    return next((folder / PROJECT_FILE for folder in (start, *start.parents) if (folder / PROJECT_FILE).is_file()), None)


def _read(path: Path, *, personal: bool) -> Source:
    try:
        data = path.read_bytes()[: _LARGEST_FILE + 1]
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(str(path), "it is no UTF-8 text", "mend the file or remove it") from error
    if len(data) > _LARGEST_FILE:
        raise UsageError(str(path), "it is too large for a file of settings", "mend the file or remove it")
    return from_toml(text, str(path), personal=personal)


def _files(environment: Mapping[str, str], start: Path) -> Iterator[Source]:
    project = project_file(start)
    if project:
        yield _read(project, personal=False)
    user = user_file(environment)
    if user.is_file():
        yield _read(user, personal=True)


def load_config(flags: Mapping[str, str], environment: Mapping[str, str], start: Path) -> Config:
    """The settings in force; raise UsageError if a file of settings is wrong."""
    return Config([Source("flag", flags), from_environment(environment), *_files(environment, start)])


class Context:
    """The settings in force."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def of_process(cls, parsed: Parsed) -> Context:
        """The context of this process, with the flags of its command line."""
        flags: dict[str, str] = {}
        progress = parsed.get(PROGRESS)
        if progress is not None:
            flags[PROGRESS.name] = progress
        if parsed.get(DEBUG):
            flags[DEBUG.name] = "true"
        return cls(load_config(flags, os.environ, Path.cwd()))

    def silent(self) -> Context:
        """The same without progress."""
        return Context(self.config.over({PROGRESS.name: "none"}))

    def origin(self) -> Origin:
        """Where images of Debian come from, by the settings."""
        from gasang.images.origin import Origin

        mirror, keyring, timeout, debian = (self.config.value(name) for name in ("mirror", "keyring", "timeout", "debian"))
        return Origin(mirror, keyring, timeout, debian, _containers)


def _containers() -> ContainerSource:
    """Where images of containers come from. Raises what container_source raises."""
    from gasang.daemon.registries import container_source  # most machines start from what is here: a start has no time for it

    return container_source()
