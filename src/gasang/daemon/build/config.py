"""What the instructions that touch no file do to an image's configuration (image-spec, config.md). Pure; a table."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.build.dockerfile import Instruction, instruction
from gasang.daemon.build.words import expanded, raw_words, split
from gasang.daemon.containers.moments import duration
from gasang.daemon.containers.signals import number_of

DEFAULT_SHELL: Final = ["/bin/sh", "-c"]
PREDEFINED_ARGS: Final = frozenset(
    name for base in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY") for name in (base, base.lower())
)


@dataclass
class Stage:
    """A stage of a build while it is built: its image's configuration, and the ARGs known in it."""

    config: dict[str, Any]
    args: dict[str, str] = field(default_factory=dict)
    escape: str = "\\"
    command_set: bool = False

    @property
    def shell(self) -> list[str]:
        """What the shell form of RUN, CMD and ENTRYPOINT is given to."""
        return list(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def folder(self) -> str:
        """The working directory."""
        return self.config.get("WorkingDir") or "/"

    def variables(self) -> dict[str, str]:
        """What $NAME means here: ARGs, and over them the environment."""
        return {**self.args, **dict(entry.partition("=")[::2] for entry in self.config.get("Env") or [])}

    def words(self, step: Instruction) -> list[str]:
        """The words of an instruction, variables replaced."""
        if step.words is not None:
            return [expanded(word, self.variables(), self.escape) for word in step.words]
        return split(step.text, self.variables(), self.escape)


def pairs(step: Instruction, stage: Stage, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """NAME=VALUE …, or the old form NAME VALUE. Raises UsageError."""
    words = raw_words(step.text, stage.escape)
    if "=" not in words[0]:
        name, _, value = step.text.partition(" ")
        if not value.strip():
            raise step.wrong(f"{name} has no value", "write NAME=VALUE")
        return [(expanded(name, variables, stage.escape), expanded(value.strip(), variables, stage.escape))]
    result = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise step.wrong(f"Syntax error - can't find = in {word[:60]!r}", "write NAME=VALUE")
        if not name:
            raise step.wrong("names can not be blank", "write NAME=VALUE")
        result.append((expanded(name, variables, stage.escape), expanded(value, variables, stage.escape)))
    return result


def _env(stage: Stage, step: Instruction) -> None:
    held = dict(entry.partition("=")[::2] for entry in stage.config.get("Env") or [])
    held.update(pairs(step, stage, stage.variables()))
    stage.config["Env"] = [f"{name}={value}" for name, value in held.items()]


def _label(stage: Stage, step: Instruction) -> None:
    stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **dict(pairs(step, stage, stage.variables()))}


def _command(stage: Stage, step: Instruction) -> list[str]:
    return list(step.words) if step.words is not None else [*stage.shell, step.text]


def _cmd(stage: Stage, step: Instruction) -> None:
    stage.config["Cmd"] = _command(stage, step)
    stage.command_set = True


def _entrypoint(stage: Stage, step: Instruction) -> None:
    stage.config["Entrypoint"] = _command(stage, step) or None
    if not stage.command_set:
        stage.config["Cmd"] = None  # a command that the base image brings belongs to its own entry point


_PORTS: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


def _expose(stage: Stage, step: Instruction) -> None:
    ports = dict(stage.config.get("ExposedPorts") or {})
    for word in stage.words(step):
        found = _PORTS.fullmatch(word.lower())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not found or not 0 < first <= last < 65536:
            raise step.wrong(f"invalid containerPort: {word[:40]}", "write NUMBER or NUMBER/udp")
        ports.update({f"{number}/{found[3] or 'tcp'}": {} for number in range(first, last + 1)})
    stage.config["ExposedPorts"] = ports


def _volume(stage: Stage, step: Instruction) -> None:
    held = dict(stage.config.get("Volumes") or {})
    for word in stage.words(step):
        if not word.strip():
            raise step.wrong("VOLUME specified can not be an empty string")
        held[word.strip()] = {}
    stage.config["Volumes"] = held


def _user(stage: Stage, step: Instruction) -> None:
    stage.config["User"] = expanded(step.text, stage.variables(), stage.escape)


def _workdir(stage: Stage, step: Instruction) -> None:
    stage.config["WorkingDir"] = posixpath.normpath(posixpath.join(stage.folder, expanded(step.text, stage.variables(), stage.escape)))


def _stopsignal(stage: Stage, step: Instruction) -> None:
    word = expanded(step.text, stage.variables(), stage.escape)
    number_of(word)
    stage.config["StopSignal"] = word


def _shell(stage: Stage, step: Instruction) -> None:
    stage.config["Shell"] = list(step.words or ())


def _onbuild(stage: Stage, step: Instruction) -> None:
    inner = instruction(step.text, step.line)
    if inner.name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise step.wrong(f"{inner.name} isn't allowed as an ONBUILD trigger")
    stage.config["OnBuild"] = [*(stage.config.get("OnBuild") or []), step.text]


def _maintainer(stage: Stage, step: Instruction) -> None:
    stage.config["Author"] = step.text


def _healthcheck(stage: Stage, step: Instruction) -> None:
    words = step.text.split(None, 1)
    kind = words[0].upper() if words else ""
    if kind == "NONE":
        if len(words) > 1 or step.flags:
            raise step.wrong("HEALTHCHECK NONE takes no arguments")
        stage.config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind != "CMD" or len(words) < 2:
        cause = f"Unknown type {kind[:20]!r} in HEALTHCHECK" if kind and kind != "CMD" else "Missing command"
        raise step.wrong(cause, "write CMD and a command")
    inner = instruction(step.text, step.line)
    check: dict[str, Any] = {"Test": ["CMD", *inner.words] if inner.words is not None else ["CMD-SHELL", inner.text]}
    for flag, name in _DURATIONS.items():
        if flag in step.flags:
            check[name] = int(duration(step.flags[flag]) * 1e9)
    if "retries" in step.flags:
        if not step.flags["retries"].isdecimal():
            raise step.wrong("--retries is no number")
        check["Retries"] = int(step.flags["retries"])
    stage.config["Healthcheck"] = check


_DURATIONS: Final = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
METADATA: Final[dict[str, Callable[[Stage, Instruction], None]]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
"""instruction → what it does to the stage."""


CHANGES: Final = frozenset(METADATA) - {"SHELL", "MAINTAINER"}
"""What ``commit --change`` and ``import --change`` take."""


def changed(config: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A configuration with instructions applied to it, as commit and import take them. Raises UsageError."""
    stage = Stage(dict(config))
    for line in (line.strip() for text in changes for line in text.splitlines() if line.strip()):
        step = instruction(line, 0)
        if step.name not in CHANGES:
            choices = ", ".join(sorted(CHANGES))
            raise UsageError(f"change {line[:60]!r}", f"{step.name} is not a valid change command", f"use one of {choices}")
        METADATA[step.name](stage, step)
    return stage.config


def arguments(step: Instruction, stage: Stage, given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """What an ARG declares: NAME or NAME=DEFAULT …; a value of the command line wins, then its default, then the one before FROM."""
    result: dict[str, str] = {}
    for word in raw_words(step.text, stage.escape):
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(f"Dockerfile line {step.line}", f"ARG {name[:40]!r} is no name", "use letters, digits and _")
        if name in given:
            result[name] = given[name]
        elif equals:
            result[name] = expanded(value, {**stage.variables(), **result}, stage.escape)
        elif name in defaults:
            result[name] = defaults[name]
    return result
