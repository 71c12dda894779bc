"""The emulated refitter: new weights for an engine that was built to take them."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.tensorrt.building import union_of_ranges
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.plan_format import Plan
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, kept, max_threads
from yolotrt_lab.emulation.tensorrt.refit_weights import WeightRecord, replace_weights, weight_records
from yolotrt_lab.emulation.tensorrt.target import CompileOrder, target
from yolotrt_lab.errors import EmulationError

__all__ = ["Refitter"]

_FACTORY_FAILED = "pybind11::init(): factory function returned nullptr"


class Refitter(ApiObject):
    """Replaces weights of a refittable engine.

    On a GPU the new weights go into the engine in place; here the network is compiled again with them. Contexts stay
    valid either way, and inferences that were enqueued before keep the old weights. Nothing is lost in fusion here, so
    only stripped weights are ever missing; on a GPU others can be, when one of several fused weights is set.
    """

    def __init__(self, engine: Any, logger: Any) -> None:
        super().__init__()
        self._reporter = Reporter(self._api, logger)
        self._max_threads = 1
        self._weights_validation = True
        if not engine.refittable:
            text = "Parameter check failed, condition: e.isRefittable()."
            self._reporter.usage_error("createInferRefitter_INTERNAL", text)
            raise TypeError(_FACTORY_FAILED)
        import onnx

        self._engine = engine
        self._model = onnx.load_model_from_string(engine._content.model)
        allowed = {name for name, _ in engine._head.refittable}
        self._records = {record.name: record for record in weight_records(self._model, only=allowed)}
        self._missing = set(self._records) if engine._head.stripped else set()
        self._new: dict[str, Any] = {}
        self._locations: dict[str, Any] = {}

    @property
    def logger(self) -> Any:
        """The program's logger."""
        return self._reporter.logger

    error_recorder = error_recorder()
    max_threads = max_threads("IRefitter")
    weights_validation = kept("weights_validation", "Whether new weights are looked at.", convert=bool)

    # What there is

    def get_all(self) -> tuple[list[str], list[Any]]:
        """Return the layers with replaceable weights, and the role of each weight."""
        return self._layers_and_roles(list(self._records.values()))

    def get_all_weights(self) -> list[str]:
        """Return the names of all replaceable weights."""
        return list(self._records)

    def get_missing(self) -> tuple[list[str], list[Any]]:
        """Return the layers whose weights are missing, and the role of each weight."""
        return self._layers_and_roles([self._records[name] for name in self.get_missing_weights()])

    def get_missing_weights(self) -> list[str]:
        """Return the names of the weights that are missing: stripped, and not set yet."""
        return [name for name in self._records if name in self._missing and name not in self._new]

    def _layers_and_roles(self, records: list[WeightRecord]) -> tuple[list[str], list[Any]]:
        roles = self._api.WeightsRole
        return [record.layer for record in records], [getattr(roles, record.role) for record in records]

    def get_named_weights(self, weights_name: str) -> Any:
        """Return the weights that were set by a name; empty ones, and an error in the log, if none were."""
        if weights_name in self._new:
            return self._new[weights_name]
        self._reporter.usage_error("IRefitter::getNamedWeights", f"Weights {weights_name} were not set.")
        return self._api.Weights()

    def get_weights_location(self, weights_name: str) -> Any:
        """Return where the weights set by a name are; HOST, and an error in the log, if none were set."""
        if weights_name in self._new:
            return self._locations[weights_name]
        self._reporter.usage_error("IRefitter::getWeightsLocation", f"Weights {weights_name} were not set.")
        return self._api.TensorLocation.HOST

    def get_weights_prototype(self, weights_name: str) -> Any:
        """Return data type and size that weights must have, without values; size -1 if there are no such weights."""
        record = self._records.get(weights_name)
        dtype = self._api.DataType.FLOAT if record is None else getattr(self._api.DataType, record.dtype)
        return self._api.Weights(dtype, 0, -1 if record is None else record.count)

    # Setting

    def set_weights(self, layer_name: str, role: Any, weights: Any) -> bool:
        """Set the weights of a layer; return whether they fit."""
        found = [r for r in self._records.values() if r.layer == layer_name and r.role == role.name]
        if not found:
            text = f"Layer {layer_name} has no refittable weights with role {role.name}."
            self._reporter.usage_error("IRefitter::setWeights", text)
            return False
        return self._set("setWeights", found[0], weights, self._api.TensorLocation.HOST)

    def set_named_weights(self, name: str, weights: Any, location: Any = None) -> bool:
        """Set weights by name; return whether they fit. With location DEVICE they are in device memory."""
        record = self._records.get(name)
        if record is None:
            text = f"Weights {name} do not correspond to any refittable weights."
            self._reporter.usage_error("IRefitter::setNamedWeights", text)
            return False
        return self._set(
            "setNamedWeights", record, weights, self._api.TensorLocation.HOST if location is None else location
        )

    def _set(self, where: str, record: WeightRecord, weights: Any, location: Any) -> bool:
        given = self._api.Weights(weights) if isinstance(weights, np.ndarray) else weights
        if given.dtype.name != record.dtype:
            text = f"The type of weights {record.name} is {given.dtype.name}, but {record.dtype} is expected."
        elif given.size != record.count:
            text = f"The count of weights {record.name} is {given.size}, but {record.count} is expected."
        else:
            self._new[record.name], self._locations[record.name] = given, location
            return True
        self._reporter.usage_error(f"IRefitter::{where}", text)
        return False

    def unset_named_weights(self, weights_name: str) -> bool:
        """Take set weights back; return whether they had been set."""
        self._locations.pop(weights_name, None)
        return self._new.pop(weights_name, None) is not None

    # Refitting

    def refit_cuda_engine(self) -> bool:
        """Give the engine the weights that were set; return whether it could be done."""
        missing = self.get_missing_weights()
        if missing:
            text = f"{len(missing)} weights are missing, {missing[0]} the first. Set them before refitting."
            self._reporter.usage_error("IRefitter::refitCudaEngine", text)
            return False
        contents = {name: self._read(name) for name in self._new}
        failed = [name for name, content in contents.items() if content is None]
        if failed or not self._accept({name: content or b"" for name, content in contents.items()}):
            return False
        replace_weights(self._model, {name: content for name, content in contents.items() if content is not None})
        self._engine._take_weights(self._compile())
        self._missing = set()
        return True

    def refit_cuda_engine_async(self, stream_handle: int) -> bool:
        """Do the same in a stream; what was enqueued before runs with the old weights."""
        if not self._engine._head.stripped:
            self._engine._network.executor(self._engine._head.tensors).check_stream(stream_handle)
        return self.refit_cuda_engine()

    def release_refit_resources(self) -> bool:
        """Forget the weights that were set."""
        self._new.clear()
        self._locations.clear()
        return True

    def _read(self, name: str) -> bytes | None:
        """Return the bytes of new weights, None with the reason in the log if they cannot be read."""
        weights, record = self._new[name], self._records[name]
        if self._locations[name] == self._api.TensorLocation.HOST:
            return bytes(weights._content())
        try:
            return target().read_memory(weights._address, record.nbytes, what=f"weights {name!r}")
        except DeviceFault as fault:
            self._reporter.internal_error("IRefitter::refitCudaEngine", f"Cuda failure: {fault.detail}")
            return None

    def _accept(self, contents: dict[str, bytes]) -> bool:
        """Return whether new weights may be used: those of REFIT_IDENTICAL have to be those of the build."""
        if self._engine._head.refit != "identical":
            return True
        built = dict(self._engine._head.refittable)
        other = [name for name, content in contents.items() if zlib.crc32(content) != built[name]]
        if other:
            text = (
                f"[emulation] {other[0]}: these are not the weights the engine was built with, but it was built with "
                "kREFIT_IDENTICAL, or kSTRIP_PLAN without kREFIT. On a GPU the results are unpredictable."
            )
            self._reporter.internal_error("IRefitter::refitCudaEngine", text)
        return not other

    def _compile(self) -> Plan:
        head, model = self._engine._head, self._model.SerializeToString()
        order = CompileOrder(
            model,
            names=[record.name for record in head.tensors],
            ranges=union_of_ranges([_moving(profile, head.tensors) for profile in head.profiles]),
            io_types=head.io_types,
            hint=head.order_hint,
            strongly_typed=head.strongly_typed,
            tf32=head.tf32,
            fp32_layers=() if head.types_written else None,
        )
        return Plan(dataclasses.replace(head, stripped=False), target().compile(order).blob, model)

    # Dynamic ranges, TensorRT 10

    def get_tensors_with_dynamic_range(self) -> list[str]:
        """Return the tensors whose dynamic range can be replaced: none."""
        return []

    def get_dynamic_range(self, tensor_name: str) -> tuple[float, float]:
        """Refuse: dynamic ranges are part of the compiled network here.

        Raises:
            EmulationError: Always.
        """
        raise EmulationError(
            "Replacing dynamic ranges is not emulated.", fix="Build again with another calibration cache."
        )

    def set_dynamic_range(self, tensor_name: str, range: Any) -> bool:
        """Return False: no tensor has a dynamic range that can be replaced."""
        return False


def _moving(profile: Any, tensors: Any) -> dict[str, Any]:
    """Return the shape ranges of a profile without those of static inputs, which the builder adds."""
    dynamic = {record.name for record in tensors if -1 in record.shape}
    return {name: shapes for name, shapes in profile.items() if name in dynamic or len(set(shapes)) > 1}
