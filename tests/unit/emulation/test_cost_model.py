"""The documented numbers that modelled timelines rest on."""

import dataclasses

import pytest

from yolotrt_lab.emulation.cost_model import DEFAULT, H200, PRESETS, CostModel
from yolotrt_lab.emulation.trace import Task
from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling import reference_gpu

COSTS = dataclasses.replace(DEFAULT, pinned_gb_s=10.0, pageable_gb_s=5.0, copy_us=10.0)


class TestCosts:
    @pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
    def test_presets_say_where_their_numbers_come_from(self, preset):
        assert "measured" in preset.source
        assert preset.pinned_gb_s > preset.pageable_gb_s

    @pytest.mark.parametrize(
        "change", [{"pinned_gb_s": 0}, {"copy_us": -1}, {"inference_scale": float("nan")}, {"concurrent_inferences": 0}]
    )
    def test_nonsense_is_refused(self, change):
        with pytest.raises(InputError, match=next(iter(change))):
            dataclasses.replace(DEFAULT, **change)

    def test_the_h200_is_that_of_the_labs(self):
        for name in ("pinned_gb_s", "pageable_gb_s", "copy_us"):
            assert getattr(H200, name) == getattr(reference_gpu.H200, name)

    def test_a_copy_is_latency_and_bytes_over_bandwidth(self):
        model: CostModel = COSTS
        for direction in ("h2d", "d2h"):
            assert model.device_us(Task("copy", nbytes=10**7, direction=direction), None) == pytest.approx(1010)
        assert model.device_us(Task("copy", nbytes=10**7, direction="d2h", pinned=False), None) == pytest.approx(2010)
