"""RotaryCache: keys as hands of a clock that turn with their position, and what then is a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
import traitlets
from torch import Tensor

from qkvlib.config import ModelConfig
from qkvlib.rotary import KeyValueScheme, RelativeValues, Rotary, key_value_scheme
from qkvlib.sharing import unknown_name
from qkvlib.widgets.base import CourseWidget, facts_html, facts_text, module_source, where_it_lives

TURNED_KEYS: Final = "turned_keys"
"""The mistake, by name: turned keys serve as values, and nothing turns them back."""

HANDS: Final = 2
"""Pairs of columns in the head that is drawn; each pair is one hand."""

POSITIONS: Final = 32
"""Positions there are, from 0."""

BASE: Final = 16.0
"""With both hands turning, the second turns at a quarter of the first one's speed."""

STAYS: Final = 1e-5
"""Distance that rounding alone can make."""

_FEWEST, _MOST = 2, 8  # tokens
_LONGEST: Final = {"key_hands": 1.0, "query_hands": 3.0}

# What the view is told of each scheme. That it is true of the library's classes is tested.
_SCHEMES: Final[list[dict[str, Any]]] = [
    {
        "name": TURNED_KEYS,
        "title": "turned keys as values",
        "kept": ["turned"],
        "value": "turned",
        "on_read": False,
        "back": False,
        "says": "The mistake. Keys are kept turned, and what is kept is taken as it is.",
    },
    {
        "name": "rotate_on_read",
        "title": "rotate on read",
        "kept": ["plain"],
        "value": "plain",
        "on_read": True,
        "back": False,
        "says": "Keys are kept as projected, and every one is turned at every step.",
    },
    {
        "name": "relative_values",
        "title": "relative values",
        "kept": ["turned"],
        "value": "turned",
        "on_read": False,
        "back": True,
        "says": "Keys are kept turned, and the output is turned back by the query's position.",
    },
    {
        "name": "two_tensors",
        "title": "two tensors",
        "kept": ["plain", "turned"],
        "value": "plain",
        "on_read": False,
        "back": False,
        "says": "Both forms are kept: what turns is kept twice.",
    },
]

_KEYS: Final = [
    [[0.92, -0.28], [0.40, 0.82]],
    [[-0.38, -0.88], [0.94, -0.24]],
    [[0.60, 0.74], [-0.82, 0.48]],
    [[-0.92, 0.32], [-0.36, -0.86]],
    [[0.16, -0.94], [0.66, -0.70]],
]
_QUERY: Final = [[-1.9, 2.2], [2.4, 1.7]]


_HEAD: Final = ModelConfig(
    d_model=2 * HANDS,
    n_layers=1,
    n_heads=1,
    vocab_size=2,
    max_seq_len=POSITIONS,
    position="rope",
    rope_base=BASE,
)


class TurnedKeysAsValues(RelativeValues):
    """What a configuration refuses: values turn like keys, and nothing turns them back."""

    def output(self, y: Tensor, start: int) -> Tensor:
        """Return the mean as it is."""
        return y


class Reading(NamedTuple):
    """What one query takes away.

    Attributes:
        weights: Shape (S,).
        output: Shape (hands, 2): a point for each hand.
        moved: How far the output is from that of the same text at position 0.
        numbers: Kept of each token.
    """

    weights: Tensor
    output: Tensor
    moved: float
    numbers: int


def _is_hands(value: Any, longest: float) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == HANDS
        and all(
            isinstance(hand, list | tuple)
            and len(hand) == 2
            and all(isinstance(x, int | float) and not isinstance(x, bool) for x in hand)
            and 0 < sum(x * x for x in hand) <= longest**2
            for hand in value
        )
    )


def _check_pairs(keys: Sequence[Any], words: Sequence[str]) -> None:
    if len(words) != len(keys):
        raise traitlets.TraitError(
            f"{len(keys)} keys and {len(words)} words: each key belongs to a word. "
            "Change both at once with .update(key_hands=…, words=…)."
        )


