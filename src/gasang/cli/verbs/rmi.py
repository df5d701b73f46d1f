"""``gasang rmi``: remove images."""

from __future__ import annotations

import os

from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.core.paths import cache_folder, data_folder

SYNTAX = Syntax(
    "Remove images, and what only they needed.",
    arguments=(Argument("IMAGE", "what to remove, such as debian:trixie", repeated=True, completes="images"),),
    examples=(Example("gasang rmi debian:trixie", "remove it; gasang pull brings it back"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Remove each, saying so. Raises NotFoundError for the first that is not here."""
    from gasang.images.ready import forget_ready
    from gasang.images.reference import parse_reference
    from gasang.images.store import Store

    store = Store(data_folder(os.environ) / "images")
    for text in parsed.arguments:
        reference = str(parse_reference(text))
        store.expect(reference)  # or a store would be made only to tell that nothing is in it
        with store.changing():
            image = store.remove(reference)
        forget_ready(cache_folder(os.environ), image)
        print(f"removed {image.reference}")
    return 0
