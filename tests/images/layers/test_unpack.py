"""Layers unpacked: what an archive says is there, and nothing is made anywhere else, whatever it says."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, OutOfSpaceError
from gasang.images.layers.overlay import Form
from gasang.images.layers.unpack import Unpacker
from support.tars import TIME, Item, archive, folder, hardlink, symlink, tree

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and trusted attributes are root's")


def unpack(root: Path, data: bytes, size: int = 1 << 20, form: Form | None = None) -> Path:
    root.mkdir(exist_ok=True)
    unpacker = Unpacker(root, "layer x", form)
    try:
        for at in range(0, len(data), size):
            unpacker.feed(data[at : at + size])
        unpacker.finish()
    finally:
        unpacker.close()
    return root


USUAL = [
    folder("./"),
    folder("etc", mtime=TIME + 1),
    Item("etc/passwd", b"root:x:0:0\n", mtime=TIME + 2),
    Item("etc/empty"),
    folder("usr/bin", 0o755),
    Item("usr/bin/tool", b"x" * 70_000, mode=0o755),
    Item("usr/bin/setuid", b"suid", mode=0o4755),
    symlink("usr/bin/alias", "tool"),
    symlink("etc/away", "/nowhere/../at/all"),
    hardlink("usr/bin/second", "usr/bin/tool", 0o755),
    folder("var/closed", 0o500),
    Item("var/closed/inside", b"1"),
    folder("tmp", 0o1777),
    Item("deep/" + "d/" * 60 + "leaf", b"leaf"),
    Item("long/" + "n" * 200, b"long name"),
    Item("names/ünïcode ☃", b"snow"),
]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("size", [1 << 20, 4096, 511, 1])
def test_as_the_standard_library_unpacks_it(form: int, size: int, tmp_path: Path) -> None:
    data = archive(USUAL, form)
    judge = tmp_path / "judge"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(judge, filter="fully_trusted")
    ours = unpack(tmp_path / "ours", data, size)
    implied = {"usr", "var", "deep", "long", "names"} | {"deep/" + "d/" * n + "d" for n in range(60)}
    expected, found = tree(judge), tree(ours)
    assert found.keys() == expected.keys()
    for name in expected.keys() - implied:
        if (ours / name).is_symlink():  # whose time the judge does not set
            expected[name] = (*expected[name][:3], TIME, expected[name][4])
        assert found[name] == expected[name], name
    assert (ours / "usr/bin/tool").samefile(ours / "usr/bin/second")
    assert (ours / "var").stat().st_mode == 0o40755
    assert ours.stat().st_mtime == TIME


def test_fractions_of_seconds_and_times_before_1970(tmp_path: Path) -> None:
    root = unpack(tmp_path / "x", archive([Item("a", mtime=TIME + 0.25), Item("b", mtime=-1.5), Item("c", mtime=2**33)]))
    assert [(root / name).stat().st_mtime_ns for name in "abc"] == [TIME * 10**9 + 250_000_000, -1_500_000_000, 2**33 * 10**9]


@as_root
def test_owners(tmp_path: Path) -> None:
    items = [
        folder("d", uid=5, gid=6),
        Item("d/f", b"1", uid=1000, gid=1001, mode=0o6755),
        Item("d/big", uid=3_000_000_000 - 10**9, gid=70_000),
        Item("d/s", kind=tarfile.SYMTYPE, link="f", uid=7, gid=8),
        folder("d", uid=9, gid=10),
    ]
    root = unpack(tmp_path / "x", archive(items))
    owners = {path.name: (path.lstat().st_uid, path.lstat().st_gid) for path in [root / "d", *(root / "d").iterdir()]}
    assert owners == {"d": (9, 10), "f": (1000, 1001), "big": (2_000_000_000, 70_000), "s": (7, 8)}
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o6755


def test_the_umask_takes_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root = unpack(tmp_path / "x", archive([folder("d", 0o775), Item("d/f", mode=0o666), Item("implied/f", mode=0o777)]))
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("d", "d/f", "implied", "implied/f")}
    assert modes == {"d": 0o775, "d/f": 0o666, "implied": 0o755, "implied/f": 0o777}


HOSTILE = {
    "dot dot": [Item("../escaped", b"x")],
    "dot dot inside": [folder("a"), Item("a/../../escaped", b"x")],
    "dot dot that stays": [folder("a"), Item("a/../b", b"x")],
    "absolute": [Item("/escaped", b"x")],
    "through a link": [symlink("l", ".."), Item("l/escaped", b"x")],
    "through an absolute link": [symlink("l", "/tmp"), Item("l/escaped", b"x")],
    "folder through a link": [symlink("l", ".."), folder("l/escaped")],
    "link through a link": [symlink("l", ".."), symlink("l/escaped", "x")],
    "through a file": [Item("f", b"x"), Item("f/escaped", b"x")],
    "hard link out": [hardlink("h", "../outside")],
    "hard link to an absolute path": [hardlink("h", "/etc/passwd")],
    "hard link through a link": [symlink("l", ".."), hardlink("h", "l/outside")],
    "hard link to nothing": [hardlink("h", "nothing")],
    "white-out of the parent": [Item("a/.wh...", b"")],
    "white-out of itself": [Item("a/.wh..", b"")],
    "white-out through a link": [symlink("l", ".."), Item("l/.wh.outside")],
    "opaque through a link": [symlink("l", ".."), Item("l/.wh..wh..opq")],
    "no name": [Item("./", b"x")],
    "unknown kind": [Item("a", kind=b"Z")],
    "pax path out": [Item("a", b"x", pax={"path": "../escaped"})],
    "pax link out": [Item("a", kind=tarfile.LNKTYPE, pax={"linkpath": "../outside"})],
}


@pytest.mark.parametrize("items", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_entries_are_refused(items: list[Item], tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    before = tree(tmp_path)
    with pytest.raises(BadInputError, match=r"^layer x: .*(climbs|absolute|goes through|hard link to|has no name|of a kind nobody)"):
        unpack(tmp_path / "x", archive(items))
    after = {name: facts for name, facts in tree(tmp_path).items() if not name.startswith("x")}
    assert {name: facts[4] for name, facts in after.items()} == {name: facts[4] for name, facts in before.items()}


def test_a_folder_replaced_by_a_link_is_not_followed_at_the_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sub").mkdir(mode=0o755)
    os.utime(outside / "sub", (1, 1))
    items = [folder("d"), folder("d/sub", 0o700), Item("d", kind=tarfile.SYMTYPE, link=str(outside))]
    root = unpack(tmp_path / "x", archive(items))
    assert os.readlink(root / "d") == str(outside)
    assert ((outside / "sub").stat().st_mode, (outside / "sub").stat().st_mtime) == (0o40755, 1)


def test_later_entries_replace_earlier_ones(tmp_path: Path) -> None:
    items = [
        Item("a", b"old", mode=0o600),
        Item("a", b"new"),
        folder("b"),
        Item("b/inside", b"gone"),
        Item("b", b"now a file"),
        Item("c", b"file"),
        folder("c"),
        Item("c/inside", b"here"),
        symlink("d", "a"),
        Item("d", b"no link"),
        Item("e", b"1"),
        hardlink("e", "e"),
        folder("f"),
        Item("f/kept", b"kept"),
        folder("f", 0o711),
    ]
    root = unpack(tmp_path / "x", archive(items))
    held = {name: facts[4] for name, facts in tree(root).items() if not (root / name).is_dir()}
    assert held == {"a": b"new", "b": b"now a file", "c/inside": b"here", "d": b"no link", "e": b"1", "f/kept": b"kept"}
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o711


@as_root
def test_whiteouts(tmp_path: Path) -> None:
    items = [
        folder("etc"),
        Item("etc/.wh.gone"),
        Item("implied/.wh.there"),
        folder("opaque"),
        Item("opaque/.wh..wh..opq"),
        Item("opaque/new", b"1"),
        Item(".wh..wh.plnk/1.2", b"aufs"),
        folder("both"),
        Item(".wh.both"),
        Item(".wh.later"),
        folder("later"),
        Item(".wh.file"),
        Item("file", b"new"),
    ]
    root = unpack(tmp_path / "x", archive(items))
    for name in ("etc/gone", "implied/there"):
        facts = (root / name).lstat()
        assert stat.S_ISCHR(facts.st_mode)
        assert facts.st_rdev == 0
    for name in ("opaque", "both", "later"):
        assert os.getxattr(root / name, "trusted.overlay.opaque") == b"y"
    assert os.listxattr(root / "etc") == []
    assert (root / "file").read_bytes() == b"new"
    assert not list(root.rglob(".wh.*"))


@as_root
def test_an_overlay_of_layers_shows_what_they_mean(tmp_path: Path) -> None:
    lower = unpack(tmp_path / "1", archive([Item("a", b"1"), Item("d/x", b"x"), Item("d/y", b"y"), Item("o/x", b"x")]))
    upper = unpack(tmp_path / "2", archive([Item(".wh.a"), Item("d/.wh.x"), Item("o/.wh..wh..opq"), Item("o/z", b"z")]))
    merged = tmp_path / "merged"
    merged.mkdir()
    command = ["mount", "-t", "overlay", "-o", f"lowerdir={upper}:{lower}", "none", str(merged)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("overlay cannot be mounted here")
    try:
        found = sorted(path.relative_to(merged).as_posix() for path in merged.rglob("*"))
    finally:
        subprocess.run(["umount", str(merged)], check=True)
    assert found == ["d", "d/y", "o", "o/z"]


@as_root
def test_devices_and_pipes(tmp_path: Path) -> None:
    items = [
        Item("null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Item("sda", kind=tarfile.BLKTYPE, device=(8, 0), mode=0o660, gid=6),
        Item("pipe", kind=tarfile.FIFOTYPE, mode=0o622),
    ]
    root = unpack(tmp_path / "x", archive(items))
    facts = {name: (root / name).stat() for name in ("null", "sda", "pipe")}
    assert [oct(fact.st_mode) for fact in facts.values()] == ["0o20666", "0o60660", "0o10622"]
    assert (facts["null"].st_rdev, facts["sda"].st_rdev, facts["sda"].st_gid) == (os.makedev(1, 3), os.makedev(8, 0), 6)
    with pytest.raises(BadInputError, match="null/x in its archive goes through something"):
        unpack(tmp_path / "y", archive([items[0], Item("null/x", b"x")]))
    user = unpack(tmp_path / "z", archive(items), form=Form.USER)
    assert [path.name for path in user.iterdir()] == ["pipe"]


def test_extended_attributes(tmp_path: Path) -> None:
    capability = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    pax = {
        "SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
    }
    root = unpack(
        tmp_path / "x", archive([Item("f", b"data", pax=pax, uid=1), Item("g", b"2"), folder("d", pax={"SCHILY.xattr.user.note": "dir"})])
    )
    found = {name: os.getxattr(root / "f", name) for name in os.listxattr(root / "f")}
    expected = {"user.note": b"hello"}
    if os.geteuid() == 0:
        expected["security.capability"] = capability
    assert found == expected
    assert os.listxattr(root / "g") == []
    assert os.getxattr(root / "d", "user.note") == b"dir"


def gnu_sparse(name: str, runs: list[tuple[int, bytes]], size: int) -> bytes:
    """GNU's old form, with as many map blocks as it takes, as the GNU tar manual has it."""
    pairs = [(offset, len(data)) for offset, data in runs] + [(size, 0)]
    cells = [b"%011o\0%011o\0" % pair for pair in pairs]
    info = tarfile.TarInfo(name)
    info.type, info.mtime = b"S", TIME
    info.size = sum(len(data) for _, data in runs)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:482] = b"".join(cells[:4]).ljust(96, b"\0")
    block[482] = len(cells) > 4
    block[483:495] = b"%011o\0" % size
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)
    rest = cells[4:]
    maps = b""
    while rest:
        maps += b"".join(rest[:21]).ljust(504, b"\0") + bytes([len(rest) > 21]) + bytes(7)
        rest = rest[21:]
    content = b"".join(data for _, data in runs)
    return bytes(block) + maps + content + bytes(-len(content) % 512)


