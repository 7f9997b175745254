"""What a machine allows: the bytes and the multiplications of a pass against what it does a second.

A pass takes at least as long as its bytes take to come from memory, and at least as long as its
multiplications take to be made. Whichever is longer is the roof, and no program is above it. How
far below it one stays is a matter of measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import torch

from qkvlib.accounting import bytes_per_token
from qkvlib.config import ModelConfig
from qkvlib.passes import PassCost, matrix_weights
from qkvlib.sharing import look_up


@dataclass(frozen=True)
class Machine:
    """What a machine does in a second, and what it holds.

    Attributes:
        name: For people.
        bandwidth: Bytes from memory, per second.
        peak: Multiplications, each with its addition, per second; half of what data sheets call
            FLOPS.
        memory: Bytes it holds.
        bandwidth_from: Where the bandwidth comes from, in words or as arithmetic.
        peak_from: Where the peak comes from.

    Raises:
        ValueError: If one of the three is not above 0.

    Source: Williams, Waterman and Patterson (2009).
    """

    name: str
    bandwidth: float
    peak: float
    memory: float
    bandwidth_from: str = "measured"
    peak_from: str = "measured"

    def __post_init__(self) -> None:
        for name in ("bandwidth", "peak", "memory"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"{name}={value!r} of {self.name!r}: expected a number above 0, in "
                    f"{'bytes' if name == 'memory' else 'units per second'}."
                )

    @property
    def ridge(self) -> float:
        """Multiplications for each byte at which both limits meet; below it, bytes decide."""
        return self.peak / self.bandwidth

    def attainable(self, macs_per_byte: float) -> float:
        """Multiplications per second, at most, of work with so many for each byte."""
        return min(self.peak, macs_per_byte * self.bandwidth)

    def seconds(self, cost: PassCost) -> float:
        """Time of a pass, at least."""
        return max(cost.bytes_read / self.bandwidth, cost.macs / self.peak)

    def limit(self, cost: PassCost) -> Literal["bytes", "arithmetic"]:
        """Which of the two a pass waits for."""
        return "bytes" if cost.macs_per_byte < self.ridge else "arithmetic"


DEVICES: Final[Mapping[str, Machine]] = MappingProxyType(
    {
        "phone": Machine(
            "a phone",
            bandwidth=64 / 8 * 8533e6,
            peak=4 * 3e9 * 32,
            memory=8e9,
            bandwidth_from="LPDDR5X, 64 bits / 8 × 8,533 million transfers per second",
            peak_from="4 cores × 3 GHz × 32 per cycle: four units of eight 2-byte numbers",
        ),
        "laptop": Machine(
            "a laptop",
            bandwidth=128 / 8 * 8533e6,
            peak=8 * 4e9 * 32,
            memory=16e9,
            bandwidth_from="LPDDR5X, 128 bits / 8 × 8,533 million transfers per second",
            peak_from="8 cores × 4 GHz × 32 per cycle: four units of eight 2-byte numbers",
        ),
        "gpu": Machine(
            "an A100 (40 GB)",
            bandwidth=1555e9,
            peak=312e12 / 2,
            memory=40e9,
            bandwidth_from="1,555 GB/s by its data sheet",
            peak_from="312 TFLOPS in 2-byte numbers by its data sheet, halved: "
            "it counts additions too",
        ),
    }
)
"""Machines to compare with: two made up from the widths and rates of their parts, and the graphics
processor that the paper trained on, by its data sheet.

:meta hide-value:
"""


def get_device(name: str) -> Machine:
    """Look a machine up by name.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    return look_up("device", name, DEVICES)


def physical_memory() -> int:
    """Bytes of memory in this machine.

    Raises:
        ModuleNotFoundError: Without psutil, which comes with the course.
    """
    import psutil

    return int(psutil.virtual_memory().total)


def longest_context(
    config: ModelConfig,
    memory: float,
    *,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float16,
) -> int:
    """Tokens that each user can have where memory holds the weights and all their caches.

    Only the matrices are counted as weights, and nothing is set aside for anything else, such as a
    system that runs there too.

    Args:
        config: The model; its ``max_seq_len`` is not asked.
        memory: Bytes.
        batch_size: Users, each with a cache of their own.
        dtype: Number format of weights and caches.

    Returns:
        Whole tokens; 0 if the weights alone are too much.

    Raises:
        ValueError: If there is no user.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1 user.")
    left = int(memory) - matrix_weights(config) * dtype.itemsize
    return max(0, left // (bytes_per_token(config, dtype) * batch_size))
