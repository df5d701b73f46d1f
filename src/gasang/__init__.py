"""gasang: machines of every kind behind one lifecycle. This is the public Python API; what is not here may change.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"

__all__ = ["__version__"]
