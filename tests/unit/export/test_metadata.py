import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.metadata import metadata_from_model, onnx_metadata


def with_properties(model, **properties):
    del model.metadata_props[:]
    for key, value in properties.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return metadata_from_model(model)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'a', 1: 'b'}", ("a", "b")),
        ("{1: 'b', 0: 'a'}", ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("{0: 'a', 2: 'c'}", ()),  # a gap
        ("{'0': 'a'}", ("a",)),  # keys as JSON writes them
        ("{}", ()),
        ("", ()),
        ("__import__('os').system('true')", ()),
        ("[" * 5000, ()),
        ("5", ()),
    ],
)
def test_class_names(model, text, names):
    assert with_properties(model, names=text).class_names == names


@pytest.mark.parametrize(
    ("text", "input_hw"),
    [("[320, 640]", (320, 640)), ("640", (640, 640)), ("[0, 640]", None), ("True", None), ("[1]", None), ("x", None)],
)
def test_input_size_from_metadata_when_the_axes_are_dynamic(model, text, input_hw):
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "free"
    assert with_properties(model, imgsz=text).input_hw == input_hw


def test_the_signature_outweighs_the_metadata(model):
    assert with_properties(model, imgsz="[320, 320]").input_hw == (64, 64)


@pytest.mark.parametrize(("text", "stride"), [("32", 32), ("-1", None), ("32.5", None), ("True", None)])
def test_stride(model, text, stride):
    assert with_properties(model, stride=text).stride == stride


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xff\xfe garbage", "not a readable"),
        (b"\x08\x08", "not a readable"),
    ],
)
def test_files_that_are_no_model(tmp_path, content, what):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=what):
        onnx_metadata(path)
