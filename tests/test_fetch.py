"""Fetching and unpacking: what a network, a server and an archive can do wrong."""

import errno
import gzip
import hashlib
import io
import os
import shutil
import socket
import stat
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from qkvlib import FetchError, download, unpack
from qkvlib.fetch import CONNECTIONS

from small_images import FileServer, serving, tarred, zipped

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving(monkeypatch) as files:
        files.files["a.bin"] = DATA
        yield files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "a.bin"


@pytest.fixture
def part(path: Path) -> Path:
    path.parent.mkdir()
    return path.with_name("a.bin.part")


def refused(url: Any, path: Path, md5: str = MD5, **options: Any) -> str:
    with pytest.raises(FetchError) as caught:
        download(url, path, md5=md5, **options)
    return str(caught.value)


# ---------------------------------------------------------------------------------------- download


@pytest.mark.parametrize("proof", [{"md5": MD5}, {"sha256": SHA256.upper()}])
def test_a_good_fetch_is_one_request(
    server: FileServer, path: Path, proof: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert download(server.url + "a.bin", path, size=len(DATA), **proof) == path
    assert path.read_bytes() == DATA
    assert os.listdir(path.parent) == ["a.bin"]
    download(server.url + "a.bin", path, **proof)  # it is there: nothing is asked for
    assert server.asked == [("a.bin", None)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_resumed(server: FileServer, path: Path, reset: bool) -> None:
    server.cuts, server.reset = [1000, 1, 3000], reset
    download(server.url + "a.bin", path, md5=MD5)
    assert path.read_bytes() == DATA
    assert [wanted for _, wanted in server.asked] == [
        None, "bytes=1000-", "bytes=1001-", "bytes=4001-",
    ]  # fmt: skip


def test_another_run_goes_on_where_the_first_stopped(server: FileServer, path: Path) -> None:
    server.cuts = [100] * CONNECTIONS
    message = refused(server.url + "a.bin", path)
    kept = 100 * CONNECTIONS
    assert f"the connection was cut after {kept:,} of 10,240 bytes" in message
    assert f"The {kept:,} bytes that came are kept: try again" in message
    assert f"put the file at {path} yourself, from {server.url}a.bin" in message
    assert os.listdir(path.parent) == ["a.bin.part"]
    download(server.url + "a.bin", path, md5=MD5)
    assert server.asked[-1] == ("a.bin", f"bytes={kept}-")
    assert path.read_bytes() == DATA


def test_a_server_that_gives_nothing_is_not_asked_for_ever(server: FileServer, path: Path) -> None:
    server.cuts = [0] * 100
    assert "the connection was cut after 0 of 10,240" in refused(server.url + "a.bin", path)
    assert len(server.asked) == 1


def test_a_server_without_range_starts_over(server: FileServer, path: Path) -> None:
    server.ranges, server.cuts = False, [1000]
    download(server.url + "a.bin", path, md5=MD5)
    assert path.read_bytes() == DATA
    assert server.asked[1] == ("a.bin", "bytes=1000-")  # it was asked for, and ignored


def test_the_beginning_of_another_file_is_dropped(server: FileServer, part: Path) -> None:
    part.write_bytes(b"of an older file")
    download(server.url + "a.bin", part.with_suffix(""), md5=MD5)
    assert [wanted for _, wanted in server.asked] == ["bytes=16-", None]
    assert part.with_suffix("").read_bytes() == DATA


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_part_that_is_too_long_is_dropped(
    server: FileServer, part: Path, size: int | None
) -> None:
    part.write_bytes(DATA + b"and more")
    download(server.url + "a.bin", part.with_suffix(""), md5=MD5, size=size)
    assert part.with_suffix("").read_bytes() == DATA


def test_a_whole_part_needs_no_network(part: Path) -> None:
    part.write_bytes(DATA)
    download("http://127.0.0.1:1/a.bin", part.with_suffix(""), md5=MD5, size=len(DATA))
    assert part.with_suffix("").read_bytes() == DATA


def test_another_part_than_asked_for_is_refused(
    server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part.write_bytes(DATA[:10])
    monkeypatch.setattr("qkvlib.fetch._length", lambda _: 9)  # asks for another than it compares
    monkeypatch.setattr("qkvlib.fetch._opened", _answers_from_10)
    assert "another part of the file" in refused(server.url + "a.bin", part.with_suffix(""))


def _answers_from_10(*_: object) -> Any:
    class Response(io.BytesIO):
        status = 206
        headers = {"Content-Range": "bytes 10-10239/10240"}  # noqa: RUF012

    return Response()


def test_a_wrong_sum_is_told_and_dropped(server: FileServer, path: Path) -> None:
    wrong = "0" * 32
    message = refused(server.url + "a.bin", path, wrong)
    assert f"its md5 is {MD5} instead of the published {wrong}" in message
    assert "Try again later" in message
    assert os.listdir(path.parent) == []
    assert len(server.asked) == 1


def test_a_wrong_length_is_told_before_anything_is_fetched(server: FileServer, path: Path) -> None:
    message = refused(server.url + "a.bin", path, size=99)
    assert "a file of 10,240 bytes there instead of 99" in message
    assert os.listdir(path.parent) == []


def test_a_server_that_says_no_length(server: FileServer, path: Path) -> None:
    server.lengths = False
    server.cuts = [1000]
    message = refused(server.url + "a.bin", path, size=len(DATA))
    assert "it has 1,000 bytes instead of 10,240" in message
    download(server.url + "a.bin", path, md5=MD5, size=len(DATA))
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (503, "503 Service")])
def test_the_servers_answer_is_told(
    server: FileServer, path: Path, status: int, words: str
) -> None:
    server.status = status
    message = refused(server.url + "a.bin", path)
    assert f"{server.url}a.bin: the server answers {words}" in message
    assert f"put the file at {path} yourself" in message


def test_a_page_to_sign_in_is_not_taken_for_the_file(server: FileServer, path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    assert "ask you to sign in" in refused(server.url + "a.bin", path)
    assert not path.exists()


def test_no_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.bin"
    assert "(Connection refused); is this machine offline?" in refused(url, path)

    def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    message = refused("https://data.example/a.bin", path)
    assert "no connection to data.example (Name or service not known); is this" in message


def test_a_silent_server_is_given_up(server: FileServer, path: Path) -> None:
    server.late = 0.5
    assert "no answer within 0.1 s" in refused(server.url + "a.bin", path, timeout=0.1)
    server.late, server.stalls = 0.0, [1000, 0]
    message = refused(server.url + "a.bin", path, timeout=0.1)
    assert "nothing came for 0.1 s" in message
    assert "The 1,000 bytes that came are kept" in message


def test_mirrors_are_tried_in_order(server: FileServer, path: Path) -> None:
    server.cuts = [1000, 0]
    server.files["b.bin"] = DATA
    urls = [server.url + name for name in ("no.bin", "a.bin", "b.bin")]
    download(urls, path, md5=MD5)
    assert [name for name, _ in server.asked] == ["no.bin", "a.bin", "a.bin", "b.bin"]
    assert server.asked[-1][1] == "bytes=1000-"  # what one gave, another need not give again
    path.unlink()
    message = refused([server.url + "no.bin", server.url + "nor.bin"], path)
    assert "no.bin: the server answers 404" in message
    assert "nor.bin: the server answers 404" in message


def test_redirections_are_followed_within_http(server: FileServer, path: Path) -> None:
    server.redirects = {"old.bin": server.url + "a.bin", "ftp.bin": "ftp://127.0.0.1/a.bin"}
    assert "ftp" in refused(server.url + "ftp.bin", path)
    download(server.url + "old.bin", path, md5=MD5)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "a.bin", "//a/b", ""])
