"""Files into and out of machines: where what is copied ends up (as cp -r has it), and how it is carried."""

from __future__ import annotations

import base64
import io
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple, cast

from gasang.api.answer import Answer
from gasang.api.client import Client, path_of
from gasang.cli.containers.archives import BLOCK, Incoming, as_roots, made
from gasang.core.errors import BadInputError, NotFoundError, UsageError
from gasang.daemon.containers.extract import Extraction

STAT: Final = "x-docker-container-path-stat"
_FOLDER: Final = 1 << 31
_LINK: Final = 1 << 27
_LINKS_MOST: Final = 16
_TAKEN: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)


class Place(NamedTuple):
    """An end of a copy: `machine` "" is this host; `path` "-" there is an archive on standard input or output."""

    machine: str
    path: str


def place(text: str) -> Place:
    """``MACHINE:PATH``, or a path of the host, which begins with a dot or a slash where it has a colon."""
    machine, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or "/" in machine:
        return Place("", text)
    return Place(machine, path or "/")


def is_contents(path: str) -> bool:
    """Whether what is in the folder is meant, not the folder itself."""
    return path == "." or path.endswith("/.")


class Target(NamedTuple):
    """Where to unpack, and the name of what is copied there; "." for the contents of a folder."""

    folder: str
    name: str


def target(source: str, source_is_folder: bool, wanted: str, there: str) -> Target:
    """Where a copy ends up. `there`: what is at `wanted`: "folder", "file" or "". Raises UsageError for what cannot be."""
    clean = posixpath.normpath(wanted)
    if there == "folder":
        return Target(clean, "." if is_contents(source) else posixpath.basename(posixpath.abspath(source)))
    if there == "file" and source_is_folder:
        raise UsageError(f"target {wanted}", "it is a file, and what is copied is a folder", "name a folder")
    if wanted.endswith("/") and not source_is_folder:
        raise UsageError(f"target {wanted}", "there is no such folder", "make it first, or leave the slash out")
    parent, name = posixpath.split(clean)
    return Target(parent or ".", name)


# what is in a machine


def facts(answer: Answer) -> dict[str, Any]:
    """The facts about a path that come with its archive. Raises ValueError for what is none."""
    found = json.loads(base64.b64decode(answer.headers.get(STAT, "")))
    return cast("dict[str, Any]", found)


def look(client: Client, machine: str, path: str) -> tuple[str, str]:
    """("folder", "file" or "", the path with links at its end followed) of a path inside. Raises GasangError."""
    for _ in range(_LINKS_MOST):
        try:
            with client.open("HEAD", path_of("containers", machine, "archive"), {"path": path}) as answer:
                found = facts(answer)
        except NotFoundError:
            return "", path
        if not (found["mode"] & _LINK and found["linkTarget"]):
            return ("folder" if found["mode"] & _FOLDER else "file"), path
        path = found["linkTarget"]
    raise UsageError(f"path {path}", "too many links lead to it", "name what they lead to")


# in


def copy_in(client: Client, source: str, goal: Place) -> None:
    """Copy a file or folder of the host, or an archive on standard input, into a machine. Raises GasangError, OSError."""
    there, path = look(client, goal.machine, goal.path)
    if source == "-":
        _put(client, goal.machine, path, _standard_input())
        return
    found = os.stat(source) if source.endswith("/") or is_contents(source) else os.lstat(source)
    is_folder = stat.S_ISDIR(found.st_mode)
    where = target(source, is_folder, path if there else goal.path, there)

    def fill(archive: tarfile.TarFile) -> None:
        archive.add(source, where.name, filter=as_roots)

    if where.name != "." and is_contents(source) and not is_folder:
        raise UsageError(f"source {source}", "it is no folder", "leave the dot out")
    _put(client, goal.machine, where.folder, made(fill))


def _put(client: Client, machine: str, folder: str, pieces: Iterator[bytes]) -> None:
    client.call("PUT", path_of("containers", machine, "archive"), {"path": folder, "noOverwriteDirNonDir": 1}, pieces)


def _standard_input() -> Iterator[bytes]:
    while data := os.read(0, BLOCK):
        yield data


# out


def copy_out(client: Client, source: Place, goal: str) -> None:
    """Copy out of a machine to the host, or as an archive to standard output. Raises GasangError, OSError."""
    with client.open("GET", path_of("containers", source.machine, "archive"), {"path": source.path}) as answer:
        if goal == "-":
            for data in iter(answer.read, b""):
                _write(data)
            return
        is_folder = bool(facts(answer)["mode"] & _FOLDER)
        there = "folder" if os.path.isdir(goal) else "file" if os.path.lexists(goal) else ""
        where = target(source.path, is_folder, goal, there)
        folder, name = where
        if is_folder and not there and (is_contents(source.path) or posixpath.normpath(source.path) == "/"):
            os.mkdir(goal)
            folder, name = goal, "."
        _unpack(answer, folder, name)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def _unpack(answer: Answer, folder: str, name: str) -> None:
    """Unpack below `folder`; the first part of each name becomes `name`. Nothing leaves the folder, whatever the archive says.

    What is unpacked belongs to whoever runs this, so that set-user-id bits are dropped; device nodes are left out.
    """
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        extraction = Extraction(root, keeps_kind=True, owner=(os.geteuid(), os.getegid()))
        with tarfile.open(fileobj=cast("BinaryIO", io.BufferedReader(Incoming(answer), BLOCK)), mode="r|") as archive:
            for entry in archive:
                if entry.type in _TAKEN:
                    entry.name = renamed(entry.name, name)
                    entry.linkname = renamed(entry.linkname, name) if entry.islnk() else entry.linkname
                    entry.mode &= 0o1777
                    _one(extraction, entry, archive)
        extraction.finish()
    finally:
        os.close(root)


def _one(extraction: Extraction, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    try:
        extraction.one(entry, archive.extractfile(entry) if entry.isreg() else None)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise BadInputError(f"entry {entry.name[:200]}", "it lies below a link that leads to no folder", "copy less") from error


def renamed(path: str, name: str) -> str:
    """`path` with another first part."""
    _, _, rest = path.partition("/")
    return posixpath.join(name, rest) if rest else name
