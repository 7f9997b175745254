"""Where tensors live: a device that can be used, and what it is called."""

from __future__ import annotations

import torch


def device_name(device: torch.device) -> str:
    """Return where tensors live, in words: ``"cpu"``, or the accelerator's model name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def usable_device(name: str) -> torch.device:
    """Return a device after a number was put on it.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        ValueError: If there is no such device, or this PyTorch cannot use it.
    """
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]} Use 'cpu', or "
            "install a PyTorch that knows your GPU."
        ) from error


__all__ = ["device_name", "usable_device"]
