"""Data in, plotly figure out: for light and dark pages, colour-blind safe, each with words.

No figure leaves this module without a text alternative: it stands in ``layout.meta.alt``, where the
book reads it to screen readers, and is the plain-text output where figures cannot be drawn. Colour
is never alone: each sharing also has its own marker and dash. Numbers are rounded to four
significant digits, so that a stored notebook stays small.
"""

from qkvlib.plots.bands import draws, interval_bands
from qkvlib.plots.base import COLOURS, GREY, Figure, finish, label, rounded
from qkvlib.plots.comparison import Measured, intervals
from qkvlib.plots.curves import cache_growth, lines, loss_curves
from qkvlib.plots.decoding import time_per_token
from qkvlib.plots.flow import eigenvalue_plane, round_trips
from qkvlib.plots.maps import asymmetry_dots, attention_grid
from qkvlib.plots.marked import marked_lines
from qkvlib.plots.places import cut_images, place_maps, place_tiles
from qkvlib.plots.recalling import pair_plane, width_panels
from qkvlib.plots.settings import differences_by_setting
from qkvlib.plots.speed import speed_ratios, time_by_bytes
from qkvlib.plots.tasks import task_differences, task_maps
from qkvlib.plots.vision import (
    FitChange,
    confusions,
    fit_changes,
    mistaken_images,
    patch_tokens,
)

__all__ = [
    "COLOURS",
    "GREY",
    "Figure",
    "FitChange",
    "Measured",
    "asymmetry_dots",
    "attention_grid",
    "cache_growth",
    "confusions",
    "cut_images",
    "differences_by_setting",
    "draws",
    "eigenvalue_plane",
    "finish",
    "fit_changes",
    "interval_bands",
    "intervals",
    "label",
    "lines",
    "loss_curves",
    "marked_lines",
    "mistaken_images",
    "pair_plane",
    "patch_tokens",
    "place_maps",
    "place_tiles",
    "round_trips",
    "rounded",
    "speed_ratios",
    "task_differences",
    "task_maps",
    "time_by_bytes",
    "time_per_token",
    "width_panels",
]
