"""Finds layers whose weights are 2:4 sparse, as TensorRT does for its sparse kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_sparse", "sparse_layers"]

_GROUP = 4
_KEPT = 2


def sparse_layers(model: Any) -> list[str]:
    """Return the names of convolutions and matrix products of a `ModelProto` that could use sparse kernels."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(node.input) > 1 and node.input[1] in weights:
            values = numpy_helper.to_array(weights[node.input[1]])
            if is_sparse(values if node.op_type == "Conv" else np.moveaxis(values, -2, -1)):
                found.append(node.name)
    return found


def is_sparse(weights: np.ndarray[Any, Any]) -> bool:
    """Return whether two of every four neighboring weights along the second axis, the input channels, are zero.

    Example:
        >>> import numpy as np
        >>> is_sparse(np.array([[1, 0, 0, 2], [0, 0, 3, 0]])), is_sparse(np.array([[1, 2, 3, 0]]))
        (True, False)
    """
    channels = weights.shape[1] if weights.ndim > 1 else 0
    if channels == 0 or channels % _GROUP:
        return False
    groups = np.moveaxis(weights, 1, -1).reshape(-1, _GROUP)
    return bool((np.count_nonzero(groups, axis=1) <= _KEPT).all())
