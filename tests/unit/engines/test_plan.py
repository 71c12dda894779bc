import json
import struct

import pytest

from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.plan import load_engine, read_plan
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.types import Precision


@pytest.fixture
def engine(detector, tmp_path):
    return build_engine(
        detector(quantized=True), tmp_path / "m.engine", options=EngineOptions(precision=Precision.INT8, max_batch=2)
    ).path


@pytest.fixture
def edit(engine):
    """Change facts in the sidecar."""

    def change(**facts):
        path = engine.with_name(engine.name + ".json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))

    return change


def test_round_trip(engine):
    plan = read_plan(engine)
    assert plan.bytes == engine.read_bytes()
    assert plan.provenance.precision_found == "int8"
    assert plan.metadata["names"] == "{0: 'bolt', 1: 'nut'}"
    assert load_engine(engine).engine.num_io_tensors == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"garbage" * 50, "is not a TensorRT engine"),
        (b"\x08\x08\x12\x07pytorch", "is not a TensorRT engine"),
    ],
    ids=["missing", "empty", "garbage", "onnx"],
)
def test_what_is_no_engine(tmp_path, content, message):
    path = tmp_path / "bad.engine"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_plan(path)


def test_a_model_is_not_suggested_as_output(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"-o \S+model\.engine"):
        read_plan(path)


class TestSidecar:
    def test_missing_is_allowed_with_a_warning(self, engine):
        engine.with_name("m.engine.json").unlink()
        with pytest.warns(LabWarning, match="has no provenance"):
            plan = read_plan(engine)
        assert plan.provenance is None
        assert plan.metadata == {}

    @pytest.mark.parametrize("change", [lambda d: d[:-10], lambda d: d + b"x", lambda d: d[:60] + b"!" + d[61:]])
    def test_a_changed_plan_is_noticed(self, engine, change):
        engine.write_bytes(change(engine.read_bytes()))
        with pytest.raises(InputError) as caught:
            read_plan(engine)
        text = str(caught.value)
        assert "is not the engine that m.engine.json describes" in text
        assert "Build it again: yolotrt build" in text
        assert "--precision int8 --min-batch 1 --opt-batch 1 --max-batch 2" in text

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1}'])
    def test_a_broken_one(self, engine, text):
        engine.with_name("m.engine.json").write_text(text)
        with pytest.raises(InputError, match=r"m\.engine\.json"):
            read_plan(engine)

    @pytest.mark.parametrize(
        ("facts", "what"),
        [({"tensorrt_version": "9.9"}, "another TensorRT"), ({"device_name": "NVIDIA T4"}, "another device")],
    )
    def test_built_elsewhere(self, engine, edit, facts, what):
        edit(**facts)
        with pytest.raises(InputError) as caught:
            read_plan(engine)
        assert what in str(caught.value)
        assert next(iter(facts.values())) in str(caught.value)
        assert "Build it again here: yolotrt build" in str(caught.value)


def test_another_tensorrt_version(engine, monkeypatch):
    monkeypatch.setenv("YOLOTRT_TRT_API", "11")
    with pytest.raises(InputError, match=r"another TensorRT[\s\S]*11\.4\.0\.106[\s\S]*10\.16\.1\.11"):
        load_engine(engine)


def test_without_a_sidecar_tensorrt_itself_refuses(engine, monkeypatch):
    engine.with_name("m.engine.json").unlink()
    monkeypatch.setenv("YOLOTRT_TRT_API", "11")
    with (
        pytest.warns(LabWarning),
        pytest.raises(InputError, match=r"expecting library version 11\.4\.0\.106 got 10\.16\.1\.11, please rebuild"),
    ):
        load_engine(engine)


def test_truncated_without_a_sidecar(engine):
    engine.with_name("m.engine.json").unlink()
    engine.write_bytes(engine.read_bytes()[:500])
    with pytest.warns(LabWarning), pytest.raises(InputError, match=r"plan\.header\.size == blobSize"):
        load_engine(engine)


def test_a_plan_for_a_real_gpu(tmp_path):
    path = tmp_path / "gpu.engine"
    path.write_bytes(b"ftrt" + bytes(100))
    with pytest.warns(LabWarning), pytest.raises(InputError, match="built for a GPU and cannot run on the emulation"):
        read_plan(path)


class TestUltralyticsHeader:
    def wrapped(self, engine, header):
        text = json.dumps(header).encode()
        path = engine.with_name("wrapped.engine")
        path.write_bytes(struct.pack("<I", len(text)) + text + engine.read_bytes())
        return path

    def test_is_taken_off_and_used(self, engine):
        header = {"names": {"0": "bolt", "1": "nut"}, "imgsz": [32, 32], "stride": 32, "task": "detect"}
        path = self.wrapped(engine, header)
        with pytest.warns(LabWarning):
            plan = read_plan(path)
        assert plan.bytes == engine.read_bytes()
        assert plan.metadata == {**header, "names": {0: "bolt", 1: "nut"}}
        with pytest.warns(LabWarning):
            assert load_engine(path).engine.num_io_tensors == 2

    @pytest.mark.parametrize(
        "content",
        [struct.pack("<I", 9999) + b"{}", struct.pack("<I", 2) + b"[]", struct.pack("<I", 4) + b"{bad", b"\x02"],
        ids=["too long", "a list", "no json", "too short"],
    )
    def test_what_only_looks_like_one(self, tmp_path, content):
        path = tmp_path / "bad.engine"
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a TensorRT engine"):
            read_plan(path)
