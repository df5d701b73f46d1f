"""Commands about the runtime itself: features, spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from gasang.cli.oci.command import BUNDLE, Command
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.core.errors import StateError
from gasang.host.mounts import ATTRIBUTES, PROPAGATION
from gasang.host.namespaces import NAMESPACES
from gasang.host.processes import CAPABILITIES
from gasang.kinds.container.bundle import Bundles
from gasang.kinds.container.config.config import HOOKS, VERSION
from gasang.kinds.container.config.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS
from gasang.kinds.container.template import template

ROOTLESS = switch("rootless", "for a user who is not root: with a user namespace")


def features(parsed: Parsed, bundles: Bundles) -> int:
    """Print what this runtime knows (runtime specification, "Features Structure")."""
    print(json.dumps(features_structure(), indent=2))
    return 0


def features_structure() -> dict[str, Any]:
    """The features as a value."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted({*ATTRIBUTES, *PROPAGATION, "bind", "rbind"}),
        "linux": {
            "namespaces": list(NAMESPACES),
            "capabilities": [f"CAP_{name}" for name in CAPABILITIES],
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": list(ACTIONS),
                "operators": [f"SCMP_CMP_{name}" for name in OPERATORS],
                "archs": list(ARCHITECTURES),
                "knownFlags": list(FLAGS),
                "supportedFlags": list(FLAGS),
            },
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
    }


def spec(parsed: Parsed, bundles: Bundles) -> int:
    """Write a config.json to begin with. Raises StateError if there is one."""
    path = (parsed.get(BUNDLE) or Path()) / "config.json"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(template(rootless=parsed.get(ROOTLESS)), indent=2) + "\n")
    except FileExistsError as error:
        raise StateError(str(path), "it already exists", "move it away first") from error
    return 0


COMMANDS: Final = {
    "features": Command(Syntax("Print what this runtime knows.", examples=(Example("gasang oci features", "as JSON"),)), features),
    "spec": Command(
        Syntax("Write a config.json to begin with.", (BUNDLE, ROOTLESS), examples=(Example("gasang oci spec", "in this folder"),)), spec
    ),
}
