"""The code cache on disk: shared, bounded, and never believed where it is damaged or another's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.accel.soft.jit import store as module
from gasang.accel.soft.jit.messages import Answer
from gasang.accel.soft.jit.pack import stamp_of
from gasang.accel.soft.jit.store import RegionStore

KEY = b"k" * 32


def page(number: int) -> bytes:
    """A page's content."""
    return number.to_bytes(4, "little") * 1024


def region(number: int, size: int = 100) -> Answer:
    """A region on the page `number`."""
    return Answer(0, (0,), {0: stamp_of(page(number))}, (0, 4), 0.5, number.to_bytes(4, "little") * (size // 4))


def add(store: RegionStore, number: int, size: int = 100) -> None:
    """Keep it."""
    store.add(region(number, size), {0: page(number)}, multi=False)


def held(store: RegionStore, number: int) -> Answer | None:
    """What it has for the page `number`."""
    store.refresh()
    found = [store.load(entry, {0: page(number)}) for entry in store.about(stamp_of(page(number)))]
    return found[0] if found else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RegionStore]:
    """A store in a folder that does not exist yet."""
    made = RegionStore(tmp_path / "regions", KEY)
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RegionStore]:
    """Another process's."""
    made = RegionStore(tmp_path / "regions", KEY)
    yield made
    made.close()


def test_what_one_keeps_another_finds(store: RegionStore, other: RegionStore) -> None:
    assert held(store, 1) is None
    add(store, 1)
    assert held(other, 1) == region(1)
    add(other, 2)
    assert (held(store, 2), len(store)) == (region(2), 2)


def test_a_page_with_the_same_stamp_and_another_content_is_another(store: RegionStore) -> None:
    add(store, 1)
    (entry,) = store.about(stamp_of(page(1)))
    assert store.load(entry, {0: page(2)}) is None
    assert held(store, 1) == region(1)


def test_other_compilers_share_nothing(store: RegionStore, tmp_path: Path) -> None:
    add(store, 1)
    another = RegionStore(tmp_path / "regions", b"x" * 32)
    assert held(another, 1) is None
    os.replace(store.path, another.path)
    assert held(another, 1) is None
    assert another.damaged == 1
    another.close()


def test_a_damaged_entry_is_dropped_and_the_others_stay(store: RegionStore, other: RegionStore) -> None:
    add(store, 1)
    middle = store.path.stat().st_size - 5
    add(store, 2)
    with store.path.open("r+b") as file:
        file.seek(middle)
        file.write(b"?")
    assert (held(other, 1), held(other, 2)) == (None, region(2))
    assert (other.damaged, other.about(stamp_of(page(1)))) == (1, [])


@pytest.mark.parametrize("lost", [1, 90, 160])
def test_a_writer_that_was_killed_harms_nobody(store: RegionStore, other: RegionStore, lost: int) -> None:
    add(store, 1)
    add(store, 2)
    raw = store.path.read_bytes()
    store.path.write_bytes(raw[:-lost])
    assert (held(other, 1), held(other, 2)) == (region(1), None)
    add(other, 3)
    assert [held(other, number) for number in (1, 2, 3)] == [region(1), None, region(3)]
    assert not list(store.path.parent.glob("*.new"))


def test_a_file_that_is_none_is_replaced(store: RegionStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"something else")
    assert held(store, 1) is None
    add(store, 1)
    assert held(store, 1) == region(1)


def test_when_it_is_full_what_was_used_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000]
    monkeypatch.setattr(module, "_minutes", lambda: now[0])
    store = RegionStore(tmp_path, KEY, most=10_000)
    for number in range(8):
        add(store, number, 1000)
    now[0] += module.STALE
    used = [entry for number in (0, 3) for entry in store.about(stamp_of(page(number)))]
    store.use(used)
    again = RegionStore(tmp_path, KEY, most=10_000)
    add(again, 8, 1000)
    assert again.path.stat().st_size <= 10_000
    kept = [number for number in range(9) if held(again, number)]
    assert {0, 3, 8} <= set(kept)
    assert 3 < len(kept) < 9
    store.use(used)  # of the file that was: nothing happens
    assert [number for number in range(9) if held(again, number)] == kept
    store.close()
    again.close()


def test_files_of_other_compilers_go_when_all_are_too_large(store: RegionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, 1)
    old = store.path.with_name("0" * 32 + ".regions")
    old.write_bytes(bytes(1000))
    monkeypatch.setattr(module, "MOST_IN_ALL", store._most + 500)
    store.path.unlink()
    store.refresh()
    add(RegionStore(store.path.parent, KEY), 2)
    assert not old.exists()


def test_a_file_of_another_user_is_not_believed(store: RegionStore, tmp_path: Path) -> None:
    add(store, 1)
    os.chown(store.path, 12345, -1)
    fresh = RegionStore(tmp_path / "regions", KEY)
    assert held(fresh, 1) is None
    fresh.close()


def test_a_host_without_a_folder_keeps_nothing() -> None:
    store = RegionStore(Path(os.devnull) / "regions", KEY)
    add(store, 1)
    assert held(store, 1) is None


def test_several_write_at_once(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parent
    program = (
        "import sys; sys.path[:0] = sys.argv[3:]; from test_store import *; s = RegionStore(Path(sys.argv[1]), KEY)\n"
        "for n in range(int(sys.argv[2]), int(sys.argv[2]) + 20): add(s, n, 3000)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(20 * index), str(folder), *sys.path]) for index in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = RegionStore(tmp_path, KEY)
    assert [held(store, number) == region(number, 3000) for number in range(60)] == [True] * 60
    store.close()
