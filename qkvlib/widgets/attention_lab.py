"""AttentionLab: small trained models read and write, live; maps and cache grow with each token."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, Final

import traitlets

from qkvlib.accounting import format_bytes
from qkvlib.lab import LabEngine
from qkvlib.sharing import unknown_name
from qkvlib.widgets.base import CourseWidget, Whole, facts_html, facts_text, module_source, where_it_lives

KINDS: Final = ("text", "lists")
"""Models that write text, and models that answer lists."""

LONGEST_PROMPT: Final = 20_000
"""Characters of a prompt; a model reads the last few hundred of them at most."""


class AttentionLab(CourseWidget):
    """Trained models that read and write where the reader is.

    In a notebook they run in the kernel. On the course's site they run in the browser, once the
    reader starts them; until then, and where no model can run, a stored run is shown.

    Attributes:
        kind: ``"text"`` for language models, ``"lists"`` for encoders of a synthetic task.
        variant: Name of the model that writes.
        other: Name of a model beside it, or ``""``.
        layer: Layer whose map is large, from 0.
        head: Head whose map is large, from 0.
        temperature: 0 writes the likeliest token; above 0 the token is drawn.
        seed: Of the draw.
        prompt: Text to go on from.
        digits: List that the encoders answer.
        tour: Whether the guided tour stands beside it.
        share: Whether what is shown goes into the page's address, to be sent to others.

    Args:
        engine: What computes; the course's own models unless told. To look into models of your own,
            ``AttentionLab(LabEngine({"mine": model}))``.
        **state: The attributes above.

    Example:
        >>> show(AttentionLab(variant="Q-K=V", other="QKV"))  # doctest: +SKIP
    """

    name = "attention_lab"
    _esm = module_source("attention_lab")

    kind = traitlets.Unicode("text").tag(sync=True)
    variant = traitlets.Unicode().tag(sync=True)
    other = traitlets.Unicode("").tag(sync=True)
    layer = Whole(0).tag(sync=True)
    head = Whole(0).tag(sync=True)
    temperature = traitlets.Float(0.0).tag(sync=True)
    seed = Whole(0).tag(sync=True)
    prompt = traitlets.Unicode().tag(sync=True)
    digits: Any = traitlets.List(trait=Whole()).tag(sync=True)
    tour = traitlets.Bool(False).tag(sync=True)
    share = traitlets.Bool(False).tag(sync=True)

    # What the view must know. Constants, sent once.
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    task = traitlets.Dict(read_only=True).tag(sync=True)
