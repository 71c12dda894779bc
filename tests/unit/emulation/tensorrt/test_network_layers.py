"""Each layer through the whole path: added, built, deserialized, executed on device memory, compared with an oracle."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.emulation.tensorrt.layer_cases import CASES as ELEMENT_CASES
from tests.unit.emulation.tensorrt.layer_cases import INPUTS, Bench
from tests.unit.emulation.tensorrt.layer_cases_shapes import CASES as SHAPE_CASES

pytestmark = pytest.mark.xdist_group("network_layers")  # they share two builds
CASES = {**ELEMENT_CASES, **SHAPE_CASES}


def execute(trt: Any, engine: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run an engine once through device memory; return every output."""
    cudart = importlib.import_module("cuda.bindings.runtime")

    def call(result: Any) -> Any:
        code, *values = result
        assert code == cudart.cudaError_t.cudaSuccess, code
        return values[0] if values else None

    context, kind, outputs = engine.create_execution_context(), cudart.cudaMemcpyKind, {}
    addresses = {}
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            array = np.ascontiguousarray(inputs[name])
            context.set_input_shape(name, array.shape)
        else:
            array = np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
            outputs[name] = array
        addresses[name] = call(cudart.cudaMalloc(max(array.nbytes, 1)))
        assert context.set_tensor_address(name, addresses[name])
        if name not in outputs:
            call(cudart.cudaMemcpy(addresses[name], array, array.nbytes, kind.cudaMemcpyHostToDevice))
    assert context.execute_async_v3(0)
    call(cudart.cudaDeviceSynchronize())
    for name, array in outputs.items():
        call(cudart.cudaMemcpy(array, addresses[name], array.nbytes, kind.cudaMemcpyDeviceToHost))
    for address in addresses.values():
        call(cudart.cudaFree(address))
    return outputs


@pytest.fixture(scope="module")
def results():
    """Return a function that gives what the layers computed and the shapes they announced; one build a version."""
    found: dict[str, Any] = {}

    def run(trt: Any) -> Any:
        if trt.__version__ not in found:
            found[trt.__version__] = build_and_run(trt)
        return found[trt.__version__]

    return run


def build_and_run(trt: Any) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    bench = Bench(trt, network)
    types = {"float32": trt.float32, "int32": trt.int32, "bool": trt.bool}
    for name, array in INPUTS.items():
        bench.tensors[name] = network.add_input(name, types[array.dtype.name], array.shape)
    announced = {}
    for name, case in CASES.items():
        output = case.build(bench).get_output(0)
        output.name = name
        announced[name] = tuple(output.shape)
        network.mark_output(output)
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)  # for the layers that quantize
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return execute(trt, trt.Runtime(logger).deserialize_cuda_engine(plan), INPUTS), announced


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_what_it_should(trt, results, name):
    outputs, announced = results(trt)
    expected = CASES[name].expected({key: torch.from_numpy(array) for key, array in INPUTS.items()}).numpy()
    found = outputs[name]
    assert found.shape == announced[name] == expected.shape
    assert (found.dtype == np.bool_) == (expected.dtype == np.bool_)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
