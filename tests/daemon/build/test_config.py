"""What instructions do to an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.build.config import METADATA, Stage, arguments
from gasang.daemon.build.dockerfile import instruction


def after(*lines: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    stage = Stage(dict(config or {}))
    for line in lines:
        step = instruction(line, 1)
        METADATA[step.name](stage, step)
    return stage.config


def test_environment_in_both_forms_and_with_variables() -> None:
    assert after('ENV A=1 B="2 3"', "ENV C $A four", config={"Env": ["A=0", "P=x"]})["Env"] == ["A=1", "P=x", "B=2 3", "C=1 four"]


def test_commands() -> None:
    assert after("CMD echo hi")["Cmd"] == ["/bin/sh", "-c", "echo hi"]
    assert after('SHELL ["/bin/bash", "-c"]', "CMD echo hi")["Cmd"] == ["/bin/bash", "-c", "echo hi"]
    assert after('ENTRYPOINT ["a"]', config={"Cmd": ["of the base"]})["Cmd"] is None
    assert after('CMD ["x"]', 'ENTRYPOINT ["a"]')["Cmd"] == ["x"]


def test_ports_volumes_labels_and_folders() -> None:
    assert set(after("EXPOSE 80 53/udp 8000-8001")["ExposedPorts"]) == {"80/tcp", "53/udp", "8000/tcp", "8001/tcp"}
    assert set(after('VOLUME ["/a", "/b c"]', "VOLUME /d /e")["Volumes"]) == {"/a", "/b c", "/d", "/e"}
    assert after('LABEL a=b c="d e"')["Labels"] == {"a": "b", "c": "d e"}
    assert after("WORKDIR /a", "WORKDIR b/../c")["WorkingDir"] == "/a/c"
    assert after("ENV R=/r", "WORKDIR $R/x")["WorkingDir"] == "/r/x"


def test_health_checks() -> None:
    check = after("HEALTHCHECK --interval=5s --retries=2 CMD curl -f x")["Healthcheck"]
    assert check == {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 5_000_000_000, "Retries": 2}
    assert after('HEALTHCHECK CMD ["a", "b"]')["Healthcheck"] == {"Test": ["CMD", "a", "b"]}
    assert after("HEALTHCHECK NONE")["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    "line",
    [
        "ENV A",
        "EXPOSE 0",
        "EXPOSE a",
        "EXPOSE 99999",
        "STOPSIGNAL SIGNONE",
        "ONBUILD FROM x",
        "ONBUILD ONBUILD RUN a",
        "HEALTHCHECK",
        "HEALTHCHECK --interval=x CMD a",
    ],
)
def test_what_is_wrong_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        after(line)


def test_arguments_take_the_given_value_then_their_default_then_the_one_before_from() -> None:
    stage = Stage({"Env": ["E=env"]})
    assert arguments(instruction("ARG A=1 B C=$E", 1), stage, {"A": "given"}, {"B": "global"}) == {"A": "given", "B": "global", "C": "env"}
    assert arguments(instruction("ARG X", 1), stage, {}, {}) == {}
    stage.args = {"E": "arg"}
    assert stage.variables()["E"] == "env"
