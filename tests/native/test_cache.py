"""The cache of compiled objects: what does not check out is compiled anew, never executed; what cannot be stored costs only time."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gasang.native
from gasang.native import build as build_module
from gasang.native import native, u64
from gasang.native.build import build
from gasang.native.cache import ObjectCache, default_directory, key_of
from gasang.native.function import python_entry

SOURCE = gasang.native.__path__[0].removesuffix("gasang/native")
WRITER = """
import sys
from pathlib import Path
from gasang.native.cache import ObjectCache
cache = ObjectCache(Path(sys.argv[1]))
print("writing", flush=True)
while True:
    for turn in range(256):
        cache.store("aakey", bytes([turn]) * 300_000)
"""
BUILDER = """
import sys
from gasang.native import native_from_source, u64
f = native_from_source("def f(x: u64) -> u64:\\n    return x * 3 + 1", {"u64": u64})
sys.stdin.readline()
print(f(4), flush=True)
"""


def environment(directory: Path) -> dict[str, str]:
    return {"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1", "GASANG_NATIVE_CACHE": str(directory), "PATH": os.environ["PATH"]}


@native
def seven_times(x: u64) -> u64:
    return x * 7


@native
def eight_times(x: u64) -> u64:
    return x * 8


@pytest.fixture
def cache(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled, rather than taken from the cache."""
    texts: list[str] = []
    compile_object = build_module.compile_object

    def counted(text: str, optimise: int) -> bytes:
        texts.append(text)
        return compile_object(text, optimise)

    monkeypatch.setattr(build_module, "compile_object", counted)
    return texts


def result(cache: ObjectCache, function: Any = seven_times) -> int:
    value: int = python_entry(function, build([function], cache=cache).entries[0])(6)
    return value


def entries(cache: ObjectCache) -> list[Path]:
    return [path for path in cache.directory.rglob("*") if path.is_file()]


def test_the_second_build_takes_the_first_ones_object(cache: ObjectCache, compilations: list[str]) -> None:
    assert [result(cache), result(cache)] == [42, 42]
    assert len(compilations) == len(entries(cache)) == 1


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda entry, other: b"",
    "truncated": lambda entry, other: entry[:-1],
    "cut in the header": lambda entry, other: entry[:20],
    "one bit": lambda entry, other: entry[:300] + bytes([entry[300] ^ 1]) + entry[301:],
    "one bit of the checksum": lambda entry, other: entry[:20] + bytes([entry[20] ^ 1]) + entry[21:],
    "appended": lambda entry, other: entry + b"\0",
    "another magic": lambda entry, other: b"gasang-object-1\n" + entry[16:],
    "of another key": lambda entry, other: other,
    "without checksum": lambda entry, other: entry[48:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_entries_are_compiled_anew(damage: Callable[[bytes, bytes], bytes], cache: ObjectCache, compilations: list[str]) -> None:
    result(cache, eight_times)
    [other] = entries(cache)
    result(cache)
    [entry] = [path for path in entries(cache) if path != other]
    sound = entry.read_bytes()
    entry.write_bytes(damage(sound, other.read_bytes()))
    compilations.clear()
    assert result(cache) == 42
    assert len(compilations) == 1
    assert entry.read_bytes() == sound


def test_another_users_entry_is_not_believed(cache: ObjectCache, compilations: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result(cache)
    [entry] = entries(cache)
    owner = entry.stat().st_uid
    if owner == 0:
        os.chown(entry, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    compilations.clear()
    assert result(cache) == 42
    assert len(compilations) == 1


def test_a_sound_entry_with_an_unresolved_symbol_is_not_linked(cache: ObjectCache, compilations: list[str]) -> None:
    calls_a_stranger = build_module.emit_object(
        ["declare i64 @stranger(i64)\ndefine i64 @entry0(i64 %x) {\n %r = call i64 @stranger(i64 %x)\n ret i64 %r\n}"], 2
    )
    result(cache)
    [entry] = entries(cache)
    cache.store(entry.name, calls_a_stranger)
    assert cache.load(entry.name) == calls_a_stranger
    compilations.clear()
    assert result(cache) == 42
    assert len(compilations) == 1


def test_a_sound_entry_that_is_no_object_is_not_linked(cache: ObjectCache, compilations: list[str]) -> None:
    result(cache)
    [entry] = entries(cache)
    cache.store(entry.name, b"\x7fELF" + bytes(100))
    compilations.clear()
    assert result(cache) == 42
    assert len(compilations) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200))
def test_load_gives_only_what_store_took(cache: ObjectCache, raw: bytes) -> None:
    key = key_of(b"x")
    cache.store(key, b"sound")
    assert cache.load(key) == b"sound"
    cache.path(key).write_bytes(raw)
    assert cache.load(key) is None


def test_keys_are_of_the_parts_not_of_their_concatenation() -> None:
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("abc", ""), key_of(b"ab", "c")}) == 4


