"""Figures: words on every one, rounded data, nothing that a page must fetch."""

import json
import math
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from qkvlib import SHARINGS, get_config, plots
from qkvlib.paper import paper_claims, paper_figures
from qkvlib.plots.base import signed, style
from qkvlib.records import RunRecord


def record(sharing: str, seed: int, last: float) -> RunRecord:
    config = get_config("small").replace(sharing=sharing)
    history = {"eval_step": [0, 50, 100], "eval_bits_per_byte": [8.0, 4.0, last]}
    return RunRecord(
        model=config.to_dict(), training={}, task={"sha256": "0"}, seed=seed, n_params=1,
        cache_bytes_per_token={}, metrics={"bits_per_byte": last}, history=history, versions={},
        device="cpu", cpu="", threads=1, seconds=1.0, tokens_per_second=1.0,
    )  # fmt: skip


def every_figure() -> dict[str, plots.Figure]:
    torch.manual_seed(0)
    records = [record(name, s, 2.0 + i / 10 + s / 100) for i, name in enumerate(SHARINGS) for s in range(3)]  # fmt: skip  # noqa: E501
    names = list(SHARINGS)
    return {
        "lines": plots.lines(
            {"held": ([1.0, 2.0], [3.0, 1 / 3])}, x_title="tokens", y_title="kB",
            alt="A line that falls from three kilobytes to a third of one over two tokens.",
        ),
        "growth": plots.cache_growth(
            get_config("300M"), [*names, "MQA", "Q-MQA"], 32768, budget_gb=2
        ),
        "intervals": plots.intervals(
            [
                plots.Measured("Q-K=V", 1.0, 0.5, 1.5, [0.8, 1.2], paper=3.1),
                plots.Measured("Q=K=V", 2.0, 2.0, 2.0),
            ],
            x_title="loss above QKV (%)",
        ),
        "curves": plots.loss_curves(records),
        "grid": plots.attention_grid({n: torch.rand(4, 24, 24) for n in names}, tokens="x" * 24),
        "asymmetry": plots.asymmetry_dots({n: torch.rand(2, 4) for n in names}),
    }  # fmt: skip


FIGURES = every_figure()


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for each in value.values() for n in numbers(each)]
    if isinstance(value, list):
        return [n for each in value for n in numbers(each)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("name", FIGURES)
def test_what_a_notebook_stores(name: str) -> None:
    bundle = FIGURES[name]._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/plain"}
    figure = bundle["application/vnd.plotly.v1+json"]
    assert figure["layout"]["meta"]["alt"] == bundle["text/plain"]
    assert len(bundle["text/plain"]) > 60
    assert len(json.dumps(figure)) < 150_000
    assert figure["layout"]["template"]["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    for value in numbers(figure["data"]):
        assert value == float(f"{value:.4g}")
    assert "bdata" not in json.dumps(figure), "plotly's packed arrays cannot be read in a diff"


@pytest.mark.parametrize("name", [n for n in FIGURES if n != "grid"])
def test_axes_have_titles(name: str) -> None:
    layout = FIGURES[name].layout
    assert layout.yaxis.title.text or layout.xaxis.title.text
    if name not in ("intervals", "asymmetry"):
        assert layout.xaxis.title.text
        assert layout.yaxis.title.text


def test_ipython_shows_our_bundle_and_no_more() -> None:
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(FIGURES["growth"])
    assert set(data) == {"application/vnd.plotly.v1+json", "text/plain"}


@pytest.mark.parametrize("alt", ["", "  ", "figure"])
def test_a_figure_without_words_is_refused(alt: str) -> None:
    with pytest.raises(ValueError, match="text alternative"):
        plots.finish(go.Figure(), alt=alt)


def test_lines_that_coincide_are_one_line_with_both_names() -> None:
    figure = plots.cache_growth(get_config("300M"), ["QKV", "Q=K-V", "Q-K=V", "Q=K=V"], 1000)
    assert len(figure.data) == 2
    assert "Q=K-V (Q=K, V)" in figure.data[0].name
    assert figure.data[0].y[1] == 0.08192


def test_curves_show_mean_and_range() -> None:
    figure = plots.loss_curves([record("QKV", s, 2.0 + s / 10) for s in range(3)])
    band, mean = figure.data
    assert list(mean.y) == [8.0, 4.0, 2.1]
    assert sorted(band.y) == [2.0, 2.2, 4.0, 4.0, 8.0, 8.0]
    assert "3 seeds" in figure.layout.title.text
    single = plots.loss_curves([record("QKV", 0, 2.0)])
    assert len(single.data) == 1
    assert "one seed" in single.alt


def test_intervals_are_checked_and_drawn_as_given() -> None:
    bar = FIGURES["intervals"].data[1]
    assert (bar.error_x.array[0], bar.error_x.arrayminus[0]) == (0.5, 0.5)
    with pytest.raises(ValueError, match="not between"):
        plots.intervals([plots.Measured("QKV", 3.0, 1.0, 2.0)], x_title="x")
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.intervals([], x_title="x")


def test_hidden_positions_stay_blank() -> None:
    maps = torch.rand(2, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), math.nan)
    figure = plots.attention_grid({"QKV": maps})
    assert figure.data[0].z[0][1] is None
    assert len({trace.coloraxis for trace in figure.data}) == 1
    with pytest.raises(ValueError, match="same shape"):
        plots.attention_grid({"QKV": torch.rand(2, 5, 5), "Q-K=V": torch.rand(2, 4, 4)})


def test_unknown_column_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="eval_bits_per_byte"):
        plots.loss_curves([record("QKV", 0, 2.0)], column="eval_perplexity")


def test_each_sharing_has_its_own_colour_marker_and_dash() -> None:
    assert list(plots.COLOURS) == list(SHARINGS)
    for styles in zip(*(style(name) for name in SHARINGS), strict=True):
        assert len(set(styles)) == len(SHARINGS)


def test_labels_show_both_forms() -> None:
    assert plots.label("Q-K=V") == "Q-K=V (Q, K=V)"
    assert plots.label("Q-MQA") == "Q-MQA (Q, K=V)"
    assert plots.label("held") == "held"


def test_printed_figures_say_where_and_how_read() -> None:
    figures = paper_figures()
    assert figures["300M/Q-K=V/change"].value == 3.1
    for each in figures.values():
        assert each.unit
        assert each.where
        # The authors' repository has no commit of the tables in the paper.
        assert "not checked" in each.how_read or ", commit " in each.how_read
    with pytest.raises(KeyError, match="300M/Q-K=V/change"):
        figures["300M/Q-K=V/chnge"]
    assert len({claim.id for claim in paper_claims()}) == len(paper_claims()) == 7


def test_printed_changes_follow_from_printed_perplexities() -> None:
    """Guards the table against slips of our own typing."""
    figures = paper_figures()
    for config, half in (("300M", 0.005), ("1.2B", 0.0005)):  # half of the last printed digit
        base = figures[f"{config}/QKV/perplexity"].value
        for key, each in figures.items():
            if key.startswith(config) and key.endswith("/change"):
                perplexity = figures[key.replace("change", "perplexity")].value
                low = 100 * ((perplexity - half) / (base + half) - 1)
                high = 100 * ((perplexity + half) / (base - half) - 1)
                assert low - 10 * half <= each.value <= high + 10 * half, key


def test_differences_have_a_sign_and_no_dust() -> None:
    assert signed(0.01234) == "+0.0123"
    assert signed(-3.7e-15) == signed(0.0) == "+0"
    assert signed(-1.256, 2) == "-1.3"
