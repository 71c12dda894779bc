import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_names_survive_the_repr_ultralytics_writes(names):
    assert class_names_from_metadata({"names": repr(dict(enumerate(names)))}) == tuple(names)
    assert class_names_from_metadata({"names": repr(names)}) == tuple(names)
    assert class_names_from_metadata({"names": dict(reversed(list(enumerate(names))))}) == tuple(names)


@pytest.mark.parametrize(
    "names",
    [
        None,
        "",
        "not a literal",
        "__import__('os').getcwd()",
        "{1: 'a', 2: 'b'}",
        "{0: 'a', 2: 'b'}",
        "{'x': 'a'}",
        "{}",
        "3",
        "(" * 500,
    ],
)
def test_malformed_names_are_no_names(names):
    assert class_names_from_metadata({"names": names}) == ()
    assert class_names_from_metadata({}) == ()


def test_string_keys_from_json_count():
    assert class_names_from_metadata({"names": {"0": "a", "1": "b"}}) == ("a", "b")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("[640, 480]", (640, 480)),
        ((64, 96), (64, 96)),
        (320, (320, 320)),
        ("320", (320, 320)),
        ("[640]", None),
        ("[0, 640]", None),
        ("[-1, 640]", None),
        (True, None),
        ("x", None),
        (None, None),
        ([640.0, 480.0], None),
    ],
)
def test_input_hw(size, expected):
    assert input_hw_from_metadata({"imgsz": size}) == expected
