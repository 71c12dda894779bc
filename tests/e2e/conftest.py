"""The command line as a user calls it, and one small real detector in every form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from yolotrt_lab.cli.main import main

IMAGE_SIZE = 160


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """stderr on one line, so that wrapping does not matter."""
        return " ".join(self.err.split())


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run `yolotrt` in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base checkpoint as model.onnx and model.engine, for small images."""
    from yolotrt_lab.engines.build import EngineOptions, build_engine
    from yolotrt_lab.export.onnx_export import export_onnx
    from yolotrt_lab.training import base_checkpoint

    folder = tmp_path_factory.mktemp("models")
    export_onnx(base_checkpoint(), folder / "model.onnx", image_size=IMAGE_SIZE)
    build_engine(folder / "model.onnx", folder / "model.engine", options=EngineOptions())
    return folder


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small `parts` data set."""
    from yolotrt_lab.data.datasets import prepare_dataset

    root = tmp_path_factory.mktemp("datasets")
    counts = {"train": 6, "val": 3, "test": 4}
    return prepare_dataset("parts", root=root, seed=3, counts=counts, image_hw=(IMAGE_SIZE, IMAGE_SIZE)).root
