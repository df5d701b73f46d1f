"""Restart policies, times, signals, names."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from gasang.core.errors import NotFoundError, UsageError
from gasang.daemon.containers import moments, names, restart, signals
from gasang.daemon.containers.record import Container, Status
from gasang.daemon.containers.settings import config_of, host_config_of


def container(policy: str, retries: int = 0, **status: Any) -> Container:
    host = host_config_of({"RestartPolicy": {"Name": policy, "MaximumRetryCount": retries}})
    return Container("c" * 64, "name", names.now(), "image", "sha256:1", config_of({}), host, status=Status(**status))


@pytest.mark.parametrize(
    ("policy", "code", "status", "again"),
    [
        ("no", 1, {}, False),
        ("always", 0, {}, True),
        ("always", 0, {"stopped_by_user": True}, False),
        ("on-failure", 0, {}, False),
        ("on-failure", 1, {}, True),
        ("unless-stopped", 0, {}, True),
        ("unless-stopped", 0, {"stopped_by_user": True}, False),
    ],
)
def test_restart_policies(policy: str, code: int, status: dict[str, Any], again: bool) -> None:
    assert restart.wants_restart(container(policy, **status), code) is again


def test_a_count_of_retries_ends() -> None:
    assert restart.wants_restart(container("on-failure", 2, restarts=1), 1)
    assert not restart.wants_restart(container("on-failure", 2, restarts=2), 1)


def test_the_daemon_starts_again_what_its_policy_says() -> None:
    assert restart.wants_start_with_daemon(container("always", status="exited", stopped_by_user=True))
    assert not restart.wants_start_with_daemon(container("unless-stopped", status="exited", stopped_by_user=True))
    assert not restart.wants_start_with_daemon(container("always", status="created"))


def test_delays_double_up_to_a_minute_and_begin_anew_after_a_steady_run() -> None:
    delay, seen = 0.0, []
    for _ in range(12):
        delay = restart.next_delay(delay, 0.0)
        seen.append(delay)
    assert seen[:4] == [0.1, 0.2, 0.4, 0.8]
    assert seen[-1] == 60.0
    assert restart.next_delay(60.0, 11.0) == 0.1


def test_times() -> None:
    assert moments.moment("1136073845.5") == 1136073845_500000000
    assert moments.moment("2006-01-02T15:04:05Z") == 1136214245_000000000
    assert moments.moment("") == 0
    assert abs(moments.moment("1h30m") - (time.time_ns() - 5400 * 10**9)) < 10**9
    for wrong in ("yesterday", "1x", "1" * 30):
        with pytest.raises(UsageError):
            moments.moment(wrong)


def test_signals() -> None:
    assert signals.number_of("TERM") == signals.number_of("SIGTERM") == signals.number_of("15") == 15
    assert signals.number_of("SIGRTMIN+3") == int(signal.SIGRTMIN) + 3
    assert signals.number_of("RTMAX-1") == int(signal.SIGRTMAX) - 1
    for wrong in ("", "0", "65", "NONE", "RTMIN+99", "999999"):
        with pytest.raises(UsageError):
            signals.number_of(wrong)


def test_names_are_found_by_name_id_and_beginning() -> None:
    ids = {"abc" + "0" * 61, "abd" + "0" * 61}
    known = {"web": "abc" + "0" * 61}
    assert names.find("/web", known, ids, "container").startswith("abc")
    assert names.find("abd", known, ids, "container").startswith("abd")
    with pytest.raises(UsageError):
        names.find("ab", known, ids, "container")
    with pytest.raises(NotFoundError, match="No such container"):
        names.find("x", known, ids, "container")
    assert len(names.new_id()) == 64
    assert "_" in names.new_name(lambda name: False)


def test_a_record_survives_being_written_and_read() -> None:
    made = container("always", status="running", pid=7)
    assert Container.of_record(made.as_record()) == made
