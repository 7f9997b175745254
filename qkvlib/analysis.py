"""What trained attention looks like: how symmetric its scores are, how much it looks at itself."""

from __future__ import annotations

import torch
from torch import Tensor


def _check_square(maps: Tensor) -> None:
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError(
            f"maps of shape {tuple(maps.shape)}: expected square maps (…, T, T). Take the maps "
            "of one call over a whole sequence, without a cache."
        )


def asymmetry(scores: Tensor) -> Tensor:
    """How far score maps are from being symmetric: ‖S − Sᵀ‖ / ‖S‖ in the Frobenius norm.

    0 for a symmetric map, as under Q=K; 2 for an antisymmetric one; √2 is what independent
    random scores give.

    Args:
        scores: Shape (…, T, T), before mask and softmax.

    Returns:
        Shape (…): one number per map. A map of zeros is symmetric: 0.

    Raises:
        ValueError: If the maps are not square.
    """
    _check_square(scores)
    difference: Tensor = torch.linalg.matrix_norm(scores - scores.mT)
    return difference.div(torch.linalg.matrix_norm(scores).clamp_min(1e-30))


def self_attention_share(weights: Tensor) -> Tensor:
    """Mean weight that a position gives to itself.

    Args:
        weights: Shape (…, T, T), after softmax.

    Returns:
        Shape (…): one number in [0, 1] per map.

    Raises:
        ValueError: If the maps are not square.
    """
    _check_square(weights)
    return weights.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
