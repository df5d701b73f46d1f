"""``gasang build``: an image from a Dockerfile."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gasang.cli.containers import values as convert
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.options import PLATFORM
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.settings import Context
from gasang.core.errors import GasangError

TAGS = values("tag", "NAME", "what to call the image; may be given many times", plain_text, short="t")
FILE = value("file", "FILE", "the Dockerfile (default: Dockerfile in FOLDER)", plain_text, short="f", files=True)
ARGUMENTS = values("build-arg", "NAME=VALUE", "the value of an ARG", convert.pair)
LABELS = values("label", "NAME=VALUE", "a note on the image", convert.pair)
TARGET = value("target", "STAGE", "end with this stage", plain_text)
NETWORK = value("network", "NETWORK", "for RUN: default, none or host", plain_text)
HOSTS = values("add-host", "NAME:IP", "a line more for /etc/hosts while it is built", plain_text)
MEMORY = value("memory", "SIZE", "memory of each step", convert.size, short="m")
SHM_SIZE = value("shm-size", "SIZE", "the size of /dev/shm in each step", convert.size)
ID_FILE = value("iidfile", "FILE", "write the image's id to a file", plain_text, files=True)
NO_CACHE = switch("no-cache", "run every step, also those that were run before")
PULL = switch("pull", "look for newer base images")
QUIET = switch("quiet", "only the id at the end", short="q")

SYNTAX = Syntax(
    "Make a container image by a Dockerfile, and print its id.",
    options=(TAGS, FILE, ARGUMENTS, LABELS, TARGET, PLATFORM, NETWORK, HOSTS, MEMORY, SHM_SIZE, NO_CACHE, PULL, ID_FILE, QUIET),
    arguments=(Argument("FOLDER", "the context: the files that COPY and ADD see", completes="files"),),
    examples=(
        Example("gasang build -t web:1 .", "from the Dockerfile here"),
        Example("gasang build -t web:1 --target test -f ci/Dockerfile .", "another one, to one stage"),
    ),
    notes="The steps are told on standard error. What .dockerignore names is not sent.",
)


def run(parsed: Parsed, context: Context) -> int:
    """Build; print the image's id. Raises GasangError where a step fails."""
    from gasang.cli.containers.context import BuildContext, check_tag
    from gasang.cli.containers.logins import build_headers

    folder = BuildContext(parsed.arguments[0], parsed.get(FILE))
    query = {
        "t": [check_tag(tag, TAGS.flag) for tag in parsed.get(TAGS)],
        "dockerfile": folder.name,
        "buildargs": json.dumps(dict(parsed.get(ARGUMENTS))),
        "labels": json.dumps(dict(parsed.get(LABELS))),
        "target": parsed.get(TARGET),
        "platform": parsed.get(PLATFORM),
        "networkmode": parsed.get(NETWORK),
        "extrahosts": list(parsed.get(HOSTS)),
        "memory": parsed.get(MEMORY),
        "shmsize": parsed.get(SHM_SIZE),
        "nocache": int(parsed.get(NO_CACHE)),
        "pull": int(parsed.get(PULL)),
        "rm": 1,
    }
    key = ""
    for line in connect(context).lines("POST", "/build", query, folder.pieces(), build_headers()):
        text, found = line.get("stream") or line.get("status") or "", line.get("aux")
        if isinstance(found, dict) and found.get("ID"):
            key = str(found["ID"])
        if text and not parsed.get(QUIET):
            sys.stderr.write(text if "stream" in line else f"{text}\n")
            sys.stderr.flush()
    if not key:
        raise GasangError("build", "the daemon told of no image", "look at daemon.log")
    id_file = parsed.get(ID_FILE)
    if id_file:
        Path(id_file).write_text(key)
    print(key)
    return 0
