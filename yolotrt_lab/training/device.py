"""Where to compute."""

from __future__ import annotations

from yolotrt_lab.errors import InputError

__all__ = ["choose_device", "mixed_precision"]


def choose_device(name: str) -> str:
    """Return the device by Ultralytics' name, after checking that it is there.

    Args:
        name: As in `TrainConfig.device`.

    Raises:
        InputError: PyTorch does not see it.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "0" if gpus else "cpu"
    if name == "cpu":
        return name
    if name == "mps":
        if torch.backends.mps.is_available():
            return name
        raise InputError("There is no Apple GPU.", expected="a device that PyTorch sees", fix="Use --device cpu.")
    index = name.removeprefix("cuda").removeprefix(":") or "0"
    if int(index) >= gpus:
        raise InputError(
            f"There is no GPU {index}.",
            expected="a device that PyTorch sees",
            got=f"{gpus} GPUs; PyTorch {torch.__version__}",
            fix="Use --device auto or cpu; `yolotrt doctor` says why PyTorch does not see a GPU.",
        )
    return index


def mixed_precision(device: str) -> str | bool:
    """Return "bf16" where the GPU has it: unlike FP16 it needs no trial run, for which Ultralytics would download."""
    import torch

    if not device.isdigit():
        return False
    return "bf16" if torch.cuda.get_device_capability(int(device)) >= (8, 0) else False
