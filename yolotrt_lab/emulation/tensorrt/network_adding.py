"""Adding layers to a network definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolotrt_lab.emulation.tensorrt.network_layers import CLASS_OF_KIND
from yolotrt_lab.emulation.tensorrt.network_layers.convolutions import window_settings
from yolotrt_lab.emulation.tensorrt.network_layers.settings import weights_array
from yolotrt_lab.emulation.tensorrt.network_layers.state import LayerState
from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = ["LayerAdding"]

_LABELS = {
    "MATRIX_MULTIPLY": "Matrix Multiply", "ELEMENTWISE": "ElementWise", "TOPK": "TopK", "LRN": "LRN", "NMS": "NMS",
    "PARAMETRIC_RELU": "Parametric ReLU", "ONE_HOT": "OneHot", "NON_ZERO": "NonZero", "GRID_SAMPLE": "GridSample",
    "REVERSE_SEQUENCE": "ReverseSequence", "SOFTMAX": "Softmax",
}  # fmt: skip
_OUTPUTS = {"TOPK": 2, "NMS": 2}


class LayerAdding(ApiObject):
    """The `add_...` methods of networks."""

    _layers: list[LayerState]
    _reporter: Any

    def _own(self, tensor: Any, where: str) -> bool:
        raise NotImplementedError

    def _register(self, layer: LayerState, outputs: int) -> None:
        raise NotImplementedError

    def _next_key(self, label: str) -> str:
        raise NotImplementedError

    def _add(self, method: str, kind: str, inputs: Sequence[Any], **settings: Any) -> Any:
        """Add a layer and return the object a program gets; None if an input is of another network."""
        where = f"INetworkDefinition::{method}"
        if not all(tensor is None or self._own(tensor, where) for tensor in inputs):
            return None
        label = _LABELS.get(kind, kind.capitalize())
        layer = LayerState(self, kind, self._next_key(label), inputs=inputs, settings=settings)
        self._register(layer, _OUTPUTS.get(kind, 1))
        return layer.handle(CLASS_OF_KIND[kind])

    def _require(self, condition: bool, method: str, text: str) -> bool:
        """Log a failed check in TensorRT's words."""
        if not condition:
            check = f"Parameter check failed, condition: {text}."
            self._reporter.usage_error(f"INetworkDefinition::{method}", check)
        return condition

    # Windows

    def add_convolution_nd(
        self, input: Any, num_output_maps: int, kernel_shape: Any, kernel: Any, bias: Any = None
    ) -> Any:
        """Add a convolution."""
        return self._add_convolving(
            "addConvolutionNd", "CONVOLUTION", input, num_output_maps, kernel_shape, kernel, bias
        )

    def add_deconvolution_nd(
        self, input: Any, num_output_maps: int, kernel_shape: Any, kernel: Any, bias: Any = None
    ) -> Any:
        """Add a transposed convolution."""
        return self._add_convolving(
            "addDeconvolutionNd", "DECONVOLUTION", input, num_output_maps, kernel_shape, kernel, bias
        )

    def _add_convolving(self, method: str, kind: str, input: Any, maps: int, size: Any, kernel: Any, bias: Any) -> Any:
        size = tuple(int(length) for length in size)
        if not self._require(len(size) in (2, 3), method, "nbSpatialDims == 2 || nbSpatialDims == 3"):
            return None
        if not self._require(maps >= 1, method, "nbOutputMaps > 0"):
            return None
        return self._add(
            method, kind, [input], num_output_maps=maps, kernel_size=size, kernel=weights_array(kernel),
            bias=weights_array(bias), num_groups=1, dilation=(1,) * len(size), **window_settings(len(size)),
        )  # fmt: skip

    def add_pooling_nd(self, input: Any, type: Any, window_size: Any) -> Any:
        """Add pooling."""
        size = tuple(int(length) for length in window_size)
        if not self._require(len(size) in (2, 3), "addPoolingNd", "nbSpatialDims == 2 || nbSpatialDims == 3"):
            return None
        return self._add(
            "addPoolingNd", "POOLING", [input], type=type.name, window_size=size, excludes_padding=True,
            blend_factor=0.0, **window_settings(len(size)),
        )  # fmt: skip

    # Elements

    def add_activation(self, input: Any, type: Any) -> Any:
        """Add an activation function."""
        return self._add("addActivation", "ACTIVATION", [input], type=type.name, alpha=0.0, beta=0.0)

    def add_unary(self, input: Any, op: Any) -> Any:
        """Add a function of each element."""
        return self._add("addUnary", "UNARY", [input], op=op.name)

    def add_elementwise(self, input1: Any, input2: Any, op: Any) -> Any:
        """Add a function of the elements of two tensors."""
        return self._add("addElementWise", "ELEMENTWISE", [input1, input2], op=op.name)

    def add_scale(self, input: Any, mode: Any, shift: Any = None, scale: Any = None, power: Any = None) -> Any:
        """Add (input * scale + shift) ^ power; the channel is the third axis from the end."""
        rank = len(input._shape or ())
        if not self._require(rank >= 3, "addScale", "input.getDimensions().nbDims >= 3"):
            return None
        return self._add_scaling("addScale", input, mode, shift, scale, power, rank - 3)

    def add_scale_nd(
        self, input: Any, mode: Any, shift: Any = None, scale: Any = None, power: Any = None, channel_axis: int = 0
    ) -> Any:
        """Add (input * scale + shift) ^ power with the channel on a given axis."""
        return self._add_scaling("addScaleNd", input, mode, shift, scale, power, channel_axis)

    def _add_scaling(self, method: str, input: Any, mode: Any, shift: Any, scale: Any, power: Any, axis: int) -> Any:
        return self._add(
            method, "SCALE", [input], mode=mode.name, shift=weights_array(shift), scale=weights_array(scale),
            power=weights_array(power), channel_axis=axis,
        )  # fmt: skip

    def add_lrn(self, input: Any, window: int, alpha: float, beta: float, k: float) -> Any:
        """Add local response normalization."""
        if not self._require(window % 2 == 1, "addLRN", "window % 2 == 1"):
            return None
        return self._add("addLRN", "LRN", [input], window_size=window, alpha=alpha, beta=beta, k=k)

    def add_parametric_relu(self, input: Any, slopes: Any) -> Any:
        """Add a leaky ReLU whose slopes are a tensor."""
        return self._add("addParametricReLU", "PARAMETRIC_RELU", [input, slopes])

    def add_select(self, condition: Any, then_input: Any, else_input: Any) -> Any:
        """Add a choice between the elements of two tensors."""
        return self._add("addSelect", "SELECT", [condition, then_input, else_input])

    def add_identity(self, input: Any) -> Any:
        """Add a layer that hands its input on."""
        return self._add("addIdentity", "IDENTITY", [input])

    def add_cast(self, input: Any, to_type: Any) -> Any:
        """Add a conversion of the type."""
        return self._add("addCast", "CAST", [input], to_type=to_type.name)

    # Axes

    def add_softmax(self, input: Any) -> Any:
        """Add softmax; by default along the third axis from the end, or the first if there are fewer."""
        rank = len(input._shape or ())
        return self._add("addSoftMax", "SOFTMAX", [input], axes=1 << max(0, rank - 3))

    def add_reduce(self, input: Any, op: Any, axes: int, keep_dims: bool) -> Any:
        """Add a reduction along axes, given as bits."""
        return self._add("addReduce", "REDUCE", [input], op=op.name, axes=axes, keep_dims=keep_dims)

    def add_topk(self, input: Any, op: Any, k: int, axes: int, indices_type: Any = None) -> Any:
        """Add a search for the greatest or least elements along an axis, given as a bit."""
        wanted = "INT32" if indices_type is None else indices_type.name
        return self._add("addTopK", "TOPK", [input], op=op.name, k=k, axes=axes, indices_type=wanted)

    def add_cumulative(self, input: Any, axis: Any, op: Any, exclusive: bool, reverse: bool) -> Any:
        """Add running sums."""
        return self._add("addCumulative", "CUMULATIVE", [input, axis], op=op.name, exclusive=exclusive, reverse=reverse)

    def add_normalization(self, input: Any, scale: Any, bias: Any, axesMask: int) -> Any:
        """Add a normalization; with groups, scale and bias are for each group."""
        return self._add_normalizing("addNormalization", input, scale, bias, axesMask, v2=False)

    def add_normalization_v2(self, input: Any, scale: Any, bias: Any, axesMask: int) -> Any:
        """Add a normalization; with groups, scale and bias are for each channel."""
        return self._add_normalizing("addNormalizationV2", input, scale, bias, axesMask, v2=True)

    def _add_normalizing(self, method: str, input: Any, scale: Any, bias: Any, axes: int, *, v2: bool) -> Any:
        return self._add(
            method, "NORMALIZATION", [input, scale, bias], axes=axes, epsilon=1e-5, num_groups=1,
            compute_precision="FLOAT", v2=v2,
        )  # fmt: skip

    # Shapes

    def add_shuffle(self, input: Any) -> Any:
        """Add a transposition, a reshape and a second transposition."""
        return self._add(
            "addShuffle", "SHUFFLE", [input], first_transpose=None, reshape_dims=None, second_transpose=None,
            zero_is_placeholder=True,
        )  # fmt: skip

    def add_concatenation(self, inputs: Sequence[Any]) -> Any:
        """Add a concatenation; by default along the third axis from the end, or the first if there are fewer."""
        tensors = list(inputs)
        if not self._require(bool(tensors), "addConcatenation", "nbInputs > 0"):
            return None
        rank = len(tensors[0]._shape or ())
        return self._add("addConcatenation", "CONCATENATION", tensors, axis=max(0, rank - 3))

    def add_slice(self, input: Any, start: Any, shape: Any, stride: Any) -> Any:
        """Add the taking of a part."""
        sizes = {"start": start, "shape": shape, "stride": stride}
        values = {key: tuple(int(item) for item in value) for key, value in sizes.items()}
        return self._add("addSlice", "SLICE", [input], axes=None, mode="STRICT_BOUNDS", **values)

    def add_squeeze(self, input: Any, axes: Any = None) -> Any:
        """Add the removal of dimensions of size one."""
        return self._add("addSqueeze", "SQUEEZE", [input] if axes is None else [input, axes])

    def add_unsqueeze(self, input: Any, axes: Any) -> Any:
        """Add new dimensions of size one."""
        return self._add("addUnsqueeze", "UNSQUEEZE", [input, axes])

    def add_shape(self, input: Any) -> Any:
        """Add a layer that gives its input's dimensions."""
        return self._add("addShape", "SHAPE", [input])

    def add_padding_nd(self, input: Any, pre_padding: Any, post_padding: Any) -> Any:
        """Add padding with zeros, or cropping, of the last two dimensions."""
        pre, post = (tuple(int(item) for item in value) for value in (pre_padding, post_padding))
        if not self._require(len(pre) == len(post) == 2, "addPaddingNd", "prePadding.nbDims == 2"):
            return None
        return self._add("addPaddingNd", "PADDING", [input], pre_padding=pre, post_padding=post)

    def add_resize(self, input: Any) -> Any:
        """Add a resize; set its shape or scales."""
        return self._add(
            "addResize", "RESIZE", [input], mode="NEAREST", coordinates="ASYMMETRIC", selector="FORMULA",
            rounding="FLOOR", cubic_coeff=-0.75, exclude_outside=False, shape=None, scales=None,
        )  # fmt: skip

    def add_grid_sample(self, input: Any, grid: Any) -> Any:
        """Add sampling at given places."""
        return self._add(
            "addGridSample", "GRID_SAMPLE", [input, grid], mode="LINEAR", align_corners=False, sample_mode="FILL"
        )

    # Indices

    def add_gather(self, input: Any, indices: Any, axis: int) -> Any:
        """Add the taking of elements along an axis."""
        return self._add_gathering("addGather", input, indices, "DEFAULT", axis)

    def add_gather_v2(self, input: Any, indices: Any, mode: Any) -> Any:
        """Add the taking of elements in a given mode."""
        return self._add_gathering("addGatherV2", input, indices, mode.name, 0)

    def _add_gathering(self, method: str, input: Any, indices: Any, mode: str, axis: int) -> Any:
        return self._add(method, "GATHER", [input, indices], mode=mode, axis=axis, num_elementwise_dims=0)

    def add_scatter(self, data: Any, indices: Any, updates: Any, mode: Any) -> Any:
        """Add the putting of elements at indices."""
        return self._add("addScatter", "SCATTER", [data, indices, updates], mode=mode.name, axis=0)

    def add_one_hot(self, indices: Any, values: Any, depth: Any, axis: int) -> Any:
        """Add the writing of indices as vectors."""
        return self._add("addOneHot", "ONE_HOT", [indices, values, depth], axis=axis)

    def add_non_zero(self, input: Any, indices_type: Any = None) -> Any:
        """Add a search for elements that are not zero."""
        wanted = "INT32" if indices_type is None else indices_type.name
        return self._add("addNonZero", "NON_ZERO", [input], indices_type=wanted)

    def add_reverse_sequence(self, input: Any, sequence_lens: Any) -> Any:
        """Add the reversal of the start of each sequence."""
        return self._add(
            "addReverseSequence", "REVERSE_SEQUENCE", [input, sequence_lens], batch_axis=1, sequence_axis=0
        )

    def add_nms(self, boxes: Any, scores: Any, max_output_boxes_per_class: Any, indices_type: Any = None) -> Any:
        """Add non-maximum suppression."""
        wanted = "INT32" if indices_type is None else indices_type.name
        return self._add(
            "addNMS", "NMS", [boxes, scores, max_output_boxes_per_class], bounding_box_format="CORNER_PAIRS",
            topk_box_limit=5000, indices_type=wanted,
        )  # fmt: skip

    # Matrices and constants

    def add_constant(self, shape: Any, weights: Any) -> Any:
        """Add a constant."""
        sizes = tuple(int(size) for size in shape)
        return self._add("addConstant", "CONSTANT", [], shape=sizes, weights=weights_array(weights))

    def add_fill(self, shape: Any, op: Any, output_type: Any = None) -> Any:
        """Add a tensor of evenly spaced or random values."""
        wanted = "FLOAT" if output_type is None else output_type.name
        limits = (0.0, 1.0)
        return self._add(
            "addFill", "FILL", [], shape=tuple(int(size) for size in shape), operation=op.name, to_type=wanted,
            alpha=limits[0], beta=limits[1],
        )  # fmt: skip

    def add_matrix_multiply(self, input0: Any, op0: Any, input1: Any, op1: Any) -> Any:
        """Add a product of matrices."""
        return self._add("addMatrixMultiply", "MATRIX_MULTIPLY", [input0, input1], op0=op0.name, op1=op1.name)

    def add_einsum(self, inputs: Sequence[Any], equation: str) -> Any:
        """Add an Einstein sum."""
        return self._add("addEinsum", "EINSUM", list(inputs), equation=equation)

    def add_quantize(self, input: Any, scale: Any, output_type: Any = None) -> Any:
        """Add a quantization."""
        wanted = "INT8" if output_type is None else output_type.name
        return self._add("addQuantize", "QUANTIZE", [input, scale], axis=-1, block_shape=(), to_type=wanted)

    def add_dequantize(self, input: Any, scale: Any, output_type: Any = None) -> Any:
        """Add what undoes a quantization."""
        wanted = "FLOAT" if output_type is None else output_type.name
        return self._add("addDequantize", "DEQUANTIZE", [input, scale], axis=-1, block_shape=(), to_type=wanted)
