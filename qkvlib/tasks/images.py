"""Sets of images: the two that come with the course, larger ones on this machine, and your own.

Every loader gives the same thing, an :class:`ImageSet` of 8-bit pixels. Only :func:`fetch_images`
asks the network for anything; it leaves the files in the data folder, see
:func:`~qkvlib.data_folder`, where the loaders and torchvision's own classes look for them.
"""

from __future__ import annotations

import functools
import hashlib
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import PIL.Image
import PIL.ImageOps
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from qkvlib.fetch import Archive
from qkvlib.local_data import DATA_FOLDER_VARIABLE, alone_in, data_folder
from qkvlib.paper import data_file
from qkvlib.sharing import look_up
from qkvlib.tasks import TaskError
from qkvlib.terminal import someone_watches

IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

HELD_OUT_FOLDERS: Final = ("test", "val", "valid", "validation")


class ImagesNotFoundError(TaskError):
    """A set of images is not on this machine; the message says how to get it."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with one label each.

    Attributes:
        name: For example ``"mnist"``.
        source: Which copy it is.
        classes: Names of the classes; a label is a place in this list.
        train_images: Shape (N, C, height, width), uint8; C is 1 for grey, 3 for colour.
        train_labels: Shape (N,), int64.
        test_images: The same, held out.
        test_labels: The same, held out.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def n_channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        """Side of an image, in pixels."""
        return self.train_images.shape[2]

    @cached_property
    def sha256(self) -> str:
        """Hash of all pixels and labels."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSource:
    """A set that the course knows by name.

    Attributes:
        name: Its name.
        about: What is in it.
        n_train: Training images.
        n_test: Held-out images.
        load: Reads it from the place where it lies, see :meth:`place`.
        published: Makes :attr:`archives`; asked for when it is needed, for torchvision, which knows
            most of them, takes a second to import.
        copies: Folders below the data folder that are read in its stead, where they are there.
    """

    name: str
    about: str
    n_train: int
    n_test: int
    load: Callable[[Path], ImageSet]
    published: Callable[[], tuple[Archive, ...]] = tuple
    copies: tuple[str, ...] = ()

    @property
    def archives(self) -> tuple[Archive, ...]:
        """What it is published in; nothing for a set that comes with the course."""
        return self.published()

    @property
    def embedded(self) -> bool:
        """Whether it comes with the course."""
        return not self.archives

    @property
    def download_bytes(self) -> int:
        """Bytes that fetching it takes."""
        return sum(archive.size for archive in self.archives)

    def place(self, folder: Path) -> Path | None:
        """Return the file or folder in which it lies, or ``None`` if it is not on this machine.

        Args:
            folder: The data folder.
        """
        if self.embedded:
            return data_file(f"images/{self.name}.safetensors.xz")
        for copy in self.copies:
            if (folder / copy).is_dir():
                return folder / copy
        given = [folder / archive.gives for archive in self.archives]
        if not all(path.exists() for path in given):
            return None
        return given[0] if given[0].is_dir() else given[0].parent


# Loaders


def _checked(images: ImageSet, source: ImageSource, place: Path) -> ImageSet:
    """Refuse a set that is not whole."""
    for part, pixels, labels, expected in (
        ("training", images.train_images, images.train_labels, source.n_train),
        ("held-out", images.test_images, images.test_labels, source.n_test),
    ):
        n_classes = len(images.classes)
        if len(pixels) != expected:
            wrong = f"{len(pixels):,} {part} images, but {expected:,} belong to it"
        elif len(labels) != expected:
            wrong = f"{expected:,} {part} images, but {len(labels):,} labels for them"
        elif not bool(((labels >= 0) & (labels < n_classes)).all()):
            wrong = f"{part} labels that are none of its {n_classes} classes"
        else:
            continue
        raise TaskError(f"{images.name} in {place} has {wrong}. {_mend(images.name, place)}")
    return images


def _mend(name: str, place: Path) -> str:
    """How to put a set back that is not what it should be."""
    if IMAGE_SETS[name].embedded:
        return f"Put it back from the repository: git checkout {place}"
    return f"Delete {place} and fetch it again: qkv data fetch {name}"


