"""gasang: machines of every kind behind one lifecycle. This is the public Python API; what is not here may change.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which a start has no time for
if TYPE_CHECKING:
    from gasang.api.machine import Completed, Machine, machine, machines, run

__version__ = "0.1.0.dev0"

__all__ = ["Completed", "Machine", "__version__", "machine", "machines", "run"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'gasang' has no attribute {name!r}")
    from gasang.api import machine as place

    found: object = getattr(place, name)
    return found
