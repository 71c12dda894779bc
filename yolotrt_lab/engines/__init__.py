"""TensorRT engines by one path, on a GPU or emulated: choose the platform, build, load, inspect."""
