"""Take the pictures of the Attention Lab that README and book show, from the built book.

    make book
    python scripts/lab_images.py        # needs Chromium, and playwright from the extra "test"

Where a picture shows writing, the models run while it is taken; the others show the stored run.
"""

from __future__ import annotations

import argparse
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
BOOK: Final = ROOT / "book" / "_build" / "html"
OUT: Final = ROOT / "book" / "_static" / "images"
HELD: Final[list[Any]] = []
"""Requests that get no answer while a picture is taken."""

ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--no-first-run"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, or as much of it as the page stays for."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder for a while.

    Args:
        folder: The site.

    Yields:
        Its address, with a slash at the end.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write(page: Any, n: int) -> None:
    """Start the models and have so many tokens written."""
    page.get_by_role("button", name="Start the models").click()
    page.locator(".status").wait_for(state="hidden", timeout=120_000)
    page.get_by_role("button", name="Back to the prompt").click()
    written = page.locator(".tokens span.mine")
    written.first.wait_for(state="detached")  # what was stored has left
    for i in range(n):
        page.get_by_role("button", name="One token").click()
        written.nth(i).wait_for()


def writing(page: Any) -> None:
    """One model, and where one of its tokens looks."""
    write(page, 40)
    page.get_by_role("radio", name="Layer 2, head 2").check(force=True)


def comparing(page: Any) -> None:
    """Two models on one text."""
    page.get_by_role("radio", name="Q-K=V").check(force=True)
    page.get_by_label("Beside it").select_option(label="QKV (Q, K, V)")
    write(page, 40)


def lists(page: Any) -> None:
    """Encoders, and how symmetric their scores are."""
    page.get_by_role("radio", name="answers lists").check(force=True)
    page.get_by_role("radio", name="Q=K-V").check(force=True)
    page.get_by_label("Beside it").select_option(label="QKV (Q, K, V)")
    page.locator(".lean").nth(1).wait_for()


def stored(page: Any) -> None:
    """What everybody sees first: a run that was stored, and no model loaded."""


def loading(page: Any) -> None:
    """A slow network: the runtime comes, the weights never."""
    page.route("**/*.safetensors*", lambda route: HELD.append(route))
    page.get_by_role("button", name="Start the models").click()
    bar = page.locator(".status progress[value]")
    bar.wait_for()
    wait_until_still(page, lambda: bar.get_attribute("value"))


def failed(page: Any) -> None:
    """A file that does not come."""
    page.route("**/*.safetensors*", lambda route: route.abort())
    page.get_by_role("button", name="Start the models").click()
    page.get_by_role("button", name="Try again").wait_for()


def touring(page: Any) -> None:
    """The tour, three of whose steps have been done."""
    write(page, 5)
    page.locator(".tokens span").nth(4).click()
    page.get_by_role("radio", name="Q-K=V").check(force=True)
    page.locator(".tour li.done").nth(2).wait_for()


def as_table(page: Any) -> None:
    """A map that can be read, or heard."""
    page.locator("summary", has_text="The map as a table").click()
    page.locator(".scroll tbody tr").first.wait_for()


def wait_until_still(page: Any, read: Callable[[], object]) -> None:
    """Wait until something reads as it did half a second before."""
    before = None
    while (now := read()) != before:
        before = now
        page.wait_for_timeout(500)


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: What its file is called.
        prepare: What is done before it is taken.
        width: Of the window, in pixels.
        height: Of the window: room for all of it, so that nothing is scrolled and nothing covered.
        theme: ``"light"`` or ``"dark"``.
        keep: So many pixels are kept from the top; all unless told.
    """

    name: str
    prepare: Callable[[Any], None]
    width: int = 1440
    height: int = 1700
    theme: str = "light"
    keep: int | None = None


PICTURES: Final = (
    Picture("lab-writing", writing),
    Picture("lab-comparing", comparing, theme="dark"),
    Picture("lab-lists", lists),
    Picture("lab-stored", stored, width=390, height=3200, keep=1492),
    Picture("lab-loading", loading, width=900, height=2400, keep=740),
    Picture("lab-failed", failed, width=900, height=2400, theme="dark", keep=740),
    Picture("lab-tour", touring),
    Picture("lab-table", as_table),
)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [picture.name for picture in PICTURES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all unless told: {names}")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"no picture {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if not (BOOK / "book" / "lab.html").is_file():
        raise SystemExit("the book is not built: make book")
    OUT.mkdir(parents=True, exist_ok=True)
    with served(BOOK) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=ARGUMENTS,
        )
        for picture in (each for each in PICTURES if each.name in chosen):
            page = browser.new_page(
                viewport={"width": picture.width, "height": picture.height}, reduced_motion="reduce"
            )
            page.goto(f"{address}book/lab.html")
            page.evaluate("t => { document.documentElement.dataset.theme = t }", picture.theme)
            page.locator(".tokens span").first.wait_for()
            picture.prepare(page)
            sheet = page.locator(".sheet.lab")
            wait_until_still(page, sheet.bounding_box)
            box = sheet.bounding_box()
            assert box is not None
            box["height"] = min(box["height"], picture.keep or box["height"])
            page.screenshot(path=OUT / f"{picture.name}.png", clip=box)
            while HELD:
                HELD.pop().abort()
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
