"""Images and sets as tasks: fair batches, no leaks, nothing silently wrong."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from qkvlib import (
    ENCODERS,
    ConvEncoder,
    Features,
    ImageSet,
    ModelConfig,
    RunError,
    SetConfig,
    SetTask,
    Task,
    TaskError,
    TrainConfig,
    VisionTask,
    ViTConfig,
    build_model,
    encode_images,
    evaluate,
    evaluate_batches,
    load_checkpoint,
    load_encoder,
    load_features,
    load_images,
    train,
)
from qkvlib.experiments import measure_fit


def small_images(n_classes: int = 3, per_class: int = 20, channels: int = 3) -> ImageSet:
    """Images that name themselves: every pixel of image i is i."""
    n = n_classes * per_class
    pixels = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, channels, 8, 8)
    labels = torch.arange(n) % n_classes
    names = tuple(f"class {c}" for c in range(n_classes))
    return ImageSet("small", "made up", names, pixels.clone(), labels, pixels.clone(), labels)


def identities(task: VisionTask, images: Tensor) -> list[int]:
    """Turn standardised images back into the numbers of small_images."""
    mean, deviation = task._scale
    return ((images * deviation + mean) * 255).round()[:, 0].amax(dim=(1, 2)).int().tolist()


# Images


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 70), seed=st.integers(0, 5))
def test_every_image_is_seen_once_in_each_pass(batch_size: int, seed: int) -> None:
    task = VisionTask(small_images(), seed=seed)
    steps = -(-3 * task.n_train // batch_size)
    seen = [i for s in range(steps) for i in identities(task, task.batch(s, batch_size)[0])]
    for start in range(0, 3 * task.n_train, task.n_train):
        assert sorted(seen[start : start + task.n_train]) == list(range(task.n_train))
    assert task.steps_per_epoch(batch_size) == -(-task.n_train // batch_size)


def test_batches_are_a_function_of_seed_and_step() -> None:
    task = VisionTask(small_images(), seed=1, shift=2, flip=True)
    again = VisionTask(small_images(), seed=1, shift=2, flip=True)
    for step in (5, 0, 5, 17):
        for one, other in zip(task.batch(step, 16), again.batch(step, 16), strict=True):
            assert torch.equal(one, other)
    other_seed = VisionTask(small_images(), seed=2).batch(0, 16)
    assert not torch.equal(task.batch(0, 16)[1], other_seed[1])


def test_images_and_labels_stay_together() -> None:
    task = VisionTask(small_images(), seed=3, flip=True)
    for step in range(8):
        images, labels = task.batch(step, 16)
        assert [i % 3 for i in identities(task, images)] == labels.tolist()


def test_pixels_are_standardised_by_the_training_images() -> None:
    task = VisionTask("mnist-small")
    whole = task.standardised(task.images.train_images)
    assert whole.mean().item() == pytest.approx(0, abs=1e-4)
    assert whole.std().item() == pytest.approx(1, abs=1e-3)


def test_shifts_and_flips_move_whole_images() -> None:
    pixels = torch.randint(1, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    images = ImageSet(
        "one", "made up", ("a", "b"),
        pixels.repeat(40, 1, 1, 1), torch.arange(40) % 2, pixels, torch.zeros(1).long(),
    )  # fmt: skip
    task = VisionTask(images, shift=1, flip=True)
    allowed = set()
    for mirrored, down, right in itertools.product((False, True), (-1, 0, 1), (-1, 0, 1)):
        moved = pixels[0].flip(-1) if mirrored else pixels[0]
        moved = moved.roll((down, right), dims=(1, 2)).clone()
        if down:
            moved[:, 0 if down > 0 else -1] = 0
        if right:
            moved[:, :, 0 if right > 0 else -1] = 0
        allowed.add(moved.numpy().tobytes())
    mean, deviation = task._scale
    seen = set()
    for step in range(10):
        batch = ((task.batch(step, 40)[0] * deviation + mean) * 255).round().byte()
        seen |= {image.numpy().tobytes() for image in batch}
    assert seen == allowed
    evaluated, _ = next(iter(task.eval_batches(1)))
    assert torch.equal(evaluated, task.standardised(pixels))


def test_a_part_of_the_images_has_all_classes() -> None:
    task = VisionTask("mnist-small", train_per_class=7, eval_images=50)
    assert task.n_train == 70
    assert task.images.train_labels.bincount().tolist() == [7] * 10
    assert sum(len(labels) for _, labels in task.eval_batches(32)) == 50
    assert task.describe()["sha256"] != VisionTask("mnist-small").describe()["sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": -1}, "shift=-1"),
        ({"shift": 28}, "0 to 27 pixels"),
        ({"train_per_class": 0}, "train_per_class=0"),
        ({"eval_images": 0}, "eval_images=0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        VisionTask("mnist-small", **arguments)


VIT = ViTConfig(
    d_model=16, n_layers=1, n_heads=2, image_size=8, patch_size=4, n_channels=3, n_classes=3
)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VIT.replace(image_size=12), "image_size=8"),
        (VIT.replace(n_channels=1), "n_channels=3"),
        (VIT.replace(n_classes=4), "n_classes=3"),
        (
            ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=3, max_seq_len=4),
            "Use a ViTConfig",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_images_is_refused(config: object, message: str) -> None:
    task = VisionTask(small_images())
    assert isinstance(task, Task)
    with pytest.raises(RunError, match=message):
        train(build_model(config), task, TrainConfig(steps=1))


def test_a_vision_run_is_recorded_and_can_be_repeated(tmp_path) -> None:
    """The loop is the one for text; what is asked here is that nothing in it assumes tokens."""
    task = VisionTask(small_images(), flip=True)
    config = TrainConfig(steps=12, batch_size=10, eval_every=4, save_every=4, lr=3e-3)
    record = train(build_model(VIT, seed=0), task, config, out=tmp_path / "a")
    assert record.config == VIT
    assert record.variant.name == "QKV"
    assert record.cache_bytes_per_token == {}
    assert "bits_per_byte" not in record.metrics
    assert record.metrics["loss"] < record.history["eval_loss"][0]
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.config == VIT
    assert evaluate(loaded, task, batch_size=10) == pytest.approx(record.metrics)

    again = train(build_model(VIT, seed=0), VisionTask(small_images(), flip=True), config)
    assert again.history == record.history


def test_the_fit_is_measured_on_unchanged_training_images() -> None:
    task = VisionTask(small_images(), shift=3, flip=True)
    model = build_model(VIT, seed=0)
    images = torch.cat([images for images, _ in task.train_batches(7)])
    assert sorted(identities(task, images)) == list(range(60))
    labels = torch.cat([labels for _, labels in task.train_batches(7)])
    fit = measure_fit(model, task)
    assert fit == pytest.approx(evaluate_batches(model, [(images, labels)]))
    assert sum(len(labels) for _, labels in task.train_batches(7, 20)) == 20


# Sets


def made_features(n_classes: int = 4, per_class: int = 12, n_features: int = 3) -> Features:
    images = small_images(n_classes, per_class)
    generator = torch.Generator().manual_seed(0)
    names = torch.arange(len(images.train_labels)).float()[:, None]
    noise = torch.randn(len(names), n_features - 1, generator=generator)
    return Features(images, "none", torch.cat([names, noise], 1), torch.cat([names, noise], 1))


@settings(max_examples=30, deadline=None)
@given(set_size=st.integers(3, 12), seed=st.integers(0, 9), step=st.integers(0, 50))
def test_a_set_has_one_odd_element_and_no_element_twice(
    set_size: int, seed: int, step: int
) -> None:
    task = SetTask(made_features(), seed=seed, set_size=set_size, eval_sets=5)
    assert isinstance(task, Task)
    elements, odd = task.batch(step, 8)
    assert elements.shape == (8, set_size, 3)
    classes = elements[..., 0].int() % 4
    for names, row, place in zip(elements[..., 0].tolist(), classes.tolist(), odd, strict=True):
        assert len(set(names)) == set_size
        others = row[: int(place)] + row[int(place) + 1 :]
        assert len(set(others)) == 1
        assert row[int(place)] not in others
    assert torch.equal(elements, task.batch(step, 8)[0])


def test_the_odd_one_stands_anywhere_and_is_of_any_class() -> None:
    task = SetTask(made_features(), eval_sets=3000)
    elements, odd = task.held_out_sets()
    assert odd.bincount(minlength=10).min() > 200
    labels = task.features.images.test_labels[elements]
    of_odd, of_next = (labels.gather(1, place[:, None])[:, 0] for place in (odd, (odd + 1) % 10))
    pairs = of_odd * 4 + of_next
    counts = pairs.bincount(minlength=16).view(4, 4)
    assert counts.diagonal().sum() == 0
    assert counts[~torch.eye(4, dtype=torch.bool)].min() > 180


def test_held_out_sets_are_the_same_for_every_seed_and_batch_size() -> None:
    one, other = (SetTask(made_features(), seed=s, eval_sets=23) for s in (0, 1))
    for a, b in zip(one.eval_batches(23), other.eval_batches(23), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert torch.equal(
        torch.cat([x for x, _ in one.eval_batches(5)]), next(iter(one.eval_batches(23)))[0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"set_size": 2}, "at least 3"),
        ({"set_size": 13}, "12 images each"),
        ({"eval_sets": 0}, "at least 1 set"),
    ],
)
def test_sets_that_cannot_be_made_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        SetTask(made_features(), **arguments)


SET = SetConfig(d_model=16, n_layers=1, n_heads=2, n_features=3, max_seq_len=10)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SET.replace(n_features=4), "n_features=3"),
        (SET.replace(max_seq_len=9), "max_seq_len=10"),
        (VIT, "Use a SetConfig"),
    ],
)
def test_a_model_that_does_not_fit_the_sets_is_refused(config: object, message: str) -> None:
    with pytest.raises(RunError, match=message):
        train(build_model(config), SetTask(made_features()), TrainConfig(steps=1))


def test_a_set_encoder_learns_what_is_easy() -> None:
    """Features that name the class: nothing in the way between data, loss and answer."""
    images = small_images(4, 12)
    one_hot = torch.nn.functional.one_hot(images.train_labels, 4).float()
    task = SetTask(Features(images, "none", one_hot, one_hot), eval_sets=200)
    config = SET.replace(n_features=4)
    record = train(
        build_model(config, seed=0),
        task,
        TrainConfig(steps=200, batch_size=32, lr=1e-2, eval_every=200),
    )
    assert record.history["eval_accuracy"][0] < 0.8  # untrained attention averages already
    assert record.metrics["accuracy"] > 0.95
    assert record.metrics["loss"] < 0.5 < 2 < record.history["eval_loss"][0]


# The frozen encoder


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_come_with_the_course(name: str) -> None:
    encoder = load_encoder(name)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    images = torch.randn(5, encoder.n_channels, 28, 28, generator=torch.Generator().manual_seed(0))
    features = encoder(images)
    assert features.shape == (5, encoder.n_features)
    torch.testing.assert_close(encode_images(encoder, images, batch_size=2), features)
    with pytest.raises(ValueError, match="Did you mean 'grey'"):
        load_encoder("gray")


def test_a_damaged_encoder_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grey.safetensors").write_bytes(b"not weights")
    monkeypatch.setattr("qkvlib.encoder.data_file", lambda name: tmp_path / "grey.safetensors")
    load_encoder.cache_clear()
    with pytest.raises(ValueError, match="damaged"):
        load_encoder("grey")
    load_encoder.cache_clear()


def test_an_encoder_of_clothes_sees_digits_apart() -> None:
    """Nearest class mean, held out: far from chance, far from perfect."""
    features = load_features("mnist-small")
    labels = features.images.train_labels
    assert features.train.shape == (10_000, ConvEncoder(1, 16).n_features)
    assert features.train.mean(dim=0).abs().max() < 1e-3
    means = torch.stack([features.train[labels == c].mean(dim=0) for c in range(10)])
    found = torch.cdist(features.test, means).argmin(dim=1)
    accuracy = (found == load_images("mnist-small").test_labels).float().mean().item()
    assert 0.5 < accuracy < 0.97
