"""The commands of ``gasang image`` about disk images: files of this and other hypervisors. They need no daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gasang.cli.containers.family import Commands, Local
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.output import Column, printable, render
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.errors import StateError, UnsupportedError, UsageError
from gasang.core.units import format_size, parse_size

if TYPE_CHECKING:  # other commands of the family have no time for it
    from gasang.storage.images.image import Image
    from gasang.storage.images.qcow2.disk import Qcow2
    from gasang.storage.images.references import Trust

FORM = value("from", "FORMAT", "the format that FILE is of; else its content decides", plain_text)
TO = value("to", "FORMAT", "qcow2, vmdk, vdi, vhdx, vhd, parallels or raw; else the new file's name decides", plain_text)
OPTION = values(
    "option",
    "NAME=VALUE",
    "an option of the new image's format, such as compression_type=zstd; may be given many times",
    plain_text,
    short="o",
)
COMPRESS = switch("compress", "write compressed pieces: qcow2, and vmdk with subformat=streamOptimized", short="c")
FORCE = switch("force", "write over a file that is there", short="f")
REPAIR = switch("repair", "mend what can be mended; only then the image is written")
JSON = switch("json", "an object, for programs")
KEY_FILE = value("key-file", "FILE", "the passphrase of a LUKS disk, all that is in this file", plain_text, files=True)
HEADER = value("header", "FILE", "the header of a LUKS disk, where it is a file of its own", plain_text, files=True)
ALLOW = values(
    "allow", "PATH", "a file or folder outside the image's own that it may name as backing file or extent", plain_text, files=True
)
SNAPSHOT = value("snapshot", "NAME", "the disk as it was at this snapshot (qcow2)", plain_text)
SHRINK = switch("shrink", "the disk may become smaller: what lies behind is lost")
CREATE = value("create", "NAME", "keep the present state as NAME", plain_text)
APPLY = value("apply", "NAME", "have the disk be what it was at NAME", plain_text)
DELETE = value("delete", "NAME", "forget NAME", plain_text)
FILE: Final = Argument("FILE", "a disk image", completes="files")

EXIT_DIFFERENT: Final = 1
COLUMNS: Final = (
    Column("id", "ID"),
    Column("name", "NAME"),
    Column("created", "CREATED"),
    Column("size", "DISK", format_size),
    Column("state", "MEMORY", format_size),
)


def as_json(facts: Mapping[str, Any], indent: int | None = None) -> str:
    """What a program is told."""
    import json  # a conversion has no time for it

    return json.dumps(facts, indent=indent, ensure_ascii=False)


def _trust(parsed: Parsed) -> Trust | None:
    """What the image may name: beside it, and what was allowed. A user who names the file means it."""
    from gasang.storage.images.references import Trust

    return Trust(also=tuple(Path(path) for path in parsed.get(ALLOW)))


def open_named(
    parsed: Parsed, name: str, *, read_only: bool = True, form: str | None = None, key_file: str | None = None, header: str | None = None
) -> Image:
    """The image of a path or an address. Raises what opening it raises."""
    from gasang.storage.formats import REMOTE
    from gasang.storage.images.table import open_image

    if key_file:
        from gasang.storage.encrypted import open_encrypted
        from gasang.storage.formats import read_key

        return open_encrypted(name, read_key(Path(key_file)), read_only=read_only, form=form or "", header=Path(header) if header else None)
    if name.startswith(REMOTE):
        from gasang.storage.remote import open_remote

        return open_remote(name, read_only=read_only, form=form or "")
    return open_image(Path(name), read_only=read_only, form=form or "", trust=_trust(parsed))


def _qcow2(image: Image, name: str) -> Qcow2:
    from gasang.storage.images.qcow2.disk import Qcow2

    if isinstance(image, Qcow2):
        return image
    image.close()
    raise UnsupportedError(f"disk {name}", "only qcow2 images have snapshots", f"convert it: gasang image convert {name} new.qcow2")


def options_of(parsed: Parsed) -> dict[str, str]:
    """The options of a new image. Raises UsageError."""
    chosen = {}
    for text in parsed.get(OPTION):
        name, equals, what = text.partition("=")
        if not equals:
            raise UsageError(f"-o {text}", "it has no value", "write NAME=VALUE")
        chosen[name] = what
    return chosen


def form_for(parsed: Parsed, path: Path) -> str:
    """The format of a new image. Raises UsageError."""
    from gasang.storage.images.table import FORMATS, by_suffix, named

    if wanted := parsed.get(TO):
        return named(wanted).name
    found = by_suffix(path)
    if found is None:
        raise UsageError(f"disk {path}", "its name does not say which format it is to have", f"say --to {'|'.join(FORMATS)}")
    return found.name


def _make(parsed: Parsed, path: Path, size: int) -> Image:
    """A new image, where none may be overwritten unless that was asked for."""
    from gasang.storage.images.table import create_image

    if path.exists() and not parsed.get(FORCE):
        raise StateError(f"disk {path}", "it is there already", "remove it, or say --force")
    return create_image(path, form_for(parsed, path), size, options_of(parsed))


def _create(parsed: Parsed, context: Context) -> int:
    name, size = parsed.arguments
    _make(parsed, Path(name), parse_size(size)).close()
    return 0


def _convert(parsed: Parsed, context: Context) -> int:
    from gasang.storage.images.conversion import convert
    from gasang.storage.images.table import remove_image

    name, new = parsed.arguments
    path = Path(new)
    source = open_named(parsed, name, form=parsed.get(FORM), key_file=parsed.get(KEY_FILE), header=parsed.get(HEADER))
    with closing(source):
        if kept := parsed.get(SNAPSHOT):
            from gasang.storage.images.qcow2 import snapshots

            snapshots.view(_qcow2(source, name), kept)
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise UsageError(f"disk {new}", "it is the one to convert", "name another file")
        target = _make(parsed, path, source.size)
        try:
            with open_progress(context) as progress, progress.step(f"converting {name}", source.size, "bytes") as step:
                convert(source, target, compress=parsed.get(COMPRESS), told=step.advance)
            target.close()
        except BaseException:
            remove_image(path, target)
            raise
    return 0


def _info(parsed: Parsed, context: Context) -> int:
    from gasang.storage.formats import REMOTE
    from gasang.storage.images.table import describe

    name = parsed.arguments[0]
    if name.startswith(REMOTE):
        from gasang.storage.remote import describe_remote

        facts = describe_remote(name, parsed.get(FORM) or "")
    else:
        facts = describe(Path(name), parsed.get(FORM) or "", _trust(parsed))
    if parsed.get(JSON):
        print(as_json(facts, 2))
        return 0
    shown: dict[str, Callable[[Any], str]] = {
        "size": format_size,
        "used": format_size,
        "block_size": format_size,
        "cluster_size": format_size,
    }
    for key, what in facts.items():
        text = shown[key](what) if key in shown else {True: "yes", False: "no"}[what] if isinstance(what, bool) else str(what)
        print(f"{key.replace('_', ' ') + ':':<18}{printable(text)}")
    return 0


def _check(parsed: Parsed, context: Context) -> int:
    name = parsed.arguments[0]
    repair = parsed.get(REPAIR)
    with closing(_open_for_check(parsed, name, repair=repair)) as image:
        report = image.check(repair=repair)
    if parsed.get(JSON):
        print(as_json({"errors": report.error_count, "leaks": report.leaks, "repaired": report.repaired, "messages": report.errors}, 2))
    else:
        for text in report.errors:
            print(printable(text), file=sys.stderr)
        print(f"{report.error_count} errors, {report.leaks} leaked clusters" + (f", {report.repaired} repaired" if repair else ""))
    return 1 if (report.error_count or report.leaks) and not repair else 0


def _open_for_check(parsed: Parsed, name: str, *, repair: bool) -> Image:
    from gasang.storage.images.qcow2.files import open_file
    from gasang.storage.images.table import probed

    if repair and (parsed.get(FORM) or probed(Path(name)).name) == "qcow2":
        trust = _trust(parsed)
        assert trust is not None
        return open_file(Path(name), read_only=False, trust=trust, corrupt=True)
    return open_named(parsed, name, read_only=not repair, form=parsed.get(FORM))


def _compare(parsed: Parsed, context: Context) -> int:
    from gasang.storage.images.conversion import difference

    one, other = parsed.arguments
    with closing(open_named(parsed, one)) as first, closing(open_named(parsed, other)) as second:
        with open_progress(context) as progress, progress.step("comparing", max(first.size, second.size), "bytes") as step:
            where = difference(first, second, told=step.advance)
        sizes = [first.size, second.size]
    if parsed.get(JSON):
        print(as_json({"identical": where is None, "offset": where, "sizes": sizes}))
    else:
        print("the disks are identical" if where is None else f"the disks differ from byte {where} on")
    return 0 if where is None else EXIT_DIFFERENT


def _resize(parsed: Parsed, context: Context) -> int:
    from gasang.storage.images.image import Resizable

    name, text = parsed.arguments
    with closing(open_named(parsed, name, read_only=False, form=parsed.get(FORM))) as image:
        if not isinstance(image, Resizable):
            raise UnsupportedError(f"disk {name}", "images of its format do not change their size", "convert it to qcow2 or raw")
        size = image.size + parse_size(text[1:]) if text.startswith("+") else parse_size(text)
        if size < image.size and not parsed.get(SHRINK):
            raise UsageError(f"size {text}", f"the disk has {format_size(image.size)} now", "say --shrink to cut it")
        image.resize(size)
        image.flush()
    return 0


def _snapshot(parsed: Parsed, context: Context) -> int:
    from gasang.storage.images.qcow2 import snapshots

    name = parsed.arguments[0]
    acts = (
        (CREATE, snapshots.create),
        (APPLY, snapshots.apply),
        (DELETE, snapshots.delete),
    )
    wanted = [(act, given) for option, act in acts if (given := parsed.get(option))]
    if len(wanted) > 1:
        raise UsageError("gasang image snapshot", "it does one thing at a time", "give one of --create, --apply and --delete")
    with closing(_qcow2(open_named(parsed, name, read_only=not wanted, form="qcow2"), name)) as disk:
        if wanted:
            act, given = wanted[0]
            act(disk, given)
            return 0
        found, _ = snapshots.table_of(disk)
    from datetime import UTC, datetime

    rows = [
        {
            "id": kept.identity,
            "name": kept.name,
            "created": datetime.fromtimestamp(kept.seconds, UTC).isoformat(),
            "size": kept.size,
            "state": kept.vm_state,
        }
        for kept in found
    ]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0


COMMANDS: Final[Commands] = {
    "convert": Local(
        Syntax(
            "Copy a disk image into one of another format.",
            (FORM, TO, OPTION, COMPRESS, SNAPSHOT, KEY_FILE, HEADER, FORCE, ALLOW),
            (FILE, Argument("NEW", "the file to make; its suffix names the format", completes="files")),
            examples=(
                Example("gasang image convert windows.vmdk windows.qcow2", "from VMware"),
                Example("gasang image convert -c -o compression_type=zstd disk.img small.qcow2", "compressed"),
                Example("gasang image convert -o subformat=streamOptimized web.qcow2 web.vmdk", "for an appliance"),
            ),
            notes="Zeroes are not written. Backing files become part of the new image. Options of each format: docs/reference/disks.md.",
        ),
        _convert,
    ),
    "create": Local(
        Syntax(
            "Make an empty disk image.",
            (TO, OPTION, FORCE),
            (
                Argument("NEW", "the file to make; its suffix names the format", completes="files"),
                Argument("SIZE", "of the disk, such as 20G"),
            ),
            examples=(Example("gasang image create data.qcow2 20G", "it grows as it is written"),),
        ),
        _create,
    ),
    "info": Local(
        Syntax(
            "Show what a disk image is.",
            (FORM, JSON, ALLOW),
            (FILE,),
            examples=(Example("gasang image info disk.vhdx", "format, size and more"),),
        ),
        _info,
    ),
    "check": Local(
        Syntax(
            "Judge a disk image's own tables.",
            (FORM, REPAIR, JSON, ALLOW),
            (FILE,),
            examples=(Example("gasang image check --repair disk.qcow2", "mend what a power cut left"),),
            notes="The exit code is 1 where errors or leaks were found and not repaired. Leaks only waste space.",
        ),
        _check,
    ),
    "compare": Local(
        Syntax(
            "Tell whether two images hold the same disk.",
            (JSON, ALLOW),
            (FILE, Argument("OTHER", "another", completes="files")),
            examples=(Example("gasang image compare disk.vmdk disk.qcow2", "whatever their formats"),),
            notes="The exit code is 1 if they differ. What only the larger one has counts as zeroes in the other.",
        ),
        _compare,
    ),
    "resize": Local(
        Syntax(
            "Give the disk of a raw or qcow2 image another size.",
            (FORM, SHRINK, ALLOW),
            (FILE, Argument("SIZE", "the new size, or what to add, such as +5G")),
            examples=(Example("gasang image resize disk.qcow2 +5G", "new space reads as zeroes"),),
        ),
        _resize,
    ),
    "snapshot": Local(
        Syntax(
            "List the snapshots in a qcow2 image, or make, apply or delete one.",
            (CREATE, APPLY, DELETE, ALLOW, FORMAT),
            (FILE,),
            examples=(
                Example("gasang image snapshot disk.qcow2", "list them"),
                Example("gasang image snapshot --create before disk.qcow2", "keep the present state"),
            ),
        ),
        _snapshot,
    ),
}