def pax_sparse(form: str, runs: list[tuple[int, bytes]], size: int) -> bytes:
    content = b"".join(data for _, data in runs)
    numbers = [number for offset, data in runs for number in (offset, len(data))]
    if form == "1.0":
        lines = "".join(f"{number}\n" for number in (len(runs), *numbers)).encode()
        content = lines + bytes(-len(lines) % 512) + content
        pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": str(size)}
        return archive([Item("GNUSparseFile.1/s", content, pax=pax)])
    pax = {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": str(len(runs)), "GNU.sparse.map": ",".join(map(str, numbers))}
    return archive([Item("s", content, pax={**pax, "GNU.sparse.name": "s"})])


RUNS = [(4096 * 8 * number, bytes([number + 1]) * (700 + number)) for number in range(40)]


@pytest.mark.parametrize("form", ["old", "0.1", "1.0"])
@pytest.mark.parametrize("size", [1 << 20, 100])
def test_sparse_files(form: str, size: int, tmp_path: Path) -> None:
    total = 4096 * 8 * 50
    data = gnu_sparse("s", RUNS, total) + bytes(1024) if form == "old" else pax_sparse(form, RUNS, total)
    root = unpack(tmp_path / "x", data, size)
    expected = bytearray(total)
    for offset, run in RUNS:
        expected[offset : offset + len(run)] = run
    assert (root / "s").read_bytes() == expected
    assert (root / "s").stat().st_blocks * 512 < total // 2
    assert (root / "s").stat().st_mtime == TIME


@pytest.mark.parametrize(
    "pax",
    [
        {"GNU.sparse.map": "0,10,5,10"},
        {"GNU.sparse.map": "0,100"},
        {"GNU.sparse.map": "x,1"},
        {"GNU.sparse.map": "0"},
        {"GNU.sparse.size": "-1"},
        {"GNU.sparse.size": "9" * 30},
        {"GNU.sparse.map": "", "GNU.sparse.size": "5"},
        {"GNU.sparse.major": "1", "GNU.sparse.realsize": "5"},
    ],
)
def test_damaged_maps(pax: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="map in it is damaged"):
        unpack(tmp_path / "x", archive([Item("s", b"0123456789" * 10, pax={"GNU.sparse.size": "50", "GNU.sparse.map": "0,50", **pax})]))


@pytest.mark.parametrize("cut", [1, 511, 512 + 100, 1024 + 300])
def test_archives_cut_short(cut: int, tmp_path: Path) -> None:
    data = archive([Item("a", b"x" * 700), Item("b", pax={"path": "b/" * 150 + "f"})])
    with pytest.raises(BadInputError, match="its archive ends early"):
        unpack(tmp_path / "x", data[:cut])
    end = data.rstrip(b"\0")
    unpack(tmp_path / "y", data[: len(end) + -len(end) % 512])  # only the end mark is missing: many programs write none


def test_damaged_headers(tmp_path: Path) -> None:
    data = bytearray(archive([Item("a", b"x"), Item("b", b"y")]))
    data[1024 + 100] ^= 1
    with pytest.raises(BadInputError, match="a header behind a in its archive is damaged"):
        unpack(tmp_path / "x", bytes(data))
    with pytest.raises(BadInputError, match="an extended header in it is damaged"):
        unpack(tmp_path / "y", archive([Item("a", b"x", pax={"size": "many"})]))
    with pytest.raises(BadInputError, match="too long a path"):
        unpack(tmp_path / "z", archive([Item("d/" * 2100 + "f")]))
    with pytest.raises(BadInputError, match="cannot be made"):
        unpack(tmp_path / "w", archive([Item("n" * 300)]))
    with pytest.raises(BadInputError, match="an extended header behind"):
        unpack(tmp_path / "v", archive([Item("n", pax={"comment": "c" * (2 << 20)})]))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs root and mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(OutOfSpaceError, match="no space is left"):
        unpack(small_disk / "x", archive([Item("a", b"x" * (2 << 20))]))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = open_files()
    unpack(tmp_path / "a", archive(USUAL))
    for index, items in enumerate(HOSTILE.values()):
        with pytest.raises(BadInputError):
            unpack(tmp_path / str(index), archive([*USUAL, *items]))
    assert open_files() == before


PIECES = st.sampled_from(["a", "b", "..", ".", "", "c", ".wh.a", ".wh..wh..opq", ".wh.."])
NAMES = st.lists(PIECES, min_size=1, max_size=4).map("/".join)
ITEMS = st.builds(
    Item,
    NAMES,
    st.binary(max_size=700),
    kind=st.sampled_from([b"0", b"1", b"2", b"5", b"6", b"3", b"7", b"\0", b"S", b"x", b"L", b"g"]),
    link=NAMES | st.just("/etc"),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 70_000),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ITEMS, max_size=8), st.sampled_from([tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]), st.integers(1, 2000), st.data())
def test_whatever_an_archive_says_nothing_outside_changes(
    tmp_path_factory: pytest.TempPathFactory, items: list[Item], form: int, size: int, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    (place / "outside").write_text("1")
    raw = bytearray(archive(items, form))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2), label="damage"):
        raw[at] = value
    before = open_files()
    with suppress(GasangError):
        unpack(place / "x", bytes(raw), size)
    assert sorted(path.name for path in place.iterdir()) == ["outside", "x"]
    assert (place / "outside").read_text() == "1"
    assert open_files() == before


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2048))
@example(b"\0" * 512)
@example(b"")
def test_noise_is_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    place = tmp_path_factory.mktemp("noise")
    if raw.strip(b"\0"):
        with pytest.raises(BadInputError):
            unpack(place / "x", raw)
    else:
        unpack(place / "x", raw[:1024].ljust(1024, b"\0"))
    assert list((place / "x").iterdir()) == []
