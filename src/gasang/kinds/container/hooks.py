"""Hooks that run beside the runtime: programs that are given the container's state and must end well, in time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from gasang.core.errors import GasangError, TimedOutError
from gasang.kinds.container.config.config import Hook


def run_hooks(when: str, hooks: Sequence[Hook], state: bytes) -> None:
    """Run them one after another. Raises GasangError or TimedOutError about the first that does not end well."""
    for hook in hooks:
        subject = f"{when} hook {hook.path}"
        try:
            done = subprocess.run(
                hook.args or (hook.path,),
                executable=hook.path,
                env=dict(entry.split("=", 1) for entry in hook.env if "=" in entry),
                input=state,
                capture_output=True,
                timeout=hook.timeout or None,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(subject, f"it has not ended after {hook.timeout} s", "give it a longer timeout") from error
        except OSError as error:
            raise GasangError(subject, f"it cannot be run ({(error.strerror or '').lower()})") from error
        if done.returncode != 0:
            told = done.stderr.decode(errors="replace").strip()[-500:]
            end = f"ended with exit code {done.returncode}" if done.returncode > 0 else f"was ended by signal {-done.returncode}"
            raise GasangError(subject, f"it {end}{f': {told}' if told else ''}")


def try_hooks(when: str, hooks: Sequence[Hook], state: bytes) -> list[str]:
    """Run them all, whatever becomes of each; sentences about those that failed."""
    warnings = []
    for hook in hooks:
        try:
            run_hooks(when, [hook], state)
        except GasangError as error:
            warnings.append(str(error))
    return warnings
