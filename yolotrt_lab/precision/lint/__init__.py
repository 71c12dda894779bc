"""What of TensorRT's rules for Q/DQ graphs a model breaks, and the repair."""
