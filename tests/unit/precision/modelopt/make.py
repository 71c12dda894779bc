"""Makes `tiny_int8.onnx`: the tiny detector of the precision tests as NVIDIA ModelOpt quantizes it, by its defaults.

Made with Python 3.11, nvidia-modelopt 0.47.0, onnx 1.21.0, onnxruntime 1.24.4, in an environment of its own:

    uv venv modelopt && uv pip install --python modelopt/bin/python "nvidia-modelopt[onnx]" pytest
    modelopt/bin/python tests/unit/precision/modelopt/make.py

Optional arguments: another FP32 model, a .npy of its input images, and where the result goes.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from modelopt.onnx.quantization import quantize

HERE = Path(__file__).parent


def tiny() -> tuple[Path, np.ndarray, Path]:
    """Return the tiny detector, images for it, and where the result goes."""
    sys.path.insert(0, str(HERE.parent))
    from conftest import SIZE, build_detector

    path = Path(tempfile.mkdtemp()) / "tiny.onnx"
    onnx.save(build_detector(batch=1), path)
    coarse = np.random.default_rng(5).random((12, 3, SIZE // 4, SIZE // 4)).astype(np.float32)
    return path, np.kron(coarse, np.ones((1, 1, 4, 4), np.float32)), HERE / "tiny_int8.onnx"


def main() -> None:
    """Quantize to INT8 with 12 smooth images."""
    model, images, output = (Path(sys.argv[1]), np.load(sys.argv[2]), Path(sys.argv[3])) if sys.argv[3:] else tiny()
    quantize(
        str(model),
        quantize_mode="int8",
        calibration_data={"images": images},
        calibration_eps=["cpu"],
        output_path=str(output),
    )


if __name__ == "__main__":
    main()
