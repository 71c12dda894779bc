"""The emulated engine inspector, in the JSON shape of its TensorRT version."""

from __future__ import annotations

import json
from typing import Any

from yolotrt_lab.emulation.tensorrt.layers import EngineLayer, LayerTensor
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.plan_format import TensorRecord
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, kept

__all__ = ["EngineInspector"]

_SEPARATOR = "\u001e"


_RANGE = ("MinShape", "OptShape", "MaxShape")
_MODES = {"INPUT": "Input", "OUTPUT": "Output"}
_TYPES = {"FLOAT": "Float", "HALF": "Half", "BF16": "BFloat16", "INT8": "Int8", "INT32": "Int32", "INT64": "Int64"}
_TYPES |= {"BOOL": "Bool", "UINT8": "UInt8"}


class EngineInspector(ApiObject):
    """Tells about an engine's layers: all of it if the engine was built with DETAILED verbosity, else the names.

    With a context set, inputs and outputs have the dimensions that the context gives them; between the layers dynamic
    dimensions stay -1, for OpenVINO does not tell them.
    """

    def _setup(self, reporter: Reporter, engine: Any) -> None:
        self._reporter = reporter
        self._engine = engine
        self._execution_context: Any = None

    execution_context = kept("execution_context", "The context whose shapes are shown; None shows -1 where dynamic.")
    error_recorder = error_recorder()

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        """Return the description of one layer."""
        layers = self._engine._layers()
        if not 0 <= layer_index < len(layers):
            text = f"Parameter check failed, condition: layerIndex >= 0 && layerIndex < {len(layers)}."
            self._reporter.usage_error("IEngineInspector::getLayerInformation", text)
            return ""
        if self._verbosity == "NONE":
            return ""
        content = self._describe(layers[layer_index])
        return json.dumps(content) if format.name == "JSON" else _one_line(content)

    def get_engine_information(self, format: Any) -> str:
        """Return the description of all layers and of the inputs and outputs."""
        layers = [] if self._verbosity == "NONE" else [self._describe(layer) for layer in self._engine._layers()]
        records = self._engine._head.tensors
        key, describe = ("Bindings", self._binding) if self._api.major < 11 else ("I/O Tensors", self._io_tensor)
        ends = [describe(record) for record in records]
        if format.name == "JSON":
            return json.dumps({"Layers": layers, key: ends}, indent=1)
        return "\n".join(["Layers:", *map(_one_line, layers), "", f"{key}:", *map(_one_line, ends), ""])

    @staticmethod
    def _binding(record: TensorRecord) -> str:
        return record.name

    def _io_tensor(self, record: TensorRecord) -> dict[str, Any]:
        """Describe an input or output as TensorRT 11 does, by the migration guide from 10; outputs have no ranges."""
        format = f"{self._engine.get_tensor_format_desc(record.name)} (kLINEAR)"
        profiles = []
        for profile in self._engine._head.profiles:
            shapes = profile.get(record.name) if record.mode == "INPUT" else None
            ranges = {} if shapes is None else dict(zip(_RANGE, map(list, shapes), strict=True))
            profiles.append({**ranges, "Format": format})
        return {
            "Name": record.name,
            "IOMode": _MODES[record.mode],
            "DataType": _TYPES.get(record.dtype, record.dtype),
            "Dimensions": list(self._shape(record.name, record.shape)),
            "Location": "Device",
            "IsShapeInferenceIO": bool(self._engine.is_shape_inference_io(record.name)),
            "ProfileInfo": profiles,
        }

    def _shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a tensor's shape: in the context if there is one that knows, else as the engine has it."""
        if self._execution_context is None or name not in self._engine._records:
            return shape
        return tuple(self._execution_context.get_tensor_shape(name))

    @property
    def _verbosity(self) -> str:
        return str(self._engine._head.verbosity)

    def _describe(self, layer: EngineLayer) -> Any:
        if self._verbosity != "DETAILED":
            return layer.name
        return {
            "Name": layer.name,
            "LayerType": layer.kind,
            "Inputs": [self._tensor(tensor) for tensor in layer.inputs],
            "Outputs": [self._tensor(tensor) for tensor in layer.outputs],
            "ParameterType": layer.kind,
            "TacticName": layer.tactic,
            "StreamId": 0,
            "Metadata": _SEPARATOR.join(f"[ONNX Layer: {name}]" for name in layer.origins),
        }

    def _tensor(self, tensor: LayerTensor) -> dict[str, Any]:
        content: dict[str, Any] = {
            "Name": tensor.name,
            "Location": "Device",
            "Dimensions": list(self._shape(tensor.name, tensor.dimensions)),
        }
        if self._api.major < 11:
            content["Format/Datatype"] = f"{tensor.layout} {tensor.dtype} format"
        else:
            content["Format"] = tensor.layout
            content["Datatype"] = tensor.dtype
        return content


def _one_line(content: Any) -> str:
    if isinstance(content, str):
        return content
    return ", ".join(
        f"{key}: {json.dumps(value) if not isinstance(value, str) else value}" for key, value in content.items()
    )
