"""What holds on the CPU holds on a GPU; skipped where there is none."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from qkvlib import (
    KVCache,
    TextTask,
    TrainConfig,
    benchmark,
    build_model,
    encode,
    generate,
    get_config,
)
from qkvlib.attention import _attend_explicitly, attend, attend_folded
from qkvlib.benchmark import bench_attention, bench_step
from qkvlib.sweep import Job, read_finished, run_jobs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

VARIANTS = ("QKV", "Q=K-V", "Q-K=V", "Q=K=V", "GQA-2", "MQA", "Q-MQA")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("t", "g"), [(1, 4), (1, 2), (1, 1), (9, 4), (9, 1)])
def test_fused_equals_explicit(dtype: torch.dtype, t: int, g: int) -> None:
    torch.manual_seed(0)
    q = torch.randn(2, 4, t, 16, device="cuda")
    k, v = torch.randn(2, 2, g, 9, 16, device="cuda")
    wanted, _ = _attend_explicitly(q.double(), k.double(), v.double(), None, causal=True)
    ways = [attend(q.to(dtype), k.to(dtype), v.to(dtype), None, causal=True)]
    if t == 1:
        ways.append(attend_folded(q.to(dtype), k.to(dtype), v.to(dtype)))
    for found in ways:
        torch.testing.assert_close(
            found.double(), wanted, rtol=0, atol=1e-5 if dtype == torch.float32 else 3e-2
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gpu_writes_what_the_cpu_writes(variant: str) -> None:
    config = get_config("small").replace(variant=variant)
    texts = [
        list(generate(build_model(config, seed=0).to(device), encode("def "), 20, temperature=0))
        for device in ("cpu", "cuda")
    ]
    assert texts[0] == texts[1]


def test_a_sweep_on_a_gpu_learns_what_the_cpu_learns(tmp_path: Path) -> None:
    config = get_config("small").replace(variant="Q-K=V", d_model=32, n_layers=1, max_seq_len=32)
    training = TrainConfig(steps=30, batch_size=4, eval_every=10)
    task = functools.partial(TextTask, 32, eval_windows=8)
    job = Job(name="one", model=config, training=training, task=task, checkpoints=True)
    for device in ("cpu", "cuda"):
        run_jobs([job], tmp_path / device, device=device)
    on_cpu, on_gpu = (read_finished(tmp_path / device)[job.key] for device in ("cpu", "cuda"))
    assert on_gpu.device == torch.cuda.get_device_name()
    for a, b in zip(on_cpu.history["eval_loss"], on_gpu.history["eval_loss"], strict=True):
        assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.parametrize("measure", [bench_attention, bench_step])
def test_speed_is_measured_on_a_gpu(measure, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=2)
    monkeypatch.setattr(benchmark, "DECODE_SHAPE", shape)
    monkeypatch.setattr(benchmark, "_CACHE_BYTES", (1, 1))
    table = measure((256,), turns=1, device="cuda")
    assert table.device == table.machine == torch.cuda.get_device_name()
    assert all(row.ratio > 0 for row in table.rows)


@torch.inference_mode()
def test_a_recorded_step_does_what_the_step_does(
    monkeypatch: pytest.MonkeyPatch, caches: list[KVCache]
) -> None:
    shape = benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=2)
    monkeypatch.setattr(benchmark, "DECODE_SHAPE", shape)
    place = benchmark._Place(torch.device("cuda"), torch.bfloat16, 3)
    step = benchmark._step("Q-K=V", 5, place)
    recorded = benchmark._recorded(step)
    (cache,) = caches
    (held,) = cache.layers[-1].tensors.values()
    step()
    expected = held.clone()
    held[:, :, 4:] = 7
    recorded()
    torch.cuda.synchronize()
    torch.testing.assert_close(held, expected)
    assert cache.length == 4
