"""Data in, plotly figure out: for light and dark pages, colour-blind safe, each with words.

No figure leaves this module without a text alternative: it stands in ``layout.meta.alt``, where the
book reads it to screen readers, and is the plain-text output where figures cannot be drawn. Colour
is never alone: each sharing also has its own marker and dash. Numbers are rounded to four
significant digits, so that a stored notebook stays small.
"""

from qkvlib.plots.base import COLOURS, GREY, Figure, finish, label, rounded
from qkvlib.plots.comparison import Measured, intervals
from qkvlib.plots.curves import cache_growth, lines, loss_curves
from qkvlib.plots.maps import asymmetry_dots, attention_grid

__all__ = [
    "COLOURS",
    "GREY",
    "Figure",
    "Measured",
    "asymmetry_dots",
    "attention_grid",
    "cache_growth",
    "finish",
    "intervals",
    "label",
    "lines",
    "loss_curves",
    "rounded",
]
