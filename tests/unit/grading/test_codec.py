"""What a student's function returns is written without pickle, and comes back the same."""

import json
import os
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


class TestLies:
    """Values whose own code says something else than what they hold."""

    class Number(float):
        def __eq__(self, other):
            return True

        def __float__(self):
            return 1.0

        def __abs__(self):
            raise RuntimeError

        __hash__ = float.__hash__

    class Whole(int):
        def __int__(self):
            return 7

        def __lt__(self, other):
            return True

    class Text(str):
        def __str__(self):
            return "something else"

        def __getitem__(self, key):
            return self

    class Endless(list):
        def __iter__(self):
            return iter(int, 1)

        def __len__(self):
            return 2

    class Pretender:
        __class__ = float

        def __float__(self):
            return 1.0

        def __array__(self, *_, **__):
            return np.ones(3)

    class Weird(np.ndarray):
        def __array_finalize__(self, other):
            pass

        def __array_function__(self, *_):
            return True

        @property
        def nbytes(self):
            return -1

    @pytest.mark.parametrize(
        ("value", "real"),
        [(Number(0.5), 0.5), (Number("-0.0"), -0.0), (Whole(3), 3), (Text("abc"), "abc"), (Endless([1, 2]), [1, 2])],
    )
    def test_subclasses_become_what_they_hold(self, value, real, tmp_path):
        found = through(value, tmp_path)
        assert type(found) is type(real)
        assert repr(found) == repr(real)

    def test_arrays_of_a_subclass(self, tmp_path):
        found = through(np.arange(3.0).view(self.Weird), tmp_path)
        assert type(found) is np.ndarray
        assert found.tolist() == [0.0, 1.0, 2.0]

    def test_pretenders_are_nothing(self, tmp_path):
        class Raises(dict):
            pass

        class Broken:
            def __getattribute__(self, name):
                raise RuntimeError

        assert through(self.Pretender(), tmp_path) == Unsupported("Pretender")
        assert through(Broken(), tmp_path) == Unsupported("Broken")
        assert through(Raises(a=1), tmp_path) == {"a": 1}

    def test_a_metaclass_that_lies_about_its_name(self, tmp_path):
        class Named(type):
            __name__ = property(lambda cls: object())

        assert through(Named("Real", (), {})(), tmp_path) == Unsupported("Real")

    def test_masked_arrays_and_tensors(self, tmp_path):
        torch = pytest.importorskip("torch")

        class Hooked(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                raise RuntimeError

        assert through(np.ma.masked_array([1, 2], [0, 1]), tmp_path) == Unsupported("MaskedArray")
        assert through(torch.ones(2).as_subclass(Hooked), tmp_path).tolist() == [1.0, 1.0]
        assert isinstance(through(torch.ones(2, dtype=torch.bfloat16), tmp_path), Unsupported)


class TestRoom:
    """What is too large is one mark, and leaves the rest its room."""

    def test_long_lists(self, tmp_path):
        found = through({"many": [0] * 300_000, "few": [1, 2]}, tmp_path)
        assert isinstance(found["many"], Unsupported)
        assert found["few"] == [1, 2]

    def test_many_arrays(self, tmp_path):
        found = through([np.zeros(1)] * 600, tmp_path)
        assert len(list(tmp_path.iterdir())) == 500
        assert isinstance(found[-1], Unsupported)

    def test_numbers_of_numpy_need_no_files(self, tmp_path):
        values = [np.float32(0.1), np.float64("nan"), np.uint64(2**64 - 1), np.int8(-5), np.bool_(True), np.float16(2)]
        found = through(values, tmp_path)
        assert [type(one) for one in found] == [type(one) for one in values]
        assert repr(found) == repr(values)
        assert list(tmp_path.iterdir()) == []

    def test_arrays_that_are_larger_than_their_memory(self, tmp_path):
        huge = np.broadcast_to(np.float32(1), (1 << 20, 1 << 10))
        assert isinstance(through(huge, tmp_path), Unsupported)

    def test_cycles(self, tmp_path):
        cycle: list = []
        cycle += [cycle, cycle]
        assert len(json.dumps(encode(cycle, tmp_path))) < 30_000_000

    def test_texts_that_utf8_does_not_hold(self, tmp_path):
        assert through("a\ud800b", tmp_path) == "a?b"

    @pytest.mark.parametrize("name", ["link", "fifo", "folder", "/dev/zero", "nothing"])
    def test_paths_of_no_regular_file(self, tmp_path, name):
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "link").symlink_to("secret")
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "folder").mkdir()
        record = encode(tmp_path / name, tmp_path / "record")
        assert record["file"] is None
        assert not (tmp_path / "record").exists()

    def test_records_of_numbers_that_are_none(self, tmp_path):
        for record in ({"dtype": "int8", "value": 300}, {"dtype": "int8", "value": [1]}, {"dtype": "O", "value": 1}):
            with pytest.raises((ValueError, KeyError)):
                decode({"$": "scalar", **record}, tmp_path)
