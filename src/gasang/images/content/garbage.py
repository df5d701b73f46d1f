"""Garbage: what no image, no pin and no running work reaches. It is removed; nothing else is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gasang.core.errors import BadInputError
from gasang.images.content.content import NEW, Content
from gasang.images.content.locks import is_free, locked
from gasang.images.descriptors import Blob, Entry, parse_manifest
from gasang.images.layers.folders import LOCK

ABANDONED_AFTER = 86_400.0
"""Seconds after which a download that nobody goes on with is garbage."""


def collect(content: Content) -> int:
    """Remove garbage; how many bytes of blobs that were. Where the index is damaged nothing is removed: nobody knows what is needed."""
    with locked(content.lock):
        return collect_locked(content)


@contextmanager
def tidied(content: Content) -> Iterator[None]:
    """What is begun within and fails leaves no garbage: often it failed because the disk is full. Leases are taken inside."""
    try:
        yield
    except BaseException:
        collect(content)
        raise


def collect_locked(content: Content) -> int:
    """As `collect`, for who holds the lock."""
    with suppress(BadInputError, OSError):
        needed = reachable(content, content.entries())
        freed = _remove_blobs(content, needed)
        _remove_layers(content.layers, needed)
        _remove_abandoned(content.ingests)
        content.leases.forget_dead()
        return freed
    return 0


def reachable(content: Content, entries: Iterable[Entry]) -> set[str]:
    """Digests of blobs and of unpacked layers that must stay."""
    needed = content.leases.held()
    manifests = {entry.manifest.digest: entry.manifest for entry in entries}
    for digest in content.pins.needed() - set(manifests):
        with suppress(OSError):
            manifests[digest] = Blob("", digest, content.path(digest).stat().st_size)
    for manifest in manifests.values():
        needed |= _reached_from(content, manifest)
    return needed


def _reached_from(content: Content, manifest: Blob) -> set[str]:
    """All that an image needs; of one whose manifest is damaged only that is known, and it must be pulled again anyway."""
    found = {manifest.digest}
    with suppress(BadInputError):
        config, layers = parse_manifest(content.read(manifest, ""), "")
        found |= {config.digest, *(layer.digest for layer in layers)}
        rootfs = content.document(config, "").get("rootfs")
        if isinstance(rootfs, dict) and isinstance(rootfs.get("diff_ids"), list):
            found |= {str(digest) for digest in rootfs["diff_ids"]}
    return found


def _remove_blobs(content: Content, needed: set[str]) -> int:
    freed = 0
    with suppress(FileNotFoundError):
        for path in content.blobs.iterdir():
            if f"sha256:{path.name}" not in needed:
                size = path.stat().st_size
                path.unlink()
                freed += size
    return freed


def _remove_layers(folder: Path, needed: set[str]) -> None:
    """Unpacked layers nobody needs, and what killed unpackers left."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            name = path.name.removeprefix(NEW).removeprefix(LOCK).partition(".")[0]
            running = path.name != name and not is_free(folder / f"{LOCK}{name}")
            if path.name.startswith(LOCK) or running or (path.name == name and f"sha256:{name}" in needed):
                continue
            remove_layer(path)


def remove_layer(path: Path) -> None:
    """Remove an unpacked layer: first its name, for half of one must not have it."""
    gone = path if path.name.startswith(NEW) else path.with_name(f"{NEW}{path.name}.gone")
    with suppress(OSError):
        path.replace(gone)
        shutil.rmtree(gone)


def _remove_abandoned(folder: Path) -> None:
    oldest = time.time() - ABANDONED_AFTER
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.stat().st_mtime < oldest and is_free(path):
                path.unlink(missing_ok=True)
