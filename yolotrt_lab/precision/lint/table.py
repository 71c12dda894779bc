"""The rules, in one table: what is refused first, then what is slow, then what is inaccurate.

TensorRT's words are those of its open-source ONNX parser (onnx-tensorrt, `QuantDequantLinearHelper`, TensorRT 10 and
11), of NVIDIA's documentation, or of public reports, as the source of each rule says. Where none are known, none are
made up.
"""

from __future__ import annotations

from yolotrt_lab.precision.lint import pairing, parameters, places
from yolotrt_lab.precision.lint.rule import Rule, Severity

__all__ = ["RULES", "rule_by_id"]

_REFUSED, _SLOW, _INACCURATE = Severity.REFUSED, Severity.SLOW, Severity.INACCURATE

_DOCS = "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library"
_TYPES = f"{_DOCS}/work-quantized-types.html"
_EXPLICIT = f"{_DOCS}/quantized-types-explicit-quantization.html"
_OPERATOR = "https://docs.nvidia.com/deeplearning/tensorrt/operators/docs/Quantize.html"
_PARSER = "https://github.com/onnx/onnx-tensorrt, onnxOpImporters.cpp, QuantDequantLinearHelper"
_ONNX = "https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html"
_AGAIN = "Quantize the FP32 model again with `yolotrt quantize`."

