"""HeadSharing: which query head reads which KV head, and what sharing costs and saves."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import traitlets

from qkvlib.accounting import bytes_per_token, saved
from qkvlib.config import ModelConfig, StackConfig, get_config
from qkvlib.paper import paper_figures
from qkvlib.records import RunRecord, aggregate
from qkvlib.sharing import SHARINGS, Variant, parse_sharing, parse_variant, unknown_name
from qkvlib.stats import mean_interval, paired_difference, undominated
from qkvlib.widgets.base import CourseWidget, Whole, module_source, where_it_lives

MOST_HEADS: Final = 64
"""Query heads that the picture has room for."""

_SHAPE: Final = ("n_layers", "n_heads", "head_dim")

# Q=K makes a query head its own key head, so only these two can share heads.
_SHARINGS: Final = [s for s in SHARINGS.values() if not s.ties_query]


# ------------------------------------------------------------------------------ models and points


def _row(name: str, detail: str, config: StackConfig, **more: Any) -> dict[str, Any]:
    """What the view must know of one model: its shape, and the points measured on it."""
    row = {"name": name, "detail": detail, **{key: getattr(config, key) for key in _SHAPE}}
    return row | {"metric": "", "seeds": 0, "points": []} | more


def _points(config: StackConfig, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Complete points by what follows from them: place, cache, and who is beaten by whom.

    Args:
        config: The shape.
        costs: Variant -> ``change`` (loss above QKV in percent) and what else is known of it.
    """
    shapes = {name: config.replace(variant=name) for name in costs}
    both = {name: (bytes_per_token(shapes[name]), costs[name]["change"]) for name in costs}
    frontier = undominated(both)
    points = []
    for name, shape in shapes.items():
        cache, change = both[name]
        better = [n for n in frontier if both[n][0] <= cache and both[n][1] <= change]
        beaten_by = "" if name in frontier else min(better, key=lambda n: both[n][1])
        point = {
            "name": name,
            "sharing": shape.sharing.name,
            "n_kv_heads": shape.n_kv_heads,
            "beaten_by": beaten_by,
        }
        rest = {k: round(v, 4) if isinstance(v, float) else v for k, v in costs[name].items()}
        points.append(point | rest)
    return points


def _measured(records: Iterable[RunRecord]) -> dict[str, Any]:
    """The row of a set of runs: change of the loss against QKV, seed by seed."""
    kept = [r for r in records if not r.variant.sharing.ties_query and not r.variant.plus]
    shapes = {tuple(getattr(r.config, key) for key in _SHAPE) for r in kept}
    if len(shapes) > 1:
        raise ValueError(
            f"records of {len(shapes)} shapes (layers, heads, head_dim: {sorted(shapes)}): a loss "
            "can be compared within one shape only. Give the records of one."
        )
    table = aggregate(kept, "bits_per_byte")
    if "QKV" not in table:
        raise ValueError(
            f"records of {', '.join(table) or 'nothing'}: QKV is missing, and without it there is "
            "nothing to compare with. Add its records, of the same seeds."
        )
    plain = table["QKV"]
    costs: dict[str, dict[str, Any]] = {}
    for name, bits in table.items():
        common = sorted(bits.keys() & plain.keys())
        percent = {seed: 100 * (bits[seed] / plain[seed] - 1) for seed in common}
        compared = paired_difference(percent, dict.fromkeys(percent, 0.0))
        own = mean_interval(bits)
        costs[name] = {"change": compared.difference.mean, "value": own.mean}
        costs[name] |= {"value_low": own.low, "value_high": own.high, "verdict": "reference"}
        if name != "QKV":
            costs[name] |= {"low": compared.difference.low, "high": compared.difference.high}
            costs[name]["verdict"] = compared.verdict
    config = kept[0].config
    return _row(
        "Measured here",
        f"{config.n_heads} heads, {len(plain)} seeds",
        config,
        metric="bits per byte",
        seeds=len(plain),
        points=_points(config, costs),
    )


def _printed(name: str) -> dict[str, Any]:
    """The row of one of the paper's models: its perplexities, as change of the loss."""
    config, figures = get_config(name), paper_figures()
    perplexities: dict[str, float] = {}
    for key, figure in figures.items():
        model, _, rest = key.partition("/")
        variant, _, what = rest.partition("/")
        if model == name and what == "perplexity" and not parse_variant(variant).sharing.ties_query:
            perplexities[variant] = figure.value
    base = math.log(perplexities["QKV"])
    costs = {
        variant: {
            "change": 100 * (math.log(value) / base - 1),
            "value": value,
            "verdict": "reference" if variant == "QKV" else "",
        }
        for variant, value in perplexities.items()
    }
    return _row(
        f"Paper, {name}",
        f"{config.n_heads} heads, one seed",
        config,
        metric="perplexity",
        seeds=int(figures["seeds/language"].value),
        points=_points(config, costs),
    )


