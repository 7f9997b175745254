"""The convex hull: all weighted means of some vectors, and so all that attention can put out.

Weights that are not negative and sum to one make a mean, and a mean lies in the hull of what it is
made from. With K=V those are the keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

Point = tuple[float, float]
"""A point of the plane."""


def hull_distance(points: Tensor, corners: Tensor) -> Tensor:
    """How far points lie outside the convex hull of others, by linear programming.

    For each point y this finds the mean of the corners, with weights w ≥ 0 of sum 1, whose
    coordinates come closest to those of y, and returns the largest difference that is left. It is
    0, up to rounding, exactly for the points of the hull.

    Args:
        points: Shape (N, D).
        corners: Shape (S, D): the vectors that span the hull.

    Returns:
        Shape (N,), float64: distance in the maximum norm.

    Raises:
        ValueError: If the shapes do not fit, or a number is not finite.
    """
    fits = points.ndim == corners.ndim == 2 and points.shape[1] == corners.shape[1]
    if not fits or not len(corners):
        raise ValueError(
            f"points of shape {tuple(points.shape)} and corners of shape {tuple(corners.shape)}: "
            "expected (N, D) and (S, D) with the same D and at least one corner. Take one head of "
            "one sequence at a time."
        )
    if not (points.isfinite().all() and corners.isfinite().all()):
        raise ValueError("not all numbers are finite. Look for NaN in the model's output.")
    spanned = corners.detach().double().numpy().T  # (D, S)
    d, s = spanned.shape
    room = np.ones((d, 1))
    # Unknown: s weights and the distance t. Minimise t under |corners · w - y| ≤ t, sum(w) = 1.
    above, below = np.hstack([spanned, -room]), np.hstack([-spanned, -room])
    found = []
    for y in points.detach().double().numpy():
        solved = linprog(
            np.append(np.zeros(s), 1.0),
            A_ub=np.vstack([above, below]),
            b_ub=np.concatenate([y, -y]),
            A_eq=[np.append(np.ones(s), 0.0)],
            b_eq=[1.0],
            method="highs",
        )
        assert solved.fun is not None  # there is always a mean, near or far
        found.append(float(solved.fun))
    return torch.tensor(found, dtype=torch.float64)


def planar_hull(points: Sequence[Point]) -> list[Point]:
    """The corners of the convex hull of points in the plane, counter-clockwise.

    Args:
        points: In any order; equal ones count once. Points on an edge are no corners.

    Returns:
        The corners, from the leftmost on; two for points on a line, one for a single point.

    Source: A. M. Andrew (1979), the monotone chain.
    """
    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return ordered
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return lower[:-1] + upper[:-1]


def _chain(ordered: list[Point]) -> list[Point]:
    chain: list[Point] = []
    for point in ordered:
        while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: Point, b: Point, c: Point) -> float:
    """Above zero if the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def planar_distance(point: Point, hull: Sequence[Point]) -> float:
    """Distance of a point from a hull in the plane, in the ordinary norm; 0 inside.

    Args:
        point: Any point.
        hull: From :func:`planar_hull`, with at least one corner.
    """
    edges = [(corner, hull[(i + 1) % len(hull)]) for i, corner in enumerate(hull)]
    if len(hull) > 2 and all(_turn(a, b, point) >= 0 for a, b in edges):
        return 0.0
    return min(_to_segment(point, a, b) for a, b in edges)


def _to_segment(point: Point, a: Point, b: Point) -> float:
    along = (b[0] - a[0], b[1] - a[1])
    length = along[0] ** 2 + along[1] ** 2
    share = 0.0
    if length > 0:
        share = ((point[0] - a[0]) * along[0] + (point[1] - a[1]) * along[1]) / length
        share = min(1.0, max(0.0, share))
    nearest = (a[0] + share * along[0], a[1] + share * along[1])
    return math.hypot(point[0] - nearest[0], point[1] - nearest[1])