RULES: tuple[Rule, ...] = (
    Rule(
        "qoperator", "operators on integers", _REFUSED,
        "There are two ways to write INT8 in ONNX. QLinearConv, ConvInteger and the like compute on integers "
        "themselves (QOperator format); TensorRT knows only the other way, float operators between Q and DQ nodes.",
        f"{_AGAIN} With ONNX Runtime's quantizer: `quantize_static` with `quant_format=QuantFormat.QDQ`; what "
        "`quantize_dynamic` makes has no Q/DQ form.",
        "https://github.com/NVIDIA/TensorRT/issues/3963", pairing.qoperators,
        answer="Plugin not found, are the plugin name, version, and namespace correct?",
    ),
    Rule(
        "foreign-pair", "Q/DQ of a vendor's domain", _REFUSED,
        "The nodes have the right names but belong to another operator set, such as `com.microsoft`.",
        "Write them in the standard domain; `quantize_static` does without `UseQDQContribOps`.",
        "the emulation's reading of onnx-tensorrt's operator list; not tried on TensorRT", pairing.contrib_pairs,
        answer="Plugin not found, are the plugin name, version, and namespace correct?",
        repair="moved to the ONNX standard",
    ),
    Rule(
        "int32", "INT32 behind a DequantizeLinear", _REFUSED,
        "A bias is added to the INT32 sums of a convolution, so some quantizers store it as INT32 with a "
        "DequantizeLinear. TensorRT adds biases in high precision and takes only 8 and 4 bits here.",
        "Leave biases alone: `QuantizeBias: False` in ONNX Runtime's `extra_options`.",
        "https://github.com/microsoft/onnxruntime/issues/14229; public reports from TensorRT 11",
        parameters.int32,
        answer="input has type Int32 but must have type FP8, FP4, Int4, or Int8.",
        repair="the float bias put back", lesson="INT8",
    ),
    Rule(
        "bias", "quantized bias", _REFUSED,
        "Quantizing a bias saves nothing: it is one number per channel, added in high precision.",
        "Leave biases alone: `QuantizeBias: False` in ONNX Runtime's `extra_options`.",
        "https://github.com/onnx/onnx-tensorrt/issues/850", places.biases,
        answer="Invalid Node", repair="the float bias put back", lesson="bias",
    ),
    Rule(
        "zero-point", "zero point other than 0", _REFUSED,
        "TensorRT's INT8 is symmetric: integer 0 is 0.0. An offset would cost a correction in every sum.",
        "Quantize symmetrically: `ActivationSymmetric` and `WeightSymmetric` in ONNX Runtime's `extra_options`.",
        _PARSER, parameters.asymmetric,
        answer="Non-zero zero point is not supported.",
        repair="made symmetric, with a range that covers the old", lesson="symmetric",
    ),
    Rule(
        "runtime-scale", "scale computed at run time", _REFUSED,
        "The step is worked out anew for every image. TensorRT folds INT8 scales into its kernels when it builds.",
        f"Calibrate: a scale is a constant. {_AGAIN}",
        _OPERATOR, parameters.runtime_parameter,
        answer="The scale tensor must be a build-time constant.",
        repair="the pair removed, what reads it back in high precision", lesson="constant scale",
    ),
    Rule(
        "scale", "scale that is not positive", _REFUSED,
        "The scale is what one integer stands for. With 0, a negative number or NaN nothing can be divided by it; "
        "usually the tensor was zero on all calibration images.",
        f"Calibrate with images that make the tensor move, or leave its layer in high precision. {_AGAIN}",
        _PARSER, parameters.positive_scale,
        answer="Scale coefficients must all be positive",
        repair="the scale computed from the weights, or the pair of an activation removed", lesson="positive scale",
    ),
    Rule(
        "parameter-shape", "scales that do not fit", _REFUSED,
        "There must be one scale, or one for each slice along the axis, and as many zero points as scales.",
        "One scale per tensor for activations; for weights one per output channel.",
        _PARSER, parameters.parameter_shape,
        answer="must have the same volume", repair="scales computed from the weights, zero points of their shape",
    ),
    Rule(
        "other-type", "type other than INT8", _REFUSED,
        "TensorRT 10 and 11 quantize to INT8, FP8 (E4M3), INT4 and FP4, nothing else.",
        "Quantize to INT8: `activation_type` and `weight_type=QuantType.QInt8` in ONNX Runtime's quantizer.",
        _TYPES, parameters.other_type,
        answer="Failed to import initializer",
        repair="INT8 with a range that covers the old", lesson="INT8",
    ),
    Rule(
        "both-inputs", "only one input quantized", _SLOW,
        "A convolution multiplies integers only if its input and its weights are both INT8.",
        "Quantize both, or neither.", _EXPLICIT, places.one_input,
        repair="the input quantized where its range is known, or the lone pair removed", lesson="both or none",
    ),
    Rule(
        "before-activation", "pair before an activation", _SLOW,
        "TensorRT computes a convolution and the SiLU or ReLU behind it in one kernel, in high precision in between. A "
        "pair in the middle forces a rounding there and may break the kernel in two.",
        "Quantize the inputs of convolutions, not their outputs. With ONNX Runtime's quantizer: "
        "`op_types_to_quantize=['Conv', 'Add']`, and the same as `OpTypesToExcludeOutputQuantization`.",
        _EXPLICIT, places.before_activation, repair="the pair removed", lesson="inputs, not outputs",
    ),
    Rule(
        "residual-add", "one branch of a residual Add", _SLOW,
        "An Add whose two inputs are INT8 reads a quarter of the bytes. With one of them in FP32, the sum and both "
        "tensors travel in high precision. (The bare output of a convolution needs no pair: it is added in the "
        "convolution's own kernel.)",
        "Quantize both branches of the Add, or neither.", _EXPLICIT, places.residual_adds,
        repair="the other branch quantized, or the lone pair removed",
    ),
    Rule(
        "concat-scales", "Concat of different scales", _SLOW,
        "Joined tensors are one INT8 tensor, which has one scale. With different ones TensorRT has to requantize the "
        "inputs, or join in high precision, and each costs a pass over memory.",
        "Give all inputs the largest of their scales, or leave Concat alone and quantize what reads it.",
        _EXPLICIT, places.concat_scales, repair="the pairs removed; what reads the joined tensor is quantized",
    ),
    Rule(
        "mover-pair", "pair in front of pooling or resizing", _SLOW,
        "MaxPool, Resize, Reshape and the like only move values, so TensorRT lets the pair behind them slide past. A "
        "pair of their own, with another scale or none behind, adds a rounding and a conversion.",
        "Quantize what reads the result instead.", _EXPLICIT, places.movers, repair="the pair removed",
    ),
    Rule(
        "activation-per-channel", "activation per channel", _SLOW,
        "The next convolution sums over the channels of an activation, so they need one common step. TensorRT takes "
        "scales per channel for weights only.",
        "One scale per activation tensor.", _TYPES, places.activation_per_channel,
        repair="the largest of the scales for all channels", lesson="activations per tensor",
    ),
    Rule(
        "weight-scales", "weights not per output channel", _SLOW,
        "Every output channel has sums of its own, so it can have a step of its own: axis 0 of a convolution's "
        "weights. Along another axis there is no INT8 kernel; one scale for all wastes most of the integers on the "
        "largest channel.",
        "Scales per output channel, axis 0: `per_channel=True` in ONNX Runtime's quantizer.",
        _TYPES, places.weight_scales, repair="scales computed per output channel", lesson="weights per channel",
    ),
    Rule(
        "scale-opset", "FP16 scales need operator set 19", _SLOW,
        "Before operator set 19 ONNX allows float32 scales only: ONNX Runtime refuses the file. TensorRT inserts a "
        "conversion.",
        "Export with `yolotrt export --opset 19`, or keep scales in float32.", _ONNX, parameters.fp16_scale_opset,
        repair="operator set raised to 19", lesson="scale type",
    ),
    Rule(
        "integer-source", "DequantizeLinear without QuantizeLinear", _SLOW,
        "An activation that comes as an integer has no pair TensorRT could fuse with its producer.",
        f"Put a QuantizeLinear with the same scale in front. {_AGAIN}", _EXPLICIT, pairing.integer_sources,
    ),
    Rule(
        "dangling", "Q or DQ that leads nowhere", _SLOW,
        "Nobody reads what the node makes. It is left over from an edit, and hides what was meant.",
        "Remove it.", _EXPLICIT, pairing.dangling, repair="removed",
    ),
    Rule(
        "uint8", "UINT8", _INACCURATE,
        "TensorRT has no UINT8 on a GPU. With zero point 0 it does not refuse: it warns, uses INT8 with the same "
        "scale, and everything from 128 steps on is clipped. Weights stored as UINT8 are refused.",
        "Quantize to INT8: `activation_type=QuantType.QInt8` in ONNX Runtime's quantizer.",
        _PARSER, parameters.uint8,
        answer="TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA (version >= 3.16). "
        "Defaulting to INT8 instead.",
        repair="INT8 with a range that covers the old", lesson="INT8",
    ),
    Rule(
        "no-zero-point", "no zero point", _INACCURATE,
        "The zero point says which integers are meant. Without one ONNX means UINT8, TensorRT INT8: the same file "
        "gives two results.",
        "Add a zero point of type INT8, value 0.", _PARSER, parameters.no_zero_point,
        repair="an INT8 zero point added", lesson="INT8",
    ),
    Rule(
        "pair-mismatch", "Q and DQ differ", _INACCURATE,
        "What one scale divides by, the other multiplies with. If they differ, the pair changes the values.",
        "Give both nodes the same scale and zero point.", _ONNX, pairing.pair_mismatch,
        repair="the DequantizeLinear takes its QuantizeLinear's parameters", lesson="pairs",
    ),
    Rule(
        "integer-reader", "integers without scale", _INACCURATE,
        "Only a DequantizeLinear knows what the integers stand for; anything else computes with bare numbers.",
        "A DequantizeLinear must follow.", _EXPLICIT, pairing.integer_readers, lesson="pairs",
    ),
    Rule(
        "double", "quantized twice", _INACCURATE,
        "Two pairs in a row round twice, and the coarser scale wins.",
        "Keep one pair.", _EXPLICIT, pairing.double, repair="one pair, of the narrower range",
    ),
    Rule(
        "final-conv", "end of the head in INT8", _INACCURATE,
        "The last convolutions make logits and distances: a step there is a step in scores and pixels.",
        "Leave them in high precision: `nodes_to_exclude` in ONNX Runtime's quantizer.", _TYPES, places.final_convs,
        repair="back to high precision", lesson="head",
    ),
    Rule(
        "logits", "quantized logits", _INACCURATE,
        "A pair behind the last convolution of the head rounds every score and every side of a box.",
        "No pairs behind the head.", _TYPES, places.logits, repair="the pair removed", lesson="head",
    ),
    Rule(
        "decode", "quantized decode", _INACCURATE,
        "The decode works with pixels: at 640 pixels one INT8 step of a coordinate is 5 pixels.",
        "No pairs in the decode: exclude its nodes.", _TYPES, places.decode, repair="the pair removed", lesson="head",
    ),
    Rule(
        "opset", "operator set without axis", _INACCURATE,
        "Before operator set 13 Q and DQ have no axis: scales per channel are not valid there, and runtimes disagree.",
        "Export with `yolotrt export --opset 17` and quantize again.", _ONNX, parameters.low_opset,
        repair="operator set raised to 13",
    ),
)  # fmt: skip


def rule_by_id(rule_id: str) -> Rule:
    """Return a rule.

    Raises:
        KeyError: There is none with this id.
    """
    return {rule.id: rule for rule in RULES}[rule_id]
