"""Write book/claims.md from data/paper.json and data/results.

python scripts/claims.py            write the page
python scripts/claims.py --check    say whether it is in step; exit status 1 if not
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qkvlib.claims import Finding, findings
from qkvlib.records import write_atomically
from qkvlib.text_table import markdown

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "book" / "claims.md"

HEAD = """\
# Claims, one by one

What the paper says, how the course tests it, what came out, and what follows for models of this
size. The words of a verdict are chosen by rules in `qkvlib/claims.py`, not by hand: for what
training gives by 95 % intervals over seeds, for bytes and speed by counting. `scripts/claims.py`
writes this page from `data/paper.json` and `data/results`, anew whenever runs are made anew.

A small model on two cores cannot refute a large one. It can show whether an effect is there when a
reader repeats it, how large it is beside the luck of the seed, and which explanation cannot be
right.
"""


def lesson_link(name: str) -> str:
    """Link to a lesson, or name its number if it is still to be written."""
    number = name.partition("_")[0]
    twin = ROOT / "notebooks" / f"{name}.ipynb"
    return f"[{number}](../notebooks/{name}.ipynb)" if twin.exists() else f"{number}, to come"


def section(number: int, finding: Finding) -> str:
    """One claim with its evidence."""
    claim = finding.claim
    lines = [
        f"## {number} · {claim.id.replace('-', ' ').capitalize()}: {finding.outcome}",
        f"**{claim.text}**",
        f"*Stated in:* {claim.where}. {claim.how_read}",
    ]
    if finding.test:
        lines += [f"*Our test:* {finding.test}", "*Measured:*"]
        lines.append("\n".join(f"- {sentence}" for sentence in finding.measured))
    lines.append(f"*Lesson:* {lesson_link(claim.lesson)}")
    return "\n\n".join(lines)


def page() -> str:
    """The whole page."""
    found = findings()
    overview = [["", "claim", "verdict", "lesson"]]
    overview += [
        [str(i), f.claim.text, f.outcome, lesson_link(f.claim.lesson)]
        for i, f in enumerate(found, 1)
    ]
    sections = [section(i, finding) for i, finding in enumerate(found, 1)]
    return "\n\n".join([HEAD.rstrip(), markdown(overview, left=4), *sections]) + "\n"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is in step")
    text = page()
    if not parser.parse_args().check:
        write_atomically(PAGE, text)
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.relative_to(ROOT)} is out of step; run: python scripts/claims.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
