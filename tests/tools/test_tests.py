"""Which tests run beside which: every test in one lane, and failures told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAILS_ONCE = "from pathlib import Path\ndef test_once(): assert Path('seen').exists() or Path('seen').touch()\n"


@pytest.fixture
def tests(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_tests", ROOT / "tools" / "tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tools_tests", module)
    spec.loader.exec_module(module)
    return module


def taken(words: tuple[str, ...]) -> set[Path]:
    """The test files that a lane's words name."""
    names = [word for word in words if not word.startswith("-")]
    left_out = [ROOT / word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    found = {path for name in names for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("test_*.py"))}
    return {path for path in found if not any(path == folder or folder in path.parents for folder in left_out)}


def test_every_file_is_in_one_lane(tests: ModuleType) -> None:
    lanes = [taken(lane.words) for stage in tests.STAGES for lane in stage]
    assert all(lanes)
    assert sum(map(len, lanes)) == len(set().union(*lanes))
    assert set().union(*lanes) == set((ROOT / "tests").rglob("test_*.py"))


def test_lanes_beside_each_other(
    tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tests, "ROOT", tmp_path)
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_bad(): raise SystemError\n")
    good, bad = tests.Lane("good", ("test_good.py",)), tests.Lane("bad", ("test_bad.py",))
    assert tests.run([good]) == 0
    assert tests.run([bad, good]) == 1
    told = capfd.readouterr().out
    assert "pytest: good, beside bad …" in told
    assert told.index("pytest: bad, after") < told.index("SystemError")
    monkeypatch.setattr(tests, "STAGES", ((bad, good), (good,)))
    assert tests.main() == 1
    assert "pytest: good …" not in capfd.readouterr().out


def test_a_few_that_fail_are_run_alone(
    tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tests, "ROOT", tmp_path)
    (tmp_path / "test_once.py").write_text(f"{FAILS_ONCE}def test_good(): pass\n")
    lane = tests.Lane("a lane, this", ("test_once.py",))
    assert tests.run([lane]) == 0
    told = capfd.readouterr().out
    assert "pytest: a lane, this: failed, now alone: test_once.py::test_once\n" in told
    assert "1 failed, 1 passed" in told
    assert told.rstrip().rpartition("\n")[2].startswith("1 passed, 1 deselected")


def test_many_that_fail_are_not_run_again(
    tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tests, "ROOT", tmp_path)
    (tmp_path / "test_bad.py").write_text("".join(f"def test_{at}(): assert False\n" for at in range(tests.FEW + 1)))
    assert tests.run([tests.Lane("bad", ("test_bad.py",))]) == 1
    assert "alone" not in capfd.readouterr().out
    (tmp_path / "test_bad.py").write_text("import nothing_of_this_name\n")
    assert tests.run([tests.Lane("bad", ("test_bad.py",))]) not in (0, 1)


def test_what_failed_in_earlier_runs_does_not_count(
    tests: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tests, "ROOT", tmp_path)
    lane = tests.Lane("lane", ("test_it.py",))
    (tmp_path / "test_it.py").write_text("".join(f"def test_{at}(): assert False\n" for at in range(tests.FEW + 1)))
    assert tests.run([lane]) == 1
    (tmp_path / "test_it.py").write_text(FAILS_ONCE)
    assert tests.run([lane]) == 0
    assert "pytest: lane: failed, now alone: test_it.py::test_once\n" in capfd.readouterr().out
