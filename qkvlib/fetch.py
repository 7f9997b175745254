"""Getting files over a network that may fail: resumed, verified, unpacked whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.client
import os
import shutil
import socket
import ssl
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import IO, Final
from urllib.parse import urlsplit

from tqdm import tqdm

from qkvlib.terminal import someone_watches

TIMEOUT: Final = 30.0
"""A server is given up after so many seconds without an answer, or without a byte."""

CONNECTIONS: Final = 5
"""A server is given up after so many connections were cut."""

PAUSE: Final = 1.0  # seconds, before a cut connection is made anew

CHUNK: Final = 1 << 18


class FetchError(OSError):
    """A file could not be fetched or unpacked; the message says what happened and what to do."""


class _ServerError(Exception):
    """One server did not give the file; another may."""


@dataclass(frozen=True)
class _Proof:
    """How one knows that a file is the right one."""

    kind: str
    digest: str
    size: int | None

    def problem(self, file: Path) -> str | None:
        found = file.stat().st_size
        if self.size is not None and found != self.size:
            return f"it has {found:,} bytes instead of {self.size:,}"
        with file.open("rb") as data:
            # Nobody is kept out by these sums, so a machine that bans MD5 for security may use it.
            digest = hashlib.file_digest(
                data, lambda: hashlib.new(self.kind, usedforsecurity=False)
            ).hexdigest()
        if digest != self.digest.lower():
            return f"its {self.kind} is {digest} instead of the published {self.digest}"
        return None


# Download


def download(
    url: str | Sequence[str],
    path: str | PathLike[str],
    *,
    md5: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    timeout: float = TIMEOUT,
    progress: bool | None = None,
) -> Path:
    """Fetch a file over HTTP, and verify it.

    What has come is kept beside ``path`` with the ending ``.part``: after a cut, or in another run,
    the rest is asked for. Only a file that is right gets its name. A right file that is there
    already is not fetched again.

    Args:
        url: Its address, http or https; or several addresses of the same file, tried in order.
        path: Where the file shall be; its folder is made if need be.
        md5: Its published MD5 sum, in hexadecimal. Either this or ``sha256`` must be given.
        sha256: Its published SHA-256 sum.
        size: Its length in bytes, where it is known.
        timeout: Seconds without an answer, or without a byte, after which a server is given up.
        progress: Whether to show a bar; unless told, where a person looks on.

    Returns:
        ``path``.

    Raises:
        FetchError: If no address gives the file, or it cannot be written; the message says why for
            each, and what to do.
        ValueError: If not exactly one sum is given.
    """
    if (md5 is None) == (sha256 is None):
        raise ValueError("give one of md5 and sha256: a file from a network has to be verified.")
    proof = _Proof("md5", md5, size) if md5 is not None else _Proof("sha256", sha256 or "", size)
    urls = [url] if isinstance(url, str) else list(url)
    for address in urls:
        if urlsplit(address).scheme not in ("http", "https"):
            raise FetchError(f"{address!r} is not an address that starts with http:// or https://.")
    path = Path(path)
    if path.exists():
        if problem := proof.problem(path):
            raise FetchError(f"{path} is there, but {problem}. Delete it, and try again.")
        return path
    part = path.with_name(f"{path.name}.part")
    shown = someone_watches() if progress is None else progress
    failures = []
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        for address in urls:
            try:
                _download_from(address, part, proof, timeout, shown)
            except _ServerError as error:
                failures.append(f"  {address}: {error}")
                continue
            os.replace(part, path)
            return path
    kept = _length(part)
    raise FetchError(
        "\n".join([f"{path.name} could not be fetched.", *failures])
        + (
            f"\nThe {kept:,} bytes that came are kept: try again, and it goes on where it stopped."
            if kept
            else "\nTry again later."
        )
        + f" Or put the file at {path} yourself, from {urls[0]}"
    )


def _download_from(url: str, part: Path, proof: _Proof, timeout: float, shown: bool) -> None:
    old = _length(part) > 0
    for left in reversed(range(CONNECTIONS)):
        before = _length(part)
        cut = _go_on(url, part, proof.size, timeout, shown)
        if cut is None:
            break
        # A server that gives nothing, or always the same beginning, would do so for ever.
        if left == 0 or _length(part) <= before:
            raise _ServerError(cut)
        time.sleep(PAUSE)
    if (problem := proof.problem(part)) is None:
        return
    part.unlink()
    if not old:
        raise _ServerError(f"what came is not the file: {problem}")
    # Its beginning may have been that of another file.
    _download_from(url, part, proof, timeout, shown)


def _go_on(url: str, part: Path, size: int | None, timeout: float, shown: bool) -> str | None:
    """Fetch what is missing; say why it broke off, or ``None`` at the end of the file."""
    have = _length(part)
    if have == size:
        return None
    with _opened(url, have, timeout) as response:
        if have and not _continues(response, have):
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        if response.headers.get_content_type() == "text/html":
            raise _ServerError("a web page came instead; does this network ask you to sign in?")
        if None not in (size, total) and size != total:
            raise _ServerError(f"it has a file of {total:,} bytes there instead of {size:,}")
        _need_room(part.parent, (total or 0) - have)
        bar = tqdm(
            total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, leave=False,
            disable=not shown,
        )  # fmt: skip
        with bar, part.open("ab" if have else "wb") as file:
            while total is None or have < total:
                try:
                    chunk = response.read1(CHUNK)
                except TimeoutError:
                    return f"nothing came for {timeout:g} s"
                except (OSError, http.client.HTTPException) as error:
                    return f"the connection was cut ({error})"
                if not chunk:
                    break
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
    if total is not None and have < total:
        return f"the connection was cut after {have:,} of {total:,} bytes"
    return None


def _opened(url: str, have: int, timeout: float) -> http.client.HTTPResponse:
    """Ask for a file, without its first ``have`` bytes."""
    headers = {"User-Agent": "qkvlib", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return _opened(url, 0, timeout)  # what is here is longer than the file
        raise _ServerError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _ServerError(_no_answer(error, urlsplit(url).netloc, timeout)) from error
    return response


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only: the usual opener would also follow a redirection to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _no_answer(error: Exception, host: str, timeout: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(reason, ssl.SSLError):
        return f"no safe connection to {host} ({reason})"
    if isinstance(reason, socket.gaierror | ConnectionError) or (
        isinstance(reason, OSError) and reason.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    ):
        return f"no connection to {host} ({reason.strerror or reason}); is this machine offline?"
    return f"no answer that can be read ({reason})"


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether an answer begins where we stopped; one that does not holds the whole file."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return False
    if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _ServerError("it answers with another part of the file than was asked for")
    return True


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


# What is written


def _need_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise FetchError(
            f"{n_bytes / 1e6:,.1f} MB are needed in {folder}, but only {free / 1e6:,.1f} MB are "
            "free there. Make room and try again, or choose a folder on another disk."
        )


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do where a file cannot be written."""
    try:
        yield
    except FetchError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FetchError(
                f"the disk is full: {folder} takes no more. Make room and try again; what is there "
                "is not fetched twice."
            ) from error
        raise FetchError(
            f"{error.filename or folder} cannot be used ({error.strerror or error}). Choose a "
            "folder that is yours to write in."
        ) from error


