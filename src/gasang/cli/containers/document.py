"""From a command line to the documents of the Docker Engine API that make and change a container."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from gasang.cli.containers import places as of
from gasang.cli.containers import values as convert
from gasang.cli.containers.attachments import USER, Attachment, joined
from gasang.cli.containers.options import CPUS, INTERACTIVE, MEMORY, TTY, environment_of, is_given
from gasang.cli.containers.places import Place
from gasang.cli.containers.ports import bindings
from gasang.cli.options import Parsed
from gasang.core.errors import UsageError

Document = dict[str, Any]


class Ends(NamedTuple):
    """Which of a container's streams this command is joined to."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


def document(parsed: Parsed, image: str, ends: Ends, size: tuple[int, int] | None) -> Document:
    """The body of POST /containers/create. `size`: rows and columns of this terminal. Raises UsageError."""
    made: Document = {
        "Image": image,
        "Cmd": list(parsed.command) or None,
        "Tty": parsed.get(TTY),
        "OpenStdin": parsed.get(INTERACTIVE),
        "StdinOnce": ends.stdin,
        "AttachStdin": ends.stdin,
        "AttachStdout": ends.stdout,
        "AttachStderr": ends.stderr,
        "Env": list(environment_of(parsed)),
        "HostConfig": {},
    }
    if parsed.get(of.NO_HEALTHCHECK) and parsed.get(of.HEALTH_COMMAND):
        raise UsageError(of.NO_HEALTHCHECK.flag, f"{of.HEALTH_COMMAND.flag} asks for a check", "leave one of the two out")
    fill(made, parsed, of.PLACES)
    host: Document = made["HostConfig"]
    host.update(limits(parsed))
    made["Labels"] = dict([*(pair for pairs in parsed.get(of.LABEL_FILE) for pair in pairs), *parsed.get(of.LABELS)])
    _volumes(parsed, made, host)
    networking(parsed, made, host)
    if size and parsed.get(TTY):
        host["ConsoleSize"] = list(size)
    return made


def fill(made: Document, parsed: Parsed, places: Iterable[Place]) -> None:
    """Put the values that the command line gives where the table says; what is not given is left out."""
    for place in places:
        found = parsed.get(place.option) if place.path else None
        if is_given(found):
            *groups, name = place.path.split(".")
            inner = made
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[name] = place.shape(found)


def limits(parsed: Parsed) -> Document:
    """The part of HostConfig that --cpus and --memory say. Raises UsageError."""
    cpus, memory = parsed.get(CPUS), parsed.get(MEMORY)
    made: Document = {}
    if cpus is not None:
        made["NanoCpus"] = convert.processors(cpus, CPUS.flag)
    if memory is not None:
        made["Memory"] = convert.size(memory, MEMORY.flag)
    return made


def _volumes(parsed: Parsed, made: Document, host: Document) -> None:
    """With a source it is a bind or a named volume, without one an anonymous volume."""
    found = parsed.get(of.VOLUMES)
    host["Binds"] = [text for text in found if ":" in text]
    made["Volumes"] = {text: {} for text in found if ":" not in text}


def networking(parsed: Parsed, made: Document, host: Document) -> None:
    """What the document for a new machine says of its networks and ports. Raises UsageError."""
    _ports(parsed, made, host)
    _network(parsed, made, host)


def _ports(parsed: Parsed, made: Document, host: Document) -> None:
    exposed, host["PortBindings"] = bindings(entry for entries in parsed.get(of.PUBLISH) for entry in entries)
    made["ExposedPorts"] = {**exposed, **{name: {} for names in parsed.get(of.EXPOSE) for name in names}}


def _network(parsed: Parsed, made: Document, host: Document) -> None:
    more = Attachment("", parsed.get(of.ALIASES), parsed.get(of.IP) or "", parsed.get(of.IP6) or "", parsed.get(of.MAC) or "")
    named = parsed.get(of.NETWORKS) or ((Attachment(USER[0]),) if parsed.get(of.NO_ROOT) else ())
    mode, asked = joined(named, more)
    if mode is not None:
        host["NetworkMode"] = mode
    if asked:
        made["NetworkingConfig"] = {"EndpointsConfig": asked}
