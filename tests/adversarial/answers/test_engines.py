"""Engines that are none: FP32 that calls itself INT8, ONNX Runtime behind counters, models that attack their reader."""

import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent))

from kernels import SEED, take

from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.results import State
from yolotrt_lab.grading.suite import load_exercise, suite_root


def verdict(exercise_id, answer, folder):
    record(load_exercise(exercise_id), answer, folder=folder, hidden_seed=SEED)
    return judge(folder, exercises=[exercise_id], hidden_seed=SEED)[exercise_id]


def renamed(model, amax):
    """FP32, with every name saying INT8."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        node.name = f"int8_quantized_{node.name}"
    made.producer_name, made.doc_string = "int8 quantizer", "precision: INT8"
    return made


def without_effect(model, amax):
    """Pairs of Q/DQ on a branch that nothing of the network reads."""
    made = renamed(model, amax)
    source = made.graph.input[0].name
    scale, zero = helper.make_tensor("s", 1, [], [0.01]), helper.make_tensor("z", 3, [], [0])
    made.graph.initializer.extend([scale, zero])
    made.graph.node.insert(0, helper.make_node("QuantizeLinear", [source, "s", "z"], ["q"]))
    made.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]))
    return made


@pytest.mark.parametrize("answer", [renamed, without_effect])
def test_fp32_as_int8(answer, tmp_path):
    result = verdict("lab4.qdq_graph", answer, tmp_path)
    failed = {test.name for test in result.tests if not test.passed}
    assert result.state is State.FAILED
    assert {"test_engine_runs_int8_and_follows_fp32", "test_pairs_are_where_tensorrt_wants_them"} <= failed


POSING = """
import sys
import numpy as np
import onnxruntime

class EngineBuffers:
    def __init__(self, engine, batch):
        frame = sys._getframe()
        while not isinstance(frame.f_locals.get("model"), bytes):
            frame = frame.f_back
        self.session = onnxruntime.InferenceSession(frame.f_locals["model"], providers=["CPUExecutionProvider"])
        for _ in range(3):
            count("allocated", 64)

    def submit(self, feeds):
        self.feeds = {name: np.array(value) for name, value in feeds.items()}
        count("copied", kind("h2d"), sum(value.nbytes for value in self.feeds.values()))
        count("enqueued", 5)

    def wait(self):
        names = [output.name for output in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(None, self.feeds)))
        for value in outputs.values():
            count("copied", kind("d2h"), value.nbytes)
        count("synchronized", "stream")
        return outputs
"""
COUNTING = """
from yolotrt_lab.emulation.counters import CopyKind, recorder
def kind(direction): return CopyKind(direction, True, True, 5)
def count(name, *arguments): getattr(recorder, name)(*arguments)
"""
NOT_COUNTING = "def kind(direction): return None\ndef count(name, *arguments): pass"


@pytest.mark.timeout(120)
def test_onnx_runtime_as_an_engine(tmp_path):
    """Counts of work that was never done are no better than none."""
    suite = suite_root()
    cheat = take([COUNTING, POSING], tmp_path / "cheat", exercises=("lab5.buffers",), suite=suite)
    twin = take([NOT_COUNTING, POSING], tmp_path / "twin", exercises=("lab5.buffers",), suite=suite)
    assert cheat.score == twin.score < cheat.results["lab5.buffers"].points
    assert {"integrity: counters", "integrity: frames", "looks for the grader"} <= set(cheat.findings)


def external(path):
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../../../../../../../etc/passwd"), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


def claimed_to_be_huge(path):
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend([1 << 31, 1 << 31])
    return model


def cyclic(path):
    model = onnx.load(path)
    first, last = model.graph.node[0], model.graph.node[-1]
    first.input[0] = last.output[0]
    return model


def untouched(path):
    return onnx.load(path)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("spoil", [untouched, external, claimed_to_be_huge, cyclic])
def test_models_that_attack_their_reader(spoil, tmp_path):
    import torch  # takes longer than the exercise allows, where the machine is busy

    def export(module, images, path):
        axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
        names = {"input_names": ["images"], "output_names": ["scores"], "dynamic_axes": axes}
        torch.onnx.export(module.eval(), (images,), path, dynamo=False, opset_version=17, **names)
        model = spoil(path)
        path.write_bytes(model.SerializeToString())

    result = verdict("lab3.dynamic_export", export, tmp_path)
    computes = {test.name: test.passed for test in result.tests}["test_right_at_every_batch_size"]
    assert computes == (spoil is untouched)
    assert result.state is not State.TROUBLE, result.note
    assert b"root:" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
