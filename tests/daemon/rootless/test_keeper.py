"""The keeper: it makes namespaces, stays when it is told to, is found again, and ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError
from gasang.daemon.rootless import keeper
from gasang.daemon.rootless.keeper import FILE, Beginning, find
from support.privileges import needs_root


def is_gone(pid: int) -> bool:
    """Whether there is no such process."""
    return not Path(f"/proc/{pid}").exists()


@needs_root
def test_it_holds_namespaces_of_its_own_until_it_is_ended(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    made = Beginning().confirm(tmp_path)
    for kind in ("user", "mnt", "net"):
        assert not os.path.samefile(f"/proc/{made.pid}/ns/{kind}", f"/proc/self/ns/{kind}")
    assert os.getsid(made.pid) == made.pid
    found = find(tmp_path)
    assert found is not None
    assert (found.pid, found.started) == (made.pid, made.started)
    os.close(found.namespace("net"))
    os.close(found.descriptor)
    made.end(tmp_path)
    assert is_gone(made.pid)
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_one_that_nobody_confirms_ends(tmp_path: Path) -> None:
    beginning = Beginning()
    beginning.give_up()
    assert is_gone(beginning.pid)
    beginning = Beginning()
    with pytest.raises(OutOfSpaceError, match="keeper: it cannot be written"):
        beginning.confirm(tmp_path / "nowhere")
    assert is_gone(beginning.pid)


@needs_root
def test_one_that_says_nothing_has_made_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    spawn = keeper._spawn
    monkeypatch.setattr(keeper, "_spawn", lambda *words: begun.append(spawn(*words)) or begun[-1])
    monkeypatch.setattr(keeper, "_heard", lambda told: b"")
    with pytest.raises(TimeoutError):
        Beginning()
    assert is_gone(*begun)


@needs_root
def test_another_process_of_its_number_is_not_it(tmp_path: Path) -> None:
    made = Beginning().confirm(tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    for change in ({"started": made.started + 1}, {"boot": "another"}, {"pid": os.getpid()}, {"pid": 1 << 22}, {"pid": "1"}):
        (tmp_path / FILE).write_text(json.dumps({**record, **change}))
        assert find(tmp_path) is None
    (tmp_path / FILE).write_text("{")
    assert find(tmp_path) is None
    made.end(tmp_path)
