"""Whatever a record holds: an accessor returns a plain value of the kind it promises, or raises `Mismatch`."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from yolotrt_lab.grading.answers import Answer
from yolotrt_lab.grading.codec import Unsupported
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.expectations import Mismatch
from yolotrt_lab.types import Detections

TAGS = ("tuple", "set", "dict", "object", "detections", "float", "array", "scalar", "bytes", "file", "unsupported", "x")
FILES = ("a.npy", "odd.bin", "../a.npy", "/etc/passwd", "", "record.json", "absent.npy")
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["nan", "-inf", "1e999", "0x"]),
)


def tagged(children):
    pairs = st.lists(st.lists(children, min_size=1, max_size=3), max_size=4)
    return st.fixed_dictionaries(
        {"$": st.sampled_from(TAGS)},
        optional={
            "items": st.one_of(pairs, st.lists(children, max_size=4), children),
            "file": st.one_of(st.sampled_from(FILES), children),
            "name": children,
            "type": children,
            "text": st.one_of(st.sampled_from(["nan", "-inf", "1e999", "x"]), children),
        },
    )


OUTPUTS = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        st.lists(children, max_size=4), st.dictionaries(st.text(max_size=3), children, max_size=3), tagged(children)
    ),
    max_leaves=12,
)
RECORDS = st.one_of(
    st.fixed_dictionaries({"status": st.just("returned"), "output": OUTPUTS}),
    st.dictionaries(
        st.sampled_from(
            ["status", "output", "printed", "type", "message", "where", "changed_inputs", "seconds", "name"]
        ),
        st.one_of(OUTPUTS, st.sampled_from(["returned", "raised", "timeout", "shortcut", "unfinished", "missing"])),
    ),
)

ACCESSORS = {
    "array": lambda value: value.array(),
    "array of a shape": lambda value: value.array(shape=(None, 2)),
    "array of a type": lambda value: value.array(dtype="float32", ndim=1),
    "number": lambda value: value.number(),
    "integer": lambda value: value.integer(),
    "boolean": lambda value: value.boolean(),
    "text": lambda value: value.text(),
    "list": lambda value: value.list(length=2),
    "mapping": lambda value: value.mapping(keys=("a",)),
    "file": lambda value: value.file(suffix=".onnx"),
    "item": lambda value: value.item(0).item("a").number(),
    "output": lambda value: value.output,
    "changed inputs": lambda value: value.changed_inputs,
    "error": lambda value: value.error(),
}

PLAIN = (bool, int, float, str, bytes, list, tuple, dict, frozenset, Path, np.generic, np.ndarray)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    np.save(folder / "a.npy", np.arange(4.0))
    (folder / "odd.bin").write_bytes(b"odd")
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=RECORDS)
@example(record={"status": "returned", "output": 10**400})
@example(record={"status": "returned", "output": [10**400, "a"]})
@example(record={"status": "returned", "output": {"$": "scalar", "file": "a.npy"}})
@example(record={"status": "returned", "output": 1, "changed_inputs": 5})
@example(record={"status": "raised", "where": "here"})
@example(record={"status": "raised", "where": {"text": 5}, "type": ["TypeError"], "message": None})
def test_accessors(folder, record):
    (folder / "record.json").write_text(json.dumps(record), errors="surrogatepass")
    for accessor in ACCESSORS.values():
        answer = Answer(Case("a", False, 0), folder, inputs=dict)
        try:
            value = accessor(answer)
        except Mismatch as mismatch:
            text = str(mismatch)
        else:
            text = ""
            assert value is None or isinstance(value, (*PLAIN, Detections, Unsupported))
        assert len(text) < 5_000


def test_deep_records(folder):
    (folder / "record.json").write_text('{"status": "returned", "output": ' + "[" * 900 + "]" * 900 + "}")
    answer = Answer(Case("a", False, 0), folder, inputs=dict)
    for accessor in ACCESSORS.values():
        try:
            accessor(answer)
        except Mismatch:
            continue
