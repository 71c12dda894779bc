"""Debug tensors: intermediate tensors shown to a listener while an engine runs. Emulated engines have none.

Clients like Polygraphy set a listener whether there are debug tensors or not; marking one in a network is refused.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = ["DebugStates", "IDebugListener"]


class IDebugListener(ApiObject):
    """Base of listeners; a subclass implements `process_debug_tensor`."""

    def process_debug_tensor(self, addr: Any, location: Any, type: Any, shape: Any, name: str, stream: int) -> None:
        """Take a debug tensor."""


class DebugStates:
    """What an execution context answers about debug tensors where its engine has none."""

    _debug_listener: Any = None

    def get_debug_listener(self) -> Any:
        """Return the listener, None if there is none."""
        return self._debug_listener

    def set_debug_listener(self, listener: Any) -> bool:
        """Set who would be shown debug tensors."""
        self._debug_listener = listener
        return True

    def get_debug_state(self, name: str) -> bool:
        """Return whether a tensor is shown to the listener."""
        return False

    def set_tensor_debug_state(self, name: str, flag: bool) -> bool:
        """Switch one debug tensor on or off: it is none."""
        return False

    def set_all_tensors_debug_state(self, flag: bool) -> bool:
        """Switch all debug tensors on or off."""
        return True
