"""Downloads: whole or not at all, resumed, retried, and a sentence for each way a mirror can fail."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, TimedOutError
from gasang.images.mirror import Mirror, Patience, Wanted
from support.debian_archive import Server
from support.small_disk import small_disk

DATA = bytes(range(256)) * 4000


class Count:
    """A step that counts."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int, detail: str = "") -> None:
        """Count."""
        self.done += amount


def quick(server: Server, timeout: float = 5.0) -> tuple[Mirror, list[float]]:
    """A mirror without pauses, and the pauses it would have made."""
    pauses: list[float] = []
    return Mirror(server.address, Patience(timeout=timeout, attempts=3, pause=pauses.append)), pauses


def publish(server: Server, data: bytes = DATA) -> Wanted:
    (server.root / "file").write_bytes(data)
    return Wanted("file", len(data), hashlib.sha256(data).hexdigest())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_file_comes_whole(server: Server, tmp_path: Path) -> None:
    step = Count()
    quick(server)[0].fetch(publish(server), tmp_path / "got", step)
    assert (tmp_path / "got").read_bytes() == DATA
    assert step.done == len(DATA)
    assert names(tmp_path) == ["got"]


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "got").write_bytes(DATA)
    step = Count()
    quick(server)[0].fetch(publish(server), tmp_path / "got", step)
    assert (server.requests, step.done) == ([], len(DATA))


def test_an_empty_file(server: Server, tmp_path: Path) -> None:
    quick(server)[0].fetch(publish(server, b""), tmp_path / "got", Count())
    assert names(tmp_path) == ["got"]


def test_a_damaged_file_of_the_right_size_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "got").write_bytes(bytes(len(DATA)))
    quick(server)[0].fetch(publish(server), tmp_path / "got", Count())
    assert (tmp_path / "got").read_bytes() == DATA


def test_a_broken_connection_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.faults["file"] = ["break", "break"]
    mirror, pauses = quick(server)
    step = Count()
    mirror.fetch(publish(server), tmp_path / "got", step)
    half = len(DATA) // 2
    assert [asked for _, asked in server.requests] == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert (tmp_path / "got").read_bytes() == DATA
    assert step.done == len(DATA)
    assert pauses == [0.5, 0.5]  # progress was made in between, so patience begins anew


def test_a_later_call_resumes_the_partial_file(server: Server, tmp_path: Path) -> None:
    wanted = publish(server)
    (tmp_path / "got.partial").write_bytes(DATA[:1000])
    quick(server)[0].fetch(wanted, tmp_path / "got", Count())
    assert server.requests == [("file", "bytes=1000-")]
    assert names(tmp_path) == ["got"]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults["file"] = ["break"]
    step = Count()
    quick(server)[0].fetch(publish(server), tmp_path / "got", step)
    assert (tmp_path / "got").read_bytes() == DATA
    assert step.done == len(DATA)


@pytest.mark.parametrize("left", [b"x" * 1000, DATA + b"more", DATA[:-1] + b"\0"])
def test_a_wrong_partial_file_does_no_harm(server: Server, tmp_path: Path, left: bytes) -> None:
    wanted = publish(server)
    (tmp_path / "got.partial").write_bytes(left)
    quick(server)[0].fetch(wanted, tmp_path / "got", Count())
    assert (tmp_path / "got").read_bytes() == DATA


def test_a_partial_file_beyond_the_servers_end_is_given_up(server: Server, tmp_path: Path) -> None:
    wanted = publish(server)
    (tmp_path / "got.partial").write_bytes(DATA[:1000])
    server.faults["file"] = ["416"]
    quick(server)[0].fetch(wanted, tmp_path / "got", Count())
    assert (tmp_path / "got").read_bytes() == DATA


def test_a_wrong_hash_is_told_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.faults["file"] = ["damage", "damage"]
    with pytest.raises(BadInputError, match="hash is not the one that the index promises"):
        quick(server)[0].fetch(publish(server), tmp_path / "got", Count())
    assert names(tmp_path) == []
    assert len(server.requests) == 2  # once more from the beginning, then enough


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_size_is_told_before_all_of_it_is_read(server: Server, tmp_path: Path, change: int) -> None:
    wanted = publish(server)
    with pytest.raises(BadInputError, match=f"it has {len(DATA)} bytes, the index promises {len(DATA) + change}"):
        quick(server)[0].fetch(Wanted("file", wanted.size + change, wanted.sha256), tmp_path / "got", Count())
    assert names(tmp_path) == []


