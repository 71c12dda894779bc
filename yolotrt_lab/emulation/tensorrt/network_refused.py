"""Layers that networks of TensorRT can have and emulated ones cannot."""

from __future__ import annotations

from typing import NoReturn

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, Unemulated
from yolotrt_lab.errors import EmulationError

__all__ = ["LayerRefusing"]

_PARSE = "Put it into an ONNX graph and parse that, or run this on a machine with an NVIDIA GPU and TensorRT."
_COMPOSE = "Compose it of matrix products, elementwise layers and softmax, or use a machine with an NVIDIA GPU."
_GPU = "Run this on a machine with an NVIDIA GPU and TensorRT, or do without it."


class _Refused(Unemulated):
    """Stands where NVIDIA's class has a method that the emulation cannot have, and says what it would do."""

    def __init__(self, name: str, what: str, fix: str) -> None:
        super().__init__("INetworkDefinition", name, "method")
        self._what = what
        self._fix = fix

    def _refuse(self) -> NoReturn:
        raise EmulationError(f"{self._text} is not emulated: {self._what}.", fix=self._fix)


class LayerRefusing(ApiObject):
    """The `add_...` methods of networks that are refused, each with what to do instead."""

    add_loop = _Refused("add_loop", "it repeats a part of the network", _PARSE)
    add_if_conditional = _Refused("add_if_conditional", "it chooses between two parts of the network", _PARSE)
    add_assertion = _Refused("add_assertion", "it stops an inference whose condition does not hold", _GPU)
    add_attention = _Refused("add_attention", "it is a fused attention", _COMPOSE)
    add_attention_v2 = _Refused("add_attention_v2", "it is a fused attention", _COMPOSE)
    add_rotary_embedding = _Refused("add_rotary_embedding", "it turns pairs of elements by angles", _COMPOSE)
    add_ragged_softmax = _Refused("add_ragged_softmax", "it is a softmax over rows of different lengths", _COMPOSE)
    add_kv_cache_update = _Refused("add_kv_cache_update", "it writes into a cache in place", _GPU)
    add_moe = _Refused("add_moe", "it is a mixture of experts", _GPU)
    add_dist_collective = _Refused("add_dist_collective", "it exchanges tensors between GPUs", _GPU)
    add_dynamic_quantize = _Refused("add_dynamic_quantize", "it finds scales at run time, for FP8 and FP4", _GPU)
    add_dynamic_quantize_v2 = _Refused("add_dynamic_quantize_v2", "it finds scales at run time, for FP8 and FP4", _GPU)
    add_plugin = _Refused("add_plugin", "plugins are CUDA kernels", _PARSE)
    add_plugin_v2 = _Refused("add_plugin_v2", "plugins are CUDA kernels", _PARSE)
    add_plugin_v3 = _Refused("add_plugin_v3", "plugins are CUDA kernels", _PARSE)
