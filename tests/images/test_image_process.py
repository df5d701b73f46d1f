"""What container images say of their process, as machines' images keep it."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import BadInputError
from gasang.images.image_process import document_of, process_of, read_process
from gasang.images.initramfs import GuestSettings, ImageProcess, overlay

SAID = {"Entrypoint": ["/app"], "Cmd": ["-v"], "Env": ["A=b", "=x", "none"], "User": "web:users", "WorkingDir": "/srv",
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD", "true"]}}  # fmt: skip
HEALTH = {"Test": ["CMD", "true"]}
PROCESS = ImageProcess(("/app",), ("-v",), ("A=b",), "web:users", "/srv", ("80/tcp",), "SIGQUIT", HEALTH)


def test_there_and_back() -> None:
    found = read_process(process_of({"config": SAID}, "image x"), "image x")
    assert found == PROCESS
    assert read_process(document_of(found), "image x") == found
    assert read_process(process_of({"config": None}, "image x"), "image x") == ImageProcess()
    assert (read_process(None, "image x"), document_of(None)) == (None, None)


def test_a_document_of_an_earlier_gasang() -> None:
    whole = document_of(PROCESS) or {}
    earlier = {name: value for name, value in whole.items() if name not in ("ports", "stop_signal", "health")}
    assert read_process(earlier, "image x") == ImageProcess(("/app",), ("-v",), ("A=b",), "web:users", "/srv")


@pytest.mark.parametrize(
    "said",
    [
        {"Cmd": "sh"},
        {"Cmd": [1]},
        {"Env": {"A": "b"}},
        {"User": 5},
        {"Entrypoint": ["a\0b"]},
        {"WorkingDir": "/\0"},
        {"StopSignal": 9},
        {"Healthcheck": "true"},
        {"ExposedPorts": [80]},
    ],
)
def test_what_no_process_can_have_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="image x: what it says of its process"):
        process_of({"config": said}, "image x")


@pytest.mark.parametrize("document", [[], "sh", {"command": ["sh"]}, 5])
def test_damaged_documents_are_refused(document: object) -> None:
    with pytest.raises(BadInputError, match="image x"):
        read_process(document, "image x")


def test_a_guest_starts_it_by_the_agents_program() -> None:
    told = overlay(GuestSettings("command", ("-x",), ("B=c",), process=PROCESS), b"program", serves=False)
    assert b"\nalone=1\n" in told
    assert b"agent=\n" in told
    assert b"'A=b' 'B=c' '/gasang/agent' 'run' '/root' 'web:users' '/srv' '/app' '-x'\n" in told
    assert b"'HOME=" not in told, "that is the user's, and the root tells whose it is"
    usual = overlay(GuestSettings("command", (), process=PROCESS), b"program")
    assert b"agent=1\n" in usual
    assert b"'/app' '-v'\n" in usual
