"""Which ONNX operators TensorRT's parser imports, and as which layer type.

Source: the operator support matrix of the open-source ONNX parser (onnx-tensorrt), which lists what is supported for
the standard domain, and its built-in plugin names.
"""

from __future__ import annotations

__all__ = ["PLUGIN_OPS", "STANDARD_DOMAINS", "SUPPORTED_OPS", "layer_type_name"]

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})

_LAYER_TYPES: dict[str, str] = {
    "ACTIVATION": (
        "Celu Clip Elu HardSigmoid LeakyRelu Relu ScaledTanh Selu Sigmoid Softplus Softsign Tanh ThresholdedRelu "
        "ParametricSoftplus HardSwish Gelu Mish"
    ),
    "ASSERTION": "",
    "CAST": "Cast CastLike",
    "CONCATENATION": "Concat",
    "CONSTANT": "Constant EyeLike",
    "CONVOLUTION": "Conv",
    "CUMULATIVE": "CumSum",
    "DECONVOLUTION": "ConvTranspose",
    "DEQUANTIZE": "DequantizeLinear",
    "EINSUM": "Einsum",
    "ELEMENTWISE": (
        "Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod "
        "Mul Or Pow Sub Sum Xor"
    ),
    "FILL": "ConstantOfShape RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range",
    "GATHER": "Gather GatherElements GatherND",
    "GRID_SAMPLE": "GridSample",
    "IDENTITY": "Dropout Identity",
    "CONDITION": "If",
    "TRIP_LIMIT": "Loop Scan",
    "LRN": "LRN",
    "MATRIX_MULTIPLY": "Gemm MatMul",
    "NMS": "NonMaxSuppression",
    "NON_ZERO": "NonZero",
    "NORMALIZATION": "GroupNormalization InstanceNormalization LayerNormalization LpNormalization RMSNormalization",
    "ONE_HOT": "OneHot",
    "PARAMETRIC_RELU": "PRelu",
    "POOLING": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "QUANTIZE": "QuantizeLinear",
    "REDUCE": (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
        "ReduceSumSquare MeanVarianceNormalization"
    ),
    "RESIZE": "Resize Upsample",
    "REVERSE_SEQUENCE": "ReverseSequence",
    "RECURRENCE": "GRU LSTM RNN",
    "SCALE": "BatchNormalization ImageScaler",
    "SCATTER": "Scatter ScatterElements ScatterND",
    "SELECT": "Where",
    "SHAPE": "Shape Size",
    "SHUFFLE": "DepthToSpace Flatten Reshape SpaceToDepth Transpose",
    "SLICE": "Expand Pad Slice Split Tile Trilu",
    "SOFTMAX": "Hardmax LogSoftmax Softmax",
    "SQUEEZE": "Squeeze",
    "TOPK": "ArgMax ArgMin TopK",
    "UNARY": (
        "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Cos Cosh Erf Exp Floor IsInf IsNaN Log Neg Not "
        "Reciprocal Round Shrink Sign Sin Sinh Sqrt Tan"
    ),
    "UNSQUEEZE": "Unsqueeze",
    "PLUGIN_V3": "RoiAlign",
    "ATTENTION_INPUT": "Attention",
    "ROTARY_EMBEDDING": "RotaryEmbedding",
}  # fmt: skip

_TYPE_OF_OP = {op: layer_type for layer_type, ops in _LAYER_TYPES.items() for op in ops.split()}

SUPPORTED_OPS = frozenset(_TYPE_OF_OP)

PLUGIN_OPS = frozenset({
    "BatchedNMS_TRT", "BatchedNMSDynamic_TRT", "DisentangledAttention_TRT", "EfficientNMS_TRT",
    "EfficientNMS_ONNX_TRT", "EfficientNMS_Explicit_TF_TRT", "EfficientNMS_Implicit_TF_TRT", "GenerateDetection_TRT",
    "GridAnchor_TRT", "InstanceNormalization_TRT", "ModulatedDeformConv2d", "MultilevelCropAndResize_TRT",
    "MultilevelProposeROI_TRT", "MultiscaleDeformableAttnPlugin_TRT", "NMS_TRT", "NMSDynamic_TRT",
    "PillarScatterPlugin", "PriorBox_TRT", "ProposalLayer_TRT", "PyramidROIAlign_TRT", "Region_TRT", "Reorg_TRT",
    "ROIAlign_TRT", "RPROI_TRT", "ScatterElements", "SpecialSlice_TRT", "Split", "VoxelGeneratorPlugin",
})  # fmt: skip
"""Plugins that TensorRT ships; the parser imports a node with such a name, the emulation cannot."""


def layer_type_name(op: str) -> str:
    """Return the name in `LayerType` of the layer an ONNX operator becomes, mostly."""
    return _TYPE_OF_OP.get(op, "PLUGIN_V3")
