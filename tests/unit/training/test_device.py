"""Choosing a device, on machines with GPUs that are not there."""

import pytest
import torch

from yolotrt_lab.errors import InputError
from yolotrt_lab.training.device import choose_device, mixed_precision


@pytest.fixture
def gpus(monkeypatch):
    def have(count: int, *, capability: tuple[int, int] = (9, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)

    return have


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "0"),
        ("cuda:1", 2, "1"),
        ("1", 2, "1"),
    ],
)
def test_devices_that_are_there(gpus, name, count, expected):
    gpus(count)
    assert choose_device(name) == expected


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:2", 2), ("1", 1)])
def test_devices_that_are_not(gpus, name, count):
    gpus(count)
    with pytest.raises(InputError, match=r"There is no GPU \d") as caught:
        choose_device(name)
    assert f"{count} GPUs" in (caught.value.got or "")


@pytest.mark.parametrize("there", [True, False])
def test_apple(monkeypatch, there):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    if there:
        assert choose_device("mps") == "mps"
    else:
        with pytest.raises(InputError, match="no Apple GPU"):
            choose_device("mps")


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", (9, 0), False),
        ("mps", (9, 0), False),
        ("0", (7, 5), False),
        ("0", (8, 0), "bf16"),
        ("1", (12, 0), "bf16"),
    ],
)
def test_half_precision_only_where_the_hardware_has_it(gpus, device, capability, expected):
    gpus(2, capability=capability)
    assert mixed_precision(device) == expected
