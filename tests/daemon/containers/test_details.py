"""What `docker logs --details` shows: taken from dockerd 26.1 where a test names no rule."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.containers.details import MOST, details
from gasang.daemon.containers.names import now
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.settings import config_of, host_config_of


def container(options: dict[str, str], **config: Any) -> Container:
    host = host_config_of({"LogConfig": {"Type": "json-file", "Config": options}})
    return Container("c" * 64, "web", now(), "busybox", f"sha256:{'a' * 64}", config_of(config), host)


def test_nothing_named() -> None:
    assert details(container({}, Labels={"color": "red"}, Env=["A=b"])) == b" "


def test_labels_and_variables() -> None:
    made = container(
        {"labels": "color,absent", "env": "B,A"}, Labels={"color": "light red", "other": "x"}, Env=["A=1,2=3", "B=é", "C=no", "bare"]
    )
    assert details(made) == b"A=1%2C2%3D3,B=%C3%A9,color=light+red "


def test_patterns() -> None:
    made = container({"labels-regex": "^co", "env-regex": "TH$"}, Labels={"color": "red", "disco": "x"}, Env=["PATH=/bin", "OTHER=x"])
    assert details(made) == b"PATH=%2Fbin,color=red "


def test_a_tag() -> None:
    assert details(container({"tag": "{{.Name}}/{{ .ID }}-{{.ImageName}}"})) == f"tag=web%2F{'c' * 12}-busybox ".encode()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"tag": "{{.Nothing}}"}, "is no field"), ({"env-regex": "("}, "no regular expression"), ({"labels": "big"}, "longer than")],
)
def test_what_cannot_be(options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        details(container(options, Labels={"big": "x" * MOST}))
