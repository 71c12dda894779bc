"""The emulated settings for serializing an engine and for making its contexts, and the engine's side of its plan."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged
from yolotrt_lab.emulation.tensorrt.plan_format import Plan, PlanHead, pack
from yolotrt_lab.emulation.tensorrt.properties import FlagBits
from yolotrt_lab.emulation.tensorrt.refit_weights import strip_weights
from yolotrt_lab.emulation.tensorrt.target import LoadedNetwork, target
from yolotrt_lab.errors import EmulationError

__all__ = ["IRuntimeConfig", "ISerializationConfig", "PlanHolder", "stripped"]


class ISerializationConfig(FlagBits, ApiObject):
    """What to leave out of a plan."""

    def _setup(self, flags: int) -> None:
        self._flags = flags

    @property
    def flags(self) -> int:
        """The serialization flags as bits."""
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = int(value)

    def set_flag(self, flag: Any) -> bool:
        """Set a flag."""
        super().set_flag(flag)
        return True

    def clear_flag(self, flag: Any) -> bool:
        """Clear a flag."""
        super().clear_flag(flag)
        return True


class IRuntimeConfig(ApiObject):
    """How a context gets its memory."""

    def _setup(self) -> None:
        self._strategy = self._api.ExecutionContextAllocationStrategy.STATIC

    def get_execution_context_allocation_strategy(self) -> Any:
        """Return the allocation strategy."""
        return self._strategy

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        """Set the allocation strategy."""
        self._strategy = strategy


class PlanHolder(ContextManaged):
    """What an engine knows of the plan it was loaded from: writing it again, with other weights or without them."""

    def _setup(self, reporter: Reporter, plan: Plan, network: LoadedNetwork | None, data: bytes) -> None:
        self._reporter = reporter
        self._content = plan
        self._data: bytes | None = data
        self._loaded = network
        self._contexts: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def _head(self) -> PlanHead:
        return self._content.head

    @property
    def _network(self) -> LoadedNetwork:
        if self._loaded is None:
            raise EmulationError(
                "The engine's weights were stripped; there is nothing to run or to look at yet.",
                fix="Give them back: tensorrt.Refitter, or tensorrt.OnnxParserRefitter, then refit_cuda_engine().",
            )
        return self._loaded

    @property
    def refittable(self) -> bool:
        """Whether weights can be replaced."""
        return bool(self._head.refit)

    def _take_weights(self, plan: Plan) -> None:
        """Run with another plan's weights from now on, contexts made before included."""
        self._loaded = target().load(plan.head, plan.blob)
        self._content, self._data = plan, None
        for context in list(self._contexts):
            context._executor = self._loaded.executor(plan.head.tensors)

    def create_serialization_config(self) -> Any:
        """Return settings for `serialize_with_config`; an engine loaded without weights is written without them."""
        flags = 1 << int(self._api.SerializationFlag.EXCLUDE_WEIGHTS) if self._head.weightless else 0
        return self._api.ISerializationConfig._create(flags)

    def create_runtime_config(self) -> Any:
        """Return settings for `create_execution_context`."""
        return self._api.IRuntimeConfig._create()

    def serialize(self) -> Any:
        """Return the plan; without its weights, if the engine was loaded without them."""
        return self.serialize_with_config(self.create_serialization_config())

    def serialize_with_config(self, arg0: Any) -> Any:
        """Return the plan without what the settings leave out, None if that cannot be left out."""
        flags = self._api.SerializationFlag
        plan, where = self._content, "ICudaEngine::serializeWithConfig"
        if arg0.get_flag(flags.EXCLUDE_LEAN_RUNTIME):
            plan = dataclasses.replace(plan, head=dataclasses.replace(plan.head, lean_runtime=False))
        if arg0.get_flag(flags.EXCLUDE_WEIGHTS):
            if not self.refittable:
                self._reporter.usage_error(where, "Weights can only be excluded from a refittable engine.")
                return None
            plan = stripped(plan)
        elif plan.head.stripped:
            self._reporter.usage_error(where, "Weights cannot be included before the engine was refitted.")
            return None
        elif plan.head.weightless and not arg0.get_flag(flags.INCLUDE_REFIT):
            plan = Plan(dataclasses.replace(plan.head, refit="", refittable=(), weightless=False), plan.blob)
        if plan is self._content and self._data is not None:
            return self._api.IHostMemory._of(self._data)
        return self._api.IHostMemory._of(pack(plan))

    def get_engine_stat(self, stat: Any) -> int:
        """Return the size of all weights; or of those left out of the plan, -1 if the plan was built with all."""
        if stat == self._api.EngineStat.TOTAL_WEIGHTS_SIZE:
            return self._head.weights_bytes
        return self._head.refittable_bytes if self._head.weightless else -1


def stripped(plan: Plan) -> Plan:
    """Return a refittable plan without the weights that can be replaced."""
    import onnx

    model = onnx.load_model_from_string(plan.model)
    strip_weights(model, {name for name, _ in plan.head.refittable})
    head = dataclasses.replace(plan.head, stripped=True, weightless=True)
    return Plan(head, b"", model.SerializeToString())
