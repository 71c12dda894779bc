"""Who takes part: how each quantized model is made, and in which runtimes it is measured.

Every model runs where its maker means it to run, and where it is fastest on a CPU. OpenVINO runs each one twice, as
what is left in floating point may run in FP32 or in BF16, like that of our engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["OURS", "RECIPES", "REFERENCE", "Recipe", "Run", "select_recipes"]

OURS = "yolotrt-lab"


@dataclass(frozen=True)
class Run:
    """A runtime to measure a model in.

    Attributes:
        runtime: "tensorrt" (an engine is built first), "openvino" or "onnxruntime".
        hint: OpenVINO's precision for what is not INT8: "f32" or "bf16".
        is_makers: Whether the maker of the model means it for this runtime.
    """

    runtime: str
    hint: str = ""
    is_makers: bool = False

    @property
    def label(self) -> str:
        """Its name in tables."""
        names = {"tensorrt": "TensorRT", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
        return f"{names[self.runtime]} {self.hint}".rstrip()


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        key: Short name; also what its files are called.
        maker: Whose method it is.
        label: Its name in tables and plots.
        script: Module of this package that makes it in a process of its own; empty for our own models.
        needs_peers: Whether that process needs the peers' Python, rather than the one that runs the benchmark.
        artifact: Name of the file it makes.
        runs: Where it is measured.
        settings: Passed to the script.
    """

    key: str
    maker: str
    label: str
    artifact: str
    runs: tuple[Run, ...]
    script: str = ""
    needs_peers: bool = True
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


_OPENVINO = (Run("openvino", "f32"), Run("openvino", "bf16"))
_OPENVINO_MAKERS = (Run("openvino", "f32", True), Run("openvino", "bf16", True))
_TENSORRT = Run("tensorrt", is_makers=True)

REFERENCE = Recipe("fp32", OURS, "FP32", "fp32.onnx", (_TENSORRT,), settings={"precision": "fp32"})
"""What drops in accuracy and ratios of time refer to."""


def _onnxruntime(key: str, label: str, runs: tuple[Run, ...], **settings: object) -> Recipe:
    return Recipe(
        key, "ONNX Runtime", label, f"{key}.onnx", runs, "make_onnxruntime", needs_peers=False, settings=settings
    )


RECIPES: tuple[Recipe, ...] = (
    REFERENCE,
    Recipe("fp16", OURS, "FP16", "fp16.onnx", (_TENSORRT,), settings={"precision": "fp16"}),
    Recipe(
        "int8", OURS, "INT8", "int8.onnx", (_TENSORRT, Run("openvino", "bf16")), settings={"precision": "int8"}
    ),
    Recipe(
        "int8-mixed",
        OURS,
        "INT8 mixed",
        "int8-mixed.onnx",
        (_TENSORRT, Run("openvino", "bf16")),
        settings={"precision": "int8", "damage": 0.5},
    ),
    Recipe(
        "unquantized",
        "not quantized",
        "FP32 model",
        "fp32.onnx",
        (*_OPENVINO_MAKERS, Run("onnxruntime", is_makers=True)),
        settings={"precision": "fp32"},
    ),
    Recipe("ultralytics", "Ultralytics", "OpenVINO INT8", "ultralytics.xml", _OPENVINO_MAKERS, "make_ultralytics"),
    *(
        Recipe(
            f"nncf-{preset}", "NNCF", preset, f"nncf-{preset}.xml", _OPENVINO_MAKERS, "make_nncf",
            settings={"preset": preset},
        )
        for preset in ("performance", "mixed")
    ),
    *(
        Recipe(
            f"modelopt-{method}", "ModelOpt", method, f"modelopt-{method}.onnx", (_TENSORRT, *_OPENVINO),
            "make_modelopt", settings={"method": method},
        )
        for method in ("entropy", "max")
    ),
    _onnxruntime("ort-default", "default", (Run("onnxruntime", is_makers=True), *_OPENVINO)),
    _onnxruntime(
        "ort-weighted", "convolutions only", (Run("onnxruntime", is_makers=True), *_OPENVINO), only_weighted=True
    ),
    _onnxruntime(
        "ort-tensorrt", "TensorRT-safe", (_TENSORRT, Run("onnxruntime", is_makers=True), *_OPENVINO),
        only_weighted=True, tensorrt_safe=True,
    ),
)  # fmt: skip


def select_recipes(words: str) -> tuple[Recipe, ...]:
    """Return the recipes whose key starts with one of the words, separated by commas; the reference always takes part.

    Raises:
        ValueError: A word fits none.
    """
    prefixes = [word.strip() for word in words.split(",") if word.strip()]
    for prefix in prefixes:
        if not any(recipe.key.startswith(prefix) for recipe in RECIPES):
            raise ValueError(prefix)
    wanted = (*prefixes, REFERENCE.key) if prefixes else ("",)
    return tuple(recipe for recipe in RECIPES if recipe.key.startswith(wanted))