def _which_copy(folder: Path, usual: str) -> str:
    """What a copy says of itself in ``source.txt``, or else what it usually is."""
    note = folder / "source.txt"
    return note.read_text(encoding="utf-8").strip() if note.is_file() else usual


def _load_embedded(name: str, about: str, classes: Sequence[str], path: Path) -> ImageSet:
    try:
        tensors = safetensors.torch.load(lzma.decompress(path.read_bytes()))
        return ImageSet(
            name,
            f"{about}, with the course",
            tuple(classes),
            tensors["train_images"][:, None],
            tensors["train_labels"].long(),
            tensors["test_images"][:, None],
            tensors["test_labels"].long(),
        )
    except (lzma.LZMAError, EOFError, safetensors.SafetensorError, KeyError) as error:
        raise TaskError(f"{path} is damaged ({error}). {_mend(name, path)}") from error


def _not_found(source: ImageSource, folder: Path) -> ImagesNotFoundError:
    given = next(a.gives for a in source.archives if not (folder / a.gives).exists())
    looked_for = " or ".join((*source.copies, given))
    return ImagesNotFoundError(
        f"{source.name} is not on this machine: there is no {looked_for} in {folder}. Fetch it "
        f"once, with a network: qkv data fetch {source.name}. If you have a copy, put it there, or "
        f"name its folder in {DATA_FOLDER_VARIABLE}. Without either, mnist-small and fashion-small "
        "come with the course."
    )


def _load_idx(name: str, place: Path) -> ImageSet:
    """Read MNIST or Fashion-MNIST as torchvision keeps it."""
    from torchvision import datasets

    kind = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
    # torchvision's parser says what it expects by assertions and lookups.
    faults = (RuntimeError, ValueError, TypeError, AssertionError, LookupError, OSError)
    try:
        train, test = (kind(str(place.parents[1]), train=train) for train in (True, False))
    except faults as error:
        raise TaskError(
            f"the files in {place} are damaged ({str(error) or type(error).__name__}). "
            f"{_mend(name, place)}"
        ) from error
    return ImageSet(
        name,
        _which_copy(place.parent, "original files"),
        tuple(train.classes),
        train.data[:, None],
        train.targets.long(),
        test.data[:, None],
        test.targets.long(),
    )


def _load_cifar(name: str, place: Path) -> ImageSet:
    """Read CIFAR as torchvision keeps it, or a copy with a folder for each class."""
    from torchvision import datasets

    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    if place.name == name:
        return image_folder(place, name=name, image_size=32, resize=False)
    try:
        train, test = (kind(str(place.parent), train=train) for train in (True, False))
    except (RuntimeError, OSError) as error:  # it compares MD5 sums before it reads
        raise TaskError(
            f"the files in {place} are damaged or incomplete. {_mend(name, place)}"
        ) from error
    return ImageSet(
        name,
        _which_copy(place, "original files"),
        tuple(train.classes),
        torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(train.targets),
        torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(test.targets),
    )


TINY_IMAGENET_SIZE: Final = 64

TINY_IMAGENET_20: Final[tuple[str, ...]] = tuple(
    """
    n01784675 n02085620 n02132136 n02481823 n02788148 n02793495 n02815834 n02883205 n03042490
    n03201208 n03393912 n03444034 n03804744 n03837869 n03930313 n03937543 n04254777 n04371430
    n07920052 n09193705
    """.split()  # noqa: SIM905
)
"""The classes of ``tiny-imagenet-20``."""


