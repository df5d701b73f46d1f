"""``gasang import``: an image from an archive of files."""

from __future__ import annotations

import os
import stat

from gasang.cli.containers.options import PLATFORM
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, value, values
from gasang.cli.settings import Context
from gasang.core.errors import BadInputError, GasangError, UsageError

CHANGE = values("change", "INSTRUCTION", "of a Dockerfile, such as 'CMD [\"sh\"]'", plain_text, short="c")
MESSAGE = value("message", "TEXT", "what it is", plain_text, short="m")
OPTIONS = (CHANGE, MESSAGE, PLATFORM)

SYNTAX = Syntax(
    "Make a container image of one layer from a tar archive of files, and print its id.",
    options=OPTIONS,
    arguments=(
        Argument("FILE", "the archive, also compressed; - for standard input", completes="files"),
        Argument("IMAGE", "what to call it", required=False),
    ),
    examples=(
        Example("gasang import --change 'CMD [\"sh\"]' root.tar.gz tiny:1", "from a root file system"),
        Example("tar -C root -c . | gasang import - tiny:1", "from a folder"),
    ),
)


def _check_archive(name: str) -> None:
    """Raise BadInputError for what surely holds no archive: an empty file, or a device such as /dev/null, which may have no end either.

    What cannot be looked at is told by who opens it.
    """
    try:
        info = os.stat(name)
    except (OSError, ValueError):
        return
    if stat.S_ISCHR(info.st_mode):
        raise BadInputError(f"archive {name}", "it is a device without a size", "name a disk, a disk image or an archive")
    if stat.S_ISREG(info.st_mode) and not info.st_size:
        raise BadInputError(f"archive {name}", "it is empty", "name a disk image or an archive of files")


def run(parsed: Parsed, context: Context) -> int:
    """Make it and print its id. Raises GasangError, OSError."""
    from gasang.cli.containers.context import check_tag  # the family of images has no time for it
    from gasang.cli.containers.daemon import connect
    from gasang.cli.containers.saving import read_from

    source, *name = parsed.arguments
    if "://" in source:
        raise UsageError(f"archive {source}", "addresses are not fetched", "download it and name the file")
    if source != "-":
        _check_archive(source)
    query = {
        "fromSrc": "-",
        "repo": check_tag(name[0], "IMAGE") if name else None,
        "changes": list(parsed.get(CHANGE)),
        "message": parsed.get(MESSAGE),
        "platform": parsed.get(PLATFORM),
    }
    key = ""
    with read_from(None if source == "-" else source, "importing", "import", context) as pieces:
        for line in connect(context).lines("POST", "/images/create", query, pieces):
            key = str(line.get("status") or key)
    if not key:
        raise GasangError("import", "the daemon told of no image", "look at daemon.log")
    print(key)
    return 0
