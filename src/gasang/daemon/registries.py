"""The daemon's settings, about registries and users: a file of JSON with the names that Docker's daemon.json has for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.containers.fields import Field, read, text, texts, whole
from gasang.daemon.folders import Folders
from gasang.daemon.remap import Remap, read_remap
from gasang.images.origin import ContainerSource
from gasang.images.reference import DOCKER_HUB
from gasang.images.registry.settings import Patience, Registries

FILE: Final = "daemon.json"
CERTIFICATES: Final = "certs.d"
_LARGEST: Final = 1 << 20
_FIELDS: Final[dict[str, Field]] = {
    "registry-mirrors": texts([]),
    "insecure-registries": texts([]),
    "max-concurrent-downloads": whole(Registries.parallel),
    "max-download-attempts": whole(Patience.attempts),
    "registry-timeout": whole(int(Patience.stall)),
    "userns-remap": text(),
}
_BOUNDS: Final = {"max-concurrent-downloads": 64, "max-download-attempts": 100, "registry-timeout": 3600}


def settings_folder(environment: Mapping[str, str]) -> Path:
    """Where the file and the certificates are: GASANG_HOME; else /etc/gasang for root, the user's folder of configurations for others."""
    home = environment.get("GASANG_HOME", "")
    if os.path.isabs(home):
        return Path(home)
    if os.geteuid() == 0:
        return Path("/etc/gasang")
    base = environment.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "gasang"


def read_registries(folder: Path) -> Registries:
    """The settings in a folder; without a file, the usual ones. Raises UsageError for a file that is wrong."""
    path, values = folder / FILE, _values(folder)
    for name, most in _BOUNDS.items():
        if not 1 <= values[name] <= most:
            raise UsageError(f"file {path}", f"{name} is not between 1 and {most}", "correct it")
    settings = Registries(
        mirrors={DOCKER_HUB: tuple(values["registry-mirrors"])},
        insecure=frozenset(values["insecure-registries"]),
        certificates=folder / CERTIFICATES,
        patience=Patience(stall=float(values["registry-timeout"]), attempts=values["max-download-attempts"]),
        parallel=values["max-concurrent-downloads"],
    )
    settings.mirrors_of(DOCKER_HUB)  # a wrong address is told now, not at the first pull
    settings.is_insecure("192.0.2.1")
    return settings


def read_users(folder: Path) -> Remap | None:
    """Whose users containers have, as the file says. Raises UsageError."""
    return read_remap(_values(folder)["userns-remap"])


def _values(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    document = _document(path)
    unknown = sorted(set(document) - set(_FIELDS))
    if unknown:
        raise UsageError(f"file {path}", f"there is no setting {unknown[0][:60]!r}", f"use {', '.join(_FIELDS)}")
    return read(document, _FIELDS, f"file {path}")


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"file {path}", f"it cannot be read as JSON ({error})"[:200], "mend or remove it") from error
    if not isinstance(found, dict):
        raise UsageError(f"file {path}", "it is not a JSON object", "mend or remove it")
    return found


def container_source() -> ContainerSource:
    """The container images and registries of this user's daemon. Raises UsageError for wrong settings."""
    return ContainerSource(Folders.of(os.environ).state / "images", read_registries(settings_folder(os.environ)))
