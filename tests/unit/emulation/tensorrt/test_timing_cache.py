"""Timing caches: what is kept, that it spares compiling, and when it may not be used."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from yolotrt_lab.emulation.tensorrt import target as targets
from yolotrt_lab.emulation.tensorrt.openvino_target import OpenvinoTarget
from yolotrt_lab.emulation.tensorrt.weights_elision import elide_weights, restore_weights


@pytest.fixture
def compilations(monkeypatch):
    """The networks compiled from now on."""
    orders = []
    compile = OpenvinoTarget.compile
    monkeypatch.setattr(OpenvinoTarget, "compile", lambda self, order: (orders.append(order), compile(self, order))[1])
    return orders


@pytest.fixture
def use(lab):
    """Return a function that puts a cache into a new configuration."""

    def run(content=b"", **flags):
        lab.config = lab.builder.create_builder_config()
        cache = lab.config.create_timing_cache(content)
        assert lab.config.set_timing_cache(cache, False)
        return cache

    return run


@pytest.fixture
def filled(lab, model, use):
    cache = use()
    lab.plan(model())
    return bytes(cache.serialize())


def same_results(lab, infer, images, first, second):
    found = [infer(lab.load(plan).create_execution_context(), images()) for plan in (first, second)]
    return np.array_equal(*found)


class TestSavedWork:
    @pytest.mark.parametrize("variant", [{}, {"quantized": True}, {"dtype": "float16"}], ids=["fp32", "int8", "fp16"])
    def test_the_same_network_is_compiled_once(self, lab, model, use, compilations, infer, images, variant):
        path = model(**variant)
        cache = use()
        first = lab.plan(path)
        use(bytes(cache.serialize()))
        second = lab.plan(path)
        assert len(compilations) == 1
        data = (lambda: images().astype(variant["dtype"])) if "dtype" in variant else images
        assert same_results(lab, infer, data, first, second)
        assert ("INFO", "[emulation] This network was compiled before; taken from the timing cache.") in (
            lab.log.messages
        )

    def test_within_one_cache(self, lab, model, use, compilations):
        use()
        lab.plan(model())
        lab.plan(model())
        assert len(compilations) == 1

    def test_another_process(self, lab, model, filled, tmp_path, trt):
        """In an interpreter of its own, compiling is made impossible; the build has to do without."""
        (tmp_path / "cache").write_bytes(filled)
        program = """
