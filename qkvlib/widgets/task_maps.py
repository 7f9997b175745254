"""TaskMaps: a list goes in, an answer comes out, and where did each position look for it?"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

import traitlets

from qkvlib.sharing import parse_variant, unknown_name
from qkvlib.task_maps import TaskMap, load_task_maps, pack_map
from qkvlib.tasks import IGNORED
from qkvlib.tasks.handmade import LOOKS_BY, ideal_map
from qkvlib.tasks.synthetic import N_DIGITS
from qkvlib.widgets.base import CourseWidget, Whole, module_source, where_it_lives

_RULES: Final = {
    "REVERSE": "The last digit first.",
    "SORT": "From the least digit to the greatest.",
    "SUB": "Nine minus each digit.",
    "SWAP": "The second half first.",
    "COPY": "The list itself.",
    "SHIFT": "Each digit one place to the right, the last one first.",
    "RECALL": "Pairs of key and digit, then keys: which digit belongs to each?",
}

_BY: Final = {
    "place": "By hand: look at the place where the digit stands.",
    "count": "By hand: look at everything alike, count, and read the digit off the counts.",
    "content": "By hand: look at the pair with the same key.",
    "nothing": "By hand: look nowhere, a position holds what it needs. Any map will do.",
}

_NOTHING: Final = "·"  # stands where the task asks for nothing


def accuracy_text(values: Sequence[float]) -> str:
    """Write accuracies of several seeds: their mean, and from which to which they go."""
    seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    mean, low, high = (_share(v) for v in (sum(values) / len(values), min(values), max(values)))
    return f"{mean} ({seeds})" if low == high else f"{mean} ({seeds}, {low} to {high})"


def _share(share: float) -> str:
    return f"{f'{100 * share:.1f}'.removesuffix('.0')} %"


def _written(task: str, tokens: Sequence[int]) -> list[str]:
    """Tokens as the page shows them: digits, or for RECALL ``3:7`` and ``3?``."""
    if task != "RECALL":
        return [str(token) for token in tokens]
    n = len(tokens) // 2
    pairs = [f"{token // N_DIGITS}:{token % N_DIGITS}" for token in tokens[:n]]
    return pairs + [f"{token - N_DIGITS * n}?" for token in tokens[n:]]


def _task_row(one: TaskMap) -> dict[str, Any]:
    lists = [
        {
            "inputs": _written(one.task, inputs.tolist()),
            "targets": "".join(_NOTHING if t == IGNORED else str(t) for t in targets.tolist()),
            "by_hand": pack_map(ideal_map(one.task, inputs)),
        }
        for inputs, targets in zip(one.inputs, one.targets, strict=True)
    ]
    by = LOOKS_BY[one.task]
    return {"name": one.task, "rule": _RULES[one.task], "by_hand": _BY[by], "lists": lists}


def _model_row(one: TaskMap) -> dict[str, Any]:
    return {
        "task": one.task,
        "variant": one.variant,
        "n_heads": one.n_heads,
        "accuracy": [round(value, 4) for value in one.accuracy.values()],
        "answers": ["".join(map(str, row)) for row in one.answers.tolist()],
        "maps": [[pack_map(head) for head in lists[0]] for lists in one.weights],
    }


class TaskMaps(CourseWidget):
    """Small encoders at work on a list: their answers, their maps, and the map written by hand.

    Attributes:
        task: The task; a key of :data:`~qkvlib.TASKS`.
        variant: The model shown.
        other: A second one beside it; empty for none.
        n_heads: Heads of the models shown.
        shown: Which of the stored lists, from 0.
        position: The position that is followed, from 0.

    Example:
        >>> show(TaskMaps(task="SHIFT", variant="QKV", other="Q=K-V"))  # doctest: +SKIP
    """

    name = "task_maps"
    _esm = module_source("task_maps")

    task = traitlets.Unicode("SHIFT").tag(sync=True)
    variant = traitlets.Unicode("QKV").tag(sync=True)
    other = traitlets.Unicode("").tag(sync=True)
    n_heads = Whole(1).tag(sync=True)
    shown = Whole(0).tag(sync=True)
    position = Whole(0).tag(sync=True)

    # What the view must know. Constants, sent once.
    length = traitlets.Int(read_only=True).tag(sync=True)
    tasks = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    variants = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)

    def __init__(self, *, maps: Iterable[TaskMap] | None = None, **state: Any) -> None:
        """Make the widget.

        Args:
            maps: What to show, of models with one layer; the course's own unless told.
            **state: Traits.

        Raises:
            ValueError: If there are no maps.
            traitlets.TraitError: If a trait names what the maps do not have.
        """
        loaded = [one for one in (load_task_maps() if maps is None else maps) if one.n_layers == 1]
        if not loaded:
            raise ValueError("maps holds no model with one layer: there is nothing to show.")
        by_task = {one.task: one for one in loaded}
        variants = [parse_variant(name) for name in dict.fromkeys(one.variant for one in loaded)]
        # Before the others, which are checked against them.
        self.set_trait("length", loaded[0].inputs.shape[-1])
        self.set_trait("tasks", [_task_row(one) for one in by_task.values()])
        self.set_trait("models", [_model_row(one) for one in loaded])
        self.set_trait(
            "variants",
            [
                {"name": v.name, "tuple_form": v.tuple_form, "colour": v.sharing.colour}
                for v in variants
            ],
        )
        super().__init__(**state)

    @traitlets.validate("task", "variant", "other")
    def _check_name(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        known = [row["name"] for row in (self.tasks if name == "task" else self.variants)]
        if name == "other" and value == "":
            return ""
        if name == "task":
            value = value.upper()
        if value not in known:
            raise traitlets.TraitError(str(unknown_name(name, value, known)))
        return str(value)

    @traitlets.validate("n_heads", "shown", "position")
    def _check_number(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = {
            "n_heads": sorted({model["n_heads"] for model in self.models}),
            "shown": list(range(len(self.tasks[0]["lists"]))),
            "position": list(range(self.length)),
        }[name]
        if value not in allowed:
            shown = ", ".join(map(str, allowed))
            raise traitlets.TraitError(f"{name}={value!r}: there are {shown}.")
        return int(value)

    def _model(self, variant: str, task: str | None = None) -> dict[str, Any] | None:
        wanted = (task or self.task, variant, self.n_heads)
        for model in self.models:
            if (model["task"], model["variant"], model["n_heads"]) == wanted:
                return model
        return None

    def _heads(self) -> str:
        return f"1 layer, {self.n_heads} head{'s' if self.n_heads > 1 else ''}"

    def describe(self) -> str:
        """Return task, list and answers as lines of plain text."""
        task = next(row for row in self.tasks if row["name"] == self.task)
        one = task["lists"][self.shown]
        lines = [
            f"{task['name']}: {task['rule']} {task['by_hand']}",
            f"  in         {' '.join(one['inputs'])}",
            f"  should be  {' '.join(one['targets'])}",
        ]
        for name in dict.fromkeys((self.variant, self.other)):
            model = self._model(name)
            if model is not None:
                answer = [
                    _NOTHING if target == _NOTHING else digit
                    for digit, target in zip(
                        model["answers"][self.shown], one["targets"], strict=True
                    )
                ]
                lines.append(f"  {name:<9}  {' '.join(answer)}")
                lines.append(
                    f"  {'':<9}  {self._heads()}, on held-out lists "
                    f"{accuracy_text(model['accuracy'])}"
                )
        return "\n".join(lines)

    def fallback_html(self) -> str:
        """Return the accuracy of every model with so many heads as a table."""
        head = "".join(f'<th scope="col">{html.escape(v["name"])}</th>' for v in self.variants)
        rows = []
        for task in self.tasks:
            cells = []
            for variant in self.variants:
                model = self._model(variant["name"], task["name"])
                text = "" if model is None else accuracy_text(model["accuracy"]).split(" (")[0]
                cells.append(f"<td>{html.escape(text)}</td>")
            rows.append(f'<tr><th scope="row">{task["name"]}</th>{"".join(cells)}</tr>')
        return (
            f"<table><caption>Accuracy on held-out lists, {self._heads()}: mean over seeds"
            "</caption>"
            f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            + where_it_lives("Lists, answers and maps can be looked at")
        )
