"""Claim by claim: what the paper says, what was measured here, and what follows.

Nothing on the page that is made from this is typed by hand: the words of a verdict are chosen by
rules that stand here, for what training gives by intervals, for bytes and speed by counting. So
remade runs that say something else change the page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import torch

from qkvlib.accounting import bytes_per_token, format_bytes, saved
from qkvlib.cache import KVCache
from qkvlib.config import get_config
from qkvlib.experiments import GAP_RATES, GAP_STEPS, GAP_WIDE_SHAPES, TOKENS_PER_STEP
from qkvlib.gap import gap_task
from qkvlib.paper import PaperClaim, data_file, paper_claims, paper_statements
from qkvlib.passes import pass_cost
from qkvlib.records import RunRecord, aggregate, load_records
from qkvlib.roofline import get_device, longest_context
from qkvlib.sharing import SHARINGS, parse_variant
from qkvlib.speed import SpeedTable
from qkvlib.stats import Verdict, paired_difference
from qkvlib.tables import (
    AVERAGE,
    EQUAL_PARAMETERS,
    NO_PLACES,
    PLUS_TOLD,
    TOKENS_METRIC,
    ResultRow,
    ResultTable,
    language_losses,
    place_task,
    result_table,
)

Outcome = Literal["holds", "holds in part", "does not hold", "cannot tell", "not tested yet"]

GAP: Final = "accuracy above QKV"
COST: Final = "loss above QKV, %"
TEXTS: Final = {"text": "standard library", "tinyshakespeare": "Tiny Shakespeare"}
"""Texts of table ``language``, and what they are called."""


@dataclass(frozen=True)
class Finding:
    """What came of a claim.

    Attributes:
        claim: The claim, in our words, with the place where the paper makes it.
        test: How it was tested here; empty where it was not.
        measured: Sentences with the numbers, their intervals and runs.
        outcome: What follows for models of our size.
    """

    claim: PaperClaim
    test: str
    measured: tuple[str, ...]
    outcome: Outcome


@dataclass(frozen=True)
class _Result:
    test: str
    measured: tuple[str, ...]
    outcome: Outcome


def _name(variant: str) -> str:
    return parse_variant(variant).both_forms


def _interval(row: ResultRow, unit: str = "") -> str:
    if row.mean is None:
        return "no mean: not every run got there"
    # Rounded first: means that are equal differ by rounding in the 17th digit.
    ends = (row.mean, row.low, row.high)
    mean, low, high = (f"{round(x, 9) + 0.0:+.3g}" for x in ends if x is not None)
    return f"{mean}{unit} ({low} to {high}, {row.n} seeds)"


def _sign(row: ResultRow) -> int:
    """1 where the whole interval is above zero, -1 where it is below, 0 where it holds zero."""
    assert row.low is not None
    assert row.high is not None
    return (row.low > 0) - (row.high < 0)


def _beside(row: ResultRow, unit: str = "") -> str:
    paper = "" if row.paper is None else f"; the paper {row.paper:+.3g}{unit}"
    return f"{_name(row.variant)} {_interval(row, unit)}{paper}"


def _rows(table: ResultTable, task: str, metric: str) -> list[ResultRow]:
    return [row for row in table.rows if (row.task, row.metric) == (task, metric)]


def _gaps(table: ResultTable) -> list[ResultRow]:
    """Every difference in accuracy from QKV, of any task."""
    return [row for row in table.rows if row.metric == GAP]


# The abstract


def _on_par() -> _Result:
    encoders = _rows(result_table("synthetic"), AVERAGE, GAP)
    seen = [row for name in ("vision", "odd_one_out") for row in _gaps(result_table(name))]
    language = result_table("language")
    texts = [r for task in TEXTS for r in _rows(language, task, COST) if r.variant in SHARINGS]
    accurate = encoders + seen
    worse = [row for row in accurate if _sign(row) < 0] + [row for row in texts if _sign(row) > 0]
    everything = len(accurate) + len(texts)
    return _Result(
        "Six encoders over a grid of settings on the paper's five synthetic tasks, accuracy after "
        "a small fixed budget; six vision transformers on each set of images, six set encoders on "
        "odd-one-out; four small GPTs on each text. Same seeds and batches for all.",
        (
            *(f"synthetic average, accuracy above QKV: {_beside(row)}" for row in encoders),
            *(f"{row.task}, accuracy above QKV: {_beside(row)}" for row in seen),
            *(f"{TEXTS[row.task]}, loss above QKV: {_beside(row, ' %')}" for row in texts),
            f"{len(worse)} of these {everything} comparisons leave out zero on the bad side.",
        ),
        "holds" if not worse else "does not hold" if len(worse) == everything else "holds in part",
    )


def _half_cache() -> _Result:
    config = get_config("300M")
    sizes = {}
    for name in SHARINGS:
        sizes[name] = KVCache(get_config("small").replace(sharing=name)).nbytes
    half = 2 * sizes["Q-K=V"] == sizes["QKV"] == sizes["Q=K-V"]
    per_token = {n: bytes_per_token(config.replace(sharing=n)) for n in ("QKV", "Q-K=V")}
    return _Result(
        "Bytes of the tensors in a real cache, and the formula that agrees with them.",
        (
            f"the lessons' GPT, 128 tokens in float32: QKV {format_bytes(sizes['QKV'])}, "
            f"Q-K=V {format_bytes(sizes['Q-K=V'])}, Q=K-V {format_bytes(sizes['Q=K-V'])}",
            "the 300M shape: "
            + ", ".join(
                f"{n} {format_bytes(size, binary=True)} per token" for n, size in per_token.items()
            ),
        ),
        "holds" if half else "does not hold",
    )


def _may_be_the_paper_s(row: ResultRow) -> list[bool]:
    """Whether a cost may be as small as the paper's; nothing where the row cannot tell."""
    assert row.low is not None
    assert row.high is not None
    assert row.paper is not None
    tells_nothing = row.low <= 0 and row.high >= row.paper
    return [] if tells_nothing else [row.low <= row.paper]