def test_a_mirror_that_breaks_off_again_and_again_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults["file"] = ["break"] * 9
    with pytest.raises(GasangError, match="broke off again and again; what came is kept"):
        quick(server)[0].fetch(publish(server), tmp_path / "got", Count())
    assert names(tmp_path) == ["got.partial"]


def test_a_missing_file_is_not_found_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="the mirror has no such file"):
        quick(server)[0].fetch(Wanted("nothing", 1, ""), tmp_path / "got", Count())
    assert len(server.requests) == 1


def test_a_server_error_is_retried_a_refusal_is_not(server: Server, tmp_path: Path) -> None:
    wanted = publish(server)
    server.faults["file"] = ["503"]
    mirror, pauses = quick(server)
    mirror.fetch(wanted, tmp_path / "one", Count())
    assert len(pauses) == 1
    server.faults["file"] = ["503"] * 3
    with pytest.raises(GasangError, match=r"cannot serve it .503"):
        mirror.fetch(wanted, tmp_path / "two", Count())
    server.faults["file"] = ["403"]
    with pytest.raises(GasangError, match=r"refuses it .403"):
        mirror.fetch(wanted, tmp_path / "three", Count())


def test_a_mirror_that_falls_silent_is_a_time_out(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults["file"] = ["silent"] * 4
    with pytest.raises(TimedOutError, match=r"sent nothing for 0.1 seconds"):
        quick(server, timeout=0.1)[0].fetch(publish(server), tmp_path / "got", Count())


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    pauses: list[float] = []
    with pytest.raises(GasangError, match=r"the mirror does not answer \(Connection refused\).*GASANG_MIRROR"):
        Mirror(f"http://127.0.0.1:{port}", Patience(1.0, 3, pauses.append)).fetch(Wanted("file", 1, ""), tmp_path / "got", Count())
    assert pauses == [0.5, 1.0]


def test_a_full_disk_is_told_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    wanted = publish(server)
    with small_disk(tmp_path / "small", 512) as place:
        with pytest.raises(OutOfSpaceError, match="no space is left"):
            quick(server)[0].fetch(wanted, place / "got", Count())
        kept = (place / "got.partial").stat().st_size
        assert 400_000 < kept < len(DATA)
        subprocess.run(["mount", "-o", "remount,size=2m", str(place)], check=True)
        quick(server)[0].fetch(wanted, place / "got", Count())
        assert server.requests[1:] == [("file", f"bytes={kept}-")]
        assert (place / "got").read_bytes() == DATA
        assert names(place) == ["got"]


@pytest.mark.parametrize("fault", ["silent", "mute"])
def test_a_download_that_waits_is_given_up_at_once(server: Server, tmp_path: Path, fault: str) -> None:
    """In the middle of a file, and before the first byte of an answer."""
    server.faults["file"] = [fault]
    mirror = Mirror(server.address, Patience(timeout=600.0))
    wanted = publish(server)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(mirror.fetch, wanted, tmp_path / "got", Count())
        assert server.fell_silent.wait(20)
        mirror.cancel()
        with pytest.raises(GasangError, match="the download was given up"):
            going.result(20)
    with pytest.raises(GasangError, match="the download was given up"):
        mirror.fetch(wanted, tmp_path / "got", Count())


def test_a_pause_is_given_up_too(tmp_path: Path) -> None:
    mirror = Mirror("http://127.0.0.1:9", Patience(timeout=5.0, attempts=1000))
    mirror.cancel()
    with pytest.raises(GasangError, match="the download was given up"):
        mirror.small("file", 1)


def test_small_files_have_a_limit(server: Server) -> None:
    publish(server, b"12345")
    mirror, _ = quick(server)
    assert mirror.small("file", 5) == b"12345"
    with pytest.raises(BadInputError, match="more than 4 bytes"):
        mirror.small("file", 4)


def test_a_small_file_that_breaks_off_is_asked_for_again(server: Server) -> None:
    publish(server)
    server.faults["file"] = ["break"]
    assert quick(server)[0].small("file", len(DATA)) == DATA
