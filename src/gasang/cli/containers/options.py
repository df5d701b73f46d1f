"""The options of ``run`` and ``create``, as one table: how each is written, and where in the API's document its value goes.

Adding one is one line here: the parser, the help, completion and the reference take it from the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gasang.cli.containers import values as convert
from gasang.cli.containers.ports import Publication, bindings, publication
from gasang.cli.options import Option, Parsed, plain_text, switch, value, values
from gasang.core.errors import UsageError

Document = dict[str, Any]


def variable(text: str, subject: str) -> str:
    """``NAME=VALUE`` as it stands, or ``NAME`` for a variable to be taken from the host. Raises UsageError."""
    name = plain_text(text, subject).partition("=")[0]
    if not name or any(sign.isspace() for sign in name):
        raise UsageError(f"{subject} {text!r}", "it names no variable", f"write {subject} NAME=VALUE")
    return text


def environment_for(words: tuple[str, ...], host: Mapping[str, str]) -> tuple[str, ...]:
    """``NAME=VALUE`` for each of `words`; a NAME alone takes the host's value, and is left out where the host has none."""
    given = (word if "=" in word else f"{word}={host[word]}" for word in words if "=" in word or word in host)
    return tuple(given)


INTERACTIVE = switch("interactive", "pass standard input on to the command", short="i")
TTY = switch("tty", "give the command a terminal", short="t")
ENVIRONMENT = values("env", "NAME=VALUE", "variable for the command; NAME alone takes the host's value", variable, short="e")
CPUS = value("cpus", "N", "processors (a VM: 1 by default; a container: as many as there are, or a share such as 0.5)", plain_text)
MEMORY = value("memory", "SIZE", "memory, as in 512M or 2G (a VM: 1G by default; a container: no limit)", plain_text, short="m")
DETACH = switch("detach", "print its id and leave it running", short="d")
NAME = value("name", "NAME", "what to call it; two words by default", plain_text)
REMOVE = switch("rm", "remove it when it ends, with its anonymous volumes")
PLATFORM = value("platform", "OS/ARCH", "of the image, such as linux/arm64", plain_text)
PULL = value("pull", "WHEN", "missing (default), always or never", plain_text, choices=("missing", "always", "never"))
VOLUMES = values("volume", "[SOURCE:]TARGET[:MODE]", "a folder of the host (./… or /…) or a volume, and where", convert.bind, short="v")
PUBLISH = values("publish", "[[IP:]HOST:]PORT", "reach a port from the host; without IP from the host alone", publication, short="p")
PUBLISH_ALL = switch("publish-all", "publish all ports of the image on free ones of the host", short="P")
WORKDIR = value("workdir", "FOLDER", "where the command begins", plain_text, short="w")
USER = value("user", "USER[:GROUP]", "who runs the command, by name or number", plain_text, short="u")
NETWORK = value("network", "NETWORK", "one of gasang network ls, host, none, or container:MACHINE", plain_text)
ALIASES = values("network-alias", "NAME", "another name in that network", plain_text)
ENTRYPOINT = value("entrypoint", "PROGRAM", 'the program, instead of the image\'s; "" for none', convert.any_text)
RESTART = value("restart", "POLICY", "no, always, unless-stopped, on-failure or on-failure:N", convert.restart_policy)
TMPFS = values("tmpfs", "TARGET[:OPTIONS]", "files in memory at TARGET", convert.target_of_tmpfs)
LABELS = values("label", "NAME=VALUE", "a note on the machine", convert.pair, short="l")
DEVICES = values("device", "PATH[:TARGET[:rwm]]", "give it a device of the host", convert.device)


def _same(found: Any) -> Any:
    return found


class Place(NamedTuple):
    """Where a value goes that needs no more than its place: ``HostConfig.Init`` or ``Hostname``."""

    option: Option[Any]
    path: str
    shape: Callable[[Any], Any] = _same


