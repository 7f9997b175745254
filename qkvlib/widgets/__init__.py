"""Interactive figures that run with a kernel in JupyterLab and without one in the book.

A widget is one ES module (the anywidget protocol) beside a thin Python class; ``_shared.js`` is put
in front of each module, which makes it self-contained. The class holds JSON-able traits and nothing
else, so the same state drives both places: a kernel sends it over a comm, the book's host script
reads it from the page.
"""

from __future__ import annotations

from qkvlib.widgets.attention_lab import AttentionLab
from qkvlib.widgets.attention_lookup import AttentionLookup
from qkvlib.widgets.base import CourseWidget, bundle_sources, show, static_html
from qkvlib.widgets.cache_meter import CacheMeter
from qkvlib.widgets.claim_rater import ClaimRater
from qkvlib.widgets.curve_sketch import CurveSketch, MeasuredCurve
from qkvlib.widgets.decode_roofline import DecodeRoofline
from qkvlib.widgets.decode_stepper import DecodeStepper
from qkvlib.widgets.head_sharing import HeadSharing
from qkvlib.widgets.key_hull import KeyHull
from qkvlib.widgets.odd_one_out import OddOneOut
from qkvlib.widgets.padding_meter import PaddingMeter
from qkvlib.widgets.patch_attention import PatchAttention
from qkvlib.widgets.plus_grid import PlusGrid
from qkvlib.widgets.rotary_cache import RotaryCache
from qkvlib.widgets.symmetry_meter import SymmetryMeter
from qkvlib.widgets.task_maps import TaskMaps

__all__ = [
    "AttentionLab",
    "AttentionLookup",
    "CacheMeter",
    "ClaimRater",
    "CourseWidget",
    "CurveSketch",
    "DecodeRoofline",
    "DecodeStepper",
    "HeadSharing",
    "KeyHull",
    "MeasuredCurve",
    "OddOneOut",
    "PaddingMeter",
    "PatchAttention",
    "PlusGrid",
    "RotaryCache",
    "SymmetryMeter",
    "TaskMaps",
    "bundle_sources",
    "show",
    "static_html",
]
