"""The linear layer that shares a few rows out among threads gives what ``nn.Linear`` gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from qkvlib import Linear, ModelConfig, build_model, linear
from qkvlib.benchmark import _threads as threads

WIDE = (256, 1024)  # in and out: large enough for four parts

needs_mkl = pytest.mark.skipif(
    not torch.backends.mkl.is_available(), reason="without MKL nothing is shared out"
)


class Batches(TorchDispatchMode):
    """Counts the products that are shared out, and remembers into how many parts."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.baddbmm):
            self.parts.append(len(args[-1]))
        return func(*args, **(kwargs or {}))


def shared_out(layer: nn.Module, x: Tensor) -> list[int]:
    with Batches() as batches:
        layer(x)
    return batches.parts


def same(layer: Linear, x: Tensor) -> None:
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.to(layer.weight.dtype).load_state_dict(layer.state_dict())
    expected, y = plain(x), layer(x)
    assert y.shape == expected.shape
    close(y, expected)


def close(y: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@given(
    st.sampled_from([(256, 1024), (1024, 256), (384, 1152), (700, 301), (300, 700), (16, 16)]),
    st.sampled_from([(), (1,), (1, 1), (4,), (3, 2), (8,), (9,), (0,), (2, 0)]),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_parity_with_linear(sizes, leading, bias, n_threads, dtype) -> None:
    layer = Linear(*sizes, bias=bias, dtype=dtype)
    with threads(n_threads):
        same(layer, torch.randn(*leading, sizes[0], dtype=dtype))


@needs_mkl
@torch.inference_mode()
@pytest.mark.parametrize(("n_threads", "parts"), [(1, []), (2, [2]), (3, [2]), (4, [4]), (9, [4])])
def test_a_few_rows_are_shared_out_among_threads(n_threads: int, parts: list[int]) -> None:
    layer = Linear(*WIDE)
    with threads(n_threads):
        assert shared_out(layer, torch.randn(1, 1, 256)) == parts
        assert shared_out(layer, torch.randn(8, 256)) == parts
        assert shared_out(layer, torch.randn(9, 256)) == []
        assert shared_out(Linear(256, 256), torch.randn(1, 256)) == []


@needs_mkl
def test_views_of_rows_and_of_weights_are_fine() -> None:
    with threads(2), torch.inference_mode():
        layer = Linear(*WIDE)
        wide = torch.randn(2, 3, 512)
        same(layer, wide[:, :, ::2])
        layer.weight = nn.Parameter(torch.randn(256, 1024).t())
        assert shared_out(layer, wide[0, 0, :256]) == [2]
        same(layer, wide[:, :2, :256])


def test_training_is_that_of_linear() -> None:
    """With gradients on nothing is shared out, so that no run changes with the threads."""
    layer, x = Linear(*WIDE), torch.randn(1, 256)
    with threads(2):
        assert shared_out(layer, x) == []
        layer(x).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, x.expand(1024, -1))


@torch.inference_mode()
def test_other_widths_and_formats_are_refused_as_by_linear() -> None:
    layer = Linear(*WIDE)
    with threads(2):
        for x in (torch.randn(2, 128), torch.randn(512), torch.randn(1, 256).double()):
            with pytest.raises(RuntimeError) as ours:
                layer(x)
            with pytest.raises(RuntimeError) as theirs:
                nn.functional.linear(x, layer.weight, layer.bias)
            assert str(ours.value) == str(theirs.value)


@torch.inference_mode()
def test_an_exported_layer_follows_any_number_of_rows() -> None:
    layer = Linear(*WIDE)
    rows = torch.export.Dim("rows", min=1)
    with threads(2):
        exported = torch.export.export(
            layer, (torch.randn(2, 256),), dynamic_shapes={"x": {0: rows}}
        ).module()
        for n in (1, 5, 20):
            x = torch.randn(n, 256)
            close(exported(x), layer(x))


@needs_mkl
@torch.inference_mode()
def test_all_large_layers_of_a_step_are_shared_out() -> None:
    config = ModelConfig(d_model=384, n_layers=2, n_heads=6, vocab_size=384, max_seq_len=8)
    model = build_model(config, seed=0).eval()
    with threads(2), Batches() as batches:
        logits = model(torch.tensor([[1]]))
    assert batches.parts == [2] * (4 * config.n_layers + 1)
    with threads(1):
        torch.testing.assert_close(logits, model(torch.tensor([[1]])))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        ((256, 1024), (1024,)),  # the wrong way round
        ((512, 512), (1024,)),  # as many numbers, other sizes
        ((512, 256), (512,)),  # fewer outputs, which is fine
        ((1024, 256), (2,)),
        ((1024, 256), (1,)),  # one number for all outputs, which is fine
        ((1 << 18,), (1,)),
    ],
)
def test_other_parameters_are_judged_by_pytorch(weight, bias) -> None:
    layer, x = Linear(*WIDE), torch.randn(1, 256)
    given = {"weight": torch.randn(weight), "bias": torch.randn(bias)}

    def outcome(call) -> Tensor | str:
        try:
            return call()
        except RuntimeError as error:
            return str(error)

    with threads(2):
        ours = outcome(lambda: functional_call(layer, given, (x,)))
        theirs = outcome(lambda: nn.functional.linear(x, **given))
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        close(ours, theirs)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@torch.inference_mode()
def test_sparse_weights_autocast_and_vmap() -> None:
    layer, x = Linear(*WIDE), torch.randn(3, 256)
    plain = nn.functional.linear(x, layer.weight, layer.bias)
    with threads(2):
        close(torch.vmap(layer)(x), plain)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x)
            assert y.dtype == torch.bfloat16
            torch.testing.assert_close(
                y, nn.functional.linear(x, layer.weight, layer.bias), rtol=0.02, atol=0.02
            )
        layer.weight = nn.Parameter(layer.weight.detach().to_sparse_csr())
        close(layer(x), plain)


@needs_mkl
def test_without_mkl_nothing_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Linear(*WIDE), torch.randn(1, 256)
    with threads(2), torch.inference_mode():
        assert shared_out(layer, x) == [2]
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
        assert shared_out(layer, x) == []


def test_names_and_shapes_are_those_of_linear() -> None:
    ours, theirs = Linear(4, 6).state_dict(), nn.Linear(4, 6).state_dict()
    assert {name: each.shape for name, each in ours.items()} == {
        name: each.shape for name, each in theirs.items()
    }


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 128))
def test_parts_are_equal_large_enough_and_no_more_than_threads(rows, columns, n_threads) -> None:
    parts = linear._equal_parts(rows, columns, n_threads)
    assert rows % parts == 0
    assert 1 <= parts <= n_threads
    assert parts == 1 or rows * columns // parts >= linear._PART