def test_only_http_is_fetched(path: Path, url: str) -> None:
    assert "starts with http:// or https://" in refused(url, path)
    assert not path.parent.exists()


def test_another_file_in_its_place_is_left_alone(server: FileServer, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    assert "is there, but it has 4 bytes instead of 10,240. Delete it" in refused(
        server.url + "a.bin", path, size=len(DATA)
    )
    assert path.read_bytes() == b"mine"
    assert server.asked == []


def test_exactly_one_sum_is_needed(path: Path) -> None:
    for proof in ({}, {"md5": MD5, "sha256": SHA256}):
        with pytest.raises(ValueError, match="one of md5 and sha256"):
            download("http://a/b", path, **proof)


def test_a_disk_without_room_is_told_first(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(9, 9, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "0.0 MB are free there. Make room" in refused(server.url + "a.bin", path)
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up(server: FileServer, part: Path) -> None:
    part.symlink_to("/dev/full")
    message = refused(server.url + "a.bin", part.with_suffix(""))
    assert "the disk is full" in message
    assert "is not fetched twice" in message


def test_a_folder_that_cannot_be_made(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "Choose a folder that is yours" in refused(server.url + "a.bin", tmp_path / "data/x/a")


def test_a_bar_for_people(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("qkvlib.fetch.someone_watches", lambda: True)
    download(server.url + "a.bin", path, md5=MD5)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "a.bin" in shown.err
    assert "10.2k" in shown.err


# ---------------------------------------------------------------------------------------- unpacking


FILES = {"set/a.txt": b"first" * 100, "set/deep/b.bin": bytes(range(256)), "c": b""}


def archive_of(kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(FILES["set/a.txt"])
    return zipped(FILES) if kind == "zip" else tarred(FILES)


def found_in(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def not_unpacked(archive: Path) -> str:
    """Unpack what must be refused; nothing may be left behind, nor lost."""
    before = found_in(archive.parent)
    new, old = archive.parent / "new", archive.parent / "old"
    old.mkdir(exist_ok=True)
    for folder in (new, old):
        with pytest.raises(FetchError) as caught:
            unpack(archive, folder)
    assert not new.exists()
    assert list(old.iterdir()) == []
    assert found_in(archive.parent) == before
    assert str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tgz"])
def test_archives_are_unpacked(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"some.{kind}"
    archive.write_bytes(archive_of(kind))
    folder = tmp_path / "deep" / "folder"
    assert unpack(archive, folder) == [folder / "c", folder / "set"]
    assert found_in(folder) == FILES
    assert sorted(os.listdir(folder)) == ["c", "set"]


def test_one_zipped_file(tmp_path: Path) -> None:
    archive = tmp_path / "train-images.gz"
    archive.write_bytes(archive_of("gz"))
    assert unpack(archive, tmp_path) == [tmp_path / "train-images"]
    assert (tmp_path / "train-images").read_bytes() == FILES["set/a.txt"]


def test_empty_folders_are_unpacked(tmp_path: Path) -> None:
    info = tarfile.TarInfo("empty")
    info.type = tarfile.DIRTYPE
    (tmp_path / "a.tar.gz").write_bytes(tarred({}, info))
    (tmp_path / "b.zip").write_bytes(zipped({"hollow/": b""}))
    for name, folder in (("a.tar.gz", "empty"), ("b.zip", "hollow")):
        assert unpack(tmp_path / name, tmp_path / "out") == [tmp_path / "out" / folder]
        assert (tmp_path / "out" / folder).is_dir()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name",
    ["../evil", "/evil", "set/../../evil", "..\\evil", "\\evil", "C:evil", "C:/evil", "//h/s/evil"],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = tmp_path / f"some.{kind}"
    entries = {"set/fine.txt": b"fine", name: b"evil"}
    archive.write_bytes(zipped(entries) if kind == "zip" else tarred(entries))
    message = not_unpacked(archive)
    assert repr(name) in message
    assert "outside of its folder" in message


@pytest.mark.parametrize("target", ["/etc", "../..", "set/fine.txt"])
@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "FIFOTYPE", "CHRTYPE"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: str, target: str) -> None:
    info = tarfile.TarInfo("way-out")
    info.type, info.linkname = getattr(tarfile, kind), target
    archive = tmp_path / "some.tar.gz"
    archive.write_bytes(tarred({"set/fine.txt": b"fine"}, info))
    assert "'way-out' in it is a link or a device" in not_unpacked(archive)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("way-out")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc")
        file.writestr("way-out/passwd", "evil")
    assert "'way-out' in it is a link" in not_unpacked(archive)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
@pytest.mark.parametrize("left", [0, 1, 12, 0.3, 0.6, 0.9, -9, -8, -4, -1])
def test_a_truncated_archive_is_refused(tmp_path: Path, kind: str, left: float) -> None:
    data = archive_of(kind)
    n_bytes = int(left * len(data)) if isinstance(left, float) else int(left)
    archive = tmp_path / f"some.{kind}"
    archive.write_bytes(data[:n_bytes])
    assert "is damaged or cut short" in not_unpacked(archive)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["zip", "tar.gz", "gz"]), place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)  # fmt: skip
def test_a_damaged_archive_never_gives_other_bytes(
    kind: str, place: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("damaged")
    data = bytearray(archive_of(kind))
    data[int(place * len(data))] ^= flip
    archive, out = tmp_path / f"some.{kind}", tmp_path / "out"
    archive.write_bytes(data)
    try:
        unpack(archive, out)
    except FetchError:
        assert os.listdir(tmp_path) == [archive.name]
    else:  # a byte without meaning, such as one of a time; or one that hides an entry of a zip
        whole = {"some": FILES["set/a.txt"]} if kind == "gz" else FILES
        assert found_in(out).items() <= whole.items()
        assert kind == "zip" or found_in(out) == whole


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    archive, folder = tmp_path / "some.zip", tmp_path / "folder"
    archive.write_bytes(archive_of("zip"))
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "a.txt").write_text("mine")
    with pytest.raises(FetchError, match=r"is there already, and .* holds another. Move it away"):
        unpack(archive, folder)
    assert found_in(folder) == {"set/a.txt": b"mine"}
    assert os.listdir(folder) == ["set"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    archive = tmp_path / "some.zip"
    archive.write_bytes(archive_of("zip"))
    (tmp_path / "out" / ".some.zip.unpacking").mkdir(parents=True)
    (tmp_path / "out" / ".some.zip.unpacking" / "half").write_text("half")
    unpack(archive, tmp_path / "out")
    assert found_in(tmp_path / "out") == FILES


def test_a_disk_that_fills_up_while_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "some.zip"
    archive.write_bytes(archive_of("zip"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(FetchError, match=r"the disk is full: .*Make room and try again"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["some.zip"]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="there is no file"):
        unpack(tmp_path / "some.zip", tmp_path)
    (tmp_path / "some.rar").write_bytes(b"Rar!")
    with pytest.raises(FetchError, match=r"is not a \.zip, \.tar\.gz"):
        unpack(tmp_path / "some.rar", tmp_path)
    for name in ("page.zip", "page.tar.gz", "page.gz"):
        (tmp_path / name).write_text("<html>sign in</html>")
        assert "is damaged or cut short" in not_unpacked(tmp_path / name)
