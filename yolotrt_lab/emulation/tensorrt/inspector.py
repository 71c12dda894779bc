"""The emulated engine inspector, in the JSON shape of its TensorRT version."""

from __future__ import annotations

import json
from typing import Any

from yolotrt_lab.emulation.tensorrt.layers import EngineLayer, LayerTensor
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = ["EngineInspector"]

_SEPARATOR = "\u001e"


class EngineInspector(ApiObject):
    """Tells about an engine's layers: all of it if the engine was built with DETAILED verbosity, else the names."""

    def _setup(self, reporter: Reporter, engine: Any) -> None:
        self._reporter = reporter
        self._engine = engine
        self._context: Any = None

    @property
    def execution_context(self) -> Any:
        """The context whose shapes are shown; without effect here."""
        return self._context

    @execution_context.setter
    def execution_context(self, value: Any) -> None:
        self._context = value

    @property
    def error_recorder(self) -> Any:
        """The error recorder."""
        return self._reporter.recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._reporter.own_recorder = value

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
        names = [record.name for record in self._engine._head.tensors]
        if format.name == "JSON":
            key = "Bindings" if self._api.major < 11 else "I/O Tensors"
            return json.dumps({"Layers": layers, key: names}, indent=1)
        lines = ["Layers:", *(_one_line(content) for content in layers), "", "Bindings:", *names, ""]
        return "\n".join(lines)

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
            "Dimensions": list(tensor.dimensions),
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
