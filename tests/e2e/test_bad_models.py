"""Broken, foreign and hostile model files, through every command that takes one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.files import sha256_of


def _graph(node_type: str = "Relu", *, domain: str = "") -> onnx.ModelProto:
    """A graph of one node that takes an image."""
    shape = [1, 3, 160, 160]
    graph = helper.make_graph(
        [helper.make_node(node_type, ["images"], ["output0"], name="only", domain=domain)],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _truncated(good: Path, bad: Path) -> None:
    bad.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def _not_yolo(_good: Path, bad: Path) -> None:
    onnx.save(_graph(), bad)


def _unsupported_op(_good: Path, bad: Path) -> None:
    onnx.save(_graph("MagicTurbo", domain="acme"), bad)


def _external_data_outside(good: Path, bad: Path) -> None:
    """Point a weight at a file above the model's folder."""
    model = onnx.load(good)
    weight = model.graph.initializer[0]
    secret = bad.parent.parent / "secret.bin"
    secret.write_bytes(b"\0" * np.prod(numpy_helper.to_array(weight).shape).item() * 4)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    bad.write_bytes(model.SerializeToString())


_BAD_ONNX = {
    "truncated": (_truncated, ""),
    "empty": (lambda _good, bad: bad.write_bytes(b""), "0 bytes"),
    "garbage": (lambda _good, bad: bad.write_bytes(b"\x00\x01garbage" * 50), ""),
    "not-yolo": (_not_yolo, "YOLO"),
    "unsupported-op": (_unsupported_op, "MagicTurbo"),
    "external-data": (_external_data_outside, "secret.bin"),
}


@pytest.mark.parametrize("kind", _BAD_ONNX)
@pytest.mark.parametrize("command", ["verify", "infer", "quantize"])
def test_bad_onnx(cli: Callable, models: Path, parts: Path, tmp_path: Path, kind: str, command: str) -> None:
    write, words = _BAD_ONNX[kind]
    folder = tmp_path / "in"
    folder.mkdir()
    bad = folder / "bad.onnx"
    write(models / "model.onnx", bad)
    arguments = {
        "verify": (bad,),
        "infer": (bad, parts / "images" / "test", "-o", tmp_path / "out"),
        "quantize": (bad, "--precision", "int8", "--data", parts / "data.yaml", "-o", tmp_path / "out" / "q.onnx"),
    }[command]
    outcome = cli(command, *arguments)
    assert outcome.code in (1, 2), outcome.err
    text = outcome.words + " " + " ".join(outcome.out.split())
    assert words in text
    assert "Traceback" not in text
    assert "Internal error" not in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("bad.onnx", "secret.bin")]


@pytest.mark.parametrize("kind", [kind for kind in _BAD_ONNX if kind != "not-yolo"])
def test_bad_onnx_gives_no_engine(cli: Callable, models: Path, tmp_path: Path, kind: str) -> None:
    write, words = _BAD_ONNX[kind]
    folder = tmp_path / "in"
    folder.mkdir()
    bad = folder / "bad.onnx"
    write(models / "model.onnx", bad)
    outcome = cli("build", bad, "-o", tmp_path / "out" / "model.engine")
    assert outcome.code == 2, outcome.err
    assert words in outcome.words
    assert "Internal error" not in outcome.words
    assert not list(tmp_path.rglob("*.engine*"))


def _copy_engine(models: Path, folder: Path) -> tuple[Path, dict]:
    plan = folder / "model.engine"
    plan.write_bytes((models / "model.engine").read_bytes())
    return plan, json.loads((models / "model.engine.json").read_text())


def _write_sidecar(plan: Path, sidecar: dict) -> None:
    sidecar["plan_sha256"] = sha256_of(plan)
    plan.with_name(plan.name + ".json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"not a plan" * 100, ""), (b"\x00" * 4096, "")],
    ids=["empty", "garbage", "zeros"],
)
@pytest.mark.parametrize("command", ["inspect", "infer"])
def test_garbage_plans(cli: Callable, parts: Path, tmp_path: Path, command: str, content: bytes, words: str) -> None:
    plan = tmp_path / "bad.engine"
    plan.write_bytes(content)
    arguments = (plan,) if command == "inspect" else (plan, parts / "images" / "test", "-o", tmp_path / "out")
    outcome = cli(command, *arguments)
    assert outcome.code == 2, outcome.err
    assert words in outcome.words
    assert "bad.engine" in outcome.words
    assert "Internal error" not in outcome.words


def test_a_truncated_plan(cli: Callable, models: Path, tmp_path: Path) -> None:
    plan, _ = _copy_engine(models, tmp_path)
    plan.write_bytes(plan.read_bytes()[:-5000])
    outcome = cli("inspect", plan)
    assert outcome.code == 2
    assert "Internal error" not in outcome.words


def test_ultralytics_header_is_understood(cli: Callable, models: Path, parts: Path, tmp_path: Path) -> None:
    header = json.dumps({"names": {"0": "a"}, "imgsz": [160, 160], "task": "detect"}).encode()
    plan = tmp_path / "wrapped.engine"
    plan.write_bytes(struct.pack("<I", len(header)) + header + (models / "model.engine").read_bytes())
    outcome = cli("inspect", plan, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)


@pytest.mark.parametrize("output", ["file-in-the-way", "full"])
def test_unwritable_output(cli: Callable, models: Path, tmp_path: Path, output: str, monkeypatch) -> None:
    if output == "full":
        import errno

        real = Path.write_bytes

        def full(self: Path, data: bytes) -> int:
            real(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        target = tmp_path / "model.engine"
    else:
        (tmp_path / "blocked").write_text("a file")
        target = tmp_path / "blocked" / "model.engine"
    outcome = cli("build", models / "model.onnx", "-o", target)
    assert outcome.code == 2
    assert "Cannot write" in outcome.words
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "blocked"]
