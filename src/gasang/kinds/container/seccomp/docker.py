"""Seccomp profiles as ``docker run --security-opt seccomp=FILE`` takes them: OCI rules, some only for some capabilities and processors."""

from __future__ import annotations

import json
from typing import Any, Final

from gasang.core.errors import BadInputError, UsageError
from gasang.host.processes import CAPABILITIES
from gasang.kinds.container.config.node import parse
from gasang.kinds.container.config.seccomp import Seccomp, read_seccomp

_MACHINES: Final = {"x86_64": {"amd64", "x86", "x32"}, "aarch64": {"arm64", "arm"}, "riscv64": {"riscv64"}}
"""`uname -m` → what Docker's profiles call processors whose programs it runs."""
_DOCUMENT: Final = "the seccomp profile"
_KEPT: Final = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")


def read_profile(text: str, capabilities: int, machine: str) -> Seccomp:
    """A profile for a container with this bounding set. Raises UsageError, BadInputError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(_DOCUMENT, "it is not valid JSON", "look at its end: it may be cut off") from error
    if not isinstance(document, dict):
        raise BadInputError(_DOCUMENT, "it is no object")
    names = {f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if capabilities >> number & 1}
    processors = _MACHINES.get(machine, {machine})
    rules = document.get("syscalls")
    if rules is not None and not (isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules)):
        raise BadInputError(_DOCUMENT, "syscalls is no array of objects")
    chosen = [_plain(rule) for rule in rules or [] if _applies(rule, names, processors)]
    kept = {name: document[name] for name in _KEPT if name in document}
    found = read_seccomp(parse(json.dumps({**kept, "syscalls": chosen}), _DOCUMENT))
    assert found is not None, "an object is there"
    return found


def _applies(rule: dict[str, Any], capabilities: set[str], processors: set[str]) -> bool:
    includes, excludes = _conditions(rule, "includes"), _conditions(rule, "excludes")
    if not set(includes["caps"]) <= capabilities or set(excludes["caps"]) & capabilities:
        return False
    return not (includes["arches"] and not set(includes["arches"]) & processors) and not set(excludes["arches"]) & processors


def _conditions(rule: dict[str, Any], name: str) -> dict[str, list[str]]:
    held = rule.get(name) or {}
    if not isinstance(held, dict):
        raise BadInputError(_DOCUMENT, f"{name} is no object")
    found = {part: held.get(part) or [] for part in ("caps", "arches")}
    if not all(isinstance(value, list) and all(isinstance(entry, str) for entry in value) for value in found.values()):
        raise BadInputError(_DOCUMENT, f"{name} has something else than lists of texts")
    return found


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as OCI has it; older profiles name one system call with `name`."""
    made = {name: rule[name] for name in ("names", "action", "errnoRet", "args") if rule.get(name) is not None}
    if "names" not in made and rule.get("name"):
        made["names"] = [rule["name"]]
    return made
