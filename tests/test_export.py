"""A graph computes what the model does, step by step, and says so when it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch as safetensors_torch
import torch
from click.testing import CliRunner

from qkvlib import (
    KVCache,
    ModelConfig,
    ViTConfig,
    build_model,
    cache_bytes,
    config_from_dict,
    export,
)
from qkvlib.checkpoint import CHECKPOINT_FILE
from qkvlib.cli import main
from qkvlib.export import (
    ExportError,
    empty_past,
    export_onnx,
    graph_names,
    load_weights,
    round_to_half,
    save_weights,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CAUSAL = ModelConfig(d_model=32, n_layers=2, n_heads=4, vocab_size=64, max_seq_len=24)
VARIANTS = ("QKV", "Q-K=V", "Q=K=V", "MQA")


def stirred(config: ModelConfig) -> Any:
    """A model whose weights are as wide as trained ones, rounded to float16."""
    model = build_model(config, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    round_to_half(model)
    return model


class Session:
    """A graph, run as a page runs it: the cache goes round."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self.session = onnxruntime.InferenceSession(str(path))
        self.inputs, self.outputs = graph_names(config)
        self.past = [each.numpy() for each in empty_past(config)]

    def step(self, tokens: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        fed = dict(zip(self.inputs, [tokens.numpy(), *self.past], strict=True))
        logits, weights, *self.past = self.session.run(self.outputs, fed)
        return logits, weights


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Any, Path]]:
    folder = tmp_path_factory.mktemp("graphs")
    made = {}
    for i, variant in enumerate(VARIANTS):
        model = stirred(CAUSAL.replace(variant=variant))
        # One has its weights inside, the others beside it.
        weights = None if i == 0 else folder / f"{i}.safetensors"
        path = export_onnx(model, folder / f"{i}.onnx", half=True, weights=weights)
        made[variant] = (model, path)
    return made


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_step_by_step_it_is_the_model(graphs: Mapping[str, tuple[Any, Path]], variant: str) -> None:
    model, path = graphs[variant]
    tokens = torch.randint(64, (1, 24), generator=torch.Generator().manual_seed(2))
    whole, maps = model(tokens, return_attention=True)
    session, cache = Session(path, model.config), KVCache(model.config)
    start = 0
    for size in (5, 1, 1, 7, 10):
        logits, weights = session.step(tokens[:, start : start + size])
        model(tokens[:, start : start + size], cache=cache)
        start += size
        assert np.abs(logits - whole[:, start - size : start].numpy()).max() < 1e-4
        for layer, drawn in zip(maps, weights, strict=True):
            wanted = layer.weights[0, :, start - size : start, :start].numpy()
            assert np.abs(drawn - wanted).max() < 1e-5
        # The bytes that go round are those of a cache, and of the formula.
        held = sum(each.nbytes for each in session.past)
        assert held == cache.nbytes_used == cache_bytes(model.config, start, dtype=torch.float32)


@torch.no_grad()
def test_a_table_of_positions_is_not_rounded(tmp_path: Path) -> None:
    model = stirred(CAUSAL.replace(position="sinusoidal", max_seq_len=64))
    path = export_onnx(model, tmp_path / "m.onnx", half=True)
    tokens = torch.randint(64, (1, 50), generator=torch.Generator().manual_seed(2))
    logits, _ = Session(path, model.config).step(tokens)
    assert np.abs(logits - model(tokens).numpy()).max() < 2e-5


@pytest.mark.parametrize("variant", ["QKV", "(Q=K=V)+"])
@torch.no_grad()
def test_an_encoder_gives_scores_and_weights(variant: str, tmp_path: Path) -> None:
    config = CAUSAL.replace(variant=variant, causal=False, max_seq_len=9)
    model = stirred(config)
    path = export_onnx(model, tmp_path / "encoder.onnx")
    tokens = torch.randint(64, (1, 9))
    inputs, outputs = graph_names(config)
    session = onnxruntime.InferenceSession(str(path))
    found = session.run(outputs, {inputs[0]: tokens.numpy()})
    logits, maps = model(tokens, return_attention=True)
    wanted = [logits, *(torch.stack([m[i][0] for m in maps]) for i in (0, 1))]
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.abs(ours - theirs.numpy()).max() < 1e-4


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_weights_exist_once(graphs: Mapping[str, tuple[Any, Path]], variant: str) -> None:
    model, path = graphs[variant]
    beside = path.with_suffix(".safetensors")
    numbers = 2 * sum(p.numel() for p in model.parameters())
    assert numbers < beside.stat().st_size < numbers + 8_000
    graph = onnx.load(path, load_external_data=False).graph
    outside = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
    assert {place["location"] for place in places} == {beside.name}
    assert not any(tensor.raw_data for tensor in outside)
    # Tied, the embedding and the output layer are one place.
    pairs = zip(outside, places, strict=True)
    matrices = {place["offset"] for tensor, place in pairs if len(tensor.dims) == 2}
    assert len(matrices) == len([p for p in model.parameters() if p.ndim == 2])
    inside = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert all(t in outside or np.prod(t.dims) < 2 for t in inside)
    assert b".py" not in path.read_bytes()  # where it was traced is nobody's business
    again = load_weights(beside)
    assert again.config == model.config
    assert not again.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_weights_in_full_lie_beside_a_graph_too(tmp_path: Path) -> None:
    model = build_model(CAUSAL, seed=3).eval()
    path, beside = tmp_path / "full.onnx", tmp_path / "full.safetensors"
    export_onnx(model, path, weights=beside)
    tokens = torch.randint(64, (1, 5))
    logits, _ = Session(path, CAUSAL).step(tokens)
    with torch.no_grad():
        assert np.abs(logits - model(tokens).numpy()).max() < 1e-5
        assert torch.equal(load_weights(beside)(tokens), model(tokens))
    assert path.stat().st_size < 20_000


