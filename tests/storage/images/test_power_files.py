"""The power goes while a disk of several files is written: each file is synced by itself, and any of them may be behind the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from gasang.storage.images import parallels, table, vmdk
from gasang.storage.images.image import Image
from gasang.storage.images.store import File, Store
from storage.images.power import SIZE, goes_anywhere

KINDS = {
    "vmdk": ("twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"),
    "parallels": ("folder", "folder of two"),
}
TWO = """<Parallels_disk_image Version="1.0"><Disk_Parameters><Disk_size>{end}</Disk_size></Disk_Parameters><StorageData>
<Storage><Start>0</Start><End>{half}</End><Image><Type>Compressed</Type><File>one.hds</File></Image></Storage>
<Storage><Start>{half}</Start><End>{end}</End><Image><Type>Plain</Type><File>two.hds</File></Image></Storage>
</StorageData></Parallels_disk_image>"""


def made(folder: Path, form: str, kind: str) -> Path:
    """A new disk of that kind, in files of its own; what is opened."""
    if kind == "folder of two":
        sectors = SIZE // 512
        (folder / parallels.DESCRIPTOR).write_text(TWO.format(half=sectors // 2, end=sectors))
        File.filled(folder / "one.hds", lambda store: parallels.make_image(store, SIZE // 2, {})).close()
        (folder / "two.hds").write_bytes(bytes(SIZE // 2))
        return folder / parallels.DESCRIPTOR
    if form == "parallels":
        table.create_image(folder / "disk.hdd", form, SIZE, {"layout": kind}).close()
        return folder / "disk.hdd" / parallels.DESCRIPTOR
    table.create_image(folder / "disk.vmdk", form, SIZE, {"subformat": kind}).close()
    return folder / "disk.vmdk"


@pytest.mark.parametrize(("form", "kind"), [(form, kind) for form, kinds in KINDS.items() for kind in kinds])
def test_nothing_that_was_flushed_is_lost(form: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmdk, "_PART", SIZE // 2 + (64 << 10))
    path = made(tmp_path, form, kind)
    start = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert len(start) == (3 if "two" in kind else 2)

    def load(stores: Mapping[str, Store]) -> Image:
        host = SimpleNamespace(open=lambda where, *, read_only: stores[where.name])
        for module in (vmdk, parallels):
            monkeypatch.setattr(module, "File", host)
        return table.open_image(path, read_only=False, form=form)

    assert goes_anywhere(f"{form} {kind}", start, load) > 50
