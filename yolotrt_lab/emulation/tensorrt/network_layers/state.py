"""What a layer is: the state behind every object that a program holds of it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from yolotrt_lab.errors import EmulationError

__all__ = ["LayerProblem", "LayerState"]


class LayerProblem(Exception):
    """The layer cannot be: its inputs or settings do not fit.

    Args:
        text: TensorRT's words.
        before: Errors TensorRT logs first.
        kind: TensorRT's name of the error.
    """

    def __init__(self, text: str, *, before: Sequence[str] = (), kind: str = "Internal Error") -> None:
        super().__init__(text)
        self.text = text
        self.before = tuple(before)
        self.kind = kind


class LayerState:
    """The state of one layer.

    Attributes:
        network: The network it belongs to.
        kind: Name in `LayerType`.
        key: A name that never changes; the layer's first name.
        name: The name programs may change.
        inputs: Its input tensors; None where an optional one is not given.
        outputs: Its output tensors.
        settings: What programs may read and change, enums by name, weights as flat arrays.
        source: The ONNX node it was parsed from, as long as nothing was changed.
        parsed: Whether it was parsed, so that its inputs broadcast as in ONNX; TensorRT's parser reshapes them.
    """

    def __init__(
        self,
        network: Any,
        kind: str,
        key: str,
        *,
        inputs: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
        source: Any = None,
    ) -> None:
        self.network = network
        self.kind = kind
        self.key = key
        self.name = key
        self.metadata = ""
        self.inputs: list[Any] = list(inputs)
        self.outputs: list[Any] = []
        self.settings: dict[str, Any] = dict(settings or {})
        self.source = source
        self.parsed = source is not None
        self.precision: str | None = None
        self.output_types: dict[int, str] = {}
        self._handles: list[weakref.ref[Any]] = []

    def handle(self, class_name: str) -> Any:
        """Return the object of a class that programs hold; like the bindings, the same one as long as it lives."""
        cls = getattr(self.network._api, class_name)
        living = [handle for reference in self._handles if (handle := reference()) is not None]
        for handle in living:
            if type(handle) is cls:
                return handle
        made = cls._create(self)
        self._handles = [weakref.ref(handle) for handle in [*living, made]]
        return made

    def get(self, key: str) -> Any:
        """Return a setting.

        Raises:
            EmulationError: The layer is of another kind, or was parsed from an operator that is several layers.
        """
        if key not in self.settings:
            op = f"the ONNX operator {self.source.op_type}" if self.source is not None else "another kind of layer"
            raise EmulationError(
                f"Layer {self.name!r} has no {key!r}: it is {op}, kept whole by the emulation.",
                fix="Look at layer.type before looking at what only one kind of layer has.",
            )
        return self.settings[key]

    def change(self, key: str, value: Any) -> None:
        """Change a setting, and with it the network."""
        self.get(key)
        self.settings[key] = value
        self.touch()

    def touch(self) -> None:
        """Note that the layer is not what it was, so it has to be written anew."""
        self.source = None
        self.network._layer_changed(self)

    def set_input(self, index: int, tensor: Any) -> None:
        """Connect an input."""
        self.inputs.extend([None] * (index + 1 - len(self.inputs)))
        self.inputs[index] = tensor
        self.touch()

    def input(self, index: int) -> Any:
        """Return an input tensor, None if it is not given."""
        return self.inputs[index] if 0 <= index < len(self.inputs) else None
