"""Small sets of images in the layouts of the large ones, and a server that has every fault."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import pickle
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from torchvision import datasets

from qkvlib.tasks import images as images_module, text as text_module


@dataclass
class FileServer:
    """Serves bytes from this machine; each fault is a field.

    Attributes:
        url: Address of its folder, with a slash at the end.
        files: Name -> content.
        asked: Name and Range header of every request, in order.
        ranges: Whether it answers with a part when asked for one.
        cuts: After so many bytes of the body the next answers break off.
        reset: Whether a cut is a reset of the connection instead of its end.
        lengths: Whether it says how long its answers are.
        late: Seconds before it answers at all.
        stalls: After so many bytes of the body the next answers fall silent.
        status: Answer to everything, such as 503.
        content_type: Of every answer.
        redirects: Name -> other address.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    reset: bool = False
    lengths: bool = True
    late: float = 0.0
    stalls: list[int] = field(default_factory=list)
    status: int = 200
    content_type: str = "application/octet-stream"
    redirects: dict[str, str] = field(default_factory=dict)

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        name, wanted = request.path.removeprefix("/"), request.headers.get("Range")
        self.asked.append((name, wanted))
        time.sleep(self.late)
        if name in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[name])
            request.end_headers()
            return
        if self.status != 200 or name not in self.files:
            request.send_error(self.status if self.status != 200 else 404)
            return
        body, start = self.files[name], 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                request.send_error(416)
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        request.send_header("Content-Type", self.content_type)
        body = body[start:]
        if self.lengths:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.cuts:
            request.wfile.write(body[: self.cuts.pop(0)])
            if self.reset:
                time.sleep(0.05)  # until what was sent has been read: a reset discards the rest
                linger = struct.pack("ii", 1, 0)
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                request.connection.close()
        elif self.stalls:
            request.wfile.write(body[: self.stalls.pop(0)])
            time.sleep(0.5)
        else:
            request.wfile.write(body)


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Run a server while the block lasts; cut connections are made anew at once."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("qkvlib.fetch.PAUSE", 0)
    files = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.answer(self)

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...  # a client that hung up

    with Server(("127.0.0.1", 0), Handler) as server:
        files.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()


# ---------------------------------------------------------------------------------------- archives


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def tarred(entries: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for info in others:
            file.addfile(info)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------ small images


def picture(number: int, side: int, kind: str = "JPEG") -> bytes:
    """Noise, a different one for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def mnist_files(n_train: int = 4, n_test: int = 2) -> dict[str, bytes]:
    """The four files of MNIST, with their names in torchvision's folder."""
    files = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        pixels = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(pixels)
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(n, dtype=np.uint8) % 10)
    return files


TINY_CLASSES = ("n01784675", "n02085620")


def tiny_imagenet_files(per_class: int = 2) -> dict[str, bytes]:
    """TinyImageNet with two classes; each has two training images and one held out."""
    files = {"wnids.txt": "\n".join(TINY_CLASSES).encode() + b"\n"}
    files["words.txt"] = b"n01784675\tcentipede\nn02085620\tChihuahua, small dog\n"
    lines = []
    for label, wnid in enumerate(TINY_CLASSES):
        for i in range(per_class):
            name = f"train/{wnid}/images/{wnid}_{i}.JPEG"
            files[name] = picture(10 * label + i, 64)
        files[f"val/images/val_{label}.JPEG"] = picture(100 + label, 64)
        lines.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    files["val/val_annotations.txt"] = "".join(lines).encode()
    return files


def cifar_files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """CIFAR-10 with 10 training images and two held out; torchvision is told their sums."""
    files = {}
    for name, n in [(f"data_batch_{i}", 2) for i in range(1, 6)] + [("test_batch", 2)]:
        pixels = np.random.default_rng(len(files)).integers(0, 256, (n, 3072), dtype=np.uint8)
        files[name] = pickle.dumps({"data": pixels, "labels": list(range(n))})
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]})
    sums = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    kind = datasets.CIFAR10
    for attribute in ("train_list", "test_list"):
        listed = [[name, sums[name]] for name, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, listed)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": sums["batches.meta"]})
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_own_images(folder: Path, side: int = 8) -> Path:
    """A folder of one's own: cats and dogs, two for training and one for testing each."""
    names = [
        f"{part}/{label}/{i}.png"
        for part, n in (("train", 2), ("test", 1))
        for label in ("cat", "dog")
        for i in range(n)
    ]
    return write_files(
        folder, {name: picture(number, side, "PNG") for number, name in enumerate(names)}
    )


# ----------------------------------------------------------------------------------- small sources


def resize_source(
    monkeypatch: pytest.MonkeyPatch, name: str, n_train: int, n_test: int, **changes: Any
) -> None:
    """Let a set of the course have so many images, for this test."""
    source = dataclasses.replace(
        images_module.IMAGE_SETS[name], n_train=n_train, n_test=n_test, **changes
    )
    monkeypatch.setattr(images_module, "IMAGE_SETS", {**images_module.IMAGE_SETS, name: source})


def publish(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> None:
    """Put small mnist, cifar10 and tiny-imagenet on a server, and tell the course of them."""
    archives = {f"{name}.gz": gzip.compress(data) for name, data in mnist_files().items()}
    archives["cifar-10-python.tar.gz"] = tarred(
        {f"cifar-10-batches-py/{n}": data for n, data in cifar_files(monkeypatch).items()}
    )
    archives["tiny-imagenet-200.zip"] = zipped(
        {f"tiny-imagenet-200/{name}": data for name, data in tiny_imagenet_files().items()}
    )
    server.files |= archives
    for name, counts in (("mnist", (4, 2)), ("cifar10", (10, 2)), ("tiny-imagenet", (4, 2))):
        published = []
        for archive in images_module.IMAGE_SETS[name].archives:
            file = archive.urls[0].rpartition("/")[2]
            md5 = hashlib.md5(archives[file]).hexdigest()
            urls = (server.url + file,)
            published.append(
                dataclasses.replace(archive, urls=urls, md5=md5, size=len(archives[file]))
            )
        resize_source(monkeypatch, name, *counts, published=functools.partial(tuple, published))
    publish_text(monkeypatch, server)


def publish_text(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> bytes:
    """Put a short tinyshakespeare on a server, and tell the course of it."""
    text = b"First Citizen: Before we proceed any further, hear me speak.\n" * 20
    server.files["input.txt"] = text
    source = dataclasses.replace(
        text_module.TEXTS["tinyshakespeare"],
        url=f"{server.url}input.txt",
        sha256=hashlib.sha256(text).hexdigest(),
        size=len(text),
    )
    monkeypatch.setattr(text_module, "TEXTS", {source.name: source})
    return text
