"""Images and file systems as they are seen from inside: `import`, `export`, and `commit` of what a container has changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import tidied
from gasang.images.layers.pack import Layer, LayerWriter, pack_stream
from gasang.images.layers.stream import inflate
from gasang.images.layers.walk_tree import write_changes, write_tree
from gasang.images.layers.write import TarWriter
from gasang.images.reference import Reference
from gasang.images.registry.platform import Platform, host_platform
from gasang.images.spool import out_of_space


def export(root: Path, sink: Callable[[bytes], object]) -> None:
    """Write a container's file system (its mounted root) as a tar archive. Raises GasangError where it cannot be read."""
    writer = TarWriter(sink)
    try:
        write_tree(root, writer)
    except OSError as fault:
        raise out_of_space(fault, root) from fault
    writer.close()


def import_tar(
    pieces: Iterable[bytes], content: Content, reference: Reference | None = None, *, platform: Platform | None = None,
    settings: dict[str, Any] | None = None, message: str = "",
) -> ContainerImage:  # fmt: skip
    """Make an image of one layer from a tar archive, compressed or not. `settings` are its configuration's `config`.

    Raises BadInputError for an archive that is damaged or climbs out, OutOfSpaceError.
    """
    stream = iter(pieces)
    containers = Containers(content)
    with tidied(content), content.leases.take() as lease:
        layer = pack_stream(content, lease.hold, inflate(lambda: next(stream, b""), "archive to import"))
        chosen = platform or host_platform()
        config = {
            "created": _now(), **chosen.document(), "config": settings or {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": [],
        }  # fmt: skip
        return _finish(containers, config, [], layer, reference, {"comment": message or "Imported"}, lease.hold)


def commit(
    upper: Path, base: ContainerImage | None, content: Content, reference: Reference | None = None, *,
    settings: dict[str, Any] | None = None, author: str = "", comment: str = "", created_by: str = "", platform: Platform | None = None,
) -> ContainerImage:  # fmt: skip
    """Make an image of another one and of what an overlay's upper directory has changed. `settings` replace its `config`.

    Raises UnsupportedError for an overlay that a layer cannot say, OutOfSpaceError.
    """
    containers = Containers(content)
    with tidied(content), content.leases.take() as lease:
        if base is not None:
            lease.hold(base.digest, base.id, *(layer.digest for layer in base.layers), *base.diff_ids)
        layer = pack_changes(content, lease.hold, upper)
        empty = {**(platform or host_platform()).document(), "rootfs": {"type": "layers", "diff_ids": []}}
        config = deepcopy(base.config) if base else empty
        config["created"] = _now()
        if settings is not None:
            config["config"] = settings
        if author:
            config["author"] = author
        step = {"created_by": created_by, "author": author, "comment": comment}
        return _finish(containers, config, list(base.layers) if base else [], layer, reference, step, lease.hold)


def pack_changes(content: Content, hold: Callable[..., None], upper: Path) -> Layer:
    """A layer of an overlay's upper directory. Raises UnsupportedError, OutOfSpaceError."""
    writer = LayerWriter(content, hold)
    try:
        archive = TarWriter(writer.write)
        write_changes(upper, archive)
        archive.close()
        return writer.finish()
    except OSError as fault:
        raise out_of_space(fault, upper) from fault
    finally:
        writer.close()


def _finish(
    containers: Containers, config: dict[str, Any], lower: list[Any], layer: Layer, reference: Reference | None, step: dict[str, str],
    hold: Callable[..., None],
) -> ContainerImage:  # fmt: skip
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids"), list):
        raise BadInputError("the image's configuration", "it does not list its layers", "pull the image again")
    config["rootfs"] = {"type": "layers", "diff_ids": [*rootfs["diff_ids"], layer.diff_id]}
    told = {key: value for key, value in step.items() if value}
    config["history"] = [*(config.get("history") or []), {"created": config["created"], **told}]
    manifest = containers.add(config, [*lower, layer.blob], hold)
    image = containers.load(manifest)
    containers.layers_of(image)  # a hostile archive is told before it has a name
    return containers.tag(manifest, reference)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def pieces_of(path: Path) -> Generator[bytes, None, None]:
    """A file's content, in pieces; closing the generator closes the file. Raises GasangError where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(1 << 18):
                yield piece
    except OSError as fault:
        raise out_of_space(fault, path) from fault
