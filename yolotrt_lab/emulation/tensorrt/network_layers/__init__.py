"""The layers of a network definition: their classes, and how each is written as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yolotrt_lab.emulation.tensorrt.network_layers import (
    convolutions,
    indexing,
    pointwise,
    products,
    reductions,
    sampling,
    shapes,
)
from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.writer import GraphWriter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = ["CLASS_OF_KIND", "EMITTERS", "LAYER_CLASSES"]

_MODULES = (convolutions, indexing, pointwise, products, reductions, sampling, shapes)

EMITTERS: dict[str, Callable[[GraphWriter], str | Sequence[str]]] = {
    kind: emit for module in _MODULES for kind, emit in module.EMITTERS.items()
}
"""How a layer is written as ONNX nodes, by its name in `LayerType`; returns the names of the results."""

_CLASSES: list[type[ApiObject]] = [
    getattr(module, name) for module in _MODULES for name in module.__all__ if name.startswith("I")
]
LAYER_CLASSES: tuple[type[ApiObject], ...] = (ILayer, *_CLASSES)

CLASS_OF_KIND = {
    "ACTIVATION": "IActivationLayer", "CAST": "ICastLayer", "CONCATENATION": "IConcatenationLayer",
    "CONSTANT": "IConstantLayer", "CONVOLUTION": "IConvolutionLayer", "CUMULATIVE": "ICumulativeLayer",
    "DECONVOLUTION": "IDeconvolutionLayer", "DEQUANTIZE": "IDequantizeLayer", "EINSUM": "IEinsumLayer",
    "ELEMENTWISE": "IElementWiseLayer", "FILL": "IFillLayer", "GATHER": "IGatherLayer",
    "GRID_SAMPLE": "IGridSampleLayer", "IDENTITY": "IIdentityLayer", "LRN": "ILRNLayer",
    "MATRIX_MULTIPLY": "IMatrixMultiplyLayer", "NMS": "INMSLayer", "NON_ZERO": "INonZeroLayer",
    "NORMALIZATION": "INormalizationLayer", "ONE_HOT": "IOneHotLayer", "PADDING": "IPaddingLayer",
    "PARAMETRIC_RELU": "IParametricReLULayer", "POOLING": "IPoolingLayer", "QUANTIZE": "IQuantizeLayer",
    "REDUCE": "IReduceLayer", "RESIZE": "IResizeLayer", "REVERSE_SEQUENCE": "IReverseSequenceLayer",
    "SCALE": "IScaleLayer", "SCATTER": "IScatterLayer", "SELECT": "ISelectLayer", "SHAPE": "IShapeLayer",
    "SHUFFLE": "IShuffleLayer", "SLICE": "ISliceLayer", "SOFTMAX": "ISoftMaxLayer", "SQUEEZE": "ISqueezeLayer",
    "TOPK": "ITopKLayer", "UNARY": "IUnaryLayer", "UNSQUEEZE": "IUnsqueezeLayer",
}  # fmt: skip