def _small_price() -> _Result:
    language = result_table("language")
    settings = TEXTS | {EQUAL_PARAMETERS: "standard library, equal parameters"}
    lines, as_small = [], []
    for task, name in settings.items():
        row = language.find("Q-K=V", task, COST)
        as_small += _may_be_the_paper_s(row)
        lines.append(f"{name}, loss above QKV: {_beside(row, ' %')}")
    wider = result_table("gap_wide")
    last = GAP_STEPS * TOKENS_PER_STEP
    times = []
    for (d_model, context), lr in itertools.product(GAP_WIDE_SHAPES, GAP_RATES):
        row = wider.find("Q-K=V", gap_task(d_model, context, last, lr), COST)
        as_small += _may_be_the_paper_s(row)
        lines.append(f"{row.task}, loss above QKV: {_beside(row, ' %')}")
        found = wider.find("Q-K=V", gap_task(d_model, context, last // 2, lr), TOKENS_METRIC)
        assert found.mean is not None
        assert found.low is not None
        assert found.high is not None
        times.append((found.mean, found.low, found.high))
    _, low, high = max(times, key=lambda each: each[2] - each[1])
    lines.append(
        f"in these wider models, for the loss of QKV after {last / 2e6:.1f}M tokens, Q-K=V takes "
        f"{min(times)[0]:.2f} to {max(times)[0]:.2f} times as many (means over seeds; the widest "
        f"interval is {low:.2f} to {high:.2f}); how far a model has come moves the percentage "
        "(lesson 13)"
    )
    return _Result(
        "Small GPTs on two texts, and on one of them with the parameters that the tie saves given "
        "back as a wider MLP; and wider ones with two learning rates. Compared by loss: its "
        "relative change can be compared between tokenizers, that of perplexity cannot. The "
        f"paper's 3.1 % of perplexity is {row.paper:.2f} % of its loss, the figure beside ours. An "
        "interval with both that figure and zero in it is printed, and does not count.",
        tuple(lines),
        "cannot tell"
        if not as_small
        else "holds"
        if all(as_small)
        else "holds in part"
        if any(as_small)
        else "does not hold",
    )


def _complementary() -> _Result:
    shape = get_config("300M")
    wanted = {"Q-GQA-4": 0.875, "Q-MQA": 0.96875}
    shares = {name: saved(shape.replace(variant=name)) for name in wanted}
    language = result_table("language")
    lines = []
    for task, name in TEXTS.items():
        rows = [row for row in _rows(language, task, COST) if row.variant not in ("Q=K-V", "Q=K=V")]
        lines += [f"{name}, loss above QKV: {_beside(row, ' %')}" for row in rows]
        cost = {row.variant: row.mean for row in rows if row.mean is not None}
        both, apart = cost["Q-MQA"], cost["Q-K=V"] + cost["MQA"]
        lines.append(f"Q-MQA costs {both:+.3g} %, Q-K=V and MQA one by one {apart:+.3g} % in sum")
    return _Result(
        "The share of the cache by the formula that real caches agree with; the price on text.",
        (
            ", ".join(f"{name} saves {100 * s:.4g} % of the cache" for name, s in shares.items())
            + " at 16 heads",
            *lines,
        ),
        "holds" if shares == wanted else "does not hold",
    )


def _on_device() -> _Result:
    phone = get_device("phone")
    shape = get_config("1.2B")
    configs = {name: shape.replace(variant=name) for name in ("QKV", "Q-K=V", "Q-MQA")}
    room = {name: longest_context(config, phone.memory) for name, config in configs.items()}
    lines = [
        f"room in {phone.memory / 1e9:g} GB beside the weights: "
        + ", ".join(f"{_name(name)} {tokens:,} tokens" for name, tokens in room.items())
    ]
    gains = []
    for held in (512, room["QKV"]):
        speed = {
            name: 1 / phone.seconds(pass_cost(config, 1, held, dtype=torch.float16))
            for name, config in configs.items()
        }
        gains.append(speed["Q-K=V"] / speed["QKV"])
        lines.append(
            f"tokens per second at {held:,} tokens, at most: "
            + ", ".join(f"{name} {rate:.3g}" for name, rate in speed.items())
        )
    lines.append(
        f"so Q-K=V has room for {room['Q-K=V'] / room['QKV']:.3g} times the context, and by "
        f"these bounds is {gains[0]:.3g} and {gains[1]:.3g} times as fast there"
    )
    measured = SpeedTable.load(data_file("results/speed_attention.json"))
    rows = measured.by_case()["attention, Q-K=V against QKV"]
    lines.append(
        f"measured, attention alone on one {measured.device}, eight texts: Q-K=V is "
        + ", ".join(f"{row.ratio:.2f} times as fast at {row.tokens:,} tokens" for row in rows)
    )
    steps = SpeedTable.load(data_file("results/speed_step.json"))
    for how, said in ((", recorded", "recorded as a CUDA graph"), ("", "called from Python")):
        rows = steps.by_case()[f"a decode step{how}, Q-K=V against QKV"]
        lines.append(
            f"measured, a whole step of eight layers on one {steps.device}, eight texts, {said}: "
            + ", ".join(
                f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}) times as fast at "
                f"{row.tokens:,} tokens"
                for row in rows
            )
        )
    larger = room["Q-K=V"] >= 2 * room["QKV"]
    return _Result(
        "The 1.2B shape in two-byte numbers on a phone made up of its parts' widths and rates: "
        f"{phone.memory / 1e9:g} GB, {phone.bandwidth / 1e9:.1f} GB/s. Counted, not measured: what "
        "fits is certain, the speeds are bounds. A phone was not measured; a GPU was.",
        tuple(lines),
        "holds in part" if larger and gains[0] < 1.5 else "holds" if larger else "does not hold",
    )


