"""ONNX files of strangers: nothing is read that they name, expanded that they declare, or walked in circles."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.answers import Value
from yolotrt_lab.grading.expectations import Mismatch
from yolotrt_lab.grading.untrusted_models import require_harmless_model

VALUE = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])]
OUT = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]


def graph(*nodes, initializers=(), name="g"):
    return helper.make_graph(list(nodes), name, VALUE, OUT, list(initializers))


def model(*nodes, initializers=(), functions=()):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph(*nodes, initializers=initializers), opset_imports=opsets, functions=list(functions))


def add(source="x", target="y", weight="w"):
    return helper.make_node("Add", [source, weight], [target])


def weight(name="w", values=(1, 2)):
    return numpy_helper.from_array(np.array(values, np.float32), name)


def outside(location="/etc/passwd"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def declared(*dims, kind=TensorProto.FLOAT):
    return TensorProto(name="w", data_type=kind, dims=dims, raw_data=bytes(8))


def function(name, *calls):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    names = ["a", *(f"t{number}" for number in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(call, [names[number]], [names[number + 1]], domain="" if call == "Relu" else "own")
        for number, call in enumerate(calls)
    ]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def within(depth):
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "inner", [], OUT)
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "inner", [], OUT)
    return inner.node[0]


def sparse(*dims):
    entries = numpy_helper.from_array(np.ones(1, np.float32), "s")
    return helper.make_sparse_tensor(entries, numpy_helper.from_array(np.zeros(1, np.int64), "i"), dims)


def with_sparse(*dims):
    made = model(helper.make_node("Relu", ["x"], ["y"]))
    made.graph.sparse_initializer.append(sparse(*dims))
    return made


def in_training():
    made = model(add(), initializers=[weight()])
    made.training_info.add().algorithm.initializer.append(outside())
    return made


def with_constant(tensor):
    return model(helper.make_node("Constant", [], ["w"], value=tensor), add())


SELF_FED = helper.make_node(
    "If",
    ["c"],
    ["y"],
    then_branch=helper.make_graph([helper.make_node("Relu", ["y"], ["z"])], "t", [], OUT),
    else_branch=helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "e", [], OUT),
)
BILLIONS = [function("f0", "Relu", "Relu")] + [function(f"f{n}", *[f"f{n - 1}"] * 10) for n in range(1, 12)]

HARMFUL = {
    "external data": (lambda: model(add(), initializers=[outside()]), "another file"),
    "external data beside it": (lambda: model(add(), initializers=[outside("weights.bin")]), "another file"),
    "external data of a constant": (lambda: with_constant(outside()), "another file"),
    "training": (in_training, "training"),
    "a huge initializer": (lambda: model(add(), initializers=[declared(1 << 40)]), "without its data"),
    "a huge constant": (lambda: with_constant(declared(1 << 20, 1 << 20)), "without its data"),
    "an overflowing shape": (lambda: model(add(), initializers=[declared(1 << 62, 1 << 62)]), "without its data"),
    "a negative size": (lambda: model(add(), initializers=[declared(-1, -8)]), "sizes from 0|shape"),
    "a huge sparse one": (lambda: with_sparse(1 << 40), "shape"),
    "a cycle": (lambda: model(add("z", "y"), add("y", "z"), initializers=[weight()]), "wait for each other"),
    "a node that feeds itself": (lambda: model(add("y", "y"), initializers=[weight()]), "wait for each other"),
    "a branch that waits for its node": (lambda: model(SELF_FED), "wait for each other"),
    "too deep": (lambda: model(within(12)), "more"),
    "a function that calls itself": (lambda: model(add(), functions=[function("f", "f")]), "calls itself"),
    "functions in a ring": (
        lambda: model(add(), functions=[function("f", "g"), function("g", "h"), function("h", "f")]),
        "calls itself",
    ),
    "a billion nodes": (
        lambda: model(helper.make_node("f11", ["x"], ["y"], domain="own"), functions=BILLIONS),
        "more of them",
    ),
}

HARMLESS = {
    "a small network": lambda: model(add(), initializers=[weight()]),
    "a branch": lambda: model(within(3)),
    "a function that calls another": lambda: model(
        helper.make_node("g", ["x"], ["y"], domain="own"), functions=[function("f", "Relu"), function("g", "f", "f")]
    ),
    "an empty tensor": lambda: model(add(), initializers=[weight(values=())]),
    "a small sparse one": lambda: with_sparse(64),
    "four bits": lambda: model(add(), initializers=[declared(4, 4, kind=TensorProto.INT4)]),
    "numbers in lists": lambda: model(
        add(), initializers=[helper.make_tensor("w", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0])]
    ),
}


@pytest.fixture
def saved(tmp_path):
    def save(made):
        path = tmp_path / "model.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return path

    return save


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_models_are_refused_with_a_sentence(name, saved):
    made, words = HARMFUL[name]
    with pytest.raises(InputError, match=words):
        require_harmless_model(saved(made()))


@pytest.mark.parametrize("name", HARMLESS)
def test_others_are_left_to_the_tests(name, saved):
    require_harmless_model(saved(HARMLESS[name]()))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b" * 10_000])
def test_what_is_no_model_is_left_to_the_tests(content, saved):
    require_harmless_model(saved(content))


def test_size(saved):
    path = saved(b"")
    with path.open("wb") as stream:
        stream.truncate(1 << 32)
    with pytest.raises(InputError, match="200 MB"):
        require_harmless_model(path)


def test_tests_get_no_other_models(saved):
    path = saved(HARMFUL["external data"][0]())
    with pytest.raises(Mismatch) as caught:
        Value(path, "the result").file(suffix=".onnx")
    assert "one file that holds all its weights" in caught.value.expected
    path = saved(HARMLESS["a small network"]())
    assert Value(path, "the result").file(suffix=".onnx") == path
    assert onnx.load(path).graph.node
    path.unlink()
    with pytest.raises(Mismatch, match="can be read"):
        Value(path, "the result").file(suffix=".onnx")


def test_what_is_left_to_the_tests_raises_nothing_else(saved):
    """Damaged on purpose, byte by byte: refused with a sentence or let through, never an error of another kind."""
    rng = np.random.default_rng(0)
    sound = HARMLESS["a function that calls another"]().SerializeToString()
    seen = SimpleNamespace(refused=0, passed=0)
    for _ in range(300):
        damaged = bytearray(sound)
        for place in rng.integers(0, len(sound), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            require_harmless_model(saved(bytes(damaged)))
            seen.passed += 1
        except InputError:
            seen.refused += 1
    assert seen.passed