def load_tiny_imagenet(
    folder: str | PathLike[str], *, name: str = "tiny-imagenet", wnids: Sequence[str] = ()
) -> ImageSet:
    """Read TinyImageNet, or some of its classes, in the official layout.

    The layout is ``wnids.txt`` with a class a line, ``train/WNID/images/*.JPEG``, and
    ``val/images/*.JPEG`` with ``val/val_annotations.txt``, a file name and its class a line. The
    validation images are the held-out ones.

    Args:
        folder: The folder that holds ``wnids.txt``.
        name: Name of the set.
        wnids: The classes to take; all of ``wnids.txt`` unless told.

    Raises:
        TaskError: If a file, a class or an image is missing or not what it should be; the message
            names it.
    """
    folder = Path(folder)
    listed, annotations = folder / "wnids.txt", folder / "val" / "val_annotations.txt"
    for file in (listed, annotations):
        if not file.is_file():
            raise TaskError(f"{file} is missing: {folder} does not have TinyImageNet's layout.")
    there = _text(listed).split()
    if not there or len(set(there)) < len(there):
        raise TaskError(f"{listed} must have one class a line, and no class twice.")
    for wnid in wnids:
        if wnid not in there:
            raise TaskError(f"class {wnid} is not listed in {listed}.")
    wnids = wnids or there
    train: list[tuple[Path, int]] = []
    for label, wnid in enumerate(wnids):
        images = folder / "train" / wnid / "images"
        if not images.is_dir():
            raise TaskError(
                f"the folder of class {wnid} is missing: {images}. It is listed in {listed}."
            )
        train += [(file, label) for file in _image_files(images)]
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    test = []
    for number, line in enumerate(_text(annotations).splitlines(), 1):
        file_name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if not file_name or wnid not in there:
            raise TaskError(
                f"line {number} of {annotations} is not a file name, a tab and a class that is "
                f"listed in {listed}."
            )
        if wnid in labels:
            test.append((folder / "val" / "images" / file_name, labels[wnid]))
    if not test:
        raise TaskError(f"{annotations} has no image of these classes.")
    return _image_set(
        name,
        _which_copy(folder, "JPEG files, official layout"),
        _words(folder, wnids),
        train,
        test,
        TINY_IMAGENET_SIZE,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"{file} is not a text file ({error}). Put back a copy.") from error


def _words(folder: Path, wnids: Sequence[str]) -> tuple[str, ...]:
    """The first English word for each class, where the list of words is there."""
    file = folder / "words.txt"
    if not file.is_file():
        return tuple(wnids)
    lines = (line.partition("\t") for line in _text(file).splitlines())
    words = {wnid: names.partition(",")[0] for wnid, _, names in lines}
    return tuple(words.get(wnid, wnid) for wnid in wnids)


def image_folder(
    folder: str | PathLike[str],
    *,
    name: str | None = None,
    image_size: int | None = None,
    resize: bool = True,
) -> ImageSet:
    """Read images of your own: a folder for training, one for testing, in each one for each class.

    For example ``pets/train/cat/1.jpg`` and ``pets/test/cat/2.png``; the second may also be called
    ``val``.

    Args:
        folder: The folder that holds both.
        name: Name of the set; that of the folder unless told.
        image_size: Side in pixels; ``None`` takes the shorter side of the first image.
        resize: Whether an image of another size is cut to its middle square and scaled, or refused.

    Raises:
        TaskError: If a folder or class is missing, a file is not an image, or an image has another
            size; the message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TaskError(f"there is no folder {folder}. The path is taken from {Path.cwd()}.")
    train_folder = folder / "train"
    test_folder = next((folder / n for n in HELD_OUT_FOLDERS if (folder / n).is_dir()), None)
    if not train_folder.is_dir() or test_folder is None:
        raise TaskError(
            f"{folder} needs two folders, train and one of {', '.join(HELD_OUT_FOLDERS)}, each "
            "with a folder for each class."
        )
    classes = tuple(sorted(path.name for path in train_folder.iterdir() if path.is_dir()))
    if len(classes) < 2:
        raise TaskError(f"{train_folder} has {len(classes)} class folders: at least 2 are needed.")
    parts = []
    for part in (train_folder, test_folder):
        there = {path.name for path in part.iterdir() if path.is_dir()}
        if (other := sorted(there ^ set(classes))) != []:
            raise TaskError(
                f"the class folder {other[0]!r} is in one of {train_folder} and {test_folder} "
                "only: both need the same classes."
            )
        parts.append(
            [(file, label) for label, c in enumerate(classes) for file in _image_files(part / c)]
        )
    train, test = parts
    # Class by class, the first images would all be of one; tasks may measure on the first few.
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0)).tolist()
    test = [test[i] for i in order]
    source = _which_copy(folder, "a folder for each class")
    size = min(_opened(train[0][0]).size) if image_size is None else image_size
    if size < 1:
        raise TaskError(f"image_size={image_size}: expected a side of at least 1 pixel.")
    return _image_set(name or folder.name, source, classes, train, test, size, resize=resize)


def _image_files(folder: Path) -> list[Path]:
    """The images of one class, sorted; anything else in the folder is refused."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for file in files:
        if file.suffix.lower() not in IMAGE_ENDINGS:
            raise TaskError(
                f"{file} is not an image by its name. Take it out; images end in "
                f"{', '.join(IMAGE_ENDINGS)}."
            )
    if not files:
        raise TaskError(f"{folder} is empty: each class needs at least 1 image.")
    return files


