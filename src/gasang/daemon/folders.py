"""Where the daemon keeps things: state that stays, and run-time files that a restart of the host takes away."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gasang.core.paths import data_folder
from gasang.kinds.vm.process.family import FAMILY


class Folders(NamedTuple):
    """The folders of one daemon."""

    state: Path
    run: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Folders:
        """Those of a user, all under GASANG_HOME if it is set.

        Root's run-time files are in /run/gasang, another's in XDG_RUNTIME_DIR; without one, beside the state, where nobody else may write.
        """
        home = environment.get("GASANG_HOME", "")
        if os.path.isabs(home):
            return cls(data_folder(environment), Path(home) / "run")
        if os.geteuid() == 0:
            return cls(Path("/var/lib/gasang") if not environment.get("XDG_DATA_HOME") else data_folder(environment), Path("/run/gasang"))
        runtime, data = environment.get("XDG_RUNTIME_DIR", ""), data_folder(environment)
        return cls(data, Path(runtime) / "gasang" if os.path.isabs(runtime) else data / "run")

    @property
    def socket(self) -> Path:
        """Where docker clients connect."""
        return self.run / "docker.sock"

    @property
    def database(self) -> Path:
        """What the daemon must not forget (records.py); where it is not, there has been no daemon."""
        return self.state / "state.db"

    def container(self, key: str, family: str = "") -> Path:
        """What stays of a container: its layer, its log, its files; of a virtual machine with others of its family (`every`)."""
        return self.state / "containers" / (f"{FAMILY}{family}/{key}" if family else key)

    def every(self) -> list[Path]:
        """Those of all containers and machines. A machine and its twins are in one folder, which is all that they see of the others'."""
        found = (self.state / "containers").glob("*")
        return [each for folder in sorted(found) for each in (sorted(folder.glob("*")) if folder.name.startswith(FAMILY) else [folder])]

    def machine(self, key: str) -> Path:
        """The supervisor's run-time folder of a container or an exec."""
        return self.run / "machines" / key

    def volume(self, name: str) -> Path:
        """A volume's folder; its files are in _data."""
        return self.state / "volumes" / name

    def scratch(self) -> Path:
        """For what is needed for a moment and may be large."""
        folder = self.state / "tmp"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
