"""The emulated plugin registry: an empty one, since plugins are CUDA code."""

from __future__ import annotations

from typing import Any, NoReturn

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.onnx_ops import PLUGIN_OPS
from yolotrt_lab.errors import EmulationError

__all__ = ["IPluginRegistry", "UsesPlugins", "plugin_registry"]


class IPluginRegistry(ApiObject):
    """The plugins that networks can use. There are none here, and none can be added."""

    def _setup(self) -> None:
        self._error_recorder: Any = None
        self._parent_search = True

    @property
    def all_creators(self) -> list[Any]:
        """The creators in this registry: none."""
        return []

    @property
    def all_creators_recursive(self) -> list[Any]:
        """The creators in this registry and its parents: none."""
        return []

    @property
    def plugin_creator_list(self) -> list[Any]:
        """The creators of plugins of the second kind: none."""
        return []

    @property
    def error_recorder(self) -> Any:
        """The error recorder."""
        return self._error_recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._error_recorder = value

    @property
    def parent_search_enabled(self) -> bool:
        """Whether parent registries are searched; there are none."""
        return self._parent_search

    @parent_search_enabled.setter
    def parent_search_enabled(self, value: bool) -> None:
        self._parent_search = value

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> None:
        """Return a plugin's creator, None if there is no such plugin.

        Raises:
            EmulationError: TensorRT ships it.
        """
        _refuse_shipped(type)

    def get_plugin_creator(self, type: str, version: str, plugin_namespace: str = "") -> None:
        """Return the creator of a plugin of the second kind, None if there is no such plugin.

        Raises:
            EmulationError: TensorRT ships it.
        """
        _refuse_shipped(type)

    def register_creator(self, creator: Any, plugin_namespace: str = "") -> NoReturn:
        """Add a plugin: refused."""
        _refuse(f"Registering the plugin creator {type(creator).__name__}")

    def deregister_creator(self, creator: Any) -> bool:
        """Remove a plugin; return whether it was there."""
        return False

    def load_library(self, plugin_path: str) -> NoReturn:
        """Load a library of plugins: refused."""
        _refuse(f"Loading the plugin library {plugin_path}")

    def deregister_library(self, handle: Any) -> None:
        """Unload a library of plugins; none can have been loaded."""

    def acquire_plugin_resource(self, key: str, resource: Any) -> NoReturn:
        """Share something between plugins: refused."""
        _refuse("Sharing a plugin resource")

    def release_plugin_resource(self, key: str) -> int:
        """Give back what plugins share; return -1, as there is nothing."""
        return -1


class UsesPlugins:
    """What the builder and the runtime have in common."""

    _api: Any

    def get_plugin_registry(self) -> Any:
        """Return the plugin registry."""
        return plugin_registry(self._api)


def plugin_registry(api: Any) -> Any:
    """Return the one registry of a TensorRT version."""
    found = api.singletons.get("plugin_registry")
    if found is None:
        found = api.singletons["plugin_registry"] = api.IPluginRegistry._create()
    return found


def _refuse_shipped(name: str) -> None:
    """Not to find a plugin that TensorRT has would lead programs astray."""
    if name in PLUGIN_OPS:
        raise EmulationError(
            f"The plugin {name} is not emulated; TensorRT ships it.",
            expected="layers of the network API, or operators of the ONNX standard",
            got=name,
            fix="Do without the plugin: non-maximum suppression, for instance, in NumPy or by ONNX's own operator.",
        )


def _refuse(what: str) -> NoReturn:
    raise EmulationError(
        f"{what} is not emulated: plugins are CUDA code.",
        fix="Run this on a machine with an NVIDIA GPU and TensorRT, or express the layer in ONNX operators.",
    )
