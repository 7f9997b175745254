"""Fixtures and strategies that several test files use."""

import os
from pathlib import Path

# Before torch is imported anywhere: one thread per worker, so that parallel workers do not fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "course",
    deadline=None,  # a first call compiles and loads; time is not what these tests are about
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("course")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text to train on."""
    path = tmp_path_factory.mktemp("text") / "rhyme.txt"
    path.write_text("One for the master, and one for the dame.\n" * 40)
    return path
