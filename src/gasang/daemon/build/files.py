"""COPY and ADD: which files, from where, to where, and a layer made of them."""

from __future__ import annotations

import glob
import hashlib
import os
import posixpath
import re
import stat
import tarfile
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError
from gasang.daemon.build.config import Stage
from gasang.daemon.build.dockerfile import Heredoc, Instruction
from gasang.daemon.build.errors import BuildError
from gasang.daemon.build.words import expanded
from gasang.daemon.containers.extract import BLOCK, Extraction
from gasang.daemon.engine import Engine
from gasang.daemon.views import ImageView
from gasang.host.trees import open_within

DOWNLOAD_TIMEOUT: Final = 60.0
_ARCHIVES: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True)
class Copy:
    """What an instruction asks for."""

    step: Instruction
    sources: tuple[str, ...]
    target: str
    owner: str
    mode: int | None
    unpacks: bool
    heredocs: tuple[Heredoc, ...]

    @classmethod
    def of(cls, step: Instruction, stage: Stage, context: Path | None) -> Copy:
        """Read the instruction. Raises UsageError."""
        words = stage.words(step)
        heredocs = {f"<<{heredoc.name}": heredoc for heredoc in step.heredocs}
        words = [word.replace("<<-", "<<") for word in words]
        if len(words) < 2:
            raise step.wrong("it requires at least two arguments", "name a source and a target")
        *sources, target = words
        plain = [word for word in sources if word not in heredocs]
        if len(sources) > 1 and not target.endswith("/") and target not in (".", "..", "/"):
            raise step.wrong("when using more than one source file, the destination must be a directory and end with a /")
        full = posixpath.normpath(posixpath.join(stage.folder, target))
        if target.endswith(("/", "/.")) or target in (".", "./"):
            full = full.rstrip("/") + "/"
        mode = step.flags.get("chmod")
        if mode is not None and not re.fullmatch(r"[0-7]{3,4}", mode):
            raise step.wrong(f"invalid chmod parameter: {mode[:20]!r}", "write an octal number")
        owner = expanded(step.flags.get("chown", ""), stage.variables(), stage.escape)
        return cls(step, tuple(plain), full, owner, int(mode, 8) if mode else None, step.name == "ADD", tuple(step.heredocs))


@dataclass(frozen=True)
class Found:
    """A source that was found: a path relative to the context's root, the name it gets, and a local file if it was downloaded."""

    path: str
    name: str
    wildcard: bool = False