def _image_set(
    name: str,
    source: str,
    classes: tuple[str, ...],
    train: Sequence[tuple[Path, int]],
    test: Sequence[tuple[Path, int]],
    image_size: int,
    *,
    resize: bool = False,
) -> ImageSet:
    bar = tqdm(
        total=len(train) + len(test),
        desc=f"reading {name}",
        unit=" images",
        disable=not someone_watches(),
        leave=False,
    )
    images, labels = [], []
    with bar:
        for part in (train, test):
            images.append(torch.empty(len(part), 3, image_size, image_size, dtype=torch.uint8))
            for place, (file, _) in zip(images[-1], part, strict=True):
                place.copy_(_read_image(file, image_size, resize))
                bar.update()
            labels.append(torch.tensor([label for _, label in part]))
    return ImageSet(name, source, classes, images[0], labels[0], images[1], labels[1])


def _opened(file: Path) -> PIL.Image.Image:
    try:
        image = PIL.Image.open(file)
        image.load()
    except FileNotFoundError:
        raise TaskError(f"the image {file} is missing.") from None
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise TaskError(
            f"{file} is not an image, or cut short ({error}). Take it out, or put back a copy."
        ) from error
    return image


def _read_image(file: Path, size: int, resize: bool) -> Tensor:
    """Read one image as (3, size, size)."""
    image = _opened(file)
    if image.mode.startswith(("I", "F")):  # which PIL would cut off at 255, not scale
        raise TaskError(f"{file} has more than 8 bits a channel. Save it with 8.")
    if resize:  # a photograph may say how the camera was held
        image = PIL.ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    if image.size != (size, size):
        if not resize:
            raise TaskError(
                f"{file} has {image.width} x {image.height} pixels, but this set has {size} x "
                f"{size}. Take it out, or resize it."
            )
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.resize((size, size), box=(left, top, left + side, top + side))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


# The list


_FASHION: Final = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip


_TINY_FOLDER: Final = "tiny-imagenet-200"


def _idx_archives(name: str, sizes: Sequence[int]) -> tuple[Archive, ...]:
    from torchvision import datasets

    kind: type[datasets.MNIST] = getattr(datasets, name)
    return tuple(
        Archive(
            tuple(mirror + file for mirror in kind.mirrors),
            md5,
            size,
            f"{kind.__name__}/raw/{file.removesuffix('.gz')}",
        )
        for (file, md5), size in zip(kind.resources, sizes, strict=True)
    )


def _cifar_archives(name: str, size: int) -> tuple[Archive, ...]:
    from torchvision import datasets

    kind: type[datasets.CIFAR10] = getattr(datasets, name)
    return (Archive((kind.url,), kind.tgz_md5, size, kind.base_folder),)


def _tiny_archives() -> tuple[Archive, ...]:
    return (
        Archive(
            ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
            "90528d7ca1a48142e341f4ef8d21d0de",
            248_100_043,
            _TINY_FOLDER,
        ),
    )


