"""The mistakes that TensorRT's users make, and what TensorRT says: one row for each line of the project's list.

What is undefined on a GPU (forgotten copies and synchronisations, freed memory, buffers of a wrong size or type) is in
`test_ten_mistakes.py`, as programs.
"""

import importlib

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work

ONE, FOUR = (1, 3, 16, 16), (4, 3, 16, 16)
CHECK = "Parameter check failed, condition:"
BINDINGS = "mContext.profileObliviousBindings.at(profileObliviousIndex)"


@pytest.fixture
def device_memory(cudart):
    return lambda nbytes=4096: cudart.cudaMalloc(nbytes)[1]


@pytest.fixture
def context(lab, model):
    """A context for batches of 1 to 4, with nothing set."""
    lab.profile(ONE, ONE, FOUR)
    return lab.engine(model(batch="n")).create_execution_context()


@pytest.mark.parametrize("make", ["Builder", "Runtime"])
def test_no_device(trt, log, monkeypatch, make):
    monkeypatch.setenv("YOLOTRT_EMULATED_DEVICES", "0")
    with pytest.raises(TypeError, match=r"^pybind11::init\(\): factory function returned nullptr$"):
        getattr(trt, make)(log)
    assert "CUDA initialization failure with error: 100" in log.errors


def test_dynamic_input_without_a_profile(lab, model):
    assert lab.plan(model(batch="n")) is None
    assert "Network has dynamic or shape inputs, but no optimization profile has been defined." in lab.log.errors


@pytest.mark.parametrize("shapes", [(FOUR, ONE, ONE), (ONE, FOUR, ONE)], ids=["min above max", "opt above max"])
def test_an_invalid_profile(lab, shapes):
    assert lab.profile(*shapes) == -1


@pytest.mark.parametrize("batch", [0, 5])
def test_a_shape_outside_the_profile(lab, context, batch):
    assert context.set_input_shape("images", (batch, *ONE[1:])) is False
    assert lab.log.errors == (
        f"IExecutionContext::setInputShape: Error Code 3: API Usage Error ({CHECK} satisfyProfile. Set dimension "
        f"[{batch},3,16,16] for tensor images does not satisfy any optimization profiles. Valid range for profile 0: "
        "[1,3,16,16]..[4,3,16,16].)"
    )
    assert context.get_tensor_shape("images") == (-1, *ONE[1:])


@pytest.mark.parametrize(
    ("forgotten", "says"),
    [
        (
            "images",
            f"{CHECK} {BINDINGS} != nullptr. Address is not set for input tensor images. Call setInputTensorAddress or "
            "setTensorAddress before enqueue/execute.",
        ),
        (
            "output0",
            f"{CHECK} {BINDINGS} || getPtrOrNull(mOutputAllocators, profileObliviousIndex). Neither address or "
            "allocator is set for output tensor output0. Call setOutputTensorAddress, setTensorAddress or "
            "setOutputAllocator before enqueue/execute.",
        ),
    ],
)
def test_an_unset_address(lab, context, device_memory, forgotten, says):
    context.set_input_shape("images", ONE)
    for name in {"images", "output0"} - {forgotten}:
        context.set_tensor_address(name, device_memory())
    with count_work() as measured:
        assert context.execute_async_v3(0) is False
    assert lab.log.errors == f"IExecutionContext::enqueueV3: Error Code 3: API Usage Error ({says})"
    assert measured.work.enqueue_count == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda plan: b"garbage" * 100, "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed."),
        (lambda plan: (24).to_bytes(4, "little") + b'{"names": {"0": "bolt"}}' + plan, "header.magicTag"),
        (lambda plan: plan[:-10], "Serialization assertion plan.header.size == blobSize failed."),
        (lambda plan: plan[:16] + (99).to_bytes(4, "little") + plan[20:], "Serialized Engine Version: 99"),
        (lambda plan: b"", "Cannot deserialize with an empty memory buffer."),
    ],
    ids=["garbage", "an Ultralytics header", "truncated", "another version", "nothing"],
)
def test_a_plan_that_is_none(lab, model, change, says):
    plan = bytes(lab.plan(model()))
    assert lab.load(change(plan)) is None
    assert says in lab.log.errors


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT 10.1:DeprecationWarning")
@pytest.mark.parametrize("end", [None, []], ids=["None", "empty list"])
def test_a_calibrator_gives_addresses_and_ends_with_nothing(trt10, model, log10, cudart10, end):
    """`get_batch` gets the inputs' names and returns one device address for each."""
    memory = cudart10.cudaMalloc(4 * 3 * 16 * 16)[1]
    values = np.random.default_rng(3).random(ONE, dtype=np.float32)
    cudart10.cudaMemcpy(memory, values, values.nbytes, cudart10.cudaMemcpyKind.cudaMemcpyHostToDevice)

    class Calibrator(trt10.IInt8EntropyCalibrator2):
        def __init__(self):
            super().__init__()
            self.asked = []

        def get_batch_size(self):
            return 1

        def get_batch(self, names):
            self.asked.append(list(names))
            return [memory] if len(self.asked) < 3 else end

        def read_calibration_cache(self):
            return None

        def write_calibration_cache(self, cache):
            self.written = bytes(cache)

    builder = trt10.Builder(log10)
    network, config = builder.create_network(0), builder.create_builder_config()
    assert trt10.OnnxParser(network, log10).parse_from_file(str(model(detector=True)))
    config.set_flag(trt10.BuilderFlag.INT8)
    config.int8_calibrator = calibrator = Calibrator()
    assert builder.build_serialized_network(network, config) is not None
    assert calibrator.asked == [["images"]] * 3
    assert b"images: " in calibrator.written


@pytest.fixture
def log10(trt10):
    return trt10.Logger(trt10.Logger.ERROR)


@pytest.fixture
def cudart10(trt10):
    return importlib.import_module("cuda.bindings.runtime")


def test_numpy_has_no_bfloat16(trt):
    with pytest.raises(TypeError, match="Could not resolve TensorRT datatype to an equivalent numpy datatype"):
        trt.nptype(trt.bfloat16)


def test_the_volume_of_an_unknown_shape_is_negative(trt):
    assert trt.volume((-1, 3, 16, 16)) == -768


@pytest.mark.parametrize("name", ["ILogger", "IProfiler", "IOutputAllocator"])
def test_a_subclass_without_the_base_constructor(trt, name):
    class Forgetful(getattr(trt, name)):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"__init__\(\) must be called when overriding __init__$"):
        Forgetful()