# ---------------------------------------------------------------------- hosts that cannot keep anything


def unwritable(folder: Path) -> Path:
    """A directory below a plain file: no privilege makes that writable."""
    (folder / "file").write_text("")
    return folder / "file" / "below"


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, compilations: list[str]) -> None:
    cache = ObjectCache(unwritable(tmp_path))
    assert [result(cache), result(cache)] == [42, 42]
    assert len(compilations) == 2


def test_a_directory_in_an_entrys_place(cache: ObjectCache, compilations: list[str]) -> None:
    result(cache)
    [entry] = entries(cache)
    entry.unlink()
    entry.mkdir()
    assert result(cache) == 42
    assert list(entry.parent.iterdir()) == [entry]


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n{BUILDER}"
    done = subprocess.run(
        [sys.executable, "-c", limited], env=environment(tmp_path), input="go\n", capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("13\n", "")
    assert entries(ObjectCache(tmp_path)) == []


def test_unfinished_files_of_the_dead_are_swept(cache: ObjectCache) -> None:
    cache.store("aa1", b"first")
    folder = cache.path("aa1").parent
    dead, alive = folder / ".new-dead", folder / ".new-alive"
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    cache.store("aa2", b"second")
    assert not dead.exists()
    assert alive.exists()


# ---------------------------------------------------------------------- several processes


def test_a_killed_writer_leaves_no_partial_entry(cache: ObjectCache) -> None:
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, cache.directory], env=environment(cache.directory), stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout as output:
            output.readline()
            reads = 0
            deadline = time.monotonic() + 30
            while reads < 20 and time.monotonic() < deadline:
                found = cache.load("aakey")
                if found is not None:
                    reads += 1
                    assert found == found[:1] * 300_000
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert reads == 20, "the writer has not written"
        last = cache.load("aakey")
        assert last is not None, "the entry is damaged"
        assert last == last[:1] * 300_000


def test_two_processes_compile_the_same_at_once(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER], env=environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate()[0] for worker in workers] == ["13\n", "13\n"]
    assert [worker.returncode for worker in workers] == [0, 0]
    [entry] = entries(ObjectCache(tmp_path))
    assert ObjectCache(tmp_path).load(entry.name) is not None


# ---------------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GASANG_NATIVE_CACHE": "/somewhere", "XDG_CACHE_HOME": "/xdg"}, "/somewhere"),
        ({"GASANG_NATIVE_CACHE": "/somewhere", "GASANG_HOME": "/elsewhere"}, "/somewhere"),
        ({"GASANG_HOME": "/elsewhere", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/elsewhere/cache/native"),
        ({"GASANG_NATIVE_CACHE": "", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/gasang/native"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.cache/gasang/native"),
        ({"HOME": "/home/me"}, "/home/me/.cache/gasang/native"),
    ],
)
def test_default_directory(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GASANG_NATIVE_CACHE", "GASANG_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_directory() == Path(expected)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GASANG_NATIVE_CACHE", "GASANG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    cache = ObjectCache()
    cache.store("aakey", b"code")
    assert cache.load("aakey") is None
    assert not str(cache.directory).startswith(tempfile.gettempdir())