IMAGE_SETS: Final[Mapping[str, ImageSource]] = MappingProxyType(
    {
        source.name: source
        for source in (
            ImageSource(
                "mnist-small", "handwritten digits, a subset of MNIST", 10_000, 2_000,
                lambda path: _load_embedded("mnist-small", "subset of MNIST", "0123456789", path),
            ),
            ImageSource(
                "fashion-small", "clothes, a subset of Fashion-MNIST", 10_000, 2_000,
                lambda path: _load_embedded(
                    "fashion-small", "subset of Fashion-MNIST", _FASHION, path
                ),
            ),
            ImageSource(
                "mnist", "handwritten digits, 28 x 28, grey", 60_000, 10_000,
                lambda place: _load_idx("mnist", place),
                functools.partial(_idx_archives, "MNIST", (9_912_422, 28_881, 1_648_877, 4_542)),
            ),
            ImageSource(
                "fashion-mnist", "clothes, 28 x 28, grey", 60_000, 10_000,
                lambda place: _load_idx("fashion-mnist", place),
                functools.partial(
                    _idx_archives, "FashionMNIST", (26_421_880, 29_515, 4_422_102, 5_148)
                ),
            ),
            ImageSource(
                "cifar10", "10 kinds of things, 32 x 32, colour", 50_000, 10_000,
                lambda place: _load_cifar("cifar10", place),
                functools.partial(_cifar_archives, "CIFAR10", 170_498_071), ("cifar10",),
            ),
            ImageSource(
                "cifar100", "100 kinds of things, 32 x 32, colour", 50_000, 10_000,
                lambda place: _load_cifar("cifar100", place),
                functools.partial(_cifar_archives, "CIFAR100", 169_001_437), ("cifar100",),
            ),
            ImageSource(
                "tiny-imagenet", "200 kinds of things, 64 x 64, colour", 100_000, 10_000,
                lambda place: load_tiny_imagenet(place, name="tiny-imagenet"),
                _tiny_archives,
            ),
            ImageSource(
                "tiny-imagenet-20", "20 of TinyImageNet's 200 classes", 10_000, 1_000,
                lambda place: load_tiny_imagenet(
                    place, name="tiny-imagenet-20", wnids=TINY_IMAGENET_20
                ),
                _tiny_archives, ("tiny-imagenet-20",),
            ),
        )
    }
)  # fmt: skip
"""Name -> what it is and how it is read.

:meta hide-value:
"""


def get_image_source(name: str) -> ImageSource:
    """Look a set up by name.

    Raises:
        UnknownNameError: If there is no set of that name; the message offers the nearest.
    """
    return look_up("set of images", name, IMAGE_SETS)


@cache
def _load_named(name: str, folder: Path) -> ImageSet:
    source = IMAGE_SETS[name]
    place = source.place(folder)
    if place is None:
        raise _not_found(source, folder)
    return _checked(source.load(place), source, place)


def load_images(name: str, folder: str | PathLike[str] | None = None) -> ImageSet:
    """Read a set of images that the course knows; a second time it is there at once.

    Args:
        name: A key of :data:`IMAGE_SETS`.
        folder: The data folder; :func:`data_folder` unless told.

    Raises:
        UnknownNameError: If there is no set of that name; the message offers the nearest.
        ImagesNotFoundError: If it is not on this machine; the message says how to get it.
        TaskError: If it is damaged or not whole; the message names what is wrong.
    """
    return _load_named(
        get_image_source(name).name, data_folder() if folder is None else Path(folder)
    )


# Fetching


def fetch_images(
    name: str, folder: str | PathLike[str] | None = None, *, mirrors: Sequence[str] = ()
) -> Path:
    """Bring a set of images to this machine; one that is there already is left as it is.

    The files come from where their authors published them, are verified by their published sums,
    and lie then where torchvision would have put them; the archives are deleted once unpacked. A
    fetch that was cut goes on where it stopped.

    Args:
        name: A key of :data:`IMAGE_SETS`.
        folder: The data folder; :func:`data_folder` unless told.
        mirrors: Addresses of folders that hold the same archives, such as a server in a classroom;
            they are asked instead of the authors' servers, in order.

    Returns:
        Where it lies.

    Raises:
        UnknownNameError: If there is no set of that name; the message offers the nearest.
        FetchError: If it cannot be fetched; the message says why, and what to do.
    """
    source = get_image_source(name)
    folder = data_folder() if folder is None else Path(folder)
    if (place := source.place(folder)) is not None:
        return place
    with alone_in(folder):
        for archive in source.archives:
            archive.fetch(folder, mirrors)
    place = source.place(folder)
    assert place is not None  # every archive gave what it should
    return place
