"""``qkv data``: what is here, fetching it, and what is wrong with it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qkvlib.cli import main
from qkvlib.tasks import images as images_module

from small_images import FileServer, publish, serving, write_own_images


def qkv(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def qkv_json(*arguments: object) -> Any:
    result = qkv(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    """Run a command that must fail; return its one message."""
    result = qkv(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("Error: ") == 1
    return result.stderr


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving(monkeypatch) as files:
        publish(monkeypatch, files)
        yield files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QKV_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_list(server: FileServer, folder: Path) -> None:
    qkv("fetch", "cifar10")
    listed = qkv_json("list")
    assert listed["folder"] == str(folder)
    rows = {row["name"]: row for row in listed["rows"]}
    assert list(rows) == [*images_module.IMAGE_SETS, "tinyshakespeare"]
    assert (rows["tinyshakespeare"]["kind"], rows["tinyshakespeare"]["n_train"]) == ("text", None)
    assert rows["cifar10"]["folder"] == str(folder / "cifar-10-batches-py")
    assert rows["mnist"]["folder"] is None
    assert rows["mnist-small"]["embedded"]
    assert rows["mnist-small"]["download_bytes"] == 0
    assert rows["cifar100"]["download_bytes"] == 169_001_437
    text = qkv("list").stdout
    for words in (
        r"^mnist-small .* comes with the course +10,000 +2,000$",
        r"^cifar10 .* in cifar-10-batches-py +10 +2$",
        r"^cifar100 .* no, 169\.0 MB to fetch +50,000 +10,000$",
        rf"^The data folder is {re.escape(str(folder))}; QKV_DATA",
    ):
        assert re.search(words, text, re.MULTILINE), words


def test_fetch(server: FileServer, folder: Path) -> None:
    place = str(folder / "MNIST" / "raw")
    first = qkv("fetch", "mnist", "mnist-small")
    assert first.exit_code == 0
    assert first.stderr == "mnist: 0.0 MB to fetch\n"
    assert first.stdout.startswith(f"mnist: fetched, now in {place}\nmnist-small: is in ")
    assert qkv_json("fetch", "mnist", "cifar10") == {
        "rows": [
            {"name": "mnist", "folder": place, "fetched": False},
            {"name": "cifar10", "folder": str(folder / "cifar-10-batches-py"), "fetched": True},
        ]
    }


def test_another_folder_and_a_mirror(server: FileServer, tmp_path: Path) -> None:
    server.files["room/cifar-10-python.tar.gz"] = server.files.pop("cifar-10-python.tar.gz")
    other = ["--folder", tmp_path / "other"]
    qkv_json("fetch", "cifar10", *other, "--mirror", server.url + "room")
    assert qkv_json("check", "cifar10", *other)["rows"][0]["source"] == "original files"
    rows = {row["name"]: row for row in qkv_json("list", *other)["rows"]}
    assert rows["cifar10"]["folder"] == str(tmp_path / "other" / "cifar-10-batches-py")


def test_check(server: FileServer) -> None:
    qkv("fetch", "mnist", "tiny-imagenet")
    rows = qkv_json("check", "mnist", "tiny-imagenet")["rows"]
    assert rows[0]["sha256"] == images_module.load_images("mnist").sha256
    assert rows[0]["train_per_class"] == [1] * 4 + [0] * 6
    assert (rows[0]["image_size"], rows[0]["n_channels"], rows[0]["problem"]) == (28, 1, None)
    assert rows[1]["classes"] == ["centipede", "Chihuahua"]
    text = qkv("check", "mnist", "tiny-imagenet").stdout
    for line in (
        "set       mnist",
        "source    original files",
        "training  4 images, 0 to 1 of each class",
        "held out  2 images, 1 of each class",
        "size      28 x 28 pixels, grey",
        "size      64 x 64 pixels, colour",
        "classes   2: centipede, Chihuahua",
        f"sha256    {rows[1]['sha256']}",
    ):
        assert line in text.splitlines()
    assert "\n\nset       tiny-imagenet\n" in text


def test_check_of_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_own_images(tmp_path / "pets")
    assert qkv_json("check", own)["rows"][0]["classes"] == ["cat", "dog"]
    monkeypatch.chdir(tmp_path)
    assert "training  4 images, 2 of each class" in qkv("check", "pets").stdout
    (own / "train" / "cat" / "0.png").write_bytes(b"cut")
    assert "0.png is not an image, or cut short" in refused("check", "pets")
    assert "there is no folder nowhere" in refused("check", "./nowhere")


def test_check_tells_of_every_problem(server: FileServer, folder: Path) -> None:
    qkv("fetch", "mnist", "cifar10")
    labels = folder / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    result = qkv("check", "mnist", "cifar10", "cifar100")
    assert result.exit_code == 2
    assert "set       cifar10" in result.stdout
    assert f"the files in {labels.parent} are damaged" in result.stderr
    assert "cifar100 is not on this machine" in result.stderr
    assert result.stderr.count("Error: ") == 1
    result = qkv("check", "mnist", "cifar10", "--json")
    assert result.exit_code == 2
    rows = json.loads(result.stdout)["rows"]
    assert [row["name"] for row in rows] == ["mnist", "cifar10"]
    assert f"Delete {labels.parent} and fetch it again" in rows[0]["problem"]
    assert rows[1]["problem"] is None


def test_mistakes_are_answered(server: FileServer, folder: Path) -> None:
    assert "Did you mean 'mnist'" in refused("fetch", "cifar10", "mnits")
    assert server.asked == []  # nothing is fetched before every name is known
    assert "Did you mean 'cifar10'" in refused("check", "cifar-10")
    assert "Missing argument" in qkv("fetch").stderr
    server.status = 503
    result = qkv("fetch", "cifar10")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the server answers 503" in result.stderr
    assert f"put the file at {folder / 'cifar-10-python.tar.gz'} yourself" in result.stderr
    assert "starts with http" in refused("fetch", "cifar10", "--mirror", "/mnt/usb", "--json")


def test_a_text(server: FileServer, folder: Path) -> None:
    missing = refused("check", "tinyshakespeare")
    assert f"there is no tinyshakespeare.txt in {folder}" in missing
    assert "qkv data fetch tinyshakespeare" in missing
    fetched = qkv("fetch", "tinyshakespeare")
    assert fetched.stdout == f"tinyshakespeare: fetched, now in {folder / 'tinyshakespeare.txt'}\n"
    row = qkv_json("check", "tinyshakespeare")["rows"][0]
    assert row["bytes"] == len(server.files["input.txt"])
    assert f"sha256    {row['sha256']}" in qkv("check", "tinyshakespeare").stdout
    assert re.search(
        r"^tinyshakespeare .* in tinyshakespeare\.txt", qkv("list").stdout, re.MULTILINE
    )
    (folder / "tinyshakespeare.txt").write_text("Alas")
    assert "is not the published text" in refused("check", "tinyshakespeare")


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qkvlib.fetch.download", stop)
    result = qkv("fetch", "cifar10")
    assert result.exit_code == 130
    assert "what came is kept, and the same command goes on from there" in result.stderr