# --------------------------------------------------------------------------------------- widget


class HeadSharing(CourseWidget):
    """Query heads above, KV heads below, who reads whom between, and cost against cache beside.

    Attributes:
        model: Name of the model shown, one of ``models``.
        sharing: ``"QKV"`` or ``"Q-K=V"``, in any spelling; with Q=K heads cannot be shared.
        n_kv_heads: KV heads (G); must divide the model's query heads.
        query_head: The query head that is lit, counted from 0.
        models: The models that can be chosen, with the points measured on them.

    Example:
        >>> show(HeadSharing(n_kv_heads=4))  # doctest: +SKIP
    """

    name = "head_sharing"
    _esm = module_source("head_sharing")

    model = traitlets.Unicode("").tag(sync=True)
    sharing = traitlets.Unicode("QKV").tag(sync=True)
    n_kv_heads = Whole(1).tag(sync=True)
    query_head = Whole(0).tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    models = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    sharings = traitlets.List(trait=traitlets.Dict()).tag(sync=True)

    @traitlets.default("sharings")
    def _default_sharings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": s.name,
                "tuple_form": s.tuple_form,
                "cached": [name.upper() for name in s.cached],
                "colour": s.colour,
                # "Q-" of Q-MQA: what stands before the name of shared heads.
                "prefix": Variant(s, 1).name.removesuffix("MQA"),
            }
            for s in _SHARINGS
        ]

    def __init__(self, **state: Any) -> None:
        state.setdefault("models", [_printed("300M"), _printed("1.2B")])
        names = [row["name"] for row in state["models"]]
        if not names:
            raise ValueError("models is empty: give at least one, or leave it out for the paper's.")
        state.setdefault("model", names[0])
        heads = {row["name"]: row["n_heads"] for row in state["models"]}
        state.setdefault("n_kv_heads", heads.get(state["model"], 1))
        super().__init__(**state)

    @classmethod
    def from_config(cls, config: StackConfig, **state: Any) -> HeadSharing:
        """Make a picture of one model, of which nothing was measured.

        Args:
            config: Gives shape, sharing and KV heads.
            **state: The rest, for example ``query_head=5``.

        Raises:
            traitlets.TraitError: If its heads are too many to draw, or its sharing ties the query.
        """
        row = _row("this model", f"{config.n_heads} query heads", config)
        chosen = {"sharing": config.sharing.name, "n_kv_heads": config.n_kv_heads}
        return cls(**({"models": [row]} | chosen | state))

    @classmethod
    def from_records(cls, records: Iterable[RunRecord], **state: Any) -> HeadSharing:
        """Make a picture with the quality measured in runs, and the paper's models to choose.

        Args:
            records: Runs on text, of one shape and at least three seeds, QKV among them. Those
                with Q=K are left out: they cannot share heads.
            **state: The rest, for example ``n_kv_heads=2``.

        Raises:
            ValueError: If QKV is missing, or the runs are of several shapes.
            StatsError: If there are fewer than three seeds in common with QKV.
        """
        return cls(models=[_measured(records), *map(_printed, ("300M", "1.2B"))], **state)

    @property
    def _row(self) -> dict[str, Any]:
        found: dict[str, Any] = next(row for row in self.models if row["name"] == self.model)
        return found

    @property
    def config(self) -> ModelConfig:
        """The model shown; its vocabulary and context are placeholders, the picture has none."""
        row = self._row
        return ModelConfig(
            d_model=row["n_heads"] * row["head_dim"],
            n_layers=row["n_layers"],
            n_heads=row["n_heads"],
            n_kv_heads=self.n_kv_heads,
            sharing=parse_sharing(self.sharing),
            vocab_size=1,
            max_seq_len=1,
        )

    @property
    def kv_head(self) -> int:
        """The KV head that the lit query head reads."""
        row = self._row
        return int(self.query_head // (row["n_heads"] // self.n_kv_heads))

    @property
    def point(self) -> dict[str, Any] | None:
        """What was measured of the variant shown; ``None`` if nothing was."""
        name = self.config.variant.name
        found = [p for p in self._row["points"] if p["name"] == name]
        return found[0] if found else None

    @traitlets.validate("model", "sharing", "n_kv_heads", "query_head")
    def _check(self, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        proposed = {key: getattr(self, key) for key in ("model", "sharing", "n_kv_heads")}
        proposed |= {"query_head": self.query_head, name: value}
        rows = {row["name"]: row for row in self.models}
        if proposed["model"] not in rows:
            raise traitlets.TraitError(str(unknown_name("model", proposed["model"], rows)))
        n_heads = rows[proposed["model"]]["n_heads"]
        if n_heads > MOST_HEADS:
            raise traitlets.TraitError(
                f"n_heads={n_heads}: the picture has room for {MOST_HEADS} query heads."
            )
        together = " Change several at once with .update(model=…, n_kv_heads=…, sharing=…)."
        try:
            asked = parse_sharing(proposed["sharing"])
            if asked.ties_query:
                raise traitlets.TraitError(
                    f"sharing={asked.name} {asked.tuple_form}: a query head that is its own key "
                    "head shares with nobody, so there is nothing to draw. Choose 'QKV' or "
                    "'Q-K=V'."
                )
            # The model's own rules, and its own words.
            config = ModelConfig(
                d_model=n_heads,
                n_layers=1,
                n_heads=n_heads,
                n_kv_heads=proposed["n_kv_heads"],
                sharing=asked,
                vocab_size=1,
                max_seq_len=1,
            )
        except ValueError as error:
            raise traitlets.TraitError(f"{error}{together}") from None
        if not 0 <= proposed["query_head"] < n_heads:
            raise traitlets.TraitError(
                f"query_head={proposed['query_head']}: this model has query heads 0 to "
                f"{n_heads - 1}.{together}"
            )
        return config.sharing.name if name == "sharing" else value

    def _reading(self) -> str:
        """Who reads whom, for every KV head."""
        group = self._row["n_heads"] // self.n_kv_heads
        if group == 1:
            return "every query head reads a KV head of its own"
        ends = [(g, g * group, (g + 1) * group - 1) for g in range(self.n_kv_heads)]
        return "; ".join(f"query heads {a} to {b} read KV head {g}" for g, a, b in ends)

    @staticmethod
    def _cost(point: Mapping[str, Any] | None) -> str:
        if point is None:
            return "not measured"
        if point["verdict"] == "reference":
            return "the reference"
        interval = f" ({point['low']:+.2f} to {point['high']:+.2f})" if "low" in point else ""
        return f"loss {point['change']:+.2f} %{interval}"

    def describe(self) -> str:
        """Return the picture and the measurements as lines of plain text."""
        row, config = self._row, self.config
        per_token = bytes_per_token(config)
        kept = " and ".join(name.upper() for name in config.sharing.cached)
        heads = "KV head" if self.n_kv_heads == 1 else "KV heads"
        lines = [
            f"Head sharing: {config.variant.name} ({row['name']})",
            f"  {row['n_heads']} query heads, {self.n_kv_heads} {heads}: {self._reading()}",
            f"  Cache: {kept}, {per_token:,} bytes per token in float16, "
            f"{100 * saved(config):.1f} % saved against QKV",
        ]
        if not row["points"]:
            return "\n".join([*lines, "  Quality: no model of this shape was measured"])
        points = sorted(row["points"], key=lambda p: -self._bytes(p))
        table = [
            f"    {p['name']:<8} {self._bytes(p):>7,} bytes per token   {self._cost(p)}"
            for p in points
        ]
        seeds = f"{row['seeds']} seeds, 95 % interval" if row["seeds"] > 1 else "one seed"
        return "\n".join([*lines, f"  Quality against QKV, {seeds}:", *table])

    def _bytes(self, point: Mapping[str, Any]) -> int:
        return bytes_per_token(self.config.replace(variant=point["name"]))

    def fallback_html(self) -> str:
        """Return who reads whom as a sentence, and what was measured as a table."""
        config, row = self.config, self._row
        reading = self._reading()
        sentence = f"{config.variant.name}: {reading}. {100 * saved(config):.1f} % saved."
        rows = "".join(
            f'<tr><th scope="row">{html.escape(p["name"])}</th><td>{self._bytes(p):,}</td>'
            f"<td>{html.escape(self._cost(p))}</td></tr>"
            for p in row["points"]
        )
        table = (
            f"<table><caption>{html.escape(row['name'])}, {html.escape(row['detail'])}</caption>"
            "<thead><tr><th>variant</th><th>bytes per token</th><th>against QKV</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
        return f"<p>{html.escape(sentence)}</p>{table if rows else ''}" + where_it_lives(
            "The heads can be moved"
        )
