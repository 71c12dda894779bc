"""Every builder flag of both versions: what it comes to, and that it does."""

import importlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.tensorrt.builder_flags import FLAGS
from yolotrt_lab.emulation.tensorrt.namespace import build
from yolotrt_lab.errors import EmulationError

VERDICTS = {
    "done": "FP16 BF16 INT8 REFIT REFIT_IDENTICAL REFIT_INDIVIDUAL STRIP_PLAN WEIGHTLESS VERSION_COMPATIBLE "
    "EXCLUDE_LEAN_RUNTIME SPARSE_WEIGHTS DISABLE_TIMING_CACHE ERROR_ON_TIMING_CACHE_MISS OBEY_PRECISION_CONSTRAINTS "
    "PREFER_PRECISION_CONSTRAINTS",
    "holds": "TF32 DEBUG GPU_FALLBACK REJECT_EMPTY_ALGORITHMS DISABLE_COMPILATION_CACHE EDITABLE_TIMING_CACHE "
    "SAFETY_SCOPE",
    "idle": "STRICT_NANS MONITOR_MEMORY",
    "refused": "WEIGHT_STREAMING DIRECT_IO FP8 INT4 FP4 DISTRIBUTIVE_INDEPENDENCE",
}
CASES = [(name, verdict) for verdict, names in VERDICTS.items() for name in names.split()]


def test_the_table_is_whole():
    assert {name for name, _ in CASES} == set(FLAGS)
    for major in (10, 11):
        assert set(build(major).BuilderFlag.__members__) <= set(FLAGS)


@pytest.mark.parametrize(("name", "verdict"), CASES)
def test_setting(trt, lab, name, verdict):
    flag = trt.BuilderFlag.__members__.get(name)
    if flag is None:
        assert trt.__version__.startswith("11.")
        return
    config = lab.builder.create_builder_config()
    lab.log.messages.clear()
    if verdict == "refused":
        with pytest.raises(EmulationError, match=rf"BuilderFlag\.{name} is not emulated: on a GPU it"):
            config.set_flag(flag)
        with pytest.raises(EmulationError, match=name):
            config.flags = 1 << int(flag)
        assert not config.get_flag(flag)
        return
    config.set_flag(flag)
    assert config.get_flag(flag)
    said = [("WARNING", f"[emulation] BuilderFlag.{name} has no effect on the CPU.")] if verdict == "idle" else []
    assert lab.log.messages == said
    config.clear_flag(flag)
    assert not config.get_flag(flag)


class TestVersionCompatible:
    """A plan of version 10 that brings its runtime loads in version 11; one of 11 never loads in 10."""

    @pytest.fixture
    def plan_of(self, model):
        def build_in(major, *flags):
            trt = self.activate(major)
            builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
            network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            assert trt.OnnxParser(network, trt.Logger()).parse_from_file(str(model()))
            config = builder.create_builder_config()
            for flag in flags:
                config.set_flag(getattr(trt.BuilderFlag, flag))
            return bytes(builder.build_serialized_network(network, config))

        return build_in

    @staticmethod
    def activate(major):
        modules.deactivate()
        modules.activate(major)
        return importlib.import_module("tensorrt")

    @pytest.mark.parametrize(
        ("built", "flags", "loaded", "trusted", "complaint"),
        [
            (10, ("VERSION_COMPATIBLE",), 10, True, None),
            (10, ("VERSION_COMPATIBLE",), 10, False, "engineHostCodeAllowed"),
            (10, ("VERSION_COMPATIBLE",), 11, True, None),
            (10, ("VERSION_COMPATIBLE",), 11, False, "engineHostCodeAllowed"),
            (11, ("VERSION_COMPATIBLE",), 10, True, "expecting library version 10"),
            (10, ("VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"), 10, False, None),
            (10, ("VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"), 11, True, "expecting library version 11"),
            (10, (), 11, True, "expecting library version 11"),
            (10, (), 10, False, None),
        ],
    )
    def test_loading(self, plan_of, capsys, built, flags, loaded, trusted, complaint):
        plan = plan_of(built, *flags)
        trt = self.activate(loaded)
        runtime = trt.Runtime(trt.Logger())
        runtime.engine_host_code_allowed = trusted
        assert (runtime.deserialize_cuda_engine(plan) is None) == (complaint is not None)
        assert (complaint or "") in capsys.readouterr().out

    def test_the_runtime_can_be_left_out_later(self, trt, lab, model):
        lab.config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        engine = lab.builder.build_engine_with_config(lab.network(model()), lab.config)
        config = engine.create_serialization_config()
        config.flags = 1 << int(trt.SerializationFlag.EXCLUDE_LEAN_RUNTIME)
        assert lab.load(engine.serialize()) is None  # not trusted
        assert lab.load(engine.serialize_with_config(config)) is not None


def test_sparse_weights_are_found_and_not_used(trt, lab, model):
    path = model()
    changed = onnx.load(path)
    for tensor in changed.graph.initializer:
        if tensor.name == "w1":
            values = numpy_helper.to_array(tensor).copy()
            values[:, ::2] = 0
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), "w1"))
    onnx.save(changed, path)
    lab.config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    assert lab.plan(path) is not None
    said = [text for severity, text in lab.log.messages if severity == "INFO" and "(Sparsity)" in text]
    assert said == [
        "(Sparsity) Found 1 layer(s) eligible to use sparse tactics: /model.1/conv/Conv",
        "(Sparsity) Chose 0 layer(s) using sparse tactics: ",
    ]
