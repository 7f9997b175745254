"""Rooflines: the longer of two times, to which everything else must agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import (
    DEVICES,
    Machine,
    cache_bytes,
    get_config,
    get_device,
    longest_context,
    pass_cost,
    physical_memory,
)

SMALL = get_config("small")
rates = st.floats(1e6, 1e15)


@given(bandwidth=rates, peak=rates, held=st.integers(0, 5000), users=st.integers(1, 300))
def test_the_roof_is_the_longer_time(bandwidth: float, peak: float, held: int, users: int) -> None:
    machine = Machine("m", bandwidth, peak, 1e9)
    cost = pass_cost(SMALL, 1, held, batch_size=users)
    seconds = machine.seconds(cost)
    by = {"bytes": cost.bytes_read / bandwidth, "arithmetic": cost.macs / peak}
    assert seconds == max(by.values())
    assert by[machine.limit(cost)] == pytest.approx(seconds)
    assert cost.macs / seconds == pytest.approx(machine.attainable(cost.macs_per_byte))


@given(
    memory=st.integers(0, 10**9),
    users=st.integers(1, 9),
    variant=st.sampled_from(["QKV", "Q-K=V", "Q=K=V", "GQA-2", "Q-MQA"]),
)
def test_the_longest_context_fits_and_one_more_does_not(
    memory: int, users: int, variant: str
) -> None:
    config = SMALL.replace(variant=variant)
    weights = pass_cost(config, 1, dtype=torch.float16).weight_bytes
    longest = longest_context(config, memory, batch_size=users)

    def held(tokens: int) -> int:
        return weights + cache_bytes(config, tokens, batch_size=users)

    assert longest == 0 or held(longest) <= memory
    assert held(longest + 1) > memory


def test_no_user_and_no_machine_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=0: expected at least 1"):
        longest_context(SMALL, 1e9, batch_size=0)
    with pytest.raises(ValueError, match="peak=0 of 'm': expected a number above 0"):
        Machine("m", 1, 0, 1)
    with pytest.raises(ValueError, match="memory=inf"):
        Machine("m", 1, 1, float("inf"))
    with pytest.raises(ValueError, match="Did you mean 'phone'"):
        get_device("fone")


def test_devices_are_what_their_words_say() -> None:
    assert get_device("phone").bandwidth == pytest.approx(68.3e9, rel=1e-3)
    assert get_device("laptop").bandwidth == 2 * get_device("phone").bandwidth
    for machine in DEVICES.values():
        assert machine.ridge == machine.peak / machine.bandwidth > 1
    assert physical_memory() > 2**28