def test_any_model_of_the_course_can_be_kept(tmp_path: Path) -> None:
    image = ViTConfig(
        d_model=16, n_layers=1, n_heads=2, image_size=8, patch_size=4, n_channels=1, n_classes=2
    )
    model = build_model(image, seed=0).eval()
    again = load_weights(save_weights(model, tmp_path / "vit.safetensors"))
    pixels = torch.rand(1, 1, 8, 8)
    assert torch.equal(model(pixels), again(pixels))


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no file"):
        load_weights(tmp_path / "no.safetensors")
    path = save_weights(build_model(CAUSAL, seed=0), tmp_path / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ExportError, match=r"cut\.safetensors is damaged"):
        load_weights(path)
    safetensors_torch.save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ExportError, match="not a file of weights"):
        load_weights(tmp_path / "other.safetensors")
    metadata = {export.METADATA_KEY: json.dumps(CAUSAL.to_dict())}
    safetensors_torch.save_file({"x": torch.zeros(2)}, path, metadata)
    with pytest.raises(ExportError, match="its tensors are not those of its model"):
        load_weights(path)


def test_it_carries_its_configuration_and_half_the_bytes(
    graphs: Mapping[str, tuple[Any, Path]],
) -> None:
    model, path = graphs["Q-K=V"]
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert config_from_dict(json.loads(props[export.METADATA_KEY])) == model.config
    # Its weights are inside; in float32 they alone would take four bytes each.
    path = graphs["QKV"][1]
    assert path.stat().st_size < 3 * sum(p.numel() for p in graphs["QKV"][0].parameters())


def test_the_command_exports_a_run(tmp_path: Path) -> None:
    small = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--max-seq-len", "8"]
    source = tmp_path / "text.txt"
    source.write_text("tell me what you keep, " * 60)
    run, out = tmp_path / "run", tmp_path / "model.onnx"
    trained = CliRunner().invoke(
        main, ["train", "text", str(source), "--steps", "1", "--out", str(run), *small]
    )
    assert trained.exit_code == 0, trained.output
    result = CliRunner().invoke(main, ["export", str(run), "--out", str(out), "--half", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["bytes"] == out.stat().st_size
    assert told["weights"] is None
    assert told["inputs"] == ["tokens", "past.0.k", "past.0.v"]
    beside = tmp_path / "model.safetensors"
    with_weights = ["export", str(run), "--out", str(out), "--half", "--weights", str(beside)]
    result = CliRunner().invoke(main, with_weights)
    assert result.exit_code == 0, result.output
    assert f"{beside}: its weights" in result.output
    assert load_weights(beside).config.max_seq_len == 8
    nowhere = CliRunner().invoke(main, ["export", str(tmp_path / "no"), "--out", str(out)])
    assert nowhere.exit_code != 0
    assert "no" in nowhere.output


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "no.onnx"
    image = ViTConfig(
        d_model=16, n_layers=1, n_heads=2, image_size=8, patch_size=4, n_channels=1, n_classes=2
    )
    with pytest.raises(ExportError, match="a GPT or an Encoder"):
        export_onnx(build_model(image), target)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="in two folders"):
        export_onnx(build_model(CAUSAL), target, weights=tmp_path / "other" / "no.safetensors")
    for over in (target, tmp_path / CHECKPOINT_FILE):
        with pytest.raises(ExportError, match="would be written over"):
            export_onnx(build_model(CAUSAL), target, weights=over)
    with pytest.raises(ExportError, match=r"max_seq_len=4.*at least 5"):
        export_onnx(build_model(CAUSAL.replace(max_seq_len=4)), target)
    large = build_model(CAUSAL)
    with torch.no_grad():
        large.head.weight[0, 0] = 1e6
    beside = tmp_path / "no.safetensors"
    for in_half in (
        lambda: round_to_half(large),
        lambda: save_weights(large, beside, half=True),
        lambda: export_onnx(large, target, half=True),
        lambda: export_onnx(large, target, half=True, weights=beside),
    ):
        with pytest.raises(ExportError, match="float16 ends at 65504"):
            in_half()
    assert not beside.exists()
    frozen = onnx.load_model_from_string(_frozen().SerializeToString())
    with pytest.raises(ExportError, match=r"froze axis 2 of 'past\.0\.k'"):
        export._check_lengths(frozen, CAUSAL)
    monkeypatch.setattr("qkvlib.export.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"onnx and onnxscript.*qkvlib\[export\]"):
        export_onnx(build_model(CAUSAL), target)
    assert not target.exists()


def _frozen() -> Any:
    """A graph whose cache has one length only."""
    kinds = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    inputs = [
        onnx.helper.make_tensor_value_info("tokens", kinds[0], [1, "new"]),
        onnx.helper.make_tensor_value_info("past.0.k", kinds[1], [1, 4, 3, 8]),
    ]
    graph = onnx.helper.make_graph([], "frozen", inputs, [])
    return onnx.helper.make_model(graph)
