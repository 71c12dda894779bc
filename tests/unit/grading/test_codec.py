"""What a student's function returns is written without pickle, and comes back the same."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yolotrt_lab.grading.codec import Unsupported, decode, encode
from yolotrt_lab.types import Detections, Precision

SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=20)
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.int64, np.bool_, np.uint8, np.float16]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


def through(value, folder: Path):
    return decode(json.loads(json.dumps(encode(value, folder), allow_nan=False)), folder)


def same(left, right) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        equal_nan = left.dtype.kind == "f"
        return (
            type(left) is type(right) and left.dtype == right.dtype and np.array_equal(left, right, equal_nan=equal_nan)
        )
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_round_trip(value, tmp_path_factory):
    assert same(value, through(value, tmp_path_factory.mktemp("record")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_json_does_not_know(value, tmp_path):
    assert repr(through(value, tmp_path)) == repr(value)


def test_detections_and_enums(tmp_path):
    boxes = Detections(np.ones((2, 4), np.float32), np.ones(2, np.float32), np.zeros(2, np.int64))
    back = through({"boxes": boxes, "ran": Precision.INT8, "kinds": {"a"}}, tmp_path)
    assert np.array_equal(back["boxes"].xyxy, boxes.xyxy)
    assert back["ran"] == "int8"
    assert back["kinds"] == frozenset({"a"})


def test_torch_tensors_become_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    assert np.array_equal(through(torch.arange(3), tmp_path), np.arange(3))


def test_other_dataclasses_become_dicts(tmp_path):
    @dataclass
    class Verdict:
        passed: bool

    assert through(Verdict(True), tmp_path) == {"passed": True}


def test_files_are_copied(tmp_path):
    source = tmp_path / "model.onnx"
    source.write_bytes(b"graph")
    back = through({"model": source}, tmp_path / "record")["model"]
    source.unlink()
    assert back.read_bytes() == b"graph"
    assert back.suffix == ".onnx"


def test_links_and_missing_files_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("seed")
    link = tmp_path / "link"
    link.symlink_to(secret)
    for path in (link, tmp_path / "nothing", tmp_path):
        assert isinstance(through(path, tmp_path / "record"), Unsupported)


def cyclic():
    loop: list = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [object(), len, np.array([object()]), 1 << 80, cyclic(), {"a": lambda: None}, np.zeros(3, complex)],
    ids=["object", "function", "object array", "huge integer", "cycle", "in a dict", "complex"],
)
def test_what_cannot_be_written_is_named(value, tmp_path):
    assert "Unsupported" in repr(through(value, tmp_path))


def test_too_much_is_cut(tmp_path):
    assert "too large" in repr(through([[0]] * 300_000, tmp_path))
    assert isinstance(through(np.zeros(300 << 20, np.uint8), tmp_path), Unsupported)


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/passwd", "gone.npy"])
def test_a_forged_record_reads_nothing_outside(name, tmp_path):
    with pytest.raises(ValueError, match="does not hold"):
        decode({"$": "array", "file": name}, tmp_path)


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "001.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        decode({"$": "array", "file": "001.npy"}, tmp_path)
