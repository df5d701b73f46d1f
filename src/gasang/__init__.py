"""gasang: machines of every kind behind one lifecycle. This is the public Python API; what is not here may change.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gasang.api.machine import Completed, Machine, machine, machines, run

__version__ = "0.1.0.dev0"

__all__ = ["Completed", "Machine", "__version__", "machine", "machines", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gasang' has no attribute {name!r}")
    from gasang.api import machine as place

    return getattr(place, name)
