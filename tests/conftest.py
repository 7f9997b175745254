"""Fixtures and strategies that several test files use."""

import os

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
