"""The four ways of tying query, key and value projections, as data.

A *sharing* is a map from role (what attention needs: ``q``, ``k``, ``v``) to projection (a weight
matrix). Everything else follows from that map: which matrices the attention module makes, which
tensors the cache stores, how many parameters there are, which names are printed.

=========  ============  ==========================  ===========  =====================
name       tuple form    role -> projection          projections  cached per token
=========  ============  ==========================  ===========  =====================
QKV        (Q, K, V)     q -> q,  k -> k,  v -> v    3            K and V
Q=K-V      (Q=K, V)      q -> k,  k -> k,  v -> v    2            K and V
Q-K=V      (Q, K=V)      q -> q,  k -> k,  v -> k    2            K only
Q=K=V      (Q=K=V)       q -> k,  k -> k,  v -> k    1            K only
=========  ============  ==========================  ===========  =====================

The hyphen in a name separates, it is not a minus. Source: Kayyam et al. (2026), arXiv:2606.04032,
section 3; head sharing after Shazeer (2019) and Ainslie et al. (2023).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

_Entry = TypeVar("_Entry")

Role = Literal["q", "k", "v"]

ROLES: Final[tuple[Role, ...]] = ("q", "k", "v")
"""The roles in attention: query, key, value."""


class UnknownNameError(ValueError):
    """A name that the course does not know; the message offers the nearest one."""


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not in a table, with the nearest match.

    Args:
        kind: What the name stands for, for example ``"sharing"``.
        given: What the caller wrote.
        allowed: Every name that would have worked.

    Returns:
        The error, to be raised by the caller.
    """
    names = list(allowed)
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(given).lower(), folded, n=1, cutoff=0.3)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {given!r}.{hint} Known names: {', '.join(names)}.")