class RotaryCache(CourseWidget):
    """One head of four columns, drawn as two hands of a clock, that reads a text from its cache.

    The text can be moved along, and the token that asks moved away from it. Shown are what is kept
    of each token, what it is compared as, what is taken, and whether the output minds the move.

    Attributes:
        scheme: ``"turned_keys"``, the mistake, or a key of :data:`~qkvlib.ROPE_SCHEMES`.
        start: Position of the first token, from 0.
        ahead: How far behind the last token of the text the query stands, at least 1.
        turning: How many of the two hands turn, 1 or 2.
        words: A letter for each token.
        key_hands: For each token two hands, each a point (x, y) at most 1 away from the middle.
        query_hands: Two hands, each at most 3 long, of a later token, whose own key is left out.

    Example:
        >>> show(RotaryCache(scheme="relative_values", start=7))  # doctest: +SKIP
    """

    name = "rotary_cache"
    _esm = module_source("rotary_cache")

    scheme = traitlets.Unicode(TURNED_KEYS).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    ahead = traitlets.Int(2).tag(sync=True)
    turning = traitlets.Int(HANDS).tag(sync=True)
    words: Any = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)
    key_hands: Any = traitlets.List().tag(sync=True)
    query_hands: Any = traitlets.List().tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    schemes = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    positions = traitlets.Int(POSITIONS, read_only=True).tag(sync=True)
    base = traitlets.Float(BASE, read_only=True).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        self.set_trait("schemes", [dict(row) for row in _SCHEMES])
        given = state.get("key_hands", _KEYS)
        state.setdefault("key_hands", [[list(hand) for hand in key] for key in given])
        state.setdefault("words", [chr(ord("A") + i) for i in range(len(given))])
        state.setdefault("query_hands", [list(hand) for hand in _QUERY])
        super().__init__(**state)

    @traitlets.validate("scheme")
    def _check_scheme(self, proposal: dict[str, Any]) -> str:
        names = [row["name"] for row in _SCHEMES]
        if proposal["value"] not in names:
            raise traitlets.TraitError(str(unknown_name("scheme", proposal["value"], names)))
        return str(proposal["value"])

    @traitlets.validate("turning")
    def _check_turning(self, proposal: dict[str, Any]) -> int:
        value = proposal["value"]
        if isinstance(value, bool) or not 1 <= value <= HANDS:
            raise traitlets.TraitError(f"turning={value!r}: expected 1 or {HANDS} hands.")
        return int(value)

    @traitlets.validate("start", "ahead")
    def _check_place(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        both = {"start": self.start, "ahead": self.ahead} | {name: value}
        least = 0 if name == "start" else 1
        length = len(self.key_hands) or len(_KEYS)
        most = POSITIONS - length - (both["ahead"] if name == "start" else both["start"])
        if isinstance(value, bool) or not least <= value <= most:
            raise traitlets.TraitError(
                f"{name}={value!r} with start={both['start']} and ahead={both['ahead']}: expected "
                f"{least} to {most}, so that a text of {length} tokens and its query have room in "
                f"{POSITIONS} positions. Change both at once with .update(start=…, ahead=…)."
            )
        return int(value)

    @traitlets.validate("key_hands")
    def _check_keys(self, proposal: dict[str, Any]) -> list[Any]:
        value = proposal["value"]
        if not _FEWEST <= len(value) <= _MOST or not all(
            _is_hands(k, _LONGEST["key_hands"]) for k in value
        ):
            raise traitlets.TraitError(
                f"key_hands={value!r}: expected {_FEWEST} to {_MOST} keys, each {HANDS} hands "
                "(x, y) that are longer than 0 and at most 1 long."
            )
        _check_pairs(value, self.words)
        if self.start + len(value) + self.ahead > POSITIONS:
            raise traitlets.TraitError(
                f"{len(value)} keys with start={self.start} and ahead={self.ahead}: text and query "
                f"have {POSITIONS} positions. Change all at once with "
                ".update(key_hands=…, words=…, start=…)."
            )
        return [[[float(x) for x in hand] for hand in key] for key in value]

    @traitlets.validate("words")
    def _check_words(self, proposal: dict[str, Any]) -> list[str]:
        _check_pairs(self.key_hands, proposal["value"])
        return list(proposal["value"])

    @traitlets.validate("query_hands")
    def _check_query(self, proposal: dict[str, Any]) -> list[Any]:
        value, longest = proposal["value"], _LONGEST["query_hands"]
        if not _is_hands(value, longest):
            raise traitlets.TraitError(
                f"query_hands={value!r}: expected {HANDS} hands (x, y) that are longer than 0 "
                f"and at most {longest:g} long."
            )
        return [[float(x) for x in hand] for hand in value]

    # What the page computes, by the library's own classes

    def _scheme_of(self, name: str) -> tuple[KeyValueScheme, ModelConfig]:
        mistaken = name == TURNED_KEYS
        config = _HEAD.replace(
            sharing="Q-K=V",
            rope_scheme="relative_values" if mistaken else name,
            rope_fraction=self.turning / HANDS,
        )
        return (TurnedKeysAsValues if mistaken else key_value_scheme)(config), config

    def _columns(self, hands: Sequence[Sequence[float]]) -> list[float]:
        """Hands as columns of the head: those that turn first, all x before all y."""
        turning, still = hands[: self.turning], hands[self.turning :]
        turns = [hand[axis] for axis in (0, 1) for hand in turning]
        return turns + [x for hand in still for x in hand]

    def _hands(self, columns: Tensor) -> Tensor:
        """The other way round, shape (hands, 2)."""
        turns = columns[: 2 * self.turning].view(2, self.turning).T
        return torch.cat([turns, columns[2 * self.turning :].view(-1, 2)])

    def _output(self, scheme: KeyValueScheme, start: int) -> tuple[Tensor, Tensor]:
        def row(vectors: list[list[float]]) -> Tensor:
            return torch.tensor(vectors, dtype=torch.float64)[None, None]  # (1, 1, S, D)

        place = start + len(self.key_hands) - 1 + self.ahead
        kept = scheme.keep({"k": row([self._columns(key) for key in self.key_hands])}, start)
        k, v = scheme.read(kept, start)
        q = scheme.query(row([self._columns(self.query_hands)]), place)
        weights = (q @ k.mT / k.shape[-1] ** 0.5).softmax(dim=-1)
        return weights[0, 0, 0], scheme.output(weights @ v, place)[0, 0, 0]

    def reading(self, scheme: str | None = None) -> Reading:
        """Compute what the query takes away, under this or another scheme.

        Args:
            scheme: Name of a scheme; the widget's own unless told.
        """
        built, config = self._scheme_of(self.scheme if scheme is None else scheme)
        for part in built.modules():
            if isinstance(part, Rotary):
                part.double()
        weights, output = self._output(built, self.start)
        _, at_zero = self._output(built, 0)
        moved = (output - at_zero).norm().item()
        return Reading(weights, self._hands(output), moved, sum(config.cached.values()))

    def _facts(self) -> list[tuple[str, str]]:
        chosen = next(row for row in _SCHEMES if row["name"] == self.scheme)
        reading = self.reading()
        last = self.start + len(self.key_hands) - 1
        apart = 4 * HANDS
        share = 100 * (1 - reading.numbers / apart)
        weights = ", ".join(
            f"{word} {100 * weight:.0f} %"
            for word, weight in zip(self.words, reading.weights.tolist(), strict=True)
        )
        rows = [
            ("Scheme", f"{chosen['title']}. {chosen['says']}"),
            ("Text", f"positions {self.start} to {last}, the query at {last + self.ahead}"),
            ("Hands that turn", f"{self.turning} of {HANDS}"),
            (
                "Kept of each token",
                f"{reading.numbers} numbers; keys and values apart would be {apart}, "
                f"so {share:.0f} % is saved",
            ),
            ("Weights", weights),
        ]
        for row in _SCHEMES:
            moved = self.reading(row["name"]).moved
            said = "stays" if moved < STAYS else f"has moved by {moved:.2f}"
            rows.append((f"Output, {row['title']}", f"{said}, against the same text at position 0"))
        return rows

    def describe(self) -> str:
        """Return the scheme, the places, what is kept and what moves, as lines of plain text."""
        return facts_text("Keys that turn, and what is taken of them", self._facts())

    def fallback_html(self) -> str:
        """Return the same as a table."""
        table = facts_html("Keys that turn, and what is taken of them", self._facts())
        return table + where_it_lives("The text can be moved")
