"""Names of RISC-V extensions, put in the order the unprivileged specification asks for (chapter "ISA Extension Naming Conventions").

Single letters come first in their canonical order, then Z extensions by the category of their second letter and by
alphabet, then S extensions, then vendors' X extensions.
"""

from __future__ import annotations

from collections.abc import Iterable

SINGLE_LETTERS = "imafdqlcbkjtpvh"


def ordered(extensions: Iterable[str]) -> list[str]:
    """Each of `extensions` once, lower case, in canonical order; raise ValueError for what is no extension's name."""
    return sorted({name.lower() for name in extensions}, key=_rank)


def isa_string(extensions: Iterable[str]) -> str:
    """The legacy string of a 64-bit processor, such as "rv64imafdc_zicsr_zba_sstc"."""
    names = ordered(extensions)
    letters = [name for name in names if len(name) == 1]
    return "_".join(["rv64" + "".join(letters), *names[len(letters) :]])


def _rank(name: str) -> tuple[int, int, str]:
    if len(name) == 1 and name in SINGLE_LETTERS:
        return 0, SINGLE_LETTERS.index(name), name
    if len(name) > 1 and name.isalnum() and name[0] in "zsx":
        category = SINGLE_LETTERS.find(name[1]) if name[0] == "z" else 0
        return 1 + "zsx".index(name[0]), category if category >= 0 else len(SINGLE_LETTERS), name
    raise ValueError(f"{name!r} is no RISC-V extension")
