"""When a container that ended is started again. Pure."""

from __future__ import annotations

from typing import Final

from gasang.daemon.containers.record import Container

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 60.0
STEADY: Final = 10.0
"""A run of this many seconds counts as a success: the delay begins anew."""


def wants_restart(container: Container, code: int) -> bool:
    """Whether the policy has it started again after it ended with `code`."""
    policy, status = container.host["RestartPolicy"], container.status
    if status.stopped_by_user:
        return False
    if policy["Name"] == "on-failure":
        return code != 0 and (not policy["MaximumRetryCount"] or status.restarts < policy["MaximumRetryCount"])
    return policy["Name"] in ("always", "unless-stopped")


def wants_start_with_daemon(container: Container) -> bool:
    """Whether the policy has it started when the daemon starts and finds it ended."""
    policy = container.host["RestartPolicy"]["Name"]
    ran = container.status.status in ("running", "paused", "restarting", "exited") and container.status.restarts >= 0
    if policy == "always":
        return ran
    if policy == "unless-stopped":
        return ran and not container.status.stopped_by_user
    return policy == "on-failure" and wants_restart(container, container.status.exit_code) and not container.status.stopped_by_user


def next_delay(previous: float, ran: float) -> float:
    """Seconds until the next start, doubled each time up to a minute; `ran` seconds ago it had started."""
    if not previous or ran >= STEADY:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)
