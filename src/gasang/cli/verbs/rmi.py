"""``gasang rmi``: remove images."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gasang.cli.containers.kinds import ARCH, CONTAINER, RULE, VM, is_container
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.settings import Context
from gasang.core.errors import NotFoundError
from gasang.core.paths import cache_folder, data_folder

if TYPE_CHECKING:
    from gasang.images.store import Store

FORCE = switch(
    "force", "also one that has several names, or that ended machines were made of (containers); disks that ended machines have", short="f"
)

SYNTAX = Syntax(
    "Remove images, and what only they needed.",
    options=(VM, ARCH, CONTAINER, FORCE),
    arguments=(Argument("IMAGE", "what to remove, such as debian:trixie", repeated=True, completes="images"),),
    examples=(
        Example("gasang rmi debian:trixie", "remove the image of a virtual machine; gasang pull brings it back"),
        Example("gasang rmi --container debian:trixie", "remove the image of containers"),
        Example("gasang rmi web", "remove disks that gasang image import has taken in as web"),
    ),
    notes=RULE,
)


def run(parsed: Parsed, context: Context) -> int:
    """Remove each, saying so. Raises NotFoundError for the first that is not here, GasangError."""
    for text in parsed.arguments:
        if _forget_imported(text, parsed, context):
            continue
        if is_container(text, parsed):
            _remove_from_daemon(text, parsed, context)
        else:
            _remove_from_store(text, parsed)
    return 0


def _forget_imported(text: str, parsed: Parsed, context: Context) -> bool:
    """Remove disks that were imported under a name, if they are meant. Raises StateError where a machine has one."""
    from gasang.storage.shelf import user_shelf

    kept = user_shelf()
    if parsed.get(CONTAINER) or text not in kept.names():
        return False
    from gasang.cli.disk_users import expect_free, expect_idle

    expect_idle(kept, text)
    if not parsed.get(FORCE):
        expect_free(kept, text, context)
    kept.remove(text)
    print(f"removed {text}")
    return True


def _remove_from_daemon(text: str, parsed: Parsed, context: Context) -> None:
    from gasang.api.client import path_of
    from gasang.cli.containers.daemon import connect

    for done in connect(context).call("DELETE", path_of("images", text), {"force": int(parsed.get(FORCE))}):
        print(f"removed {done.get('Untagged') or done.get('Deleted')}")


def _store_with(reference: str, architecture: str | None) -> Store:
    """The store of an architecture that has it: of the one named, else of any. Raises NotFoundError."""
    from gasang.images.store import Store
    from gasang.kinds.vm.platforms import ARCHITECTURES, default_architecture

    folder = data_folder(os.environ) / "images"
    names = (architecture,) if architecture else dict.fromkeys((default_architecture(), *ARCHITECTURES))
    stores = [Store(folder, name) for name in names]
    for store in stores:
        with suppress(NotFoundError):
            store.expect(reference)
            return store
    stores[0].expect(reference)  # or a store would be made only to tell that nothing is in it
    return stores[0]


def _remove_from_store(text: str, parsed: Parsed) -> None:
    from gasang.images.ready import forget_ready
    from gasang.images.reference import parse_reference

    reference = str(parse_reference(text))
    store = _store_with(reference, parsed.get(ARCH))
    with store.changing():
        image = store.remove(reference)
    forget_ready(cache_folder(os.environ), image)
    print(f"removed {image.reference}")