def _direction() -> _Result:
    row = result_table("four_tyings").find("Q=K-V", "text", COST)
    records = load_records(data_file("results/four_tyings.json"))
    trained = _mean_of(records, "asymmetry")
    return _Result(
        "Loss on text, and the asymmetry of trained score maps, |S - Sᵀ| / |S|. A causal model "
        "never uses the other half of its map, so a symmetric map hides nothing there: worse is "
        "measured, because is not.",
        (
            f"loss above QKV: {_beside(row, ' %')}",
            *(
                f"asymmetry after training: {_name(name)} {sum(s.values()) / len(s):.2f}"
                for name, s in trained.items()
            ),
        ),
        "holds in part" if _sign(row) > 0 else "cannot tell",
    )


def _not_yet() -> _Result:
    return _Result("", (), "not tested yet")


# From the body of the paper


def _mean_of(records: list[RunRecord], key: str) -> dict[str, dict[int, float]]:
    """Variant -> seed -> mean over layers and heads, after training."""
    table: dict[str, dict[int, float]] = {}
    for record in records:
        values = [x for layer in record.extra["trained"][key] for x in layer]
        table.setdefault(record.variant.name, {})[record.seed] = sum(values) / len(values)
    order = list(aggregate(records))
    return {name: table[name] for name in order}


