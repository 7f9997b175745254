"""Whether a person looks on."""

from __future__ import annotations

import os
import sys


def someone_watches() -> bool:
    """Whether progress is worth showing: a notebook or a terminal, and not a CI job."""
    if os.environ.get("CI") or os.environ.get("QKV_STATIC"):
        return False
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    return in_notebook or sys.stderr.isatty()
