"""From pages of guest code to machine code: the whole way, as the compile service goes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from gasang.cpus.riscv64.region.brief import BriefEmitter
from gasang.cpus.riscv64.region.emit import RegionEmitter, pages_of
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.shape import Region, form
from gasang.cpus.riscv64.region.symbol import SYMBOL
from gasang.native.build import emit_object
from gasang.native.elf_object import read_object
from gasang.native.image import Image
from gasang.native.linker import link_image


class RegionCode(NamedTuple):
    """A compiled region."""

    image: Image
    """Its code; the function is the symbol SYMBOL."""
    entries: tuple[int, ...]
    """Places where it can be begun."""
    stamps: dict[int, int]
    """The stamps of the pages it lies on, by their distance from the page asked about."""
    places: tuple[int, ...]
    """Of the guest's instructions in it."""


def compile_region(
    pages: Mapping[int, CodePage],
    stamps: Mapping[int, int],
    hot: int,
    *,
    jumps: Mapping[int, Collection[int]] | None = None,
    multi: bool = False,
    optimise: int = 1,
) -> RegionCode | None:
    """The region around the place `hot`; None if there is none worth it.

    `stamps` are those that the pages will have where the code is placed, `jumps` where indirect jumps were seen to lead.
    """
    region = form(Graph(dict(pages), jumps or {}), hot)
    return None if region is None else compile_shape(region, stamps, multi=multi, optimise=optimise)


def compile_shape(region: Region, stamps: Mapping[int, int], *, multi: bool = False, optimise: int = 1, brief: bool = False) -> RegionCode:
    """A region of which it is known what it consists of; `brief` as in brief.py."""
    used = {page: stamps[page] for page in pages_of(region)}
    text = (BriefEmitter if brief else RegionEmitter)(region, used, multi=multi).emit()
    image = link_image(read_object(emit_object([text], optimise, few_passes=brief)), [SYMBOL], [])
    return RegionCode(image, region.entries, used, region.places)