def look_up(kind: str, name: str, table: Mapping[str, _Entry]) -> _Entry:
    """Return the entry of a table.

    Args:
        kind: What the name stands for.
        name: A key of the table.
        table: Name -> entry.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


@dataclass(frozen=True)
class Sharing:
    """One way of tying the projections.

    Attributes:
        name: The paper's name, for example ``"Q-K=V"``.
        tuple_form: The same with commas, for example ``"(Q, K=V)"``.
        roles: Role -> projection, for example ``{"q": "q", "k": "k", "v": "k"}``.
        colour: Colour in every figure and widget, from the colour-blind safe palette of Okabe
            and Ito.
    """

    name: str
    tuple_form: str
    roles: Mapping[Role, str] = field(hash=False)
    colour: str

    @property
    def projections(self) -> tuple[str, ...]:
        """Names of the distinct projections, in the order of the roles that first use them."""
        return tuple(dict.fromkeys(self.roles[role] for role in ROLES))

    @property
    def cached(self) -> tuple[str, ...]:
        """Names of the distinct projections that decoding has to keep: those of key and value."""
        return tuple(dict.fromkeys((self.roles["k"], self.roles["v"])))

    @property
    def ties_query(self) -> bool:
        """Whether queries are keys. Then scores are symmetric, and heads cannot be shared."""
        return self.roles["q"] == self.roles["k"]

    def __reduce__(self) -> tuple[Any, ...]:
        # By name, so that a sharing sent to another process is one of that process's own.
        return parse_sharing, (self.name,)

    def __str__(self) -> str:
        return self.name


def _sharing(name: str, tuple_form: str, q: str, k: str, v: str, colour: str) -> Sharing:
    return Sharing(name, tuple_form, MappingProxyType({"q": q, "k": k, "v": v}), colour)


SHARINGS: Final[Mapping[str, Sharing]] = MappingProxyType(
    {
        sharing.name: sharing
        for sharing in (
            _sharing("QKV", "(Q, K, V)", "q", "k", "v", "#0072B2"),
            _sharing("Q=K-V", "(Q=K, V)", "k", "k", "v", "#E69F00"),
            _sharing("Q-K=V", "(Q, K=V)", "q", "k", "k", "#009E73"),
            _sharing("Q=K=V", "(Q=K=V)", "k", "k", "k", "#CC79A7"),
        )
    }
)
"""The four sharings by the paper's name, in the paper's order."""


def _canonical(text: str) -> str:
    """Fold the many ways of writing a name into one: ``Q ≠ K = V``, ``(q, k=v)``, ``Q–K=V``."""
    folded = re.sub(r"\s+", "", text.strip().upper())
    folded = re.sub(r"!=|[≠,‐‑‒–—−_]", "-", folded)
    if folded.startswith("(") and folded.endswith(")"):
        folded = folded[1:-1]
    return folded


_BY_CANONICAL: Final[Mapping[str, Sharing]] = MappingProxyType(
    {_canonical(form): s for s in SHARINGS.values() for form in (s.name, s.tuple_form)}
)


def parse_sharing(text: str | Sharing) -> Sharing:
    """Read a sharing in any of its spellings.

    The paper's name and the tuple form are both read, in any case, with hyphen, en dash, comma or
    ≠ between what is not tied.

    Args:
        text: For example ``"Q-K=V"``, ``"q–k=v"``, ``"Q≠K=V"``, ``"(Q, K=V)"``; a
            :class:`Sharing` is returned as it is.

    Returns:
        The entry of :data:`SHARINGS`.

    Raises:
        ValueError: If the name is not one of the four; the message offers the nearest.
    """
    if isinstance(text, Sharing):
        return text
    found = _BY_CANONICAL.get(_canonical(text))
    if found is None:
        raise unknown_name("sharing", text, SHARINGS)
    return found


@dataclass(frozen=True)
class Variant:
    """A sharing together with how heads share keys and values, and whether (X)+ is on.

    Attributes:
        sharing: Which projections are tied.
        n_kv_heads: KV heads (g); ``None`` means one for every query head (MHA).
        plus: Whether the (X)+ positional term is added to the scores.
    """

    sharing: Sharing
    n_kv_heads: int | None = None
    plus: bool = False

    @property
    def name(self) -> str:
        """The paper's name: ``Q-MQA``, ``GQA-4``, ``(Q=K-V)+`` …"""
        return self._decorate(self.sharing.name, "Q-" if self.sharing.name == "Q-K=V" else None)

    @property
    def tuple_form(self) -> str:
        """The tuple form, with head sharing spelled out: ``(Q, K=V) MQA``, ``(Q=K, V)+`` …"""
        return self._decorate(self.sharing.tuple_form, None)

    @property
    def both_forms(self) -> str:
        """Name and tuple form, for people: ``Q-K=V (Q, K=V)``, ``Q-MQA (Q, K=V)``."""
        # The name of a shared head already says MQA; its tuple need not say it again.
        form = self.tuple_form if self.n_kv_heads is None else self.sharing.tuple_form
        return f"{self.name} {form}"

    def _decorate(self, base: str, prefix: str | None) -> str:
        heads = {None: "", 1: "MQA"}.get(self.n_kv_heads, f"GQA-{self.n_kv_heads}")
        plus = "+" if self.plus else ""
        if self.plus and not base.startswith("("):
            base = f"({base})"
        if not heads:
            return base + plus
        if base == "QKV":
            return heads
        if prefix is not None and not plus:
            return prefix + heads
        return f"{base}{plus} {heads}"

    def __str__(self) -> str:
        return self.name


_VARIANT = re.compile(
    r"(?P<base>.*?)(?P<plus>\+?)-?(?P<heads>MHA|MQA|GQA-?(?P<g>\d+))?(?P<late>\+?)"
)


def parse_variant(text: str) -> Variant:
    """Read the name of a variant: a sharing, a head sharing, or both, with or without ``+``.

    Args:
        text: For example ``"Q-MQA"``, ``"GQA-4"``, ``"(Q=K-V)+"``, ``"(Q, K=V) GQA-4"``, ``"QKV"``.

    Returns:
        The variant. ``MHA`` gives ``n_kv_heads=None``.

    Raises:
        ValueError: If it cannot be read; the message offers the nearest known name.
    """
    compact = re.sub(r"\s+", "", text.strip().upper())
    match = _VARIANT.fullmatch(re.sub(r"[‐‑‒–—−_]", "-", compact))
    base = match["base"] if match else ""
    if base in ("", "Q") and match and match["heads"]:
        sharing = SHARINGS["Q-K=V" if base == "Q" else "QKV"]
    else:
        try:
            sharing = parse_sharing(base)
        except ValueError:
            known = [*SHARINGS, "MQA", "GQA-4", "Q-MQA", "Q-GQA-4", "(Q=K-V)+", "(Q=K=V)+"]
            raise unknown_name("variant", text, known) from None
    assert match is not None
    heads = match["heads"]
    n_kv_heads = None if heads in (None, "MHA") else 1 if heads == "MQA" else int(match["g"])
    if n_kv_heads == 0:
        raise ValueError(f"variant {text!r}: GQA needs at least one KV head; write GQA-1 or MQA.")
    return Variant(sharing, n_kv_heads, bool(match["plus"] or match["late"]))
