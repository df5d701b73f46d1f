"""A command's process: what is done at its end, and who does it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BEGIN = """
import atexit, gc, os, sys, tempfile, threading, weakref
import gasang.cli.main
"""
END = """
import gasang.cli.process
sys.argv = ["gasang", "kinds"]
sys.exit(gasang.cli.process.command())
"""
FOUND = "gasang.cli.main._dispatch = lambda words, ready: found(ready)\n"


def run(found: str, *flags: str, **streams: int) -> subprocess.CompletedProcess[str]:
    """A process whose command is the function `found`."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **streams}
    script = BEGIN + found + FOUND + END
    return subprocess.run([sys.executable, *flags, "-c", script], check=False, text=True, env=environment, timeout=60, **streams)  # type: ignore[call-overload,no-any-return]


def test_a_command_ends_without_taking_itself_apart() -> None:
    done = run("""
class Kept:
    def __del__(self): print("taken apart", flush=True)
kept = Kept()
def found(ready):
    print("said", end="")
    print("told", end="", file=sys.stderr)
    return 7
""")
    assert (done.returncode, done.stdout, done.stderr) == (7, "said", "told")


def test_what_was_asked_for_at_the_end_is_done() -> None:
    done = run("""
folder = tempfile.TemporaryDirectory()
class Thing: pass
thing = Thing()
weakref.finalize(thing, print, "finalized")
atexit.register(print, "at the end")
def found(ready):
    print(folder.name)
    return 300
""")
    folder, *said = done.stdout.splitlines()
    assert done.returncode == 300 & 0xFF
    assert said == ["at the end", "finalized"]
    assert not os.path.exists(folder)


def test_threads_are_waited_for() -> None:
    done = run("""
go = threading.Event()
def late():
    go.wait(20)
    print("late")
threading.Thread(target=late).start()
def found(ready):
    atexit.register(print, "last")
    go.set()
    return 3
""")
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["late", "last"]


def test_threads_that_python_does_not_wait_for_change_nothing() -> None:
    done = run("""
class Kept:
    def __del__(self): print("taken apart", flush=True)
gasang.kept = Kept()
threading.Thread(target=threading.Event().wait, daemon=True).start()
def found(ready):
    return 0
""")
    assert (done.returncode, done.stdout) == (0, "")


def test_who_watches_sees_the_end() -> None:
    done = run("""
class Kept:
    def __del__(self): print("taken apart", flush=True)
gasang.kept = Kept()
def found(ready):
    sys.setprofile(lambda *words: None)
    return 0
""")
    assert done.stdout == "taken apart\n"


def test_garbage_is_looked_for_when_the_verb_begins() -> None:
    done = run("""
def found(ready):
    before = gc.isenabled()
    ready()
    print(before, gc.isenabled(), gc.get_freeze_count() > 1000)
    return 0
""")
    assert done.stdout == "False True True\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this host has no /dev/full")
def test_what_cannot_be_written_at_the_end_is_told_by_the_exit_code() -> None:
    with open("/dev/full", "wb") as full:
        done = run("def found(ready):\n    atexit.register(print, 'more')\n    return 0\n", stdout=full.fileno())
    assert done.returncode == 120, "Python's own"


def test_a_fault_is_told_by_python_as_before() -> None:
    done = run("def found(ready):\n    raise ZeroDivisionError('boom')\n")
    assert done.returncode == 1
    assert "a fault of gasang itself (ZeroDivisionError: boom)" in done.stderr
