"""The command line: JSON where asked, one clear message where something is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qkvlib import experiments, get_config
from qkvlib.checkpoint import CHECKPOINT_FILE, load_checkpoint
from qkvlib.cli import main
from qkvlib.records import RunRecord

from small_images import write_own_images

TINY = (
    "--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--max-seq-len", "16",
    "--steps", "6", "--batch-size", "2",
)  # fmt: skip


def qkv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def qkv_json(*arguments: object) -> Any:
    result = qkv(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    """Run a command that must fail; return its one message."""
    result = qkv(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith(("Error: ", "Usage: "))
    return result.stderr


@pytest.fixture(scope="module")
def run_folder(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "q-mqa"
    record = qkv_json("train", "text", "--text", text_file, "--sharing", "q-mqa", *TINY,
                      "--out", out, "--seed", 5)  # fmt: skip
    assert record["out"] == str(out)
    return out


def test_help_and_version_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from qkvlib.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, "torch was imported"
        assert done.stdout.startswith("Usage:" if option == "--help" else "qkv, version 0.")


def test_cache_json() -> None:
    table = qkv_json("cache", "--config", "300M", "--tokens", 32768)
    assert (table["config"], table["tokens"], table["dtype"]) == ("300M", 32768, "float16")
    names = ["QKV", "Q-K=V", "Q=K-V", "Q=K=V", "GQA-4", "MQA", "Q-GQA-4", "Q-MQA"]
    assert [row["name"] for row in table["rows"]] == names
    kib = {row["name"]: row["bytes_per_token"] / 1024 for row in table["rows"]}
    assert kib == dict(zip(names, [80, 40, 80, 40, 20, 5, 10, 2.5], strict=True))
    assert table["rows"][-1] == {
        "name": "Q-MQA", "sharing": "Q-K=V", "n_kv_heads": 1, "bytes_per_token": 2560,
        "total_bytes": 2560 * 32768, "saved": 0.96875,
    }  # fmt: skip
    double = qkv_json("cache", "--config", "300M", "--tokens", 32768, "--dtype", "float32")
    assert double["rows"][0]["total_bytes"] == 2 * table["rows"][0]["total_bytes"]


def test_cache_text_names_its_units() -> None:
    assert "2.68 GB" in qkv("cache", "--config", "300M", "--tokens", 32768).stdout
    binary = qkv("cache", "--config", "300M", "--tokens", 32768, "--binary").stdout
    assert "2.5 GiB" in binary
    assert "80 KiB" in binary
    assert "GB" not in binary


def test_params() -> None:
    table = qkv_json("params", "--config", "small")
    counts = {row["name"]: row["parameters"] for row in table["rows"]}
    assert counts["QKV"] > counts["Q-K=V"] == counts["Q=K-V"] > counts["Q=K=V"]
    text = qkv("params", "--config", "small").stdout
    assert f"{counts['QKV']:,}" in text
    assert "(Q, K=V)" in text


def test_train_text(run_folder: Path) -> None:
    record = RunRecord.load(run_folder)
    assert record.variant.name == "Q-MQA"
    assert (record.seed, record.task["seed"], record.training["steps"]) == (5, 5, 6)
    assert record.task["files"] == ["rhyme.txt"]
    assert record.config.d_ff == 64  # four times the new width, not the old one's
    assert load_checkpoint(run_folder).config == record.config


def test_train_text_for_a_person(text_file: Path, tmp_path: Path) -> None:
    result = qkv("train", "text", text_file, *TINY, "--sharing", "Q-K=V", "--out", tmp_path / "r")
    assert result.exit_code == 0
    for part in (
        "Q-K=V (Q, K=V)",
        "bits per byte",
        "cache per token, float16",
        "64 B",
        "tokens/s",
        "qkv generate",
    ):
        assert part in result.stdout


def test_several_files(text_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("x" * 100)
    for i, files in enumerate(
        (["--text", text_file, other], ["--text", text_file, "--text", other])
    ):
        record = qkv_json("train", "text", *files, *TINY, "--out", tmp_path / str(i))
        assert record["task"]["files"] == ["rhyme.txt", "other.txt"]


def test_default_folder_and_default_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = qkv_json("train", "text", *TINY, "--sharing", "(Q, K=V)", "--n-kv-heads", 1)
    assert record["out"] == str(Path("runs/text-Q-MQA-seed-0"))
    assert (tmp_path / record["out"] / CHECKPOINT_FILE).exists()
    assert record["task"]["source"] == "Python standard library"


def test_training_defaults_are_the_small_configuration() -> None:
    # Without options the command trains the lessons' GPT; nothing but the variant may differ.
    from qkvlib.cli import _shape

    options = dict.fromkeys(["n_kv_heads", "d_ff", "d_model", "n_layers", "n_heads", "dropout"])
    assert _shape(get_config("small"), {"sharing": "QKV", **options}) == get_config("small")


def test_train_synthetic(tmp_path: Path) -> None:
    record = qkv_json("train", "synthetic", "sort", "--length", 4, "--steps", 5, "--batch-size", 2,
                      "--sharing", "(Q=K-V)+", "--out", tmp_path / "r")  # fmt: skip
    assert record["task"]["name"] == "SORT"
    assert record["model"]["plus_channels"] == 10
    assert not record["model"]["causal"]
    result = qkv("train", "synthetic", "COPY", "--length", 4, "--steps", 5, "--out", tmp_path / "c")
    assert "bits per byte" not in result.stdout
    assert "qkv generate" not in result.stdout


def test_train_images(tmp_path: Path) -> None:
    own = write_own_images(tmp_path / "pets")
    record = qkv_json("train", "images", own, "--image-size", 12, "--flip", "--epochs", 3,
                      "--batch-size", 2, "--sharing", "(Q=K=V)+", "--out", tmp_path / "r",
                      )  # fmt: skip
    assert record["task"]["name"] == "pets"
    assert record["training"]["steps"] == 6
    model = record["model"]
    assert (model["image_size"], model["patch_size"], model["n_classes"]) == (12, 3, 2)
    assert (model["plus_channels"], model["plus_position"]) == (10, "grid")
    result = qkv("train", "images", own, "--steps", 2, "--out", tmp_path / "p")
    assert "nats per image" in result.stdout
    assert "% of images" in result.stdout
    assert "cache" not in result.stdout


def test_train_sets(tmp_path: Path) -> None:
    result = qkv("train", "sets", "mnist-small", "--steps", 2, "--batch-size", 4, "--set-size", 5,
                 "--sharing", "Q=K-V", "--out", tmp_path / "s")  # fmt: skip
    assert "nats per set" in result.stdout
    record = RunRecord.load(tmp_path / "s")
    assert record.model["n_features"] == 64
    assert record.task["set_size"] == 5


def test_sweep_and_table(tmp_path: Path) -> None:
    runs, results = tmp_path / "runs", tmp_path / "results"
    where = ["--runs", runs, "--results", results]
    # The smallest part of the real sweep from which an interval can be made.
    some = [f"COPY/{v}/n16-d32-l1-h2/seed-[012]" for v in ("QKV", "Q-K=V")]
    only = [word for pattern in some for word in ("--only", pattern)]
    answer = qkv_json("sweep", "synthetic", "--jobs", 2, *only, *where)
    assert answer["rows"] == [
        {"experiment": "synthetic", "runs": 6, "file": str(results / "synthetic.json")}
    ]
    table = qkv_json("table", "synthetic", "--results", results)
    fields = {"variant", "task", "metric", "mean", "low", "high", "n", "paper"}
    assert table["rows"]
    assert all(set(row) == fields for row in table["rows"])
    assert {(row["variant"], row["metric"]) for row in table["rows"]} == {
        ("QKV", "accuracy"), ("Q-K=V", "accuracy"), ("Q-K=V", "accuracy above QKV"),
    }  # fmt: skip
    for row in table["rows"]:
        assert (row["task"], row["n"]) == ("COPY", 3)
        assert row["low"] <= row["mean"] <= row["high"]
    before = (runs / "synthetic" / "records.jsonl").read_bytes()
    assert "synthetic.json" in qkv("sweep", "synthetic", *only, *where).stdout
    assert (runs / "synthetic" / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(("device", "wide"), [("cpu", False), ("cuda", True)])
def test_all_leaves_out_what_is_made_for_another_device(
    device: str, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str]] = []
    monkeypatch.setattr(
        experiments.Experiment,
        "run",
        lambda self, runs, *, device, **_: ran.append((self.name, device)),
    )
    monkeypatch.setattr(experiments.Experiment, "collect", lambda self, *_: Path(self.name))
    result = qkv("sweep", "all", "--device", device)
    assert result.exit_code == 0, result.output
    assert {where for _, where in ran} == {device}
    names = [name for name, _ in ran]
    assert ("gap" in names, "gap_wide" in names) == (True, wide)
    assert "is made for a GPU" not in result.stderr
    alone = qkv("sweep", "gap_wide", "--device", device)
    assert ("gap_wide is made for a GPU" in alone.stderr) is not wide


def test_tables_for_people() -> None:
    text = qkv("table", "four_tyings").stdout
    assert re.search(r"^Q-K=V \(Q, K=V\) +\d\.\d\d ± \d\.\d\d \[1\.89\] worse$", text, re.MULTILINE)
    assert "| Q-K=V (Q, K=V) |" in qkv("table", "four_tyings", "--markdown").stdout


def test_generate(run_folder: Path) -> None:
    arguments = ["generate", "--checkpoint", run_folder, "--prompt", "One ", "--seed", 3]
    with_cache, without = qkv_json(*arguments), qkv_json(*arguments, "--no-cache")
    assert with_cache["text"] == without["text"]
    assert with_cache["new_tokens"] == without["new_tokens"] == 12  # what fits
    assert with_cache["cache_bytes"] == 15 * 8 * 4  # tokens x one KV head's K x float32
    assert without["cache_bytes"] == 0
    assert with_cache["tokens_per_second"] > 0
    shown = qkv(*arguments)
    assert shown.stdout.rstrip("\n") == "One " + with_cache["text"].rstrip("\n")
    assert "Q-MQA (Q, K=V) MQA: cache 480 B, 12 tokens at" in shown.stderr
    assert "no cache" in qkv(*arguments, "--no-cache").stderr


def test_doctor() -> None:
    report = qkv_json("doctor")
    assert report["status"] in {"ok", "warn"}
    assert {check["name"] for check in report["checks"]} >= {"Python", "threads", "memory"}
    assert "Python" in qkv("doctor").stdout


def test_doctor_fails_only_where_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from qkvlib.doctor import Check

    for status, code in (("ok", 0), ("warn", 0), ("fail", 1)):
        monkeypatch.setattr("qkvlib.doctor.examine", lambda s=status: [Check("x", s, "y")])
        assert qkv("doctor").exit_code == qkv("doctor", "--json").exit_code == code


def test_mistakes_are_answered(run_folder: Path, text_file: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "r"]
    text = ["train", "text", "--text", text_file, *TINY, *out]
    assert "Did you mean '300M'" in refused("cache", "--config", "30M")
    assert "Known names: float16" in refused("cache", "--dtype", "int8")
    assert "negative" in refused("cache", "--tokens", -1)
    assert "Did you mean" in refused(*text, "--sharing", "Q=KV")
    assert "as many KV heads as query heads" in refused(*text, "--sharing", "Q=K-V",
                                                        "--n-kv-heads", 1)  # fmt: skip
    assert "Leave one of them out" in refused(*text, "--sharing", "Q-MQA", "--n-kv-heads", 2)
    assert "does not divide" in refused(*text, "--n-heads", 3)
    assert "steps=0" in refused(*text, "--steps", 0)
    assert "there is no file" in refused("train", "text", "--text", "nowhere.txt", *out)
    assert "is a folder" in refused("train", "text", "--text", tmp_path, *out)
    assert "held-out split has 168 bytes" in refused(*text, "--max-seq-len", 500)
    assert "causal" in refused(*text, "--sharing", "(Q=K-V)+")
    assert "Did you mean 'REVERSE'" in refused("train", "synthetic", "revers", *out)
    assert "must be even" in refused("train", "synthetic", "SWAP", "--length", 5, *out)
    assert "Did you mean 'mnist'" in refused("train", "images", "mnits", *out)
    assert "does not divide" in refused("train", "images", "mnist-small", "--patch-size", 5, *out)
    assert "is not on this machine" in refused("train", "sets", "cifar100", *out)
    assert "Did you mean 'synthetic'" in refused("sweep", "sythetic")
    assert "no run of recall is called 'x'" in refused("sweep", "recall", "--only", "x")
    assert "Did you mean 'recall'" in refused("table", "recal")
    assert "Make it: qkv sweep recall" in refused("table", "recall", "--results", tmp_path)
    generate = ["generate", "--prompt", "One "]
    assert "no checkpoint" in refused(*generate, "--checkpoint", tmp_path)
    checkpoint = ["--checkpoint", run_folder]
    assert "at most 12 new" in refused(*generate, *checkpoint, "--max-new-tokens", 13)
    assert "Shorten the prompt" in refused("generate", *checkpoint, "--prompt", "x" * 16)
    assert "prompt is empty" in refused("generate", *checkpoint, "--prompt", "")
    assert "No such option" in refused("train", "text", "--colour", "red")
    assert "holds a run already" in refused("train", "text", "--text", text_file, *TINY,
                                            "--out", run_folder)  # fmt: skip
    assert "training steps=6, but 7" in refused(
        "train", "text", "--text", text_file, *TINY, "--sharing", "q-mqa", "--seed", 5,
        "--out", run_folder, "--resume", "--steps", 7,
    )  # fmt: skip
    assert not (tmp_path / "r").exists()  # a refused run leaves nothing behind


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_DEBUG", "1")
    assert isinstance(qkv("cache", "--tokens", -1).exception, ValueError)


@pytest.mark.parametrize(
    ("given", "threads", "expected"),
    [({}, None, "true"), ({}, 2, "true"), ({}, 1, None), ({"OMP_PROC_BIND": "close"}, 2, "close")],
)
def test_threads_are_bound_unless_single(
    given: dict[str, str], threads: int | None, expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from qkvlib.cli import _set_threads

    counts: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", counts.append)
    for name in ("OMP_PROC_BIND", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts back what was there
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    _set_threads(threads)
    assert os.environ.get("OMP_PROC_BIND") == expected
    assert counts == ([] if threads is None else [threads])


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_saves_and_says_how_to_go_on(text_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "text", "--text", text_file, *TINY, "--out", out, "--save-every", 1]
    arguments[arguments.index("--steps") + 1] = "100000"
    command = [sys.executable, "-c", "from qkvlib.cli import main; main()", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (out / CHECKPOINT_FILE).exists():
            assert time.monotonic() < deadline, "no checkpoint appeared"
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        time.sleep(0.3)  # the first checkpoint is written just before the loop
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "--resume" in stderr
    load_checkpoint(out)