def _plus() -> _Result:
    table = result_table("synthetic")
    lines, signs = [], []
    for plain in ("Q=K-V", "Q=K=V"):
        for task in (AVERAGE, "REVERSE", "SWAP", "SHIFT"):
            row = table.find(f"({plain})+", task, f"accuracy above {plain}")
            if task == AVERAGE:
                signs.append(_sign(row))
            lines.append(f"{task}, accuracy above {_name(plain)}: {_beside(row)}")
    return _Result(
        "Encoders with and without the term, same seeds and batches, averaged over the grid.",
        tuple(lines),
        "holds"
        if min(signs) > 0
        else "holds in part"
        if max(signs) > 0
        else "does not hold"
        if max(signs) < 0
        else "cannot tell",
    )


def _diagonal() -> _Result:
    records = load_records(data_file("results/four_tyings.json"))
    own = _mean_of(records, "self_attention")
    lines, more = [], []
    for name in ("Q=K-V", "Q=K=V"):
        gap = paired_difference(own[name], own["QKV"], lower_is_better=False)
        mean = sum(own[name].values()) / len(own[name])
        d = gap.difference
        lines.append(
            f"weight on oneself, {_name(name)}: {mean:.3f}, above QKV by {d.mean:+.3f} "
            f"({d.low:+.3f} to {d.high:+.3f}, {d.n} seeds)"
        )
        more.append(gap.verdict == "better")
    return _Result(
        "Mean weight that a position of a trained GPT gives to itself, over layers and heads.",
        tuple(lines),
        "holds" if all(more) else "holds in part" if any(more) else "does not hold",
    )


def _tiny_imagenet() -> _Result:
    table = result_table("vision")
    task, overfit = "tiny-imagenet-20", "accuracy on training images less held-out, above QKV"
    one = table.find("Q=K=V", task, GAP)
    lines = [f"accuracy above QKV: {_beside(row)}" for row in _rows(table, task, GAP)]
    lines += [f"overfit above QKV: {_beside(row)}" for row in _rows(table, task, overfit)]
    outcomes: dict[int, Outcome] = {1: "holds", 0: "cannot tell", -1: "does not hold"}
    return _Result(
        "Small vision transformers on 20 of TinyImageNet's 200 classes; overfit is the accuracy on "
        "training images less that on held-out ones.",
        tuple(lines),
        outcomes[_sign(one)],
    )


def _odd_one_out() -> _Result:
    table = result_table("odd_one_out")
    lines, signs, beyond = [], [], []
    for row in table.rows:
        plus = row.variant.endswith("+")
        if plus and row.metric == f"accuracy above {row.variant.strip('()+')}":
            if row.task.endswith(NO_PLACES):
                lines.append(f"{row.task}, accuracy above the same without (X)+: {_beside(row)}")
            else:
                signs.append(_sign(row))
                lines.append(f"{row.task}, accuracy above the same without (X)+: {_beside(row)}")
        if plus and row.metric == f"accuracy above {NO_PLACES}":
            beyond.append(_sign(row))
            lines.append(f"{row.task}, accuracy above (X)+ told no places: {_beside(row)}")
    better = sum(sign > 0 for sign in signs)
    lines.append(
        f"(X)+ is better than the same without it in {better} of {len(signs)} comparisons, and "
        f"better than (X)+ told no places in {sum(sign > 0 for sign in beyond)} of {len(beyond)}."
    )
    return _Result(
        "Set encoders on features of a frozen encoder, with (X)+, without it, and with (X)+ told "
        "no places, which leaves only its factor on the scores. The odd image stands at a random "
        "place, so places carry no information.",
        tuple(lines),
        "holds"
        if better == len(signs)
        else "holds in part"
        if better
        else "does not hold"
        if min(signs) < 0
        else "cannot tell",
    )