class Sources:
    """The files of one instruction."""

    def __init__(self, engine: Engine, copying: Copy, context: Path, image: ImageView | None) -> None:
        self._engine = engine
        self._copying = copying
        self._context = context
        self._image = image
        self._downloads = Path(tempfile.mkdtemp(prefix="add-", dir=context.parent))

    @contextmanager
    def _root(self) -> Iterator[int]:
        """A descriptor of where the sources are: the context, or another stage's files."""
        if self._image is None:
            root = os.open(self._context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield root
            finally:
                os.close(root)
        else:
            with self._engine.layers.root_of(self._image.layers) as root:
                yield root

    def _found(self, root: int) -> list[Found]:
        result: list[Found] = []
        for source in self._copying.sources:
            if re.match(r"(?:https?|ftp)://", source):
                continue
            clean = posixpath.normpath("/" + source).lstrip("/")
            if any(char in source for char in "*?["):
                matches = sorted(glob.glob(clean, root_dir=f"/proc/self/fd/{root}", include_hidden=True))
                if not matches:
                    raise self._copying.step.wrong(
                        f"no source files were specified: {source[:100]} fits nothing", "look at the build context"
                    )
                result += [Found(match, posixpath.basename(match), wildcard=True) for match in matches]
            else:
                try:
                    os.close(open_within(root, clean or "/", os.O_PATH))
                except OSError:
                    where = "file not found in build context or excluded by .dockerignore"
                    raise BuildError(f"{self._copying.step.name} failed: {where}: stat {source[:200]}: file does not exist") from None
                result.append(Found(clean, posixpath.basename(clean)))
        return result

    def digest(self) -> str:
        """What the cache knows the files by: their names, kinds, rights and contents. Downloads are made for it. Raises UsageError."""
        made = hashlib.sha256()
        made.update(repr((self._copying.target, self._copying.owner, self._copying.mode, self._copying.unpacks)).encode())
        for heredoc in self._copying.heredocs:
            made.update(heredoc.content.encode())
        for path in self._downloaded():
            made.update(path.name.encode() + path.read_bytes())
        with self._root() as root:
            for found in self._found(root):
                place = self._open(root, found)
                try:
                    _digest(place, found.name, made)
                finally:
                    os.close(place)
        return f"sha256:{made.hexdigest()}"

    def _downloaded(self) -> list[Path]:
        """Local copies of the sources that are addresses. Raises BadInputError."""
        result = []
        for source in self._copying.sources:
            if not re.match(r"(?:https?)://", source):
                continue
            name = posixpath.basename(urllib.parse.urlsplit(source).path)
            if not name and self._copying.target.endswith("/"):
                raise self._copying.step.wrong(f"cannot determine filename from url: {source[:100]}", "name the target file")
            target = self._downloads / (name or "download")
            if not target.exists():
                self._download(source, target)
            result.append(target)
        return result

    def _download(self, source: str, target: Path) -> None:
        try:
            with urllib.request.urlopen(source, timeout=DOWNLOAD_TIMEOUT) as answer, target.open("wb") as file:  # noqa: S310  http and https only
                while data := answer.read(BLOCK):
                    file.write(data)
        except (OSError, ValueError) as error:
            target.unlink(missing_ok=True)
            raise BadInputError(f"ADD {source[:200]}", f"it cannot be downloaded ({error})", "look at the address") from error
        wanted = self._copying.step.flags.get("checksum", "")
        if wanted and wanted != f"sha256:{hashlib.sha256(target.read_bytes()).hexdigest()}":
            raise BadInputError(f"ADD {source[:200]}", "its checksum is another", "look at the address and the checksum")

    def into_layer(self, image: ImageView) -> Path:
        """A layer over `image` that has the files. Raises UsageError, OSError."""
        copying = self._copying
        with self._engine.layers.new_layer(image) as (layer, target), self._root() as root:
            owner = self._engine.layers.identity(image, copying.owner) if copying.owner else (0, 0)
            extraction = Extraction(target, owner=owner)
            found = self._found(root)
            downloads = self._downloaded()
            single = len(found) + len(downloads) + len(copying.heredocs) == 1
            for heredoc in copying.heredocs:
                self._put_text(extraction, heredoc)
            for path in downloads:
                with path.open("rb") as file:
                    self._put_file(extraction, file, self._name(path.name, target, single=single), os.stat(path), 0o600)
            for entry in found:
                place = self._open(root, entry)
                try:
                    self._put(extraction, place, entry, target, single=single and not entry.wildcard)
                finally:
                    os.close(place)
            extraction.finish()
        return layer

    def _open(self, root: int, found: Found) -> int:
        """A path descriptor of a source. Raises BuildError where a link of the context leads nowhere in it."""
        try:
            return open_within(root, found.path or "/", os.O_PATH)
        except OSError as error:
            raise BuildError(f"{self._copying.step.name} failed: stat {found.path[:200]}: {(error.strerror or '').lower()}") from error

    def _name(self, base: str, target: int, *, single: bool) -> str:
        """Where a file goes: into the target if that is a folder, else it is the target."""
        wanted = self._copying.target
        if wanted.endswith("/") or not single:
            return posixpath.join(wanted, base)
        try:
            os.close(open_within(target, wanted, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return wanted
        return posixpath.join(wanted, base)

    def _put_text(self, extraction: Extraction, heredoc: Heredoc) -> None:
        import io

        data = heredoc.content.encode()
        wanted = self._copying.target
        entry = tarfile.TarInfo(posixpath.join(wanted, heredoc.name) if wanted.endswith("/") else wanted)
        entry.size, entry.mode = len(data), 0o644 if self._copying.mode is None else self._copying.mode
        extraction.one(entry, io.BytesIO(data))

    def _put(self, extraction: Extraction, place: int, entry: Found, target: int, *, single: bool) -> None:
        found = os.fstat(place)
        if stat.S_ISDIR(found.st_mode):
            top = tarfile.TarInfo(self._copying.target)
            top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, int(found.st_mtime)
            if not _is_folder(target, self._copying.target):
                extraction.one(top, None)
            self._put_children(extraction, place, self._copying.target)
            return
        if not stat.S_ISREG(found.st_mode):
            raise BuildError(f"{self._copying.step.name} failed: {entry.name[:200]} is neither a file nor a folder")
        with open(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if self._copying.unpacks and _is_archive(file):
                self._unpack(extraction, file)
            else:
                self._put_file(extraction, file, self._name(entry.name, target, single=single), found, stat.S_IMODE(found.st_mode))

    def _unpack(self, extraction: Extraction, file: object) -> None:
        import io

        assert isinstance(file, io.BufferedReader)
        prefix = self._copying.target
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                entry.name = posixpath.join(prefix, entry.name.lstrip("/"))
                if entry.islnk():
                    entry.linkname = posixpath.join(prefix, entry.linkname.lstrip("/"))
                extraction.one(entry, content)

    def _put_file(self, extraction: Extraction, file: object, name: str, found: os.stat_result, mode: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime = found.st_size, int(found.st_mtime)
        entry.mode = mode if self._copying.mode is None else self._copying.mode
        extraction.one(entry, file)

    def _put_children(self, extraction: Extraction, place: int, prefix: str) -> None:
        folder = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for child in sorted(os.listdir(folder)):
                inner = os.open(child, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    self._put_child(extraction, inner, posixpath.join(prefix, child))
                finally:
                    os.close(inner)
        finally:
            os.close(folder)

    def _put_child(self, extraction: Extraction, place: int, name: str) -> None:
        found = os.fstat(place)
        entry = tarfile.TarInfo(name)
        entry.mode, entry.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
        if self._copying.mode is not None and not stat.S_ISLNK(found.st_mode):
            entry.mode = self._copying.mode
        if stat.S_ISDIR(found.st_mode):
            entry.type = tarfile.DIRTYPE
            extraction.one(entry, None)
            self._put_children(extraction, place, name)
        elif stat.S_ISLNK(found.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("", dir_fd=place)
            extraction.one(entry, None)
        elif stat.S_ISREG(found.st_mode):
            with open(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
                entry.size = found.st_size
                extraction.one(entry, file)

    def close(self) -> None:
        """Remove what was downloaded."""
        import shutil

        shutil.rmtree(self._downloads, ignore_errors=True)


def _digest(place: int, name: str, made: hashlib._Hash) -> None:
    found = os.fstat(place)
    made.update(repr((name, stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), found.st_size)).encode())
    if stat.S_ISLNK(found.st_mode):
        made.update(os.readlink("", dir_fd=place).encode("utf-8", "surrogateescape"))
    elif stat.S_ISREG(found.st_mode):
        with open(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
            while data := file.read(BLOCK):
                made.update(data)
    elif stat.S_ISDIR(found.st_mode):
        folder = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for child in sorted(os.listdir(folder)):
                inner = os.open(child, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    _digest(inner, child, made)
                finally:
                    os.close(inner)
        finally:
            os.close(folder)


def _is_folder(root: int, path: str) -> bool:
    try:
        os.close(open_within(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def _is_archive(file: object) -> bool:
    """Whether ADD unpacks a file: a tar, bare or compressed."""
    import io

    assert isinstance(file, io.BufferedReader)
    head = file.read(512)
    file.seek(0)
    if not head.startswith(_ARCHIVES) and head[257:262] != b"ustar":
        return False
    try:
        with tarfile.open(fileobj=file, mode="r:*"):
            return True
    except (tarfile.TarError, EOFError, OSError):
        return False
    finally:
        file.seek(0)
