"""Lesson 00: what a cache has to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qkvlib.check.base import CheckFailed, call
from qkvlib.sharing import SHARINGS


def kept(fn: Callable[[Mapping[str, str]], Any]) -> None:
    """Check a function from roles to the projections that decoding has to keep.

    Args:
        fn: Given ``{"q": "q", "k": "k", "v": "k"}`` it returns ``["k"]`` (any sequence or set).

    Raises:
        CheckFailed: Naming the sharing and what is too much or missing.
    """
    cases: list[tuple[str, dict[str, str]]] = [
        (f"{sharing.name} {sharing.tuple_form}", {str(r): n for r, n in sharing.roles.items()})
        for sharing in SHARINGS.values()
    ]
    # Roles decide, and not what a projection is called.
    renamed = {"q": "first", "k": "first", "v": "second"}
    cases.append((f"roles={renamed}", renamed))
    for shown, roles in cases:
        answer = call(fn, shown, dict(roles))
        if isinstance(answer, str) or not isinstance(answer, Sequence | set | frozenset | dict):
            raise CheckFailed(
                f"For {shown} your function returns {answer!r}; a list of names is expected, "
                "such as ['k', 'v']."
            )
        names = list(answer)
        wanted = list(dict.fromkeys(roles[role] for role in "kv"))
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise CheckFailed(
                f"For {shown} you keep {doubled[0]!r} twice. Key and value are one tensor here: "
                "one copy serves both."
            )
        if roles["q"] in names and roles["q"] not in wanted:
            raise CheckFailed(
                f"For {shown} you keep {roles['q']!r}. A query is used once, when its own token is "
                "read; later tokens ask with theirs."
            )
        extra = [name for name in names if name not in wanted]
        if extra:
            raise CheckFailed(
                f"For {shown} you keep {extra[0]!r}, but neither k nor v uses a projection of "
                "that name: look the role up in the table."
            )
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise CheckFailed(
                f"For {shown} {lacking[0]!r} is missing. Later tokens need every key and value."
            )
    print("Correct for all four. The query's tie changes nothing: only k and v are ever kept.")
