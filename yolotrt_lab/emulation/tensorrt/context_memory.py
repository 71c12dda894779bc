"""The memory of an emulated execution context for its intermediate tensors: TensorRT's own, or the program's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.properties import kept
from yolotrt_lab.emulation.tensorrt.target import Executor

__all__ = ["ContextMemory"]

_ALIGNMENT = 256


class ContextMemory(ApiObject):
    """The methods of contexts about memory and what else a GPU needs besides inputs and outputs.

    OpenVINO keeps intermediate tensors in memory of its own. Memory that a program provides is overwritten by every
    inference all the same, as on a GPU; so using it for something else at the same time goes wrong here, too.
    """

    _engine: Any
    _reporter: Any
    _strategy: Any
    _memory: tuple[int, int] | None
    _executor: Executor

    def _take_strategy(self, strategy: Any) -> None:
        self._strategy = strategy
        self._memory = None
        self._temporary_allocator: Any = None
        self._consumed_event = 0

    def _memory_complaint(self) -> str | None:
        """Return what is wrong if an inference were enqueued now: the program owes memory."""
        owed = self._strategy.name == "USER_MANAGED" and self._engine._activation_bytes > 0
        if not owed or self._memory is not None:
            return None
        return (
            f"Device memory for {self._engine._activation_bytes} bytes of intermediate tensors is not set. Call "
            "setDeviceMemoryV2 before enqueue/execute."
        )

    @property
    def device_memory(self) -> int:
        """The address of the memory that the program provides for intermediate tensors, 0 if it provides none."""
        return 0 if self._memory is None else self._memory[0]

    @device_memory.setter
    def device_memory(self, value: int) -> None:
        self.set_device_memory(int(value), self._engine._activation_bytes)

    def set_device_memory(self, memory: int, size: int) -> None:
        """Provide memory for intermediate tensors; it has to be large enough and aligned to 256 bytes."""
        needed = self._engine._activation_bytes
        if size < needed or memory % _ALIGNMENT or (not memory and needed):
            text = f"Parameter check failed, condition: memory is {needed} bytes, {_ALIGNMENT}-byte aligned."
            self._reporter.usage_error("IExecutionContext::setDeviceMemoryV2", f"{text} Got {size} at {memory:#x}.")
            return
        self._memory = (int(memory), needed)

    def get_runtime_config(self) -> Any:
        """Return how the context gets its memory."""
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(self._strategy)
        return config

    temporary_allocator = kept(
        "temporary_allocator", "Who provides memory for kernels, where they need some: OpenVINO's need none."
    )

    def set_aux_streams(self, aux_streams: Sequence[int]) -> None:
        """Offer extra streams. As many as the engine's `num_aux_streams` are used: none."""

    def get_input_consumed_event(self) -> int:
        """Return the event that is recorded when the inputs were read, 0 if there is none."""
        return self._consumed_event

    def set_input_consumed_event(self, event: int) -> bool:
        """Let `execute_async_v3` record an event when the inputs were read: OpenVINO reads them until the end.

        Like TensorRT, this does not look at what the handle stands for.

        Raises:
            EmulationError: A GPU's own memory is used.
        """
        if event:
            self._executor.check_events()
        self._consumed_event = event
        return True