import sys
from pathlib import Path
from yolotrt_lab.emulation import modules
modules.activate(int(sys.argv[1]))
import tensorrt as trt
from yolotrt_lab.emulation.tensorrt.openvino_target import OpenvinoTarget
OpenvinoTarget.compile = None
builder = trt.Builder(trt.Logger())
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
assert trt.OnnxParser(network, trt.Logger()).parse_from_file(sys.argv[2])
config = builder.create_builder_config()
cache = config.create_timing_cache(Path(sys.argv[3]).read_bytes())
assert config.set_timing_cache(cache, False)
assert builder.build_serialized_network(network, config) is not None
"""
        major = trt.__version__.split(".")[0]
        command = [sys.executable, "-c", program, major, str(model()), str(tmp_path / "cache")]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("variant", [{"dtype": "float16"}, {"batch": "n"}, {"size": 32}])
    def test_another_network_is_compiled(self, lab, model, use, filled, compilations, variant):
        use(filled)
        if "batch" in variant:
            lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
        assert lab.plan(model(**variant)) is not None
        assert len(compilations) == 1

    def test_other_shapes_are_compiled(self, lab, model, use, compilations):
        kept = b""
        for high in (4, 8):
            lab.config = lab.builder.create_builder_config()
            lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (high, 3, 16, 16))
            cache = lab.config.create_timing_cache(kept)
            lab.config.set_timing_cache(cache, False)
            lab.plan(model(batch="n"))
            kept = bytes(cache.serialize())
        assert len(compilations) == len(lab.config.create_timing_cache(kept).queryKeys()) == 2

    @pytest.mark.parametrize("device", ["compute", "software"])
    def test_another_device_or_compiler(self, lab, model, use, filled, compilations, monkeypatch, device):
        monkeypatch.setattr(OpenvinoTarget, device, lambda self: "another")
        cache = lab.config.create_timing_cache(filled)
        assert lab.config.set_timing_cache(cache, True)
        lab.plan(model())
        assert len(compilations) == 1

    def test_not_when_disabled(self, trt, lab, model, use, filled, compilations):
        cache = use(filled)
        lab.config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
        lab.plan(model())
        assert len(compilations) == 1
        assert bytes(cache.serialize()) == filled

    def test_a_miss_can_be_an_error(self, trt, lab, model, use, filled, compilations):
        use(filled)
        lab.config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
        assert lab.plan(model()) is not None
        assert lab.plan(model(dtype="float16")) is None
        assert compilations == []
        assert "kERROR_ON_TIMING_CACHE_MISS" in lab.log.errors

    def test_without_a_cache_nothing_is_missed(self, trt, lab, model):
        lab.config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
        assert lab.plan(model()) is not None

    def test_weights_are_not_in_it(self, lab, model, use):
        cache = use()
        plan = lab.plan(model(width=64))
        assert cache.serialize().nbytes < plan.nbytes / 2


class TestContent:
    def test_round_trip(self, lab, filled):
        assert len(filled) > len(bytes(lab.config.create_timing_cache(b"").serialize()))
        again = lab.config.create_timing_cache(filled)
        assert bytes(again.serialize()) == filled
        assert again.reset()
        assert bytes(again.serialize()) != filled

    def test_none_is_set_by_default(self, lab):
        assert lab.config.get_timing_cache() is None

    @pytest.mark.parametrize("data", [b"garbage", b"YOLOTRTC{", b"YOLOTRTC" + bytes(16), b"x" * 100])
    def test_garbage(self, lab, data):
        assert lab.config.create_timing_cache(data) is None
        assert "magicTag" in lab.log.errors

    @pytest.mark.parametrize("position", [12, 30, -5])
    def test_damaged(self, lab, filled, position):
        data = bytearray(filled)
        data[position] ^= 0xFF
        assert lab.config.create_timing_cache(bytes(data)) is None

    def test_combine(self, lab, filled):
        empty, full = lab.config.create_timing_cache(b""), lab.config.create_timing_cache(filled)
        assert empty.combine(full, False)
        assert bytes(empty.serialize()) == filled

    @pytest.mark.parametrize("ignore", [True, False])
    def test_of_another_device(self, lab, filled, ignore):
        foreign = lab.config.create_timing_cache(filled)
        foreign._device = "another"
        assert lab.config.set_timing_cache(foreign, ignore) == ignore
        assert lab.config.create_timing_cache(b"").combine(foreign, ignore) == ignore

    def test_of_another_version(self, lab, filled):
        foreign = lab.config.create_timing_cache(filled)
        foreign._version = "8.6"
        assert not lab.config.set_timing_cache(foreign, True)
        assert not lab.config.create_timing_cache(b"").combine(foreign, True)
        assert "another version" in lab.log.errors


class TestEditing:
    def test_query(self, trt, lab, filled):
        cache = lab.config.create_timing_cache(filled)
        (key,) = cache.queryKeys()
        value = cache.query(key)
        assert value.tacticHash > 0
        assert value.timingMSec > 0
        assert str(trt.TimingCacheKey.parse(str(key))) == str(key)

    def test_unknown_keys(self, trt, lab, filled):
        cache = lab.config.create_timing_cache(filled)
        key = trt.TimingCacheKey.parse("0x" + "ab" * 16)
        value = cache.query(key)
        assert value.tacticHash == 0
        assert math.isnan(value.timingMSec)
        assert not cache.update(key, trt.TimingCacheValue(1, 1.0))

    @pytest.mark.parametrize(
        ("text", "message"),
        [("0x12", "exactly 34 characters"), ("zz" + "0" * 32, "prefix `0x`"), ("0x" + "g" * 32, "invalid content")],
    )
    def test_what_is_no_key(self, trt, text, message):
        with pytest.raises(ValueError, match=message):
            trt.TimingCacheKey.parse(text)

    def test_update(self, trt, lab, filled):
        cache = lab.config.create_timing_cache(filled)
        (key,) = cache.queryKeys()
        tactic = cache.query(key).tacticHash
        assert cache.update(key, trt.TimingCacheValue(tactic, 7.5))
        assert cache.query(key).timingMSec == 7.5
        assert not cache.update(key, trt.TimingCacheValue(tactic + 1, 7.5))
        assert cache.update(key, trt.TimingCacheValue(tactic, math.nan))
        assert cache.queryKeys() == []


class TestElision:
    def blob_and_model(self, model, **variant):
        data = model(**variant).read_bytes()
        order = targets.CompileOrder(data, ["images", "output0"], {}, {}, "f32")
        return OpenvinoTarget().compile(order).blob, data

    @pytest.mark.parametrize("variant", [{}, {"width": 64}, {"width": 64, "dtype": "float16"}, {"quantized": True}])
    def test_round_trip(self, model, variant):
        blob, data = self.blob_and_model(model, **variant)
        elided = elide_weights(blob, data)
        assert restore_weights(elided, data) == blob
        if variant.get("width"):
            assert len(elided) < len(blob) / 2

    @pytest.mark.parametrize("blob", [b"", b"x", b"abc" * 1000])
    def test_blobs_without_weights(self, model, blob):
        data = model().read_bytes()
        assert restore_weights(elide_weights(blob, data), data) == blob

    @pytest.mark.parametrize("damage", [b"", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00garbage"])
    def test_garbage(self, damage):
        with pytest.raises(ValueError, match="no compiled network"):
            restore_weights(damage, b"")

    def test_another_model(self, model):
        blob, data = self.blob_and_model(model, width=64)
        with pytest.raises(ValueError, match="lacks"):
            restore_weights(elide_weights(blob, data), data[:100])
