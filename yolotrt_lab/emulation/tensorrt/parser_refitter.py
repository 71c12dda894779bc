"""The emulated refitter for ONNX models: hands a model's weights to a refitter, by their names."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from yolotrt_lab.emulation.tensorrt.graph import Problem, Unreadable, data_type_name, load_model
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.refit_weights import tensor_content

__all__ = ["OnnxParserRefitter"]

_FILE = "WeightsContext.cpp"


class OnnxParserRefitter(ApiObject):
    """Takes weights out of an ONNX model like the one an engine was built from, and sets them in a refitter."""

    def __init__(self, refitter: Any, logger: Any) -> None:
        super().__init__()
        self._refitter = refitter
        self._reporter = Reporter(self._api, logger)
        self._problems: list[Problem] = []
        self._model: Any = None

    def refit_from_bytes(self, model: Any, path: str | None = None) -> bool:
        """Set the weights of a serialized model; return whether all the engine needs were in it."""
        found = self._read(bytes(model), folder=None if path is None else Path(path).parent)
        return found is not None and self._set_weights(found)

    def refit_from_file(self, model: str) -> bool:
        """Set the weights of a model file; return whether all the engine needs were in it."""
        path = Path(model if isinstance(model, str) else bytes(model).decode())
        try:
            data = path.read_bytes()
        except OSError:
            return self._fail("MODEL_DESERIALIZE_FAILED", f"Could not open file {path}", "refitFromFile")
        found = self._read(data, folder=path.parent)
        return found is not None and self._set_weights(found)

    def load_model_proto(self, model: Any, path: str | None = None) -> bool:
        """Load a serialized model without setting weights yet; return whether it could be read."""
        if self._model is not None:
            return self._fail("INVALID_VALUE", "A model is already loaded.", "loadModelProto")
        self._model = self._read(bytes(model), folder=None if path is None else Path(path).parent)
        return self._model is not None

    def load_initializer(self, name: str, data: int, size: int) -> bool:
        """Replace a weight of the loaded model by the `size` bytes at an address; return whether it fits."""
        if self._model is None:
            return self._fail("INVALID_VALUE", "No model is loaded.", "loadInitializer")
        found = next((tensor for tensor in self._model.graph.initializer if tensor.name == name), None)
        if found is None:
            return self._fail("INVALID_VALUE", f"The model has no initializer {name}.", "loadInitializer")
        expected = len(tensor_content(found))
        if size != expected:
            text = f"Initializer {name} has {expected} bytes, but {size} were given."
            return self._fail("INVALID_VALUE", text, "loadInitializer")
        found.raw_data = ctypes.string_at(data, size)
        return True

    def refit_model_proto(self) -> bool:
        """Set the weights of the loaded model; return whether all the engine needs were in it."""
        if self._model is None:
            return self._fail("INVALID_VALUE", "No model is loaded.", "refitModelProto")
        return self._set_weights(self._model)

    @property
    def num_errors(self) -> int:
        """How many errors there were."""
        return len(self._problems)

    def get_error(self, index: int) -> Any:
        """Return one error, None if there are not so many."""
        return self._api.ParserError._create(self._problems[index]) if 0 <= index < len(self._problems) else None

    def clear_errors(self) -> None:
        """Forget the errors."""
        self._problems.clear()

    def _read(self, data: bytes, *, folder: Path | None) -> Any:
        try:
            return load_model(data, folder=folder)
        except Unreadable as error:
            self._note(error.problem)
            return None

    def _set_weights(self, model: Any) -> bool:
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        done = True
        for name in self._refitter.get_all_weights():
            if name not in tensors:
                done = self._fail("REFIT_FAILED", f"The model has no weights {name}.", "refit")
                continue
            content = tensor_content(tensors[name])
            dtype = getattr(self._api.DataType, data_type_name(tensors[name].data_type) or "FLOAT")
            weights = self._api.Weights._of(dtype, content)
            if not self._refitter.set_named_weights(name, weights):
                done = self._fail("REFIT_FAILED", f"The weights {name} do not fit the engine.", "refit")
        return done

    def _fail(self, code: str, text: str, function: str) -> bool:
        self._note(Problem(code, text, function, file=_FILE))
        return False

    def _note(self, problem: Problem) -> None:
        self._problems.append(problem)
        number = int(getattr(self._api.ErrorCode, problem.code))
        where = f"ERROR: {problem.file}:{problem.line} In function {problem.function}:"
        self._reporter.say("ERROR", f"{where}\n[{number}] {problem.description}")