# Unpacking


_DAMAGE: Final = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError,
    RuntimeError,  # zipfile's, for a password or an unknown method
)  # fmt: skip

_Members = Generator[tuple[str, IO[bytes] | gzip.GzipFile | None], None, None]
"""Names in an archive, each with its content; a folder has none."""


def unpack(
    archive: str | PathLike[str], folder: str | PathLike[str], *, progress: bool | None = None
) -> list[Path]:
    """Put what is in an archive into a folder: all of it, or nothing.

    Everything is unpacked beside its place first. Names that lead out of the folder are refused,
    and so are links and devices: an archive of data needs none.

    Args:
        archive: A ``.zip``, ``.tar.gz`` or ``.tgz``; or a ``.gz``, which holds one file.
        folder: Made if need be. Nothing that is in it is overwritten.
        progress: Whether to show a bar; unless told, where a person looks on.

    Returns:
        The files and folders that are new in ``folder``.

    Raises:
        FetchError: If the archive is missing, damaged or cut short, or of another kind; if a name
            in it is refused or is in the folder already; or if the disk is full.
    """
    archive, folder = Path(archive), Path(folder)
    members = _members(archive)
    new_folder = not folder.exists()
    temporary = folder / f".{archive.name}.unpacking"
    try:
        with _writing(folder), contextlib.closing(members):
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
            temporary.mkdir(parents=True)
            _write_all(members, temporary, archive, progress)
            entries = sorted(temporary.iterdir())
            for entry in entries:
                if os.path.lexists(folder / entry.name):
                    raise FetchError(
                        f"{folder / entry.name} is there already, and {archive} holds another. "
                        "Move it away, and try again."
                    )
            for entry in entries:
                entry.rename(folder / entry.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if new_folder and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    return [folder / entry.name for entry in entries]


def _members(archive: Path) -> _Members:
    if not archive.is_file():
        raise FetchError(f"there is no file {archive}.")
    for endings, read in (
        ((".zip",), _zip_members), ((".tar.gz", ".tgz"), _tar_members), ((".gz",), _gz_members)
    ):  # fmt: skip
        if archive.name.lower().endswith(endings):
            return read(archive)
    raise FetchError(f"{archive} is not a .zip, .tar.gz, .tgz or .gz by its name.")


def _zip_members(archive: Path) -> _Members:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _refused(archive, info.filename, "is a link")
            if info.is_dir():
                yield info.filename, None
            else:
                with file.open(info) as content:
                    yield info.filename, content


def _tar_members(archive: Path) -> _Members:
    with gzip.open(archive) as data, tarfile.open(fileobj=data, mode="r|") as file:
        for member in file:
            if member.isdir():
                yield member.name, None
            elif member.isreg():
                yield member.name, file.extractfile(member)
            else:
                raise _refused(archive, member.name, "is a link or a device")
        while data.read(CHUNK):  # tarfile stops at its own end, before gzip's check sum
            pass


def _gz_members(archive: Path) -> _Members:
    if archive.stat().st_size == 0:  # gzip takes it for an empty file
        raise EOFError("it is empty")
    with gzip.open(archive) as content:
        yield archive.stem, content


def _write_all(members: _Members, folder: Path, archive: Path, progress: bool | None) -> None:
    bar = tqdm(
        desc=f"unpacking {archive.name}",
        unit=" files",
        leave=False,
        disable=not (someone_watches() if progress is None else progress),
    )
    with bar:
        try:
            for name, content in members:
                target = _target(folder, name, archive)
                if content is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
                bar.update()
        except (*_DAMAGE, OSError) as error:
            # zipfile seeks to a damaged offset, and the system answers EINVAL.
            if not isinstance(error, _DAMAGE) and getattr(error, "errno", None) != errno.EINVAL:
                raise
            raise FetchError(
                f"{archive} is damaged or cut short ({error}). Delete it, and fetch it again."
            ) from error


def _target(folder: Path, name: str, archive: Path) -> Path:
    path = PureWindowsPath(name)  # which knows both kinds of slashes, and drives
    if path.anchor or ".." in path.parts:
        raise _refused(archive, name, "would be written outside of its folder")
    return folder.joinpath(*path.parts)


def _refused(archive: Path, name: str, why: str) -> FetchError:
    return FetchError(
        f"nothing of {archive} was unpacked, because {name!r} in it {why}. Archives of data have "
        "no need of that: do not trust this one, and delete it."
    )


# Both


@dataclass(frozen=True)
class Archive:
    """A published file, and what is in it.

    Attributes:
        urls: The same file at one or more servers, which are tried in order.
        md5: Its published MD5 sum.
        size: Its length in bytes.
        gives: The file or folder that it is unpacked to, below the folder for data.
    """

    urls: tuple[str, ...]
    md5: str
    size: int
    gives: str

    def fetch(self, folder: Path, mirrors: Sequence[str] = ()) -> Path:
        """Download and unpack it, unless what it gives is there; then delete the file itself.

        Args:
            folder: The folder for data.
            mirrors: Addresses of folders to be asked for the file instead of ``urls``, in order.

        Returns:
            What it gives.

        Raises:
            FetchError: If it cannot be fetched or unpacked; the message says why, and what to do.
        """
        given = folder / self.gives
        if given.exists():
            return given
        name = self.urls[0].rpartition("/")[2]
        urls = [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors] or self.urls
        path = download(urls, given.parent / name, md5=self.md5, size=self.size)
        unpack(path, given.parent)
        if not given.exists():
            raise FetchError(f"{path} was unpacked, but there is no {self.gives} in it.")
        path.unlink()
        return given
