"""What is left of asymmetry when preferences for places are taken out: attention that flows.

Weights can lean from i to j for two reasons. Place j may be worth more than place i to every
reader: one height for each place. Or i leans to j, j to k and k back to i, which no heights can do:
water does not flow round in a circle. The first leaves the weights a reversible Markov chain, the
second does not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AsymmetryParts(NamedTuple):
    """The two parts of a score map's asymmetry; asymmetry² = pull² + flow².

    Attributes:
        pull: Shape (…): the part that one height per place accounts for.
        flow: Shape (…): what no heights account for; 0 exactly if the weights are reversible.
    """

    pull: Tensor
    flow: Tensor


def split_asymmetry(scores: Tensor) -> AsymmetryParts:
    """Split ‖S − Sᵀ‖ / ‖S‖ into what heights explain and what goes round in circles.

    The heights h that come closest to S − Sᵀ by the rule h_j − h_i are its column means; the rest
    sums to nothing over rows, and around some round trip it does not. Terms of the scores in i
    alone or in j alone are pure pull.

    Args:
        scores: Shape (…, T, T), before mask and softmax.

    Returns:
        Two numbers per map, in the unit of :func:`qkvlib.analysis.asymmetry`.

    Raises:
        ValueError: If the maps are not square.
    """
    if scores.ndim < 2 or scores.shape[-1] != scores.shape[-2]:
        raise ValueError(
            f"scores of shape {tuple(scores.shape)}: expected square maps (…, T, T). Take the "
            "maps of one call over a whole sequence, without a cache."
        )
    difference = scores - scores.mT
    height = difference.mean(dim=-2)
    pull = height[..., None, :] - height[..., :, None]
    size = torch.linalg.matrix_norm(scores).clamp_min(1e-30)
    return AsymmetryParts(
        torch.linalg.matrix_norm(pull) / size,
        torch.linalg.matrix_norm(difference - pull) / size,
    )
