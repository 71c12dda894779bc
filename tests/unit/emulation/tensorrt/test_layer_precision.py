"""Precisions of single layers and dynamic ranges of tensors, in the weakly typed networks of TensorRT 10."""

import json

import numpy as np
import pytest

from tests.unit.emulation.tensorrt.test_network_layers import execute
from yolotrt_lab.emulation.tensorrt.target import target

CONVS = {0: "/model.0/conv/Conv", 3: "/model.1/conv/Conv", 5: "/model.2/conv/Conv"}
pytestmark = [
    pytest.mark.parametrize("trt", [10], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def sixteen(trt):
    """How this processor computes FP16: "FP16", "BF16" or, if it cannot, "FP32"."""
    return {"f16": "FP16", "bf16": "BF16", "f32": "FP32"}[target().arithmetic("f16")]


@pytest.fixture
def build(trt, lab, model):
    """Return a function that builds the small network with flags, after a function has changed it."""

    def run(*flags, change=lambda network: None):
        network = lab.network(model(), strong=False)
        change(network)
        for flag in flags:
            lab.config.set_flag(getattr(trt.BuilderFlag, flag))
        plan = lab.builder.build_serialized_network(network, lab.config)
        return None if plan is None else lab.load(plan)

    return run


def executed(trt, engine):
    """Return the arithmetic of every convolution, as the inspector tells it."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    found = {}
    for layer in json.loads(text)["Layers"]:
        for name in CONVS.values():
            if name in layer["Name"] and layer["LayerType"] == "Convolution":
                found[name] = _arithmetic(layer["TacticName"])
    return found


def _arithmetic(tactic):
    suffix = tactic.lower().rpartition("_")[2]
    return {"f32": "FP32", "f16": "FP16", "bf16": "BF16", "i8": "Int8"}.get(suffix, suffix)


def ask(**precisions):
    """Return a change that gives layers, by index, a precision."""

    def change(network):
        for index, dtype in precisions.items():
            network.get_layer(int(index[1:])).precision = dtype

    return change


@pytest.mark.parametrize("flag", ["OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"])
@pytest.mark.parametrize("kept", [(0,), (3,), (0, 5), (0, 3, 5)])
def test_layers_stay_in_fp32(trt, sixteen, build, images, flag, kept):
    engine = build("FP16", flag, change=ask(**{f"i{index}": trt.float32 for index in kept}))
    assert executed(trt, engine) == {name: "FP32" if index in kept else sixteen for index, name in CONVS.items()}


def test_what_runs_in_fp32_is_more_exact(trt, sixteen, build, images, model, reference, distance):
    expected = reference(model(), images())
    half = execute(trt, build("FP16"), {"images": images()})["output0"]
    everything = {f"i{index}": trt.float32 for index in range(7)}
    full = execute(trt, build("FP16", "OBEY_PRECISION_CONSTRAINTS", change=ask(**everything)), {"images": images()})
    assert distance(full["output0"], expected) < 1e-4
    assert (distance(half, expected) > 1e-4) == (sixteen != "FP32")


def test_without_a_flag_precisions_are_only_remembered(trt, sixteen, build):
    engine = build("FP16", change=ask(i0=trt.float32))
    assert executed(trt, engine)[CONVS[0]] == sixteen


def test_all_layers_in_fp16(trt, sixteen, build):
    everything = {f"i{index}": trt.float16 for index in range(7)}
    engine = build("FP16", "OBEY_PRECISION_CONSTRAINTS", change=ask(**everything))
    assert set(executed(trt, engine).values()) == {sixteen}


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("float16", "fp16 precision has been set for a layer or layer output, but fp16 is not configured"),
        ("int8", "Int8 precision has been set for a layer or layer output, but int8 is not configured"),
    ],
)
def test_a_precision_needs_its_flag(trt, lab, build, dtype, text):
    assert build(change=ask(i0=getattr(trt, dtype))) is None
    assert text in lab.log.errors


@pytest.mark.parametrize("flag", ["OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"])
def test_what_cannot_be_obeyed(trt, lab, build, flag):
    """No scale, no INT8."""
    engine = build("INT8", flag, change=ask(i3=trt.int8))
    if flag.startswith("OBEY"):
        assert engine is None
        assert (
            f"Error Code 10: Internal Error (Could not find any implementation for node {CONVS[3]}.)" in lab.log.errors
        )
    else:
        assert executed(trt, engine)[CONVS[3]] == "FP32"
        warnings = [text for severity, text in lab.log.messages if severity == "WARNING"]
        assert any(f"{CONVS[3]} obeys the requested constraints in strict mode" in text for text in warnings)


def test_the_properties(trt, lab, model):
    layer = lab.network(model(), strong=False)[0]
    assert (layer.precision, layer.precision_is_set, layer.output_type_is_set(0)) == (trt.float32, False, False)
    layer.precision = trt.float16
    layer.set_output_type(0, trt.float16)
    assert (layer.precision, layer.precision_is_set) == (trt.float16, True)
    assert (layer.get_output_type(0), layer.output_type_is_set(0)) == (trt.float16, True)
    layer.reset_precision()
    layer.reset_output_type(0)
    assert (layer.precision_is_set, layer.output_type_is_set(0), layer.get_output_type(0)) == (
        False,
        False,
        trt.float32,
    )


def test_a_strongly_typed_network_takes_no_precisions(trt, lab, model):
    layer = lab.network(model())[0]
    layer.precision = trt.float16
    layer.set_output_type(0, trt.float16)
    assert (layer.precision_is_set, layer.output_type_is_set(0)) == (False, False)
    assert lab.log.errors.count("the types of a strongly typed network follow from its inputs") == 2


def test_the_type_of_an_output(trt, build, images, model, reference):
    def change(network):
        network.get_layer(6).set_output_type(0, trt.float16)

    engine = build("FP16", change=change)
    assert engine.get_tensor_dtype("output0") == trt.float16
    found = execute(trt, engine, {"images": images()})["output0"]
    assert np.allclose(found, reference(model(), images()), atol=3e-2)


def test_a_conversion_to_integers_is_part_of_the_network(trt, lab):
    network = lab.builder.create_network(0)
    layer = network.add_identity(network.add_input("x", trt.float32, (4,)))
    layer.set_output_type(0, trt.int32)
    network.mark_output(layer.get_output(0))
    assert layer.get_output(0).dtype == trt.int32
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    (found,) = execute(trt, engine, {"x": np.float32([1.5, -2.5, 0, 7])}).values()
    assert found.tolist() == [1, -2, 0, 7]


class TestDynamicRanges:
    def ranges(self, network, magnitudes):
        for index, magnitude in magnitudes.items():
            network.get_layer(index).get_input(0).set_dynamic_range(-magnitude, magnitude)

    def test_ranges_make_an_int8_engine_without_a_calibrator(self, trt, lab, build, images, model, reference, distance):
        magnitudes = {0: 1.0, 3: 4.0, 5: 6.0}
        engine = build("INT8", change=lambda network: self.ranges(network, magnitudes))
        if target().has_fast("INT8"):
            assert set(executed(trt, engine).values()) == {"Int8"}
        found = execute(trt, engine, {"images": images()})["output0"]
        assert 1e-4 < distance(found, reference(model(), images())) < 0.1
        assert any("Calibrator is not being used" in text for _, text in lab.log.messages)

    def test_a_tensor_without_a_range_is_named(self, lab, trt, build):
        engine = build("INT8", change=lambda network: self.ranges(network, {0: 1.0, 5: 6.0}))
        assert executed(trt, engine)[CONVS[3]] == "FP32"
        assert [text for _, text in lab.log.messages if "Missing scale and zero-point for tensor m," in text]

    def test_a_layer_can_be_spared(self, trt, build):
        def change(network):
            self.ranges(network, {0: 1.0, 3: 4.0, 5: 6.0})
            network.get_layer(3).precision = trt.float32

        engine = build("INT8", "OBEY_PRECISION_CONSTRAINTS", change=change)
        found = executed(trt, engine)
        assert found[CONVS[3]] == "FP32"
        if target().has_fast("INT8"):
            assert found[CONVS[0]] == found[CONVS[5]] == "Int8"

    def test_the_properties(self, trt, lab, model):
        tensor = lab.network(model(), strong=False).get_input(0)
        assert tensor.dynamic_range is None
        assert tensor.set_dynamic_range(-2, 1)
        assert tensor.dynamic_range == (-2.0, 1.0)
        assert not tensor.set_dynamic_range(1, -1)
        tensor.reset_dynamic_range()
        assert tensor.dynamic_range is None
