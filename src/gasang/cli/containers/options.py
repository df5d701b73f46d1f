"""Options that several verbs about containers share, and what the words of ``--env`` and its kin mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gasang.cli.containers import values as convert
from gasang.cli.containers.lines import variables_in
from gasang.cli.options import Option, Parsed, plain_text, switch, value, values


def environment_for(words: Iterable[str], host: Mapping[str, str]) -> tuple[str, ...]:
    """``NAME=VALUE`` for each of `words`; a NAME alone takes the host's value, and is left out where the host has none."""
    return tuple(word if "=" in word else f"{word}={host[word]}" for word in words if "=" in word or word in host)


def environment_of(parsed: Parsed) -> tuple[str, ...]:
    """The variables a command line gives: those of files first, so that a word of its own wins."""
    from_files = (word for words in parsed.get(ENVIRONMENT_FILE) for word in words)
    return environment_for((*from_files, *parsed.get(ENVIRONMENT)), os.environ)


INTERACTIVE = switch("interactive", "pass standard input on to the command", short="i")
TTY = switch("tty", "give the command a terminal", short="t")
ENVIRONMENT = values("env", "NAME=VALUE", "variable for the command; NAME alone takes the host's value", convert.variable, short="e")
ENVIRONMENT_FILE = values("env-file", "FILE", "variables for the command, one a line", variables_in, files=True)
CPUS = value("cpus", "N", "processors (a VM: 1 by default; a container: as many as there are, or a share such as 0.5)", plain_text)
MEMORY = value("memory", "SIZE", "memory, as in 512M or 2G (a VM: 1G by default; a container: no limit)", plain_text, short="m")
DETACH = switch("detach", "print its id and leave it running", short="d")
DETACH_KEYS = value("detach-keys", "KEYS", "what leaves it running, such as ctrl-a,d (default: Ctrl-], or Ctrl-p Ctrl-q)", convert.keys)
SIG_PROXY = switch("sig-proxy", "without a terminal: pass this command's signals on to the machine, Ctrl-C too")
PLATFORM = value("platform", "OS/ARCH", "of the image, such as linux/arm64", plain_text)
WORKDIR = value("workdir", "FOLDER", "where the command begins", plain_text, short="w")
USER = value("user", "USER[:GROUP]", "who runs the command, by name or number", plain_text, short="u")
QUIET = switch("quiet", "show no progress", short="q")

SHARED: Final[tuple[Option[Any], ...]] = (INTERACTIVE, TTY, ENVIRONMENT, ENVIRONMENT_FILE, CPUS, MEMORY)
"""Those that virtual machines have as well."""


def is_given(found: Any) -> bool:
    """Whether an option's value is one that the command line gives."""
    return found is not None and found is not False and found != ()


def given(parsed: Parsed, options: Iterable[Option[Any]]) -> list[Option[Any]]:
    """Those of `options` that the command line gives."""
    return [option for option in options if is_given(parsed.get(option))]
