"""Checks for the exercises: they run an answer on several cases and say what is wrong with it.

A check that fails raises :class:`CheckFailed`, which a notebook shows as its message alone. It
compares the answer with those that typical mistakes would give, and names the mistake it finds.
"""

from qkvlib.check.base import CheckFailed
from qkvlib.check.counting import cache_bytes, units, users
from qkvlib.check.decoding import decode, total_macs
from qkvlib.check.heads import grouped, kv_head
from qkvlib.check.keeping import kept
from qkvlib.check.looking import holes, map_of
from qkvlib.check.lookup import attention
from qkvlib.check.measuring import bits_per_byte, unpadded_perplexity
from qkvlib.check.moving import pairs, slope
from qkvlib.check.odd import least_alike, shuffle_gap
from qkvlib.check.pacing import longest_context, tokens_per_second
from qkvlib.check.placing import grid_codes, height
from qkvlib.check.recalling import recall
from qkvlib.check.reversing import mirror_keys, stationary
from qkvlib.check.seeing import patches
from qkvlib.check.turning import rebuild, turn
from qkvlib.check.tying import symmetric, tie

__all__ = [
    "CheckFailed",
    "attention",
    "bits_per_byte",
    "cache_bytes",
    "decode",
    "grid_codes",
    "grouped",
    "height",
    "holes",
    "kept",
    "kv_head",
    "least_alike",
    "longest_context",
    "map_of",
    "mirror_keys",
    "pairs",
    "patches",
    "rebuild",
    "recall",
    "shuffle_gap",
    "slope",
    "stationary",
    "symmetric",
    "tie",
    "tokens_per_second",
    "total_macs",
    "turn",
    "units",
    "unpadded_perplexity",
    "users",
]
