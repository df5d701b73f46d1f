"""The verbs about containers with the daemon that they start themselves: a busybox image, run, looked at, and put away."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines.verbs import IMAGE, Gasang, serving

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
]


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with serving() as command:
        yield command


def test_a_command_runs_and_its_code_is_passed_on(gasang: Gasang) -> None:
    done = gasang.run("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert gasang("run", "--rm", "-i", IMAGE, "wc", "-c", data=b"12345") == "5\n"
    assert gasang("ps", "-aq") == ""


@pytest.mark.parametrize(("program", "code"), [("/nope", 127), ("/etc", 126)])
def test_a_program_that_cannot_run(gasang: Gasang, program: str, code: int) -> None:
    done = gasang.run("run", "--rm", IMAGE, program)
    assert done.returncode == code
    assert done.stderr.count(b"\n") == 1
    assert gasang("ps", "-aq") == ""


def test_a_machine_in_the_background(gasang: Gasang, tmp_path: Path) -> None:
    script = "echo begun; trap 'echo ended; exit 3' TERM; while :; do sleep 0.1; done"
    key = gasang("run", "-d", "--name", "web", "--label", "a=b", IMAGE, "sh", "-c", script).strip()
    (row,) = json.loads(gasang("ps", "--format", "json"))
    assert (row["name"], row["id"], row["image"], row["state"], row["labels"]) == ("web", key, IMAGE, "running", {"a": "b"})

    done = gasang.run("exec", "-e", "A=1", "-w", "/etc", "web", "sh", "-c", "pwd; echo $A >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"/etc\n", b"1\n")
    assert gasang("exec", "-i", "web", "sh", "-c", "cat > /kept", data=b"typed") == ""
    gasang("exec", "web", "/nope", code=127)
    assert "added" in gasang("diff", "web")
    assert "sleep" in gasang("top", "web") or "sh -c" in gasang("top", "web")

    gasang("cp", "web:/kept", str(tmp_path))
    assert (tmp_path / "kept").read_bytes() == b"typed"
    (tmp_path / "kept").write_bytes(b"changed")
    gasang("cp", str(tmp_path / "kept"), "web:/root/new")
    assert gasang("exec", "web", "cat", "/root/new") == "changed"

    gasang("pause", "web")
    assert gasang("inspect", "--format", "{State.Status}", "web") == "paused\n"
    gasang("attach", "web", code=4)
    gasang("unpause", "web")
    gasang("rm", "web", code=4)
    assert gasang("stop", "web") == "web\n"
    assert gasang("wait", "web") == "3\n"
    assert gasang("logs", "web") == "begun\nended\n"
    assert gasang("commit", "web", "kept:1").startswith("sha256:")
    assert gasang("rm", "web") == "web\n"
    assert gasang("run", "--rm", "kept:1", "cat", "/kept") == "typed"
    gasang("logs", "web", code=3)
    assert "removed kept:1" in gasang("rmi", "kept:1")


def test_an_image_is_built(gasang: Gasang, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f'FROM {IMAGE}\nARG WORD\nCOPY a /a\nRUN echo $WORD >> /a\nCMD ["cat", "/a"]\n')
    (tmp_path / "a").write_text("copied\n")
    key = gasang("build", "-t", "built:1", "--build-arg", "WORD=given", str(tmp_path)).strip()
    assert key.startswith("sha256:")
    assert gasang("run", "--rm", "built:1") == "copied\ngiven\n"
    assert "built:1" in gasang("images", "--container", "--format", "name").splitlines()


def test_files_outlive_machines_in_a_volume(gasang: Gasang) -> None:
    assert gasang("volume", "create", "data") == "data\n"
    gasang("run", "--rm", "-v", "data:/v", IMAGE, "sh", "-c", "echo kept > /v/x")
    assert gasang("run", "--rm", "--volume=data:/v:ro", IMAGE, "cat", "/v/x") == "kept\n"
    assert gasang("volume", "rm", "data") == "data\n"


def test_what_is_not_there_has_its_code(gasang: Gasang) -> None:
    gasang("start", "nobody", code=3)
    gasang("run", "--pull", "never", "nothing:1", code=3)
    gasang("run", "--memory", "1M", IMAGE, code=2)
    gasang("create", "--name", "twice", IMAGE)
    gasang("create", "--name", "twice", IMAGE, code=4)
    gasang("rm", "twice")