PLACES: Final[tuple[Place, ...]] = (
    Place(WORKDIR, "WorkingDir"),
    Place(USER, "User"),
    Place(value("hostname", "NAME", "the name it has for itself", plain_text), "Hostname"),
    Place(value("stop-signal", "SIGNAL", "what asks it to end (default: the image's, or TERM)", plain_text), "StopSignal"),
    Place(value("stop-timeout", "SECONDS", "how long stop waits before it kills", convert.whole_number), "StopTimeout"),
    Place(ENTRYPOINT, "Entrypoint", lambda program: [program]),
    Place(LABELS, "Labels", dict),
    Place(REMOVE, "HostConfig.AutoRemove"),
    Place(RESTART, "HostConfig.RestartPolicy"),
    Place(TMPFS, "HostConfig.Tmpfs", dict),
    Place(DEVICES, "HostConfig.Devices", list),
    Place(NETWORK, "HostConfig.NetworkMode"),
    Place(PUBLISH_ALL, "HostConfig.PublishAllPorts"),
    Place(switch("init", "have a small init as process 1, which reaps and passes signals on"), "HostConfig.Init"),
    Place(switch("read-only", "its files cannot be written, but for volumes and tmpfs"), "HostConfig.ReadonlyRootfs"),
    Place(switch("privileged", "all capabilities and devices; it can harm the host"), "HostConfig.Privileged"),
    Place(values("cap-add", "CAPABILITY", "one more capability, such as NET_ADMIN, or ALL", plain_text), "HostConfig.CapAdd", list),
    Place(values("cap-drop", "CAPABILITY", "one less, or ALL", plain_text), "HostConfig.CapDrop", list),
    Place(values("security-opt", "OPTION", "no-new-privileges, or seccomp=FILE", convert.security), "HostConfig.SecurityOpt", list),
    Place(value("shm-size", "SIZE", "the size of /dev/shm (default 64M)", convert.size), "HostConfig.ShmSize"),
    Place(value("pids-limit", "N", "how many processes and threads it may have", convert.whole_number), "HostConfig.PidsLimit"),
    Place(values("volumes-from", "MACHINE", "mount what that one mounts", plain_text), "HostConfig.VolumesFrom", list),
    Place(values("add-host", "NAME:IP", "a line more for /etc/hosts", plain_text), "HostConfig.ExtraHosts", list),
    Place(values("dns", "IP", "a name server, instead of the host's", plain_text), "HostConfig.Dns", list),
)  # fmt: skip

SHARED: Final[tuple[Option[Any], ...]] = (INTERACTIVE, TTY, ENVIRONMENT, CPUS, MEMORY)
"""Those that virtual machines have as well."""
OWN: Final[tuple[Option[Any], ...]] = (NAME, PLATFORM, PULL, VOLUMES, PUBLISH, ALIASES, *(place.option for place in PLACES))
"""Those of containers alone, but DETACH, which ``create`` lacks."""


def given(parsed: Parsed, options: tuple[Option[Any], ...]) -> list[Option[Any]]:
    """Those of `options` that the command line gives."""
    return [option for option in options if parsed.get(option) not in (None, False, ())]


def document(parsed: Parsed, image: str, *, attached: bool, size: tuple[int, int] | None) -> Document:
    """The body of POST /containers/create. `size`: rows and columns of this terminal. Raises UsageError."""
    interactive, host = parsed.get(INTERACTIVE), Document()
    made: Document = {
        "Image": image,
        "Cmd": list(parsed.command) or None,
        "Tty": parsed.get(TTY),
        "OpenStdin": interactive,
        "StdinOnce": interactive and attached,
        "AttachStdin": interactive and attached,
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Env": list(environment_for(parsed.get(ENVIRONMENT), os.environ)),
        "HostConfig": host,
    }
    for place in PLACES:
        found = parsed.get(place.option)
        if found not in (None, False, ()):
            inside, _, name = place.path.rpartition(".")
            (host if inside else made)[name] = place.shape(found)
    _limits(parsed, host)
    _volumes(parsed, made, host)
    published: list[Publication] = [entry for entries in parsed.get(PUBLISH) for entry in entries]
    made["ExposedPorts"], host["PortBindings"] = bindings(published)
    _network(parsed, made)
    if size and parsed.get(TTY):
        host["ConsoleSize"] = list(size)
    return made


def _limits(parsed: Parsed, host: Document) -> None:
    cpus, memory = parsed.get(CPUS), parsed.get(MEMORY)
    if cpus is not None:
        host["NanoCpus"] = convert.processors(cpus, CPUS.flag)
    if memory is not None:
        host["Memory"] = convert.size(memory, MEMORY.flag)


def _volumes(parsed: Parsed, made: Document, host: Document) -> None:
    """With a source it is a bind or a named volume, without one an anonymous volume."""
    found = parsed.get(VOLUMES)
    host["Binds"] = [text for text in found if ":" in text]
    made["Volumes"] = {text: {} for text in found if ":" not in text}


def _network(parsed: Parsed, made: Document) -> None:
    aliases, network = parsed.get(ALIASES), parsed.get(NETWORK)
    if not aliases:
        return
    if network is None:
        raise UsageError(ALIASES.flag, "it is a name in a network of your own", "add --network NETWORK")
    made["NetworkingConfig"] = {"EndpointsConfig": {network: {"Aliases": list(aliases)}}}
