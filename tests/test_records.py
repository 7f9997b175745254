"""Records: whole or not at all, and read back as they were."""

import dataclasses
import json
import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from qkvlib import ModelConfig, UnknownNameError
from qkvlib.records import (
    RecordError,
    Rows,
    RunRecord,
    aggregate,
    cpu_name,
    load_records,
    load_rows,
    save_records,
    save_rows,
    versions,
    write_atomically,
)

MODEL = ModelConfig(d_model=16, n_layers=1, n_heads=4, vocab_size=256, max_seq_len=16)


def make(
    variant: str = "QKV", seed: int = 0, loss: float = 2.0, sha256: str = "ab" * 32
) -> RunRecord:
    return RunRecord(
        model=MODEL.replace(variant=variant).to_dict(),
        training={"steps": 4, "lr": 1e-3},
        task={"name": "text", "sha256": sha256},
        seed=seed,
        n_params=1000,
        cache_bytes_per_token={"float16": 64},
        metrics={"loss": loss, "accuracy": 0.5},
        history={
            "train_step": [0, 1, 2, 3],
            "train_loss": [4.0, 3.0, 2.5, 1 / 3],
            "eval_step": [0, 4],
            "eval_loss": [5.0, loss],
        },
        versions=versions(),
        device="cpu",
        cpu=cpu_name(),
        threads=1,
        seconds=1.5,
        tokens_per_second=1e4,
    )


def test_save_and_load(tmp_path: Path) -> None:
    record = make("Q-MQA")
    record.save(tmp_path / "run")
    assert RunRecord.load(tmp_path / "run") == RunRecord.load(tmp_path / "run/record.json")
    assert RunRecord.load(tmp_path / "run") == record
    assert record.config.n_kv_heads == 1
    assert record.variant.name == "Q-MQA"
    assert record.data_sha256 == "ab" * 32


@given(st.floats(allow_nan=False))
def test_numbers_survive_to_the_last_bit(loss: float) -> None:
    data = json.loads(json.dumps(make(loss=loss).to_dict()))
    assert RunRecord.from_dict(data).metrics["loss"] == loss


def test_environment_is_recorded() -> None:
    assert set(versions()) == {"python", "torch", "qkvlib"}
    assert all(version[0].isdigit() for version in versions().values())
    assert cpu_name()


def test_trimmed_keeps_every_nth_loss_and_all_evaluations() -> None:
    record = make()
    trimmed = record.trimmed(3)
    assert trimmed.history["train_step"] == [0, 3]
    assert trimmed.history["train_loss"] == [4.0, 1 / 3]
    assert trimmed.history["eval_step"] == [0, 4]
    assert record.history["train_step"] == [0, 1, 2, 3]


def test_atomic_write_leaves_the_old_file_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_atomically(path, "old")
    assert path.read_text() == "old"

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    write_atomically(path, "neü")
    assert path.read_text(encoding="utf-8") == "neü"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_is_searched_and_damaged_records_are_named(tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("a", 0), ("deep/down/c", 2)):
        make(seed=seed).save(tmp_path / name)
    whole = (tmp_path / "b/record.json").read_text()
    for name, text in {
        "cut": whole[: len(whole) // 2],
        "empty": "",
        "list": "[]",
        "other": '{"a": 1}',
        "lacking": json.dumps({k: v for k, v in make().to_dict().items() if k != "seed"}),
        "wrong": json.dumps(make().to_dict() | {"history": 3}),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(text)
    with pytest.warns(UserWarning, match="skipped") as caught:
        records = load_records(tmp_path)
    assert [record.seed for record in records] == [0, 1, 2]
    said = "\n".join(str(warning.message) for warning in caught)
    for name in ("cut", "empty", "list", "other", "lacking", "wrong"):
        assert str(tmp_path / name) in said
    assert len(caught) == 6
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_records(tmp_path / "nowhere")


def test_many_records_in_one_file(tmp_path: Path) -> None:
    records = [make(seed=seed) for seed in range(3)]
    path = tmp_path / "all.json"
    save_records(records, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_records(path) == records
    save_records([], path)
    assert load_records(path) == []
    data = [record.to_dict() for record in records]
    del data[1]["metrics"]
    path.write_text(json.dumps(data))
    with pytest.warns(UserWarning, match=r"skipped record 1 .*'metrics' is missing"):
        assert load_records(path) == [records[0], records[2]]
    path.write_text("[{")
    with pytest.raises(RecordError, match=r"all\.json is damaged"):
        load_records(path)


def test_aggregate_sorts_by_variant_and_seed() -> None:
    runs = [("MQA", 0, 9.0), ("Q=K=V", 1, 3.0), ("QKV", 2, 1.0), ("QKV", 0, 2.0)]
    table = aggregate(make(*run) for run in runs)
    assert table == {"QKV": {2: 1.0, 0: 2.0}, "Q=K=V": {1: 3.0}, "MQA": {0: 9.0}}
    assert list(table) == ["QKV", "Q=K=V", "MQA"]
    assert aggregate([make()], "n_params") == {"QKV": {0: 1000.0}}
    assert aggregate([make()], "tokens_per_second") == {"QKV": {0: 1e4}}
    assert aggregate([]) == {}


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    texts = [json.dumps([i] * 20_000) for i in range(4)]

    def write(text: str) -> None:
        for _ in range(15):
            write_atomically(path, text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, texts))
    assert [each.name for each in tmp_path.iterdir()] == ["one.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "taken", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_aggregate_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(RecordError, match=r"two records of QKV with seed 0"):
        aggregate([make(), make()])
    with pytest.raises(RecordError, match="different data sets"):
        aggregate([make(seed=0), make(seed=1, sha256="cd" * 32)])
    other = dataclasses.replace(make(seed=1), task=make().task | {"score_padding": True})
    with pytest.raises(RecordError, match="of 2 tasks, with score_padding=None and True"):
        aggregate([make(seed=0), other])
    with pytest.raises(RecordError, match="nan"):
        aggregate([make(loss=math.nan)])
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        aggregate([make()], "acuracy")


ROWS = [{"variant": "QKV", "seed": 0, "loss": 0.25}, {"variant": "Q-K=V", "seed": 1, "loss": None}]


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.json"
    save_rows(iter(ROWS), path, about="What was asked.", recipe={"training": {"steps": 3}})
    found = load_rows(path)
    assert found == Rows("What was asked.", {"training": {"steps": 3}}, ROWS)
    assert path.read_text().splitlines()[-3:] == ['["QKV", 0, 0.25],', '["Q-K=V", 1, null]', "]}"]
    save_rows([], path, about="Nothing yet.", recipe={})
    assert load_rows(path).rows == []


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    save_rows(ROWS, path, about="", recipe={})
    text = path.read_text()
    for broken in (text[:-20], text.replace("0.25", "0.25, 1"), "[]", text.replace("about", "on")):
        path.write_text(broken)
        with pytest.raises(RecordError, match=r"rows\.json is damaged or not a file of rows"):
            load_rows(path)
    with pytest.raises(FileNotFoundError):
        load_rows(tmp_path / "nowhere.json")


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seed = 3  # type: ignore[misc]
