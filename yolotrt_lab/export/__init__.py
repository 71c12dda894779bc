"""From a checkpoint to an ONNX graph that is proven to compute the same thing."""
