"""Detection in NumPy: boxes, letterbox, output decoding, non-maximum suppression, the detector around a backend."""
