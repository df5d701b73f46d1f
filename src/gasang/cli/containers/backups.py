"""The commands of ``gasang backup``."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.family import Commands, Local
from gasang.cli.containers.shown import ago
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import Column, printable, render
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.errors import GasangError, UsageError
from gasang.core.units import format_size

TO = value("to", "DIR|s3://BUCKET/PREFIX", "where the backups are; made if it is not there", plain_text, files=True)
FROM = value("from", "DIR|s3://BUCKET/PREFIX", "where the backups are", plain_text, files=True)
INCREMENTAL = switch("incremental", "read only what has changed since the last backup of it there")
NAME = value("name", "NEW", "what the machine or volume is to be called; by default as it was", plain_text)
HOST_PATHS = switch("host-paths", "a machine has the folders of the host that it had, and the kernel that was given by its path")
JSON = switch("json", "objects, for programs")
BACKUP: Final = Argument("BACKUP", "by name, as ls has it")
BACKUPS: Final = Argument("BACKUP", "by name, as ls has it", repeated=True)
COLUMNS: Final = (
    Column("backup", "BACKUP"), Column("kind", "KIND"), Column("created", "CREATED", ago), Column("size", "SIZE", format_size),
    Column("read", "READ", format_size), Column("stored", "STORED", format_size), Column("base", ""),
)  # fmt: skip


def _place(parsed: Parsed, option: Any) -> str:
    place = parsed.get(option)
    if not place:
        raise UsageError(f"option {option.flag}", "it does not say where the backups are", f"add {option.flag} DIR, or s3://BUCKET/PREFIX")
    return str(place)


def _row(kept: Any) -> dict[str, Any]:
    size = sum(each.size for each in kept.objects)
    row = {"backup": kept.identity, "kind": kept.kind, "created": kept.created, "size": size}
    return {**row, "read": kept.read, "stored": kept.stored, "base": kept.base}


def _create(parsed: Parsed, context: Context) -> int:
    from gasang.cli.backup.taking import Taking, find
    from gasang.storage.backup.repository import Repository

    place = _place(parsed, TO)
    client = connect(context)
    targets = [find(client, word) for word in parsed.arguments]
    with Repository.open(place, writes=True, make=True) as repository, open_progress(context) as progress:
        for target in targets:
            with progress.step(f"backing up {target.name}", None, "bytes") as step:
                made = Taking(client, repository, target, step.advance, incremental=parsed.get(INCREMENTAL)).run()
            print(json.dumps(_row(made)) if parsed.get(JSON) else made.identity)
    return 0


def _list(parsed: Parsed, context: Context) -> int:
    from gasang.storage.backup.repository import Repository

    with Repository.open(_place(parsed, FROM)) as repository:
        rows = [_row(kept) for kept in repository.all()]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0


def _restore(parsed: Parsed, context: Context) -> int:
    from gasang.cli.backup.giving import Giving
    from gasang.storage.backup.repository import Repository

    with Repository.open(_place(parsed, FROM)) as repository, open_progress(context) as progress:
        kept = repository.read(parsed.arguments[0])
        with progress.step(f"restoring {kept.identity}", None, "bytes") as step:
            name, host_paths = parsed.get(NAME) or "", parsed.get(HOST_PATHS)
            giving = Giving(connect(context), repository, kept, name, step.advance, host_paths=host_paths)
            giving.run()
    print("\n".join(giving.made))
    for what in giving.left_out:
        print(f"gasang: left out: {printable(what)}; --host-paths has it as well", file=sys.stderr)
    return 0


def _verify(parsed: Parsed, context: Context) -> int:
    from gasang.storage.backup.objects import verify
    from gasang.storage.backup.repository import Repository

    worst = 0
    with Repository.open(_place(parsed, FROM)) as repository, open_progress(context) as progress:
        for identity in parsed.arguments or repository.names():
            problem = ""
            try:
                with progress.step(f"verifying {identity}", None, "bytes") as step:
                    for each in repository.read(identity).objects:
                        verify(repository, each, step.advance)
            except GasangError as error:
                problem, worst = str(error), 1
            if parsed.get(JSON):
                print(json.dumps({"backup": identity, "sound": not problem, "problem": problem}))
            else:
                print(f"{identity}: {problem or 'sound'}")
    return worst


def _remove(parsed: Parsed, context: Context) -> int:
    from gasang.storage.backup.repository import Repository

    with Repository.open(_place(parsed, FROM), writes=True) as repository:
        for identity in parsed.arguments:
            repository.remove(identity)
        freed = repository.sweep()
    print(f"{format_size(freed)} freed")
    return 0


COMMANDS: Final[Commands] = {
    "create": Local(
        Syntax(
            "Keep a machine with its disks and settings, a volume, or the volumes of a container, in a folder or bucket of backups.",
            (TO, INCREMENTAL, JSON),
            (Argument("NAME", "a machine, container or volume; volume:NAME is a volume", repeated=True, completes="machines"),),
            examples=(
                Example("gasang backup create web --to /mnt/backups", "whether it runs or not"),
                Example("gasang backup create data --to /mnt/backups --incremental", "what has changed since the last one"),
                Example("gasang backup create web --to s3://mine/backups", "in a bucket; keys and endpoint from the environment or ~/.aws"),
            ),
            notes="""
Every backup is whole by itself: what it shares with others in the folder is stored once. A machine that runs goes on; its disks are kept
as they were at one moment each, with what its programs had written. Folders of the host that it mounts are not kept.""",
        ),
        _create,
    ),
    "ls": Local(
        Syntax("List backups, the newest first.", (FROM, FORMAT), examples=(Example("gasang backup ls --from /mnt/backups", "all"),)),
        _list,
    ),
    "restore": Local(
        Syntax(
            "Make a machine or volume anew from a backup.",
            (FROM, NAME, HOST_PATHS),
            (BACKUP,),
            examples=(Example("gasang backup restore web-20260101T120000 --from /mnt/backups --name web2", "beside it"),),
            notes="A machine comes with its volumes, by their own names where those are free, and is started with gasang start.",
        ),
        _restore,
    ),
    "verify": Local(
        Syntax(
            "Read backups and compare every piece with its digest.",
            (FROM, JSON),
            (Argument("BACKUP", "by name; all of them by default", required=False, repeated=True),),
            examples=(Example("gasang backup verify --from /mnt/backups", "all of them"),),
            notes="The exit code is 1 where one is damaged.",
        ),
        _verify,
    ),
    "rm": Local(
        Syntax(
            "Remove backups, and what no other one needs.",
            (FROM,),
            (BACKUPS,),
            examples=(Example("gasang backup rm web-20260101T120000 --from /mnt/backups", "the others stay whole"),),
        ),
        _remove,
    ),
}
