"""The emulated ONNX parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolotrt_lab.emulation.tensorrt.graph import Problem, Unreadable, check_model, load_model
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged
from yolotrt_lab.emulation.tensorrt.onnx_ops import PLUGIN_OPS, SUPPORTED_OPS
from yolotrt_lab.emulation.tensorrt.quantized import read_as_int8

__all__ = ["OnnxParser", "ParserError"]


class ParserError(ApiObject):
    """Why the parser refused a model."""

    def _setup(self, problem: Problem) -> None:
        self._problem = problem

    def code(self) -> Any:
        """Return the error code."""
        return getattr(self._api.ErrorCode, self._problem.code)

    def desc(self) -> str:
        """Return the description."""
        return self._problem.description

    def file(self) -> str:
        """Return the parser's source file."""
        return self._problem.file

    def line(self) -> int:
        """Return the line in that file."""
        return self._problem.line

    def func(self) -> str:
        """Return the parser's function."""
        return self._problem.function

    def node(self) -> int:
        """Return the index of the node, -1 if it is not about one."""
        return self._problem.node

    def node_name(self) -> str:
        """Return the node's name."""
        return self._problem.node_name

    def node_operator(self) -> str:
        """Return the node's operator."""
        return self._problem.node_op

    def local_function_stack(self) -> list[str]:
        """Return the ONNX functions around the node; there are none."""
        return []

    def local_function_stack_size(self) -> int:
        """Return how many ONNX functions are around the node."""
        return 0

    def __repr__(self) -> str:
        problem = self._problem
        where = f"In node {problem.node} with name: {problem.node_name} and operator: {problem.node_op} "
        return f"{where}({problem.function}): {problem.code}: {problem.description}"

    __str__ = __repr__


class OnnxParser(ContextManaged):
    """Fills a network from an ONNX model, and collects every error."""

    def __init__(self, network: Any, logger: Any) -> None:
        super().__init__()
        self._network = network
        self._reporter = Reporter(self._api, logger)
        self._problems: list[Problem] = []
        self._flags = 1 << int(self._api.OnnxParserFlag.NATIVE_INSTANCENORM)

    def parse(self, model: Any, path: str | None = None) -> bool:
        """Parse a serialized model; `path` tells where weights in separate files are."""
        folder = None if path is None else Path(path).parent
        return self._parse(bytes(model), folder=folder, name=path or "")

    def parse_from_file(self, model: str) -> bool:
        """Parse a model file."""
        path = Path(model if isinstance(model, str) else bytes(model).decode())
        try:
            data = path.read_bytes()
        except OSError:
            self._refuse([Problem("MODEL_DESERIALIZE_FAILED", f"Could not open file {path}", "parseFromFile")], None)
            return False
        return self._parse(data, folder=path.parent, name=str(path))

    def supports_operator(self, op_name: str) -> bool:
        """Return whether the parser knows an operator."""
        return op_name in SUPPORTED_OPS or op_name in PLUGIN_OPS

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

    @property
    def flags(self) -> int:
        """The parser's flags as bits."""
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = int(value)

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Clear a flag."""
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is set."""
        return bool(self._flags >> int(flag) & 1)

    def set_builder_config(self, builder_config: Any) -> bool:
        """Tell the parser what the network will be built with; it matters for DLA only, which is not emulated."""
        return True

    def get_layer_output_tensor(self, name: str, i: int) -> Any:
        """Return an output tensor of the layer an ONNX node became, None if there is no such node."""
        layer = self._network._layer_named(name)
        return None if layer is None else layer.get_output(i)

    def get_used_vc_plugin_libraries(self) -> list[str]:
        """Return the plugin libraries the model needs; there are none."""
        return []

    def _parse(self, data: bytes, *, folder: Path | None, name: str) -> bool:
        try:
            model = load_model(data, folder=folder)
        except Unreadable as error:
            self._refuse([error.problem], None)
            return False
        self._describe(model, name)
        problems = check_model(model)
        if problems:
            self._refuse(problems, model)
            return False
        model, warnings = read_as_int8(model)
        for warning in warnings:
            self._reporter.warning(warning)
        self._network._fill(model)
        return True

    def _describe(self, model: Any, name: str) -> None:
        line = "-" * 64
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        facts = (
            f"Input filename:   {name}",
            f"ONNX IR version:  {model.ir_version}",
            f"Opset version:    {opset}",
            f"Producer name:    {model.producer_name}",
            f"Producer version: {model.producer_version}",
        )
        for text in (line, *facts, line):
            self._reporter.info(text)

    def _refuse(self, problems: list[Problem], model: Any) -> None:
        for problem in problems:
            self._problems.append(problem)
            if problem.node >= 0 and model is not None:
                self._quote(model.graph.node[problem.node], problem.node)
            number = int(getattr(self._api.ErrorCode, problem.code))
            where = f"ERROR: {problem.file}:{problem.line} In function {problem.function}:"
            self._reporter.say("ERROR", f"ModelImporter.cpp:968: {where}\n[{number}] {problem.description}")

    def _quote(self, node: Any, index: int) -> None:
        output = node.output[0] if node.output else ""
        say = self._reporter.say
        say("ERROR", f'ModelImporter.cpp:963: While parsing node number {index} [{node.op_type} -> "{output}"]:')
        say("ERROR", f"ModelImporter.cpp:964: --- Begin node ---\n{node}")
        say("ERROR", "ModelImporter.cpp:965: --- End node ---")
