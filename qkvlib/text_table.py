"""Rows of text as a table: aligned for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Put columns side by side.

    Args:
        rows: Cells, the same number in each row; the first row may be a head.
        left: So many columns are flush left, the others flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Write a Markdown table, its first row as the head; arguments as for :func:`aligned`."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    marks = ["---" if i < left else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *body))
