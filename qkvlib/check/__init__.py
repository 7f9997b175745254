"""Checks for the exercises: they run an answer on several cases and say what is wrong with it.

A check that fails raises :class:`CheckFailed`, which a notebook shows as its message alone. It
compares the answer with those that typical mistakes would give, and names the mistake it finds.
"""

from qkvlib.check.base import CheckFailed
from qkvlib.check.counting import cache_bytes, units, users
from qkvlib.check.keeping import kept
from qkvlib.check.tying import symmetric, tie

__all__ = ["CheckFailed", "cache_bytes", "kept", "symmetric", "tie", "units", "users"]