def _plus_in_images() -> _Result:
    table = result_table("image_positions")
    told = place_task("learned", "grid")
    lines, signs = [], []
    for base in ("Q=K-V", "Q=K=V"):
        for less in (None, "none", "index"):
            metric = f"accuracy above {PLUS_TOLD[less]}"
            row = table.find(f"({base})+", told, metric)
            lines.append(f"fashion-small, {metric}: {_beside(row)}")
            if less is None:
                signs.append(_sign(row))
        for row in result_table("vision").rows:
            if (row.variant, row.metric) == (f"({base})+", f"accuracy above {base}"):
                lines.append(f"{row.task}, accuracy above the same without (X)+: {_beside(row)}")
                signs.append(_sign(row))
    differ = sum(sign != 0 for sign in signs)
    lines.append(
        f"(X)+ is better than the same without it in {signs.count(1)} of {len(signs)} comparisons, "
        f"worse in {signs.count(-1)}, and for {signs.count(0)} one cannot tell."
    )
    return _Result(
        "Vision transformers with learned positions on the embedded clothes, (X)+ told (row, col), "
        "beside the same without it, with its factor only, and told numbers in reading order; and "
        "those of table vision, with (X)+ and without.",
        tuple(lines),
        "cannot tell"
        if not differ
        else "does not hold"
        if differ == len(signs)
        else "holds in part",
    )


def _heads_are_cheaper() -> _Result:
    losses = language_losses()
    lines: list[str] = []
    wins: list[Verdict] = []
    for task, text in TEXTS.items():
        for name in ("MQA", "GQA-2"):
            gap = paired_difference(losses[task][name], losses[task]["Q-K=V"])
            share = 100 * saved(get_config("small").replace(variant=name))
            d = gap.difference
            mean, low, high = (x / math.log(2) for x in (d.mean, d.low, d.high))
            lines.append(
                f"{text}: {_name(name)}, which saves {share:.4g} % at 4 heads, against Q-K=V, "
                f"which saves 50 %: {mean:+.4f} bits per byte ({low:+.4f} to {high:+.4f}, "
                f"{d.n} seeds), {gap.verdict}"
            )
            if name == "MQA":
                wins.append(gap.verdict)
    better = wins.count("better")
    return _Result(
        "Small GPTs with fewer KV heads beside Q-K=V, seed by seed, on two texts.",
        tuple(lines),
        "holds"
        if better == len(wins)
        else "holds in part"
        if better
        else "does not hold"
        if "worse" in wins
        else "cannot tell",
    )


_TESTS: Final[Mapping[str, Callable[[], _Result]]] = MappingProxyType(
    {
        "on-par": _on_par,
        "half-cache": _half_cache,
        "small-price": _small_price,
        "complementary": _complementary,
        "on-device": _on_device,
        "same-space": _not_yet,
        "direction": _direction,
        "plus-term": _plus,
        "diagonal": _diagonal,
        "heads-are-cheaper": _heads_are_cheaper,
        "one-projection": _tiny_imagenet,
        "odd-one-out": _odd_one_out,
        "plus-in-images": _plus_in_images,
    }
)


def findings() -> list[Finding]:
    """Test every claim against the stored results.

    Returns:
        One finding per claim, those of the abstract first.
    """
    found = []
    for claim in (*paper_claims(), *paper_statements()):
        result = _TESTS[claim.id]()
        found.append(Finding(claim, result.test, result.measured, result.outcome))
    return found
