"""Figures of lesson 09: every patch in its place, mistakes counted, both sides of a guess."""

import json
from typing import Any

import pytest
import torch

from qkvlib import SHARINGS, Interval, patches, plots
from qkvlib.plots import FitChange

IMAGE = (torch.arange(8 * 12).view(8, 12) * 2).to(torch.uint8)


def traces(figure: plots.Figure, axis: str) -> list[Any]:
    return [trace for trace in figure.data if trace.xaxis == axis]


def test_tokens_are_the_patches_in_reading_order() -> None:
    figure = plots.patch_tokens(IMAGE, 4, title="Cut", alt="A slope from dark to light.")
    above, below = traces(figure, "x"), traces(figure, "x2")
    cut = patches(IMAGE[None, None], 4)[0].view(-1, 4, 4)
    assert len(above) == len(below) == len(cut) == 6
    for n, (one, other) in enumerate(zip(above, below, strict=True)):
        ink = (cut[n].float() * 15 / 255).round().int().tolist()
        assert [list(line) for line in one.z] == [list(line) for line in other.z] == ink
    assert [round(t.x0 / above[1].x0) for t in above] == [0, 1, 2, 0, 1, 2]
    assert [t.y0 > 0 for t in above] == [False] * 3 + [True] * 3
    assert [t.x0 for t in below] == sorted(t.x0 for t in below)
    assert [a.text for a in figure.layout.annotations] == ["0", "1", "2", "3", "4", "5"]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "row 0 is on top"
    assert "A slope from dark to light. An image of 8 by 12 pixels" in figure.alt


def test_an_image_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide an image of 8 × 12"):
        plots.patch_tokens(IMAGE, 5)
    with pytest.raises(ValueError, match=r"expected \(height, width\)"):
        plots.patch_tokens(IMAGE[None], 4)


def counts(*cells: tuple[int, int, int]) -> torch.Tensor:
    made = torch.diag(torch.tensor([50, 50, 50]))
    for true, answer, n in cells:
        made[true, answer] = n
    return made


def test_confusions_show_mistakes_only() -> None:
    given = {"QKV": counts((0, 2, 4), (1, 0, 1)), "Q=K=V": counts((2, 1, 16))}
    before = {name: each.clone() for name, each in given.items()}
    figure = plots.confusions(given, ["cat", "dog", "eel"])
    first, second = figure.data
    assert list(zip(first.y, first.x, first.customdata, strict=True)) == [
        ("cat", "eel", 4),
        ("dog", "cat", 1),
    ]
    assert list(second.customdata) == [16]
    # An area counts, in one scale for all panels: 16 is twice as wide as 4.
    assert second.marker.size[0] == pytest.approx(2 * first.marker.size[0])
    assert first.marker.size[0] == pytest.approx(2 * first.marker.size[1], rel=1e-2)
    titles = [a.text for a in figure.layout.annotations]
    assert titles == ["QKV: 5", "Q=K=V: 16"]
    assert "QKV: 5 mistakes, 4 times cat for eel, 1 times dog for cat" in figure.alt
    assert all(torch.equal(given[name], before[name]) for name in given), "left as they were"


def test_confusions_of_a_model_without_a_mistake() -> None:
    figure = plots.confusions({"QKV": counts()}, ["cat", "dog", "eel"])
    assert "QKV: 0 mistakes" in figure.alt
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.confusions({}, ["cat"])
    with pytest.raises(ValueError, match=r"QKV: counts of shape \(3, 3\), expected \(2, 2\)"):
        plots.confusions({"QKV": counts()}, ["cat", "dog"])


def test_mistaken_images_say_who_took_them_for_what() -> None:
    images = torch.stack([IMAGE, IMAGE.flip(0), IMAGE])
    answers = {"QKV": ["1", "2", "8"], "Q=K=V": ["1", "7", "3"]}
    figure = plots.mistaken_images(images, ["1", "2", "3"], answers, columns=2)
    texts = [a.text for a in figure.layout.annotations]
    assert texts == ["<b>1</b>", "✓ ✓", "<b>2</b>", "✓ 7", "<b>3</b>", "8 ✓"]
    assert "1 taken for what it is by all; 2 taken for 7 by Q=K=V; 3 taken for 8 by QKV" in (
        figure.alt
    )
    assert "QKV, Q=K=V" in figure.layout.title.subtitle.text
    first, second, third = figure.data
    assert (first.x0, third.x0) == (0, 0)
    assert second.x0 > 12
    assert third.y0 > 8


@pytest.mark.parametrize(
    ("images", "labels", "answers"),
    [
        (torch.zeros(0, 8, 8), [], {}),
        (torch.zeros(2, 8, 8), ["1"], {}),
        (torch.zeros(2, 8, 8), ["1", "2"], {"QKV": ["1"]}),
        (torch.zeros(2, 1, 8, 8), ["1", "2"], {"QKV": ["1", "2"]}),
    ],
)
def test_answers_that_are_not_as_many_are_refused(images: Any, labels: Any, answers: Any) -> None:
    with pytest.raises(ValueError, match="N labels and answers"):
        plots.mistaken_images(images, labels, answers)


def test_a_page_of_mistakes_stays_small() -> None:
    images = torch.randint(0, 256, (24, 28, 28), generator=torch.Generator().manual_seed(0))
    answers = {name: ["3"] * 24 for name in SHARINGS}
    figure = plots.mistaken_images(images.to(torch.uint8), ["4"] * 24, answers)
    assert len(json.dumps(figure._repr_mimebundle_())) < 120_000


def around(mean: float, half: float) -> Interval:
    return Interval(mean, mean - half, mean + half, 3, 0.95)


CHANGES = [
    FitChange("Q=K-V", "mnist", around(-0.1, 0.3), around(0.2, 0.1)),
    FitChange("Q=K=V", "mnist", around(-1, 0.5), around(-2, 1)),
    FitChange("Q=K=V", "tiny-imagenet-20", around(3, 2), around(1, 4)),
]


def test_changes_stand_side_by_side() -> None:
    figure = plots.fit_changes(CHANGES, title="Less, so better?")
    gaps, accuracies = traces(figure, "x"), traces(figure, "x2")
    assert [list(t.x) for t in gaps] == [[-0.1], [-1, 3]]
    assert [list(t.x) for t in accuracies] == [[0.2], [-2, 1]]
    for left, right in zip(gaps, accuracies, strict=True):
        assert list(left.y) == list(right.y), "a row is one variant on one set"
        assert left.marker.symbol == right.marker.symbol
    assert [round(y) for t in gaps for y in t.y] == [0, 0, 1]
    assert len({y for t in gaps for y in t.y}) == 3
    shaded = [s for s in figure.layout.shapes if s.type == "rect"]
    assert [s.x1 < 0 for s in shaded] == [True, False], "a smaller gap, a higher accuracy"
    for trace, axis in ((gaps[1], figure.layout.xaxis), (accuracies[1], figure.layout.xaxis2)):
        for x, half in zip(trace.x, trace.error_x.array, strict=True):
            assert axis.range[0] < x - half
            assert x + half < axis.range[1]
    assert "tiny-imagenet-20, Q=K=V: gap +3 (+1 to +5), accuracy +1 (-3 to +5)" in figure.alt


def test_no_change_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.fit_changes([])
