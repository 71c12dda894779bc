# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 4 · Engines: FP32, FP16, INT8
#
# An ONNX file says *what* to compute. An engine says *how*: which kernel runs each piece of the graph, what was fused
# into one pass over memory, and in which arithmetic. In this lab you build engines with TensorRT's own Python API,
# watch it refuse bad requests, and learn the two ways to a lower precision. Then you quantize a network by hand until
# INT8 holds no magic. At the end you *prove* what you built: which layers fused, which run in INT8, how far the outputs
# are from the FP32 reference, and what all this did to accuracy and speed.

# %% [markdown]
# ## What you will be able to do
#
# - **Build** an engine from ONNX and report every reason when it cannot be built.
# - **Define** optimization profiles, and tell their three failure modes apart.
# - **Make** an FP16 engine in both ways: a builder flag (TensorRT 10) and a typed graph (10 and 11).
# - **Quantize** and dequantize by hand, and predict the error before you measure it.
# - **Choose** clipping thresholds by entropy and by percentile, and calibrate with TensorRT's own interface.
# - **Place** Q/DQ nodes where TensorRT wants them, and keep sensitive layers in higher precision.
# - **Read** an engine's inspector, and prove what fused and what runs in which precision.
# - **Judge** an engine against ONNX Runtime by a ladder of tolerances, and **report** accuracy, size and latency
#   honestly.

# %% [markdown]
# ## Before you start
#
# **Prerequisites:** lab 3 (ONNX graphs, exporting, comparing tensors) and NumPy. No GPU is needed: without one, the course
# stands in for TensorRT with an emulation that has the same API, runs on your processor, and always says so.
#
# **Time:** about 5 hours. Part A takes 70 minutes, part B 150, part C 70; the exercises are independent of each other,
# so you may stop after any of them and go on another day.
#
# **How it works:** write each answer in its cell, run the `check(...)` below it, read what it says, try again. A check
# costs nothing and can be repeated as often as you like. Cells that say *predict* have no right answer: write your
# guess down before you run the next cell. Being wrong there is how the lab teaches.

# %% [markdown]
# ## Map of this lab
#
# | Part | Section | Exercise | Tier | Minutes | Points |
# |---|---|---|---|---|---|
# | A | A1 From graph to engine | `lab4.fp32_engine` | core | 25 | 8 |
# | A | A2 Batches that vary | `lab4.dynamic_profile` | core | 20 | 9 |
# | A | A3 Two ways to FP16 | `lab4.fp16_engines` | core | 25 | 8 |
# | B | B1 Eight bits by hand | `lab4.quantize_error` | core | 20 | 6 |
# | B | B2 How much information a cut costs | `lab4.kl_threshold` | core | 30 | 7 |
# | B | B3 A fixed share | `lab4.percentile_threshold` | core | 10 | 3 |
# | B | B4 TensorRT's own calibrator | `lab4.int8_calibrator` | core | 25 | 7 |
# | B | B5 Calibrate on what the network will see | `lab4.calibration_bug` | core | 20 | 5 |
# | B | B6 Quantization written into the graph | `lab4.qdq_graph` | core | 30 | 9 |
# | B | B7 Spend precision where it counts | `lab4.sensitive_layers` | stretch | 15 | 5 |
# | C | C1 What did it build? | `lab4.read_inspector` | core | 25 | 8 |
# | C | C2 Is it still right? | `lab4.compare_engines` | core | 25 | 8 |
# | C | C3 The table you may show | `lab4.engine_table` | core | 20 | 7 |
# | | Written question | choose an engine and defend it | core | 20 | 10 |

# %%
import json
import re
import time
from collections import Counter
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
from IPython.display import Markdown, display
from onnx import TensorProto, helper, numpy_helper

plt.show()  # from here on, figures appear below their cells

# %% [markdown]
# From the course's package come data, builders, measures and figures. The last line decides what this lab runs on:
# TensorRT on an NVIDIA GPU if both are there, otherwise the emulation, which then says so in one line.

# %%
from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import EngineBuildError, InputError
from yolotrt_lab.evaluation.average_precision import evaluate_detections
from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.figures.engine_layers import fusion_map, layers_by_precision
from yolotrt_lab.figures.engine_tradeoff import Rung, accuracy_latency, tolerance_ladder
from yolotrt_lab.figures.number_formats import number_formats

platform = activate()

# %% [markdown]
# Only now may `tensorrt` be imported: it finds the real library, or its stand-in with the same classes and signatures.

# %%
import tensorrt as trt

from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.report.schema import PlatformInfo
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
from yolotrt_lab.runtimes.detector import open_detector
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Precision

print(f"TensorRT {trt.__version__} on {platform.device_name}")

# %% [markdown]
# # Part A · Building engines
#
# Before anything can be built there must be something to build from. The next cell draws a small set of test images and
# exports the course's own detector, a YOLOv5n trained on machine parts, to ONNX at 320 x 320 pixels with a dynamic
# batch: lab 3 in two lines. Both are kept in the course's workspace, so this takes a while only once.

# %% tags=["demonstration"]
lab_folder = workspace() / "lab4"
fp32_onnx = lab_folder / "model.fp32.onnx"
dataset = prepare_dataset(
    "parts", root=workspace() / "datasets" / "lab4", counts={"train": 32, "test": 40}, image_hw=(320, 320)
)
if not fp32_onnx.exists():
    export_onnx("base", fp32_onnx, image_size=320)
detector_graph = onnx.load(fp32_onnx)
print(f"{fp32_onnx.name}: {len(detector_graph.graph.node)} nodes, {fp32_onnx.stat().st_size / 2**20:.1f} MiB")
print(f"test images: {len(dataset.images('test'))} of {', '.join(dataset.class_names)}")

# %% [markdown]
# ## A1 · From graph to engine
#
# An ONNX graph is a list of operators. Running it as written means: read a tensor from memory, apply one operator, write
# the result back, 262 times. For most of these operators the arithmetic is nothing; the traffic is everything. A SiLU
# after a convolution ($y = x \cdot \sigma(x)$) takes two nodes, and each reads and writes the whole tensor at least once:
#
# $$\text{extra traffic} = 2 \text{ nodes} \times (\text{read} + \text{write}) \times C \cdot H \cdot W \times 4 \text{ bytes}$$
#
# For the first convolution of this detector (16 channels of 160 x 160) that is 6.6 MB per image that nobody needs: the
# values were in the processor's registers a moment ago. Saving such trips is the first thing an engine builder does.

# %% [markdown]
# **The builder's work, in order.** *Parse*: ONNX becomes TensorRT's own network. *Simplify*: constants are folded, dead
# branches removed. *Fuse*: neighbours that can share one pass become one layer. *Choose*: for each layer several kernels
# ("tactics") exist, and the builder times them on this very device, at the sizes you promise. *Plan*: buffers get their
# places in memory, and everything is serialized into one file, the plan.
#
# Two consequences follow from *choose*. An engine belongs to the device and the TensorRT version it was built with: it
# is a compiled program, not a model file. And a build is not exactly repeatable: two kernels that are equally fast may
# win on different days, and round differently. So you keep the ONNX file and rebuild; you never treat a plan as the
# source.

# %% [markdown]
# ### Predict
#
# The next cell counts the detector's nodes by operator. Look at the counts and ask which of them can share a pass. Then
# write down: how many *layers* will the engine have? You will count them in part C.

# %% tags=["demonstration"]
operator_counts = Counter(node.op_type for node in detector_graph.graph.node)
for operator, count in operator_counts.most_common():
    print(f"{operator:12s} {count:4d}  {'█' * (count // 2)}")

# %%
my_guess_layers = 200  # your guess: into how many layers will 262 nodes be fused?

# %% [markdown]
# ### Five objects
#
# | object | what it is for | how it says no |
# |---|---|---|
# | `trt.Logger`, or your own `ILogger` | hears everything the others have to say | — |
# | `trt.Builder(logger)` | makes the others, and in the end the plan | returns `None` |
# | `builder.create_network(flags)` | the network, still empty | — |
# | `trt.OnnxParser(network, logger)` | fills the network from ONNX | returns `False`, keeps a list of errors |
# | `builder.create_builder_config()` | what you allow: memory, flags, profiles, verbosity | -1, or `False`, by method |
#
# Read the last column again. TensorRT is a C++ library, and its Python API hardly ever raises. It *returns* its refusal
# and tells the reason to the logger. Code that ignores return values does not crash where it went wrong, but three
# steps later, with a message about something else. Most of this part is about reading these answers.

# %% [markdown]
# A logger that prints is fine while you watch. A program wants to *keep* the messages, so that its errors can quote them.
# That takes a subclass of `ILogger`. One line in it looks redundant and is not: without the explicit call of
# `trt.ILogger.__init__`, the C++ half of the object does not exist, and Python raises a `TypeError`.


# %%
class LogKeeper(trt.ILogger):
    """Keeps TensorRT's warnings and errors instead of printing them."""

    def __init__(self):
        trt.ILogger.__init__(self)
        self.messages = []  # (severity, text), oldest first

    def log(self, severity, msg):
        """Take one message; TensorRT calls this."""
        if int(severity) <= int(trt.ILogger.WARNING):  # the smaller, the more severe
            self.messages.append((severity.name, msg))

    def errors(self):
        """Return the errors, one per line."""
        return "\n".join(text for severity, text in self.messages if "ERROR" in severity)


# %% [markdown]
# Now watch two refusals, with nothing done about them. First a graph with an operator that TensorRT does not know; then
# the detector itself, whose batch is dynamic, with nothing said about the sizes to expect.

# %% tags=["demonstration"]
logger = LogKeeper()
builder = trt.Builder(logger)
unknown = helper.make_graph(
    [helper.make_node("Wobble", ["x"], ["y"], name="/neck/Wobble", domain="my.lab")],
    "unknown",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
)
onnx_parser = trt.OnnxParser(builder.create_network(), logger)
print("parse returned", onnx_parser.parse(helper.make_model(unknown).SerializeToString()))
print(f"the parser keeps {onnx_parser.num_errors} error(s); the first:\n{onnx_parser.get_error(0)}")

# %% tags=["demonstration"]
logger = LogKeeper()
builder = trt.Builder(logger)
definition = builder.create_network()
onnx_parser = trt.OnnxParser(definition, logger)
print("parse returned", onnx_parser.parse_from_file(str(fp32_onnx)))
plan = builder.build_serialized_network(definition, builder.create_builder_config())
print("the build returned", plan)
print(f"and told the logger:\n{logger.errors()}")

# %% [markdown]
# ### Exercise · `lab4.fp32_engine`
#
# *Core · difficulty 3/5 · 25 minutes · 8 points*
#
# Write the function that every later step rests on: from an ONNX file to the bytes of an FP32 plan, with each failure
# turned into an error that tells its reason. Three kinds of failure must be told apart, because a caller reacts to them
# in different ways: no such file; a model that cannot be parsed (*every* reason, so that one repair is enough); and a
# build that gives `None`.
#
# Two settings belong to it. `ProfilingVerbosity.DETAILED`, or the inspector will later show names only. And TF32 off:
# on recent GPUs `BuilderFlag.TF32` is on by default and lets "FP32" convolutions multiply with 10-bit mantissas. That is
# often a fine choice, but this engine is the yardstick for the others.


# %% nbgrader={"grade": false, "grade_id": "lab4-fp32_engine", "locked": false, "schema_version": 3, "solution": true, "task": false}
def build_fp32(onnx_path: Path) -> bytes:
    """Build an FP32 engine from an ONNX file and return its plan.

    The engine is built with detailed profiling verbosity and without TF32. A `LogKeeper` listens.

    Raises:
        FileNotFoundError: There is no file at `onnx_path`; the message names it.
        EngineBuildError: TensorRT cannot parse the model; the message holds every error of the parser, each with the
            node's name where there is one (`str(parser.get_error(i))` has it all).
        EngineBuildError: The build gave None; the message holds the errors that were logged.

    Example:
        plan = build_fp32(Path("model.onnx"))
        Path("model.engine").write_bytes(plan)
    """
    ### BEGIN SOLUTION
    if not onnx_path.is_file():
        raise FileNotFoundError(f"There is no ONNX file at {onnx_path}")
    logger = LogKeeper()
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_path)):
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineBuildError(f"TensorRT cannot parse {onnx_path.name}.", got="; ".join(reasons))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError(f"TensorRT cannot build {onnx_path.name}.", got=logger.errors())
    return bytes(plan)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-fp32_engine-check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("lab4.fp32_engine")

# %% [markdown]
# Now give your function the real detector. If it reports as it should, the error below tells what the next section is
# about.

# %% tags=["demonstration"]
with using("lab4.fp32_engine"):
    try:
        print(len(build_fp32(fp32_onnx)), "bytes")
    except EngineBuildError as error:
        print(error)

# %% [markdown]
# **Check yourself**
#
# <details><summary>Why does the builder want a device at all? Could it not build for any GPU?</summary>
#
# It times kernels on the device to choose among them. Without a device there is nothing to time (and the real
# `trt.Builder` cannot even be made). Cross-building exists for some platforms, and "hardware compatible" engines give up
# some speed for running on several generations.
# </details>
#
# <details><summary>A colleague caches plans by the name of the ONNX file. What will go wrong?</summary>
#
# The file changes and its name does not; TensorRT is updated; the job moves to another GPU. In the first case the old
# network runs silently. The key has to hold the hash of the ONNX file, TensorRT's version, the device and the options.
# That is what `yolotrt build` writes beside each plan.
# </details>

# %% [markdown]
# ## A2 · Batches that vary
#
# The detector's input is $(N, 3, 320, 320)$ with $N$ left open; TensorRT shows it as -1. Kernels are chosen by timing,
# and nothing can be timed at size -1. So you make a promise, an **optimization profile**, with three shapes per input:
#
# - **min** and **max**: outside of these the engine refuses to run. Memory is planned for *max*.
# - **opt**: the shape that kernels are timed at. The engine is correct everywhere between min and max, and fast here.
#
# A wide promise is not free. Intermediate tensors need space for the largest batch, whether it ever comes or not, and a
# kernel that is only valid for batch 1 may not be used. If you serve single frames and, at night, batches of 32, build
# two engines, or one engine with two profiles.

# %% [markdown]
# ### Predict
#
# An engine for batches up to 1 needs some memory for intermediate tensors. How much more does one for batches up to 4
# need, and one for up to 8, if all you ever run is batch 1? Guess the factors, then run the cell. (It uses the package's
# `build_engine`: the steps of your function, plus profile, file and provenance.)

# %% tags=["demonstration"]
for max_batch in (1, 4, 8):
    options = EngineOptions(precision=Precision.FP32, max_batch=max_batch)
    built = build_engine(fp32_onnx, lab_folder / f"up-to-{max_batch}.engine", options=options)
    mib = built.report.device_memory_bytes / 2**20
    print(f"up to {max_batch}: {mib:5.1f} MiB for intermediate tensors  {'█' * round(mib)}")

# %% [markdown]
# Nothing is shared between the images of a batch, so the memory grows in proportion to the *largest* batch. On a GPU that
# many processes share, a careless `max=32` is what pushes the neighbours out.
#
# **Three ways to get it wrong**, each with its own kind of "no":
#
# | mistake | who says no | how |
# |---|---|---|
# | no profile, or an input forgotten in it | the builder | `build_serialized_network` returns `None` |
# | min > opt, opt > max | the configuration | `add_optimization_profile` returns -1, and the profile is *not there* |
# | a shape outside at run time | the context | `set_input_shape` returns `False`, and *keeps the shape it had* |
#
# The third is the nastiest. Whoever ignores that `False` runs the old shape on the new data, and gets numbers.

# %% [markdown]
# ### Exercise · `lab4.dynamic_profile`
#
# *Core · difficulty 3/5 · 20 minutes · 9 points*
#
# Write a class that builds an engine for a range of batches and answers, for each batch, which shapes come out. It must
# work for networks with several inputs (some of which may have a fixed batch), and it must turn all three refusals into
# errors at the place where they happen.

# %% [markdown]
# To ask for output shapes you need an *execution context*. The engine knows the promise, the context knows the present
# shapes:
#
# ```python
# engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
# context = engine.create_execution_context()
# context.set_input_shape("images", (2, 3, 320, 320))   # True or False
# context.get_tensor_shape("output0")                   # (2, 12, 2100)
# ```
#
# `engine.num_io_tensors`, `get_tensor_name(i)`, `get_tensor_mode(name)` and `get_tensor_shape(name)` list what there is.


# %% nbgrader={"grade": false, "grade_id": "lab4-dynamic_profile", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BatchEngine:
    """An FP32 engine for batches from `min_batch` to `max_batch`, tuned for `opt_batch`.

    The batch is the first dimension. Every input whose batch is dynamic gets the profile; all other dimensions are
    fixed by the model. Detailed verbosity and no TF32, as before.

    Attributes:
        plan: The plan, as bytes.

    Raises:
        InputError: The three numbers cannot be a profile, or the model has no input with a dynamic batch.
        EngineBuildError: The model cannot be parsed or built; the message holds the reasons.
    """

    def __init__(self, onnx_path: Path, *, min_batch: int, opt_batch: int, max_batch: int) -> None:
        ### BEGIN SOLUTION
        self._range = (min_batch, max_batch)
        self._logger = LogKeeper()
        builder = trt.Builder(self._logger)
        network = builder.create_network()
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(onnx_path)):
            reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
            raise EngineBuildError(f"TensorRT cannot parse {onnx_path}.", got="; ".join(reasons))
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.clear_flag(trt.BuilderFlag.TF32)
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        dynamic = [tensor for tensor in inputs if tensor.shape[0] == -1]
        if not dynamic:
            raise InputError(f"{onnx_path} has a fixed batch.", expected="a dynamic batch", got=tuple(inputs[0].shape))
        profile = builder.create_optimization_profile()
        for tensor in dynamic:
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, (min_batch, *rest), (opt_batch, *rest), (max_batch, *rest))
        if config.add_optimization_profile(profile) < 0:
            raise InputError("No profile.", expected="min <= opt <= max", got=(min_batch, opt_batch, max_batch))
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineBuildError(f"TensorRT cannot build {onnx_path}.", got=self._logger.errors())
        self.plan = bytes(plan)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(self.plan)
        self._context = self._engine.create_execution_context()
        ### END SOLUTION

    def output_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every output for a batch, by name.

        Raises:
            InputError: The batch is outside the range; the message tells least and greatest. The engine stays usable.
        """
        ### BEGIN SOLUTION
        engine, shapes = self._engine, {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        for name in names:
            shape = tuple(engine.get_tensor_shape(name))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input and shape[0] == -1 and not self._context.set_input_shape(name, (batch, *shape[1:])):
                low, high = self._range
                raise InputError(f"Batch {batch} is outside the profile.", expected=f"{low} to {high}", got=batch)
        for name in names:
            if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
                shapes[name] = tuple(self._context.get_tensor_shape(name))
        return shapes
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-dynamic_profile-check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("lab4.dynamic_profile")

# %% [markdown]
# Your class on the real detector: the batch of the output follows the batch of the input, up to four, and five is refused.

# %% tags=["demonstration"]
with using("lab4.dynamic_profile"):
    batch_engine = BatchEngine(fp32_onnx, min_batch=1, opt_batch=2, max_batch=4)
    for batch in (1, 4, 5):
        try:
            print(f"batch {batch}:", batch_engine.output_shapes(batch))
        except InputError as error:
            print(f"batch {batch}:", error.one_line)

# %% [markdown]
# **Check yourself**
#
# <details><summary>The engine runs at batch 1 although the profile was made with min = opt = max = 8. True or false?</summary>
#
# False. It runs batch 8 and nothing else. "An engine for the largest batch" is not an engine for all smaller ones.
# </details>
#
# <details><summary>An exported model says (1, 3, 640, 640), and you want batches up to 8. Is a profile enough?</summary>
#
# No. The 1 is part of the network, often inside reshapes deep in the head as well. Export again with a dynamic batch
# (lab 3); a profile can only narrow what the graph leaves open.
# </details>

# %% [markdown]
# ## A3 · Two ways to FP16
#
# Half the bits means half the memory traffic, and on a GPU's tensor cores several times the arithmetic. What it costs is
# resolution. A floating-point number with $m$ stored mantissa bits counts, around a value $x$, in steps of
#
# $$\Delta(x) = 2^{\lfloor \log_2 |x| \rfloor - m} \qquad m = 23 \text{ (FP32)},\ 10 \text{ (FP16)},\ 7 \text{ (BF16)}$$
#
# so rounding moves a value by up to $\Delta/2$, which is a *relative* error of at most $2^{-m-1}$: 0.05 % for FP16, 0.4 %
# for BF16. BF16 spends its other bits on range: it reaches as far as FP32, while FP16 ends at 65504.
#
# **Predict:** which of a detector's values suffer more in FP16, its scores or its pixel coordinates?

# %% tags=["demonstration"]
number_formats({"1: scores end here": 1.0, "320: largest pixel": 320.0})

# %% [markdown]
# Around 320, FP16 counts in quarters of a pixel, BF16 in whole pixels, two at a time. A coordinate that is *computed* in
# BF16 can therefore be off by a pixel however good the network is. Scores near 1 are rounded by 0.0002 in FP16, which
# nobody notices. This is why good conversions keep the last few nodes, the ones that turn logits into pixels, in FP32
# (`convert_to_fp16` of this course does): they cost next to no time.

# %% [markdown]
# ### Permit, or command
#
# **By flag (TensorRT 10 only).** The graph stays FP32, and `BuilderFlag.FP16`, set on the configuration, *permits* half
# precision. The builder takes it where its timing says that it is faster. You do not learn where, unless you look.
#
# **By type (10 and 11).** The graph itself says which tensor is float16: weights are stored as float16, and `Cast` nodes
# stand where types meet. The network is created *strongly typed*, and now the types are a command: the builder may fuse
# and choose kernels, but not change a type.
#
# TensorRT 11 has removed the flags; every network is strongly typed there. The trap is in the middle: wrappers that set
# the flag "if it exists" quietly build FP32 on TensorRT 11, the file is called `model_fp16.engine`, and nobody wonders
# why it is not faster. So the rule of this course: **a precision is what the inspector shows, not what was asked for.**

# %% [markdown]
# ### When the processor has no FP16
#
# A build on a machine without FP16 arithmetic is a good example for the rule. Most CPUs have none, but many have BF16.
# There the emulation runs what you asked to be FP16 in BF16, which is honest reduced precision with a coarser mantissa,
# and the inspector says BF16. All checks of this lab, and all tolerances, go by what really ran.

# %% [markdown]
# ### Exercise · `lab4.fp16_engines`
#
# *Core · difficulty 4/5 · 25 minutes · 8 points*
#
# Do it both ways. First the graph: write a function that returns the float16 version of a small FP32 model. Inputs and
# outputs keep their names and stay float32, so that no caller has to change. You need three things: weights (floats in
# initializers *and* in `Constant` nodes) become float16; a `Cast` to float16 behind every input; a `Cast` back to float32
# in front of every output.
#
# Beware of operators that demand float32 for an input that is not data. `Resize` is the one you will meet: look up the
# types of its inputs (`X`, `roi`, `scales`, `sizes`) in
# [ONNX's list of operators](https://onnx.ai/onnx/operators/onnx__Resize.html).


# %% nbgrader={"grade": false, "grade_id": "lab4-fp16_graph", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fp16_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an FP32 model that computes in float16, with float32 inputs and outputs of the same names.

    The nodes stay in an order in which they can run. `numpy_helper.to_array` and `numpy_helper.from_array` convert
    between ONNX tensors and arrays, `helper.make_node("Cast", [a], [b], name=..., to=TensorProto.FLOAT16)` makes a
    cast, and `graph.node.insert(0, node)` puts it in front.
    """
    ### BEGIN SOLUTION
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    kept = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    tensors = [tensor for tensor in graph.initializer if tensor.name not in kept]
    tensors += [entry.t for node in graph.node if node.op_type == "Constant" for entry in node.attribute]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in [*graph.input, *graph.output]:
        for node in graph.node:
            node.input[:] = [f"{name}_fp16" if name == value.name else name for name in node.input]
            node.output[:] = [f"{name}_fp16" if name == value.name else name for name in node.output]
    for value in graph.input:
        cast = helper.make_node("Cast", [value.name], [f"{value.name}_fp16"], to=TensorProto.FLOAT16)
        cast.name = f"{value.name}/Cast"
        graph.node.insert(0, cast)
    for value in graph.output:
        cast = helper.make_node("Cast", [f"{value.name}_fp16"], [value.name], to=TensorProto.FLOAT)
        cast.name = f"{value.name}/Cast"
        graph.node.append(cast)
    del graph.value_info[:]  # remembered types of tensors in between: no longer true
    return made
    ### END SOLUTION


# %% [markdown]
# Then the engines. One function, two routes: `typed=False` sets the flag on an ordinary network of the FP32 graph;
# `typed=True` writes the float16 graph to `fp16_path` and builds a strongly typed network from that file. (A strongly
# typed network with a precision flag is a contradiction, and TensorRT refuses it.)


# %% nbgrader={"grade": false, "grade_id": "lab4-fp16_engines", "locked": false, "schema_version": 3, "solution": true, "task": false}
def build_fp16(onnx_path: Path, *, typed: bool, fp16_path: Path) -> bytes:
    """Build a half precision engine of an FP32 ONNX file and return its plan; detailed verbosity, as before.

    Args:
        onnx_path: The FP32 model.
        typed: By the types of the graph (True), or by the builder flag (False).
        fp16_path: Where the typed route writes the float16 graph; the other route writes nothing.

    Raises:
        InputError: The flag was asked for, and this TensorRT has none: `trt.BuilderFlag` lacks `FP16`.
        EngineBuildError: The model cannot be parsed or built; the message holds the reasons.
    """
    ### BEGIN SOLUTION
    if not typed and not hasattr(trt.BuilderFlag, "FP16"):
        raise InputError(f"TensorRT {trt.__version__} has no FP16 flag.", fix="Put the types into the graph.")
    if typed:
        onnx.save(fp16_graph(onnx.load(onnx_path)), fp16_path)
    logger = LogKeeper()
    builder = trt.Builder(logger)
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed if typed else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(fp16_path if typed else onnx_path)):
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineBuildError(f"TensorRT cannot parse {onnx_path}.", got="; ".join(reasons))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not typed:
        config.set_flag(trt.BuilderFlag.FP16)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError(f"TensorRT cannot build {onnx_path}.", got=logger.errors())
    return bytes(plan)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-fp16_engines-check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("lab4.fp16_engines")

# %% [markdown]
# Now the real detector, by the package's own conversion, which keeps the decode in FP32. The report is the inspector's:
# what was asked for, and what runs.

# %% tags=["demonstration"]
fp16_onnx = lab_folder / "model.fp16.onnx"
conversion = convert_to_fp16(fp32_onnx, fp16_onnx)
print(f"{len(conversion.converted)} nodes in FP16, {len(conversion.kept)} kept in FP32, {conversion.cast_count} casts")
options = EngineOptions(precision=Precision.FP16, max_batch=4)
built = build_engine(fp16_onnx, lab_folder / "fp16.engine", options=options)
print(f"asked for {built.report.requested_precision}, runs {built.report.executed_precision}")
print(*built.report.warnings, sep="\n")

# %% [markdown]
# **Check yourself**
#
# <details><summary>Your FP16 engine gives NaN for some images, FP32 never does. What do you look for?</summary>
#
# A value beyond 65504 somewhere inside: an exponential, a square, a sum over many elements. Mark intermediate tensors as
# outputs and look at their ranges in FP32. Keep the node that overflows in FP32, or use BF16, whose range is that of
# FP32.
# </details>
#
# <details><summary>An engine built with the FP16 flag is as slow as FP32, and the inspector shows FP32. Bug?</summary>
#
# Not necessarily: a flag permits. Perhaps the builder found FP32 kernels faster for these sizes. On TensorRT 11 it is
# the certain outcome: the flag was never set, because it does not exist.
# </details>

# %% [markdown]
# ### Stretch · tactics and the timing cache (ungraded)
#
# Timing tactics is what makes builds on a GPU slow: minutes for a detector. The results can be kept in a **timing
# cache**, so that the next build of the same layers on the same device is quick, and chooses the same kernels: the one
# practical way to repeatable builds. Two facts to remember: the cache is valid for one device and TensorRT version, and
# it speeds up the *build*, never the engine.

# %% tags=["demonstration"]
cache = lab_folder / "timing.cache"
cache.unlink(missing_ok=True)
for attempt in ("empty cache", "filled cache"):
    options = EngineOptions(precision=Precision.FP32, max_batch=4, timing_cache=cache)
    built = build_engine(fp32_onnx, lab_folder / "fp32.engine", options=options)
    print(f"{attempt}: {built.seconds:.1f} s; {cache.name} now has {cache.stat().st_size / 1024:.0f} KiB")
if platform.kind == "emulated":
    print("The emulation times no kernels; its cache keeps the compiled network, which spares compiling it.")

# %% [markdown]
# # Part B · Quantization

# %% [markdown]
# FP16 changed the arithmetic and hardly the numbers. INT8 is another matter: millions of different values have to share
# 256, and somebody has to decide *which*. That decision is called **calibration**. It is made once, before the engine
# ever runs, from a handful of images. If it is wrong, nothing crashes and nothing is logged. The engine is fast, and
# finds less.
#
# Why bother? An INT8 tensor is a quarter of the FP32 one, and a tensor core does twice as many INT8 multiplications per
# cycle as FP16 ones. A detector that spends its time in convolutions gains from both, if its numbers survive. In this
# part you learn to make them survive, and to notice when they did not.

# %%
import warnings

from cuda.bindings import runtime as cudart

from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import expose_tensors, replace_nodes
from yolotrt_lab.figures import calibration, quantization
from yolotrt_lab.figures.qdq_graph import placement_graph
from yolotrt_lab.precision.calibrators import kl_divergences, make_calibrator
from yolotrt_lab.precision.histogram import StreamingHistogram
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.precision.rules import qdq_violations
from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.precision.table import CalibrationTable

# %% [markdown]
# All of this part looks at the same real numbers: every tensor of the detector that INT8 would touch, on 24 training
# images. The next cell runs the FP32 network once and keeps, for each tensor, a histogram of its magnitudes. Note what
# it does *not* keep: the values. However many images pass by, the memory stays the same.

# %% tags=["demonstration"]
placement = plan_placement(detector_graph)
histograms = {name: StreamingHistogram() for name in placement.activations}
inner = [name for name in histograms if name != "images"]
watching = make_session(expose_tensors(detector_graph, inner))
for batch in ImageBatches(dataset.images("train")[:24], input_hw=(320, 320)):
    values = dict(zip(inner, watching.run(inner, {"images": batch}), strict=True)) | {"images": batch}
    for name, histogram in histograms.items():
        histogram.update(values[name])
seen = sum(histogram.total for histogram in histograms.values())
kept = sum(histogram.state_bytes for histogram in histograms.values())
print(f"{len(histograms)} tensors, {seen / 1e6:.0f} million values, kept in {kept / 2**20:.1f} MiB")

# %% [markdown]
# ## B1 · Eight bits by hand
#
# **The map.** A *scale* $s$ and a *zero point* $z$ take a real number $x$ to an integer $q$ and back:
#
# $$q = \operatorname{clip}\big(\operatorname{round}(x / s) + z,\; -128,\; 127\big), \qquad \hat x = s\,(q - z)$$
#
# With a free $z$ the map is **affine**: its 256 levels reach from the smallest value to the largest. With $z = 0$ it is
# **symmetric**: they reach from $-a$ to $a$, where $a$ (*amax*) is a magnitude you choose, and $s = a / 127$. Why 127 and
# not 128? A signed byte has one more negative number than positive ones. If $a$ went to 128, $+a$ itself would clip.

# %% [markdown]
# Below are real values behind the first convolution of the detector, with both maps at 4 bits instead of 8, so that you
# can count the levels. Behind a SiLU nothing is smaller than -0.28. Symmetric levels on the far left are wasted.

# %% tags=["demonstration"]
first_activation = values[inner[0]]  # of the last image
quantization.level_grids(first_activation, bits=4)

# %% [markdown]
# **So why does TensorRT insist on symmetric?** Write down one output of a convolution with both maps:
#
# $$\sum_i w_i x_i \approx s_w s_x \sum_i (q_{w,i} - z_w)(q_{x,i} - z_x)$$
#
# With both zero points 0, this is one sum of integer products, which is what a tensor core does, and one multiplication
# at the end. With zero points there are four sums. Two can be computed in advance, but $z_w \sum_i q_{x,i}$ depends on
# the data and costs time in every layer; and zero padding would have to pad with $z_x$. The wasted levels cost about one
# bit, 6 dB, where values have one sign, and nothing where they have both, as weights do. TensorRT takes that deal, and
# *refuses* a zero point other than 0.

# %% [markdown]
# **Two errors.** A value inside of the range is *rounded*, by at most half a step. If nothing is special about the
# values, the error is spread evenly over $[-s/2, s/2]$, and its mean square is $s^2 / 12$. A value outside is *clipped*,
# or "saturates": it comes back as $\pm a$, and the error has no limit. Their sum, against the signal, in decibels:
#
# $$\mathrm{SNR} = 10 \log_{10} \frac{\sum_i x_i^2}{\sum_i (x_i - \hat x_i)^2}$$
#
# Ten decibels are a factor of ten in *power*; each bit more halves the step and gains 6.02 dB.
#
# **Ties.** 2.5 steps: 2 or 3? ONNX and TensorRT round halves to the *even* neighbour. If halves always went up, every
# layer would drift up a little, and a network has many layers.

# %% [markdown]
# ### Exercise · `lab4.quantize_error`
#
# *Core · difficulty 2/5 · 20 minutes · 6 points*
#
# Quantize, dequantize, and say what was lost: per tensor, and with a scale for every channel. The check holds your
# integers against `QuantizeLinear` of ONNX Runtime. It has a channel that is zero everywhere; think about what its scale
# should be before your division does.


# %% nbgrader={"grade": false, "grade_id": "lab4-quantize_error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_symmetric(values, *, axis=None, amax=None):
    """Quantize to INT8, dequantize again, and measure the loss.

    Args:
        values: float32 array of any shape, not all zero.
        axis: None for one scale for the whole tensor; otherwise the axis of which each entry gets a scale of its own.
        amax: The magnitude that maps to 127, a number or (channels,). None takes the largest magnitude of the tensor,
            or of each channel.

    Returns:
        A dict with
        "scale": amax / 127, a number or (channels,); 1.0 where amax is 0;
        "quantized": int8, the shape of `values`: values / scale, halves rounded to even, limited to -128 … 127;
        "dequantized": float32, the shape of `values`;
        "saturated": the share (0 to 1) of values that had to be limited after rounding;
        "snr_db": 10 log10 of the summed squares of `values` over the summed squares of the error.

    Example:
        quantize_symmetric(np.float32([0.5, -1.0, 3.0]), amax=1.27) has the scale 0.01, the integers 50, -100 and 127,
        and saturated 1/3.
    """
    ### BEGIN SOLUTION
    if amax is None:
        others = None if axis is None else tuple(other for other in range(values.ndim) if other != axis)
        amax = np.abs(values).max(axis=others)
    scale = np.where(np.asarray(amax) > 0, np.asarray(amax) / 127, 1.0).astype(np.float32)
    along = [-1 if other == axis else 1 for other in range(values.ndim)]
    step = scale.reshape(along) if scale.ndim else scale
    rounded = np.rint(values / step)  # NumPy's rint rounds halves to even
    quantized = np.clip(rounded, -128, 127).astype(np.int8)
    dequantized = quantized.astype(np.float32) * step
    noise = np.square(values.astype(np.float64) - dequantized).sum()
    return {
        "scale": scale,
        "quantized": quantized,
        "dequantized": dequantized,
        "saturated": float(np.mean((rounded > 127) | (rounded < -128))),
        "snr_db": float(10 * np.log10(np.square(values.astype(np.float64)).sum() / noise)),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-quantize_error-check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("lab4.quantize_error")

# %% [markdown]
# ### Predict
#
# The activation above reaches beyond 14. Where would you clip it: there, at 10, at 5? Write your guess down. The cell
# behind it tries forty thresholds with *your* function and splits the error into its two parts.

# %%
my_guess_threshold = 10.0  # your guess: the threshold with the least squared error

# %% tags=["demonstration"]
with using("lab4.quantize_error"):
    sample = first_activation.ravel()[::4]
    thresholds = np.linspace(0.1, 1.0, 40) * np.abs(sample).max()
    rounding, clipping = [], []
    for threshold in thresholds:
        squares = np.square(sample - quantize_symmetric(sample, amax=threshold)["dequantized"], dtype=np.float64)
        outside = np.abs(sample) > threshold
        rounding.append(squares[~outside].sum())
        clipping.append(squares[outside].sum())
    best = thresholds[np.argmin(np.add(rounding, clipping))]
    print(f"least error at {best:.1f}; your guess: {my_guess_threshold:g}")
    display(quantization.clipping_tradeoff(thresholds, np.array(rounding), np.array(clipping)))

# %% [markdown]
# Left of the minimum, clipping explodes: few values are cut, but each by a lot. Right of it, everything is rounded a
# little more coarsely. This is the whole conflict of calibration in one picture; the methods of B2 and B3 differ only in
# how they weigh its two sides.

# %% [markdown]
# **Channels.** Weights have a second problem. The rows of a weight tensor, one per output channel, were trained
# independently and differ in size, and one scale for all is set by the loudest. A scale per output channel costs nothing
# at run time: the INT32 sums of each channel are multiplied by a factor anyway. For *activations* it would: a convolution
# adds up its input channels, and integers of different scales cannot be added. So: **weights per channel, activations per
# tensor**. Your function on the weights of one real convolution:

# %% tags=["demonstration"]
with using("lab4.quantize_error"):
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in detector_graph.graph.initializer}
    kernels = [value for value in tensors.values() if value.ndim == 4 and value.shape[0] >= 32]
    spread = [np.ptp(np.log(np.abs(kernel).max(axis=(1, 2, 3)))) for kernel in kernels]
    weights = kernels[int(np.argmax(spread))]
    reach = np.abs(weights).max(axis=(1, 2, 3))
    own = [quantize_symmetric(channel)["snr_db"] for channel in weights]
    shared = [quantize_symmetric(channel, amax=reach.max())["snr_db"] for channel in weights]
    together = {axis: quantize_symmetric(weights, axis=axis)["snr_db"] for axis in (None, 0)}
    print(f"whole tensor {weights.shape}: {together[None]:.1f} dB per tensor, {together[0]:.1f} dB per channel")
    display(quantization.channel_steps(reach, np.array(shared), np.array(own)))

# %% [markdown]
# <details><summary>Self-check: why does the whole tensor's SNR hardly show what the quiet channels suffer?</summary>
#
# The SNR of the tensor sums up squares, and the loud channels hold nearly all of them. A channel that lost half of its
# bits disappears in that sum. But the next layer reads every channel, and its batch normalization, folded into the
# weights, may amplify the quiet one. Averages over a tensor are kind to large numbers; look at channels.
# </details>

# %% [markdown]
# ## B2 · How much information a cut costs
#
# Four methods to choose *amax* from a histogram are in use. **Min-max** clips nothing. **Squared error** takes the
# minimum of the picture above. A **percentile** clips a fixed share. **Entropy**, TensorRT's classic, asks how much
# *information* the cut loses. Here is what they choose for three tensors of this detector. Mind the logarithmic axis:
# above a bar of 10 there are ten values of many millions.


# %% tags=["demonstration"]
def threshold_of(method, histogram):
    """Return what the package's calibrator of that name chooses for a histogram."""
    calibrator = make_calibrator(method)
    calibrator.histogram = histogram
    return histogram.amax if method == "minmax" else calibrator.compute_amax()


methods = ("minmax", "mse", "percentile", "entropy")
amax = {method: {name: threshold_of(method, h) for name, h in histograms.items()} for method in methods}
shown = [inner[0], inner[1], inner[-2]]
calibration.histogram_thresholds(
    {name: (histograms[name].counts, histograms[name].bin_width) for name in shown},
    {name: {method: amax[method][name] for method in methods} for name in shown},
)

# %% [markdown]
# The methods disagree by up to a factor of four, about the same tensor. Which one is right? "Right" can only mean: the
# detector still finds its objects. Write down which method you would bet on; B3 measures it.

# %%
my_guess_method = "entropy"  # your guess: minmax, mse, percentile or entropy

# %% [markdown]
# **Entropy, step by step.** Take a histogram of magnitudes in $b$ bins, and suppose you keep the first $i$ of them.
#
# - $P$ is the data as the network will see them: the $i$ kept bins, and everything beyond *added to the last one*, since
#   saturated values do not vanish, they pile up at the edge.
# - $Q$ is what 128 levels can tell of the kept bins. Bins are grouped into levels (bin $j$ belongs to level
#   $\lfloor 128\,j / i \rfloor$), and each level spreads its sum evenly over those of its bins that are not empty. $Q$
#   knows nothing of the outliers.
#
# Normalize both, and measure how badly $Q$ describes $P$, by the Kullback-Leibler divergence:
#
# $$D(P \,\|\, Q) = \sum_{j:\,P_j > 0} P_j \,\ln \frac{P_j}{Q_j}$$

# %% [markdown]
# The divergence is the number of nats that a code made for $Q$ wastes on data from $P$. It is 0 only if both are equal,
# it is not symmetric, and it is infinite if $Q$ excludes what $P$ has. Keep few bins, and $P$ grows a spike at its edge
# that $Q$ lacks. Keep all, and each level has to stand for many bins. A small histogram with 4 levels shows both:

# %% tags=["demonstration"]
small = np.array([900, 880, 860, 830, 800, 760, 90, 40, 18, 9, 5, 3, 2, 1, 1, 1])
calibration.kept_bins(small, (4, 6, 8, 16), levels=4)

# %% [markdown]
# **One trap.** A ReLU makes half of all values *exactly* zero. They survive any threshold, so they should not take part in
# the decision; but in the first bin they can outweigh everything else. The usual cure (NVIDIA's own tools use it): give
# the first bin the count of the second.

# %% [markdown]
# ### Exercise · `lab4.kl_threshold`
#
# *Core · difficulty 4/5 · 30 minutes · 7 points*
#
# Write the entropy calibrator's decision. `levels` is a parameter, because four-bit formats need the same idea with 8
# levels. A loop over the cuts is fine; a second one over the bins is too slow for 2048 of them
# (`np.bincount(level, weights)` sums by group).


# %% nbgrader={"grade": false, "grade_id": "lab4-kl_threshold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_threshold(counts, edges, levels=128):
    """Return the threshold that loses the least information.

    Args:
        counts: (b,) histogram of magnitudes, b > levels. It must not be changed.
        edges: (b + 1,) edges of its bins, evenly spaced from 0 to the largest magnitude.
        levels: Magnitudes that the quantized type can tell apart.

    Returns:
        edges[i] for the number i of kept bins, levels <= i <= b, with the smallest D(P || Q); the largest such i on a
        tie. P and Q are made as in the text, after the first bin was given the count of the second.
    """
    ### BEGIN SOLUTION
    bins = np.array(counts, np.float64)
    bins[0] = bins[1]
    best, threshold = np.inf, float(edges[-1])
    for cut in range(levels, len(bins) + 1):
        kept = bins[:cut]
        p = kept.copy()
        p[-1] += bins[cut:].sum()
        level, filled = np.arange(cut) * levels // cut, kept > 0
        members = np.maximum(np.bincount(level, filled, levels), 1)
        q = np.where(filled, (np.bincount(level, kept, levels) / members)[level], 0.0)
        there = p > 0
        if np.any(q[there] == 0):
            continue  # outliers where Q has nothing: infinitely bad
        p, q = p[there] / p.sum(), q[there] / q.sum()
        divergence = np.sum(p * np.log(p / q))
        if divergence <= best:
            best, threshold = divergence, float(edges[cut])
    return threshold
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-kl_threshold-check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("lab4.kl_threshold")

# %% [markdown]
# Your threshold on a real tensor, the one behind the second convolution, over the whole curve of divergences. It is not
# a smooth valley. The curve jumps whenever a level at the end of the range gains or loses a bin, and ends where single
# values leave empty bins between them. Several thresholds, far apart, are nearly as good as the best. Entropy
# calibration decides between them by a hair.

# %% tags=["demonstration"]
with using("lab4.kl_threshold"):
    histogram = histograms[inner[1]]
    used = int(np.ceil(histogram.amax / histogram.bin_width))
    counts, edges = histogram.counts[:used], np.arange(used + 1) * histogram.bin_width
    yours = kl_threshold(counts, edges)
    clipped = counts[round(yours / histogram.bin_width) :].sum() / counts.sum()
    print(f"your threshold {yours:.2f} of {histogram.amax:.2f}: it clips {clipped:.3%} of the values")
    display(
        calibration.divergence_curve(edges[128:], kl_divergences(counts), {"yours": yours, "minmax": histogram.amax})
    )

# %% [markdown]
# ## B3 · A fixed share
#
# The percentile method skips all theory: clip, say, the largest 0.01 % and be done. It is robust against single
# outliers, and it needs nothing but a histogram: walk through the bins until the share is reached. Two details separate
# a sketch from an answer. *Within* a bin the values are taken as evenly spread, so the threshold lies between its edges.
# And where bins are empty, many magnitudes keep the same share; the smallest one wastes least.

# %% [markdown]
# ### Exercise · `lab4.percentile_threshold`
#
# *Core · difficulty 2/5 · 10 minutes · 3 points*


# %% nbgrader={"grade": false, "grade_id": "lab4-percentile_threshold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def percentile_threshold(counts, edges, percentile=99.99):
    """Return the smallest magnitude with a given share of the values at or below it.

    Args:
        counts: (b,) histogram of magnitudes, whole numbers.
        edges: (b + 1,) edges of its bins, from 0 on.
        percentile: Percent of the values, more than 0 and at most 100.

    Returns:
        The magnitude, linear within the bin; 0.0 for an empty histogram.

    Example:
        percentile_threshold(np.array([6, 4]), np.array([0.0, 1.0, 2.0]), percentile=80) is 1.5.
    """
    ### BEGIN SOLUTION
    cumulative = np.cumsum(counts)
    if cumulative[-1] == 0:
        return 0.0
    target = percentile / 100 * cumulative[-1]
    place = int(np.searchsorted(cumulative, target * (1 - 1e-12)))  # the first bin that reaches it
    inside = (target - (cumulative[place] - counts[place])) / counts[place]
    return float(edges[place] + min(inside, 1.0) * (edges[place + 1] - edges[place]))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-percentile_threshold-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("lab4.percentile_threshold")

# %% [markdown]
# ### Who was right?
#
# First the thresholds of all tensors, relative to their largest magnitude. Then the verdict: the detector is quantized
# with each method's thresholds, runs on eight test images, and its scores are held against the FP32 ones.

# %% tags=["demonstration"]
probes = list(ImageBatches(dataset.images("test")[:8], input_hw=(320, 320)))
calibration.range_shares(
    {m: [amax[m][name] / histograms[name].amax for name in histograms] for m in ("mse", "percentile", "entropy")}
)


# %% tags=["demonstration"]
def scores_of(path, count=8):
    """Return a detector's class scores on the first probe images, one array per image."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [session.run(None, {"images": probe})[0][:, 4:] for probe in probes[:count]]


def score_errors(path, count=8):
    """Return the relative L2 error of the scores for each probe image."""
    pairs = zip(scores_of(path, count), fp32_scores, strict=False)
    return [float(np.linalg.norm(found - right) / np.linalg.norm(right)) for found, right in pairs]


fp32_scores = scores_of(fp32_onnx)


# %% tags=["demonstration"]
def quantized_with(thresholds, name, **options):
    """Write the detector in INT8 with these thresholds, by the package's tested function."""
    table = CalibrationTable(amax=thresholds, method=name, image_count=24, digest="")
    return quantize_onnx(fp32_onnx, lab_folder / f"model.{name}.onnx", table=table, **options).path


method_scores = {method: score_errors(quantized_with(amax[method], method)) for method in methods}
means = {method: float(np.mean(errors)) for method, errors in method_scores.items()}
print(f"best here: {min(means, key=means.get)}; your bet: {my_guess_method}")
calibration.method_errors(
    method_scores, limit=TOLERANCES[Precision.INT8].relative_l2, what="relative L2 error of the scores"
)

# %% [markdown]
# **What SiLU does to entropy calibration.** The entropy method comes from 2017, from ReLU networks that *classify*. A
# SiLU grows without limit like a ReLU, but the detectors that use it let few values grow very large: the histograms above
# have thin tails that reach three times as far as their bulk. For the divergence these tails weigh nothing, a few
# values in a hundred thousand. For a detector they are the answer: most of an image is background, and the strong
# responses, out in the tail, are where an object *is*.
#
# Measured with this package on a YOLOv5n for blood cells (BCCD, 128 calibration and 72 test images at 640 x 640),
# drop of mAP50-95 from 0.615:
#
# | squared error | min-max | percentile 99.99 | entropy |
# |---|---|---|---|
# | 0.003 | 0.003 | 0.006 | **0.022** |

# %% [markdown]
# An honest word about that table. Other calibration images move each number by about 0.003, so the first three methods
# are a tie. The fourth is not. And the choice between them was made on those very test images. The rule to take home is
# not "use squared error". It is: **measure the task, not the histogram**, and never let a default decide.
#
# <details><summary>Self-check: the 0.01 % that entropy clips, are they really so few?</summary>
#
# In a tensor of 16 x 160 x 160 values 0.01 % are 41. An object of 20 pixels covers 5 x 5 cells of a map with a quarter
# of the resolution, and responds in a few of the channels: about forty values. One small object may well *be* the
# 0.01 %.
# </details>

# %% [markdown]
# ## B4 · TensorRT's own calibrator
#
# TensorRT 10 can do all of this by itself. You subclass `IInt8EntropyCalibrator2`, hand the object to the builder's
# configuration, and during the build TensorRT calls you back:
#
# | TensorRT asks | you answer |
# |---|---|
# | `get_batch_size()` | how many images a batch has |
# | `read_calibration_cache()` | what an earlier calibration found, as bytes; `None` if there was none |
# | `get_batch(names)`, again and again | a list with one *device address* per input; `None` when there are no more |
# | `write_calibration_cache(cache)` | nothing: keep these bytes for next time |
#
# TensorRT 11 has removed the interface, in favour of B6. You will meet it in existing code for years, and its cache is
# worth understanding anyway.

# %% [markdown]
# **Addresses.** TensorRT reads the batch on the GPU, so you allocate device memory, copy, and return where it lies. The
# batch must be one contiguous block of float32: `image[..., ::-1]`, the popular way from BGR to RGB, is a *view* that
# walks backwards through memory, and copying from where it starts copies something else. Nobody checks.
#
# **Whole batches.** TensorRT reads as many bytes as the calibration profile says. A last batch with fewer images would
# make it read beyond the end. Leave it out.
#
# **The cache.** It holds one scale per tensor, no kernels and no device, so it serves on other GPUs as well. But it knows
# neither your weights nor your preprocessing. After *any* change of these a stale cache is read without a word, and you
# debug an INT8 engine that was calibrated for another network. Delete it, or put a hash into its name.

# %% [markdown]
# ### Exercise · `lab4.int8_calibrator`
#
# *Core · difficulty 3/5 · 25 minutes · 7 points*
#
# The check builds a small engine twice with your class and one cache file. It looks at what lies at the addresses that
# you return, counts allocations, and sees whether the second build asks for images at all.
#
# `cudart` is NVIDIA's `cuda.bindings.runtime`; each of its functions returns a tuple that starts with an error code:
# `_, address = cudart.cudaMalloc(n_bytes)`, `cudart.cudaMemcpy(to, from, n_bytes, kind)` with
# `cudart.cudaMemcpyKind.cudaMemcpyHostToDevice`, `cudart.cudaFree(address)`. An array's address is
# `array.ctypes.data`. (On TensorRT 11 the class has nothing to inherit from; the check then uses emulated TensorRT 10.)


# %% nbgrader={"grade": false, "grade_id": "lab4-int8_calibrator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class EntropyCalibrator(getattr(trt, "IInt8EntropyCalibrator2", object)):
    """Hands calibration images to TensorRT and keeps what it found out.

    Device memory for one batch is allocated when the first batch is asked for, used for all batches, and freed when
    there are no more.
    """

    def __init__(self, images, batch_size, cache):
        """Take (n, 3, H, W) float32 images, the images per batch, and the Path of the cache, which may not exist yet."""
        ### BEGIN SOLUTION
        super().__init__()
        whole = range(0, len(images) - batch_size + 1, batch_size)
        self.batches = iter([np.ascontiguousarray(images[start : start + batch_size]) for start in whole])
        self.batch_size, self.cache, self.address = batch_size, cache, None
        ### END SOLUTION

    def get_batch_size(self):
        """Return the number of images in a batch."""
        ### BEGIN SOLUTION
        return self.batch_size
        ### END SOLUTION

    def get_batch(self, names):
        """Copy the next whole batch to the device and return a list with its address; None when there are no more."""
        ### BEGIN SOLUTION
        batch = next(self.batches, None)
        if batch is None:
            cudart.cudaFree(self.address)
            return None
        if self.address is None:
            _, self.address = cudart.cudaMalloc(batch.nbytes)
        cudart.cudaMemcpy(self.address, batch.ctypes.data, batch.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
        return [self.address]
        ### END SOLUTION

    def read_calibration_cache(self):
        """Return the bytes of the cache file, or None if there is none."""
        ### BEGIN SOLUTION
        return self.cache.read_bytes() if self.cache.exists() else None
        ### END SOLUTION

    def write_calibration_cache(self, cache):
        """Write the cache, a bytes-like object, to the file."""
        ### BEGIN SOLUTION
        self.cache.write_bytes(bytes(cache))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-int8_calibrator-check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("lab4.int8_calibrator")

# %% [markdown]
# Your class on the real detector. The build is the one of A1, with a flag and the calibrator. It is done twice, and the
# second time no image is needed.


# %% tags=["demonstration"]
def build_classic(calibrator, size=320):
    """Build an INT8 engine the classic way and return what the builder returned."""
    builder = trt.Builder(LogKeeper())
    network = builder.create_network(0)
    trt.OnnxParser(network, LogKeeper()).parse_from_file(str(fp32_onnx))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("images", *[(n, 3, size, size) for n in (1, 4, 4)])
    config.add_optimization_profile(profile)
    config.set_flag(trt.BuilderFlag.INT8)
    with warnings.catch_warnings():  # TensorRT 10 says each time that explicit quantization superseded calibrators
        warnings.simplefilter("ignore", DeprecationWarning)
        config.set_calibration_profile(profile)
        config.int8_calibrator = calibrator
    return builder.build_serialized_network(network, config)


# %% tags=["demonstration"]
cache_path = lab_folder / "classic.cache"
calibration_images = np.concatenate(list(ImageBatches(dataset.images("train")[:16], input_hw=(320, 320))))
with using("lab4.int8_calibrator"):
    cache_path.unlink(missing_ok=True)  # it would know nothing of new images or weights
    for attempt in ("first", "second"):
        calibrator = EntropyCalibrator(calibration_images, 4, cache_path)
        if platform.api_major > 10:
            print("TensorRT 11 has no calibrators: B6 shows what took their place.")
            break
        started = time.perf_counter()
        plan = build_classic(calibrator)
        seconds = time.perf_counter() - started
        print(f"{attempt} build: {seconds:.1f} s, {'a plan' if plan is not None else 'no plan'}")

# %% [markdown]
# And this is what a cache holds: a line of header, then one line per tensor, its *scale* as the eight hexadecimal digits
# of a big-endian float32. Multiply by 127 and you have *amax* again. Compare with the thresholds of B2: 16 images
# instead of 24, and entropy changes its mind about some tensors. (On real TensorRT its own fusion comes first, so
# there are fewer names.)

# %% tags=["demonstration"]
if cache_path.exists():
    lines = cache_path.read_text().splitlines()
    print(lines[0])
    for line in lines[1:6]:
        name, digits = line.rsplit(": ", 1)
        scale = np.frombuffer(bytes.fromhex(digits), ">f4")[0]
        chosen = f", B2 chose {amax['entropy'][name]:.2f}" if name in amax["entropy"] else ""
        print(f"{line}   scale {scale:.5f}, amax {127 * scale:.2f}{chosen}")

# %% [markdown]
# <details><summary>Self-check: the second build was faster. Would it be safe to send the cache to a colleague with another
# GPU? And the plan?</summary>
#
# The cache yes: scales belong to the network and its data, not to a device. (Between TensorRT versions tensors may be
# named or fused differently; then the missing ones are calibrated badly or not at all, so look at the log.) The plan no:
# it holds kernels chosen by timing on *your* GPU, and another device refuses it.
# </details>

# %% [markdown]
# ## B5 · Calibrate on what the network will see
#
# Calibration asks one question: how large do this network's values get *in use*? Whatever differs between calibration
# and use makes the answer wrong. Here is somebody's calibration code. It runs, raises nothing, and ruins the engine. Read
# it and find the four mistakes before you go on.


# %% tags=["demonstration"]
def careless_calibration(paths, count, input_hw):
    """Yield calibration batches. Four mistakes are in here."""
    for path in sorted(paths)[:count]:
        image = cv2.imread(str(path))
        resized = cv2.resize(image, input_hw[::-1])
        batch = resized.transpose(2, 0, 1)[None]
        yield np.ascontiguousarray(batch, dtype=np.float32)


my_four_mistakes = ["", "", "", ""]  # write them down

# %% [markdown]
# <details><summary>The four</summary>
#
# - **No `/ 255`**: the network was trained on values from 0 to 1.
# - **Blue first**: OpenCV reads BGR, the network was trained on RGB.
# - **Stretched**: in use an image is letterboxed, one scale for both axes, centered on gray.
# - **The first files of a sorted folder**: often one camera, one scene, one class.
#
# None of the first three is a mistake in a calculation; each is *another preprocessing than in use*. The cure is not to
# write it more carefully a second time. It is to call the same function.
# </details>

# %% [markdown]
# What the network sees of one 4:3 image, with each mistake alone. The bars are the means of the three channels. White
# is what lies beyond 1.

# %% tags=["demonstration"]
wide = read_image(dataset.images("train")[3])[40:280]
in_use, _ = preprocess(wide, input_hw=(320, 320))
stretched = cv2.resize(wide, (320, 320))[..., ::-1].transpose(2, 0, 1) / 255
calibration.network_inputs(
    {
        "in use": in_use[0],
        "not divided by 255": in_use[0] * 255,
        "blue first": in_use[0][::-1],
        "stretched": stretched,
    }
)

# %% [markdown]
# Which of these would you notice by eye in a log or a dashboard? Now what they cost. The next cell calibrates (min-max,
# eight images) with each mistake and measures the scores on the *same, correctly prepared* test images. Before you run
# it, rank them: which mistake hurts most, which hardly at all?

# %%
my_guess_ranking = ["", "", ""]  # scale, channels, one scene: from the most to the least harmful

# %% tags=["demonstration"]
right_inputs = list(ImageBatches(dataset.images("train")[:8], input_hw=(320, 320)))
one_scene = [np.ascontiguousarray(right_inputs[0][:, :, ::flip]) for flip in (1, -1)]
mistakes = {
    "none": right_inputs,
    "not divided by 255": [batch * np.float32(255) for batch in right_inputs],
    "blue first": [np.ascontiguousarray(batch[:, ::-1]) for batch in right_inputs],
    "one scene": one_scene,
}
damage = {}
for name, batches in mistakes.items():
    table = calibrate(fp32_onnx, batches, method="minmax")
    quantize_onnx(fp32_onnx, lab_folder / "model.mistake.onnx", table=table)
    damage[name] = score_errors(lab_folder / "model.mistake.onnx")
calibration.method_errors(damage, limit=TOLERANCES[Precision.INT8].relative_l2, what="relative L2 error of the scores")

# %% [markdown]
# The forgotten division is a catastrophe. Every scale is up to 255 times too coarse, real values fall onto a level or
# two, and an error of 1 is that of a detector that answers nothing but zeros. Swapped channels are the dangerous kind:
# the engine works, a little worse, and much worse on some images, because they hold colours that calibration has never
# seen. And one scene seems to cost nothing at all. That is luck: these images all have the same lamps and the same camera.
# Add a night, or a second camera, and it ends.
#
# A mistake that your test images do not show is still a mistake. So look at the **statistics** of what goes in, not only
# at what comes out.

# %% [markdown]
# ### Exercise · `lab4.calibration_bug`
#
# *Core · difficulty 3/5 · 20 minutes · 5 points*
#
# Write the calibration that should have been written, and the diagnosis that would have caught the other one: from the
# statistics of a healthy calibration and of a suspicious one, name what is wrong. Several things may be, or nothing.
# Calibrations differ a little for honest reasons (other images, fewer of them); those are not bugs.
#
# For `prepare` you may, and should, use the function that the detector itself uses: `preprocess(image_bgr,
# input_hw=...)`, imported above, returns (batch, transform).


# %% nbgrader={"grade": false, "grade_id": "lab4-calibration_bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Calibration:
    """Calibration as it should be, and what tells when it is not."""

    def choose(self, class_ids, count):
        """Return the numbers of `count` different images that show every class.

        Args:
            class_ids: For each image the class ids that it shows, maybe none.
            count: How many images to choose.

        Returns:
            A list. Each of the C classes is shown by at least count // C of them, or by all images that show it.
        """
        ### BEGIN SOLUTION
        classes = sorted({number for ids in class_ids for number in ids})
        showing = {c: [image for image, ids in enumerate(class_ids) if c in ids] for c in classes}
        chosen = {}  # a dict keeps the order and forgets repetitions
        for turn in range(len(class_ids)):
            for number in sorted(classes, key=lambda c: len(showing[c])):  # rare classes first
                fresh = [image for image in showing[number] if image not in chosen]
                if fresh and len(chosen) < count:
                    chosen[fresh[turn * 7 % len(fresh)]] = None  # not just neighbours in the folder
        chosen.update(dict.fromkeys(range(len(class_ids))))  # fills up, if all that show something are in
        return list(chosen)[:count]
        ### END SOLUTION

    def prepare(self, image_bgr, input_hw):
        """Return the network's input for an OpenCV image: (1, 3, H, W) float32, exactly as at inference."""
        ### BEGIN SOLUTION
        batch, _ = preprocess(image_bgr, input_hw=input_hw)
        return batch
        ### END SOLUTION

    def diagnose(self, healthy, seen):
        """Return what is wrong with a calibration: a set of "scale", "channels", "letterbox", "selection"; maybe empty.

        Args:
            healthy: Statistics of the network's inputs in a calibration that is known to be right:
                "largest": the largest value; "channel_mean": the mean of the 1st, 2nd and 3rd channel;
                "border": mean width of the gray border in pixels, [left, top, right, bottom];
                "images": how many images; "images_per_class": how many of them show each class.
            seen: The same of the one in question; its scale may be off by 255 in either direction.
        """
        ### BEGIN SOLUTION
        bugs, right = set(), np.array(healthy["channel_mean"])
        ratio = seen["largest"] / healthy["largest"]
        factor = 255 if ratio > 16 else 1 / 255 if ratio < 1 / 16 else 1
        mean = np.array(seen["channel_mean"]) / factor
        if factor != 1:
            bugs.add("scale")
        if np.abs(mean[::-1] - right).sum() < np.abs(mean - right).sum():
            bugs.add("channels")
        if np.abs(np.subtract(seen["border"], healthy["border"])).max() > 0.4 * max(healthy["border"]):
            bugs.add("letterbox")
        share, expected = (np.array(part["images_per_class"]) / part["images"] for part in (seen, healthy))
        if np.any(share < expected / 3):
            bugs.add("selection")
        return bugs
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-calibration_bug-check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("lab4.calibration_bug")

# %% [markdown]
# <details><summary>Self-check: someone calibrates on the <i>test</i> images "because they look like production". Is that a
# calibration bug?</summary>
#
# It breaks no engine, it breaks the measurement. The thresholds would be chosen on the images that are to judge them,
# and the INT8 drop comes out too small. Calibrate on training images (no labels are needed, only realistic images), and
# keep the test images for the verdict.
# </details>

# %% [markdown]
# ## B6 · Quantization written into the graph
#
# A calibrator decides behind the curtain: which layers become INT8 is the builder's choice. The modern way, and the only
# one from TensorRT 11 on, writes the decision into the ONNX graph. A **QuantizeLinear** and a **DequantizeLinear** node
# in a row (a Q/DQ *pair*) round a tensor to INT8 and bring it back. Run literally, that is a fake: quantized values,
# floating-point arithmetic. But TensorRT reads a pair as a promise, "what passes here fits into INT8", and if all inputs
# of a convolution carry it, the builder swallows the pairs and multiplies integers.
#
# The graph is explicit, the same file runs in ONNX Runtime and OpenVINO, and what stays in high precision is your
# choice. In return, *placement* is your work.

# %% [markdown]
# **The rules**, and why:
#
# 1. INT8, zero point 0, constant scales: see B1. A `QuantizeLinear` without zero point makes *uint8* in ONNX; TensorRT has
#    only INT8, and clips what is above 127 steps.
# 2. Activations: one scale per tensor. Weights: one per output channel, `axis=0` (ONNX's default axis is 1!).
# 3. Quantize the **inputs** of convolutions, not their outputs. Behind a convolution comes a SiLU, which TensorRT computes
#    in the same kernel, in high precision. A pair in between forces a rounding right where precision was free.
# 4. Quantize **both inputs of a residual Add**. Else both tensors travel in FP32, at four times the bytes.
# 5. Leave the **bias** alone. It is added to the INT32 sums and costs nothing; ONNX Runtime's own quantizer gives it a
#    pair of its own, in INT32, and TensorRT's parser refuses it.
# 6. Leave the **end of the head** alone: the last convolutions make logits and distances. A step there is a step in
#    scores and pixels. The decode behind them (all its Adds and Muls) stays in high precision as well.
# 7. No pairs for Concat, MaxPool and Resize: they only move values; TensorRT lets pairs slide past them.

# %% [markdown]
# A residual block of the detector, before and after. Green runs in INT8.

# %% tags=["demonstration"]
quantized_graph = onnx.load(quantized_with(amax["mse"], "mse"))
block = next(name for name in (node.name for node in detector_graph.graph.node) if name.endswith("/Add"))
block = block.removesuffix("Add")
display(placement_graph(detector_graph, prefix=block, title=f"{block} in FP32"))
display(placement_graph(quantized_graph, prefix=block, title=f"{block} with Q/DQ pairs"))

# %% [markdown]
# ### Exercise · `lab4.qdq_graph`
#
# *Core · difficulty 4/5 · 30 minutes · 9 points*
#
# Write the quantizer. You get an FP32 detector and the calibrated *amax* of **all** its float tensors: choosing those that
# need a pair is the point. The check holds your graph against the rules, rebuilds the engine from it, asks the inspector
# whether it runs in INT8, and ONNX Runtime whether it is still right.
#
# Tools: `helper.make_node(op, inputs, outputs, name, axis=0)`, `numpy_helper.from_array(array, name)` and
# `numpy_helper.to_array(tensor)` are ONNX's own. `find_head(model)` returns the nodes that rule 6 means, by their first
# output, as the sets `.final_convs` and `.decode`. `replace_nodes(graph, nodes)` gives a graph other nodes, sorted so
# that each comes after what it reads. In these detectors every Add outside of the decode is a residual one.


# %% nbgrader={"grade": false, "grade_id": "lab4-qdq_graph", "locked": false, "schema_version": 3, "solution": true, "task": false}
def insert_qdq(model, amax):
    """Return an INT8 version of an FP32 detector, with Q/DQ pairs where TensorRT wants them.

    Args:
        model: A ModelProto. It must not be changed. Weights and biases are initializers.
        amax: The calibrated magnitude of every float tensor that is no weight, by name; all positive.

    Returns:
        A new ModelProto with the same inputs and outputs. In front of every pair stands the FP32 tensor as it was,
        weights included; scales are amax / 127, for weights max |w| / 127 of each output channel.
    """
    ### BEGIN SOLUTION
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph, head = quantized.graph, find_head(model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs, added = {}, []

    def pair(tensor):
        """Return the dequantized copy of a tensor; one pair serves all that read it."""
        if tensor not in pairs:
            reach = np.abs(weights[tensor]).max(axis=(1, 2, 3)) if tensor in weights else np.float32(amax[tensor])
            scale, names = np.asarray(reach / 127, np.float32), [f"{tensor}_scale", f"{tensor}_zero"]
            graph.initializer.append(numpy_helper.from_array(scale, names[0]))
            graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), names[1]))
            axis = {"axis": 0} if scale.ndim else {}
            q, pairs[tensor] = f"{tensor}_q", f"{tensor}_dq"
            added.append(helper.make_node("QuantizeLinear", [tensor, *names], [q], f"{tensor}_Q", **axis))
            added.append(helper.make_node("DequantizeLinear", [q, *names], [pairs[tensor]], f"{tensor}_DQ", **axis))
        return pairs[tensor]

    for node in graph.node:
        if node.op_type in ("Conv", "Add") and node.output[0] not in head.final_convs | head.decode:
            node.input[0], node.input[1] = pair(node.input[0]), pair(node.input[1])
    replace_nodes(graph, [*graph.node, *added])
    return quantized
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-qdq_graph-check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("lab4.qdq_graph")

# %% [markdown]
# Your quantizer on the real detector: rules, engine, accuracy. Nothing in it knew how large the network would be.

# %% tags=["demonstration"]
with using("lab4.qdq_graph"):
    yours = insert_qdq(detector_graph, amax["mse"])
    your_onnx = lab_folder / "model.yours.onnx"
    onnx.save(yours, your_onnx)
    for violation in qdq_violations(yours)[:3]:
        print(f"{violation.rule}: {violation.node}: {violation.message}")
    options = EngineOptions(precision=Precision.INT8, max_batch=4)
    report = build_engine(your_onnx, lab_folder / "yours.engine", options=options).report
    shares = ", ".join(f"{part:.0%} {precision.upper()}" for precision, part in report.precision_share.items())
    print(f"{len(qdq_violations(yours))} rules broken; convolutions: {shares}")
    print(f"relative L2 error of the scores: {np.mean(score_errors(your_onnx)):.3f}")
    display(placement_graph(yours, prefix=block, title="Yours"))

# %% [markdown]
# <details><summary>Self-check: the ONNX file with Q/DQ is <i>larger</i> than the FP32 one. Where is the gain?</summary>
#
# The file still stores weights in FP32, with scales on top, because TensorRT wants to fuse before it quantizes them. The
# plan stores INT8. And run by ONNX Runtime on a CPU, the Q/DQ graph may even be slower than FP32: the pairs are real
# work for whoever does not swallow them. A Q/DQ graph is an instruction to a builder, not a finished product.
# </details>

# %% [markdown]
# ## B7 · Spend precision where it counts
#
# Sometimes everything is right and INT8 still costs too much. Then not all layers are to blame. Measure: quantize **one**
# block at a time, leave the rest in FP32, and see what the output suffers. Each bar below is one engine's worth of
# calibration and evaluation; that price is why people guess instead. Guess too, before you run it: beginning, middle, or
# end of the network?

# %%
my_guess_block = "model.9"  # your guess: the most sensitive block, model.0 (the image) to model.24 (the head)

# %% tags=["demonstration"]
everything = [*placement.convs, *placement.adds]
blocks = {}
for output in everything:
    blocks.setdefault(output.split("/")[1], []).append(output)
block_damage = {}
for block_name, members in blocks.items():
    others = [output for output in everything if output not in members]
    path = quantized_with(amax["mse"], "part", high_precision_nodes=others)
    block_damage[block_name] = float(np.mean(score_errors(path, count=4)))
most = max(block_damage, key=block_damage.get)
print(f"most sensitive: {most}; your guess: {my_guess_block}")
all_int8 = float(np.mean(method_scores["mse"][:4]))
quantization.layer_sensitivity(block_damage, all_int8=all_int8)

# %% [markdown]
# The early blocks lead. They see the image itself, at full resolution, with few channels, and everything behind them
# inherits their errors. Two bars at the bottom are practically zero. Do not take these blocks for robust: they feed the
# part of the head that finds *large* objects, and no probe image has one, so nothing of theirs reaches a score. A
# ranking is only as good as the images it was measured on.
#
# Damages do not add up, either: the sum of the bars is far more than what all blocks do together. Rounding errors are
# nearly independent, so they add like the sides of a right angle, $\sqrt{\sum d_i^2}$: the few worst decide.

# %% tags=["demonstration"]
ranking = sorted(block_damage, key=block_damage.get, reverse=True)
print(f"sum of the bars {sum(block_damage.values()):.3f}, root of the summed squares "
      f"{np.sqrt(sum(value**2 for value in block_damage.values())):.3f}, all blocks in INT8 {all_int8:.3f}")  # fmt: skip
for count in (1, 3, 5):
    spared = [output for block_name in ranking[:count] for output in blocks[block_name]]
    errors = score_errors(quantized_with(amax["mse"], "part", high_precision_nodes=spared), count=4)
    print(f"all but {', '.join(ranking[:count])}: {np.mean(errors):.3f}")

# %% [markdown]
# ### Exercise · `lab4.sensitive_layers`
#
# *Stretch · difficulty 3/5 · 15 minutes · 5 points*
#
# Decide which layers stay in high precision, within a budget: a share of all multiply-accumulates. You get a function that
# measures, and each call of it stands for minutes of somebody's GPU; the check counts them. The networks of the check are
# made so that a few layers suffer much: single channels dwarf the others, as in B1, and here everything is quantized per
# tensor.


# %% nbgrader={"grade": false, "grade_id": "lab4-sensitive_layers", "locked": false, "schema_version": 3, "solution": true, "task": false}
def keep_sensitive(costs, measure, *, budget):
    """Rank layers by the damage their quantization does, and keep the worst in high precision.

    Args:
        costs: Layer name to its multiply-accumulates, in graph order.
        measure: measure(names) returns the relative L2 error of the output with exactly these layers in INT8 and all
            others in FP32. Call it at most twice per layer.
        budget: The largest share (0 to 1) of all multiply-accumulates that may stay in FP32.

    Returns:
        A dict with
        "damage": layer name to the error with that layer alone in INT8;
        "order": all names, the most damaging first;
        "keep": the names to keep in FP32. From the most damaging on, a layer is kept if it still fits the budget, and
            passed over if it does not. (Another choice within the budget will do if its error is as small.)
    """
    ### BEGIN SOLUTION
    damage = {name: measure([name]) for name in costs}
    order = sorted(damage, key=damage.get, reverse=True)
    keep, left = [], budget * sum(costs.values())
    for name in order:
        if costs[name] <= left:
            keep.append(name)
            left -= costs[name]
    return {"damage": damage, "order": order, "keep": keep}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-sensitive_layers-check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("lab4.sensitive_layers")

# %% [markdown]
# **We have:** a map from numbers to bytes and its two errors; thresholds chosen by four methods, and the experience that
# the famous one loses on this kind of network; a calibrator with a cache; calibration that sees what the network will
# see, and statistics that tell when it does not; quantization written into the graph by TensorRT's rules; and a ranking
# of the layers that suffer, measured instead of guessed.
#
# **Further, if you like** (ungraded): quantize with ONNX Runtime's `quantize_static` defaults and let
# `yolotrt_lab.precision.rules.check_qdq_rules` list what TensorRT would refuse · calibrate with 4, 8, 16, 32 images and
# plot how far the thresholds move · read about quantization-aware training, which lets the network adapt to the rounding:
# [Wu et al. 2020](https://arxiv.org/abs/2004.09602) · the talk that introduced entropy calibration:
# [Migacz 2017](https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf) ·
# [NVIDIA on quantized types](https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html)

# %% [markdown]
# # Part C · Reading and comparing
#
# You can build FP32, FP16 and INT8 engines now. From here on the question is another one: what *are* they, are they still
# right, and what did you gain? Three instruments answer it: the inspector, the tolerance ladder, and an honest table.
#
# The next cell builds the three engines of the real detector that this part is about, by the package's tested functions,
# so that it does not depend on your answers. The INT8 model gets its Q/DQ nodes from 32 training images; its other layers
# are FP16.

# %% tags=["demonstration"]
int8_onnx = lab_folder / "model.int8.onnx"
if not int8_onnx.exists():
    calibration_batches = ImageBatches(dataset.images("train"), input_hw=(320, 320))
    quantize_onnx(fp32_onnx, int8_onnx, table=calibrate(fp32_onnx, calibration_batches), base=Precision.FP16)
builds = {}
for name, model_path in {"FP32": fp32_onnx, "FP16": fp16_onnx, "INT8": int8_onnx}.items():
    options = EngineOptions(precision=Precision(name.lower()), max_batch=4)
    builds[name] = build_engine(model_path, lab_folder / f"{name.lower()}.engine", options=options)
    print(f"{name}: built in {builds[name].seconds:.1f} s, {builds[name].path.stat().st_size / 2**20:.1f} MiB")

# %% [markdown]
# ## C1 · What did it build?
#
# The builder does not tell what it decided, but the engine does. Its **inspector** lists the layers in the order in
# which they run, each with the types and layouts of what it reads and writes, the kernel that was chosen, and, under
# `Metadata`, the ONNX nodes that it does. Here is one convolution of the INT8 engine, as it comes.


# %% tags=["demonstration"]
def inspector_text(plan_path):
    """Return what an engine's inspector says, as JSON."""
    runtime = trt.Runtime(LogKeeper())
    engine = runtime.deserialize_cuda_engine(plan_path.read_bytes())
    return engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)


int8_layers = json.loads(inspector_text(builds["INT8"].path))["Layers"]
print(json.dumps(next(layer for layer in int8_layers if layer["LayerType"] == "Convolution"), indent=1))

# %% [markdown]
# **How to read it.** The *name* joins the ONNX nodes that the layer stands for, but it is written for people: Q/DQ nodes
# are left out of it, and a copy ("Reformatting CopyNode for … to /model.0/conv/Conv") carries the name of the layer it
# feeds. `Metadata` is the reliable field: `[ONNX Layer: …]` for each node, separated by the control character `\u001e`.
#
# The *precision* of a convolution is the type of what it multiplies, so of its **first input**. Outputs mislead: an
# INT8 convolution in front of an FP16 layer writes FP16, and one with a fused residual Add also reads FP16, as a second
# input.
#
# The format differs between versions. TensorRT 10 tells layout and type in one text, 11 in two fields; and where 10
# lists `Bindings`, 11 has `I/O Tensors`:
#
# | | a tensor's type |
# |---|---|
# | 10 | `"Format/Datatype": "Channel major Int8 format"`, or just `"Int8"` |
# | 11 | `"Format": "Channel major"`, `"Datatype": "Int8"` |

# %% [markdown]
# And if an engine was built without `ProfilingVerbosity.DETAILED`, every entry of `Layers` is just a text: a name.
# Nothing can be proven from that, and a function that reads such an engine should say so instead of finding "no fused
# layers".
#
# But first: **your guess** from A1, and the truth.

# %% tags=["demonstration"]
layer_counts = {name: len(build.report.layers) for name, build in builds.items()}
print(f"your guess: {my_guess_layers}; nodes in the FP32 graph: {len(detector_graph.graph.node)}")
for name, count in layer_counts.items():
    fused = sum(layer.is_fused for layer in builds[name].report.layers)
    copies = sum(layer.kind == "Reformat" for layer in builds[name].report.layers)
    print(f"{name}: {count} layers, {fused} of them do several nodes, {copies} only convert or copy")

# %% [markdown]
# ### Exercise · `lab4.read_inspector`
#
# *Core · difficulty 3/5 · 25 minutes · 8 points*
#
# Write the function that proves claims about an engine. It gets the inspector's JSON, from TensorRT 10 or 11, and the
# names of the graph's compute nodes (convolutions and matrix products), and it finds out which nodes were fused and what
# each compute node runs in. A node that no layer mentions gets `None`: it was not proven, so it is not guessed.
#
# The cases of the check come from engines that were really built, by both versions of the API; some of their nodes have
# names that tempt you to search for words.


# %% nbgrader={"grade": false, "grade_id": "lab4-read_inspector", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_inspector(text: str, compute_nodes: list[str]) -> dict:
    """Find out from an inspector's JSON what was fused, and what the compute nodes run in.

    Args:
        text: What `get_engine_information(LayerInformationFormat.JSON)` returned, from TensorRT 10 or 11. A type stands
            there as a word of its own, in any case: FP32 or Float; FP16 or Half; BF16 or BFloat16; Int8.
        compute_nodes: Names of the graph's convolutions and matrix products.

    Returns:
        A dict with
        "fused": for every layer that does more than one ONNX node, the list of its nodes (Q/DQ nodes are nodes too);
        "precision": for every name in `compute_nodes`, "fp32", "fp16", "bf16" or "int8": the type of the first input
            of the layer that does the node; None if no layer does it;
        "int8_share": the share of "int8" among the compute nodes whose precision is known, from 0 to 1.

    Raises:
        InputError: The layers are only names: the engine was built without detailed verbosity.
    """
    ### BEGIN SOLUTION
    layers = json.loads(text)["Layers"]
    if not all(isinstance(layer, dict) for layer in layers):
        raise InputError("The inspector tells layer names only.", fix="Build with ProfilingVerbosity.DETAILED.")
    fused, precision = [], dict.fromkeys(compute_nodes)
    for layer in layers:
        nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", layer["Metadata"])
        if len(nodes) > 1:
            fused.append(nodes)
        for node in nodes:
            if node in precision:
                first = layer["Inputs"][0]
                words = re.split(r"\W+", (first.get("Format/Datatype") or first["Datatype"]).lower())
                words = [{"float": "fp32", "half": "fp16", "bfloat16": "bf16"}.get(word, word) for word in words]
                precision[node] = next((word for word in words if word in ("fp32", "fp16", "bf16", "int8")), None)
    known = [value for value in precision.values() if value is not None]
    return {"fused": fused, "precision": precision, "int8_share": known.count("int8") / max(len(known), 1)}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-read_inspector-check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("lab4.read_inspector")

# %% [markdown]
# Your function on the real engines. First the **fusion map**: the graph's nodes, with those that share a layer on one
# band. In FP32 you see SiLU (Sigmoid and Mul) disappear into its convolution. In INT8 the Q/DQ nodes are swallowed too,
# and that is the point of them: they are not executed as nodes; they *tell* the builder that the convolution between
# them may multiply integers.


# %% tags=["demonstration"]
def nodes_of(path):
    """Return name and operator of every node of a graph."""
    return [(node.name, node.op_type) for node in onnx.load(path).graph.node]


def reading_of(name):
    """Read one of the three engines by your function."""
    return read_inspector(inspector_text(builds[name].path), compute_nodes)


compute_nodes = [name for name, operator in nodes_of(fp32_onnx) if operator in ("Conv", "MatMul", "Gemm")]
with using("lab4.read_inspector"):
    display(fusion_map(nodes_of(fp32_onnx), reading_of("FP32")["fused"], title="FP32: what was fused into one layer"))

# %% tags=["demonstration"]
with using("lab4.read_inspector"):
    display(fusion_map(nodes_of(int8_onnx), reading_of("INT8")["fused"], title="INT8: what was fused into one layer"))

# %% [markdown]
# Then the precisions. Each column is one convolution, from the input on the left to the head on the right. **Predict:**
# which convolutions of the INT8 engine are not INT8, and who decided that?

# %% tags=["demonstration"]
info = PlatformInfo(platform.kind, platform.tensorrt_version, platform.device_name)
with using("lab4.read_inspector"):
    display(layers_by_precision({name: reading_of(name)["precision"] for name in builds}, platform=info))

# %% [markdown]
# **Check yourself**
#
# <details><summary>Why are some of the last convolutions not INT8?</summary>
#
# Nobody put Q/DQ nodes in front of them: the quantizer leaves the head's last convolutions in higher precision, because
# errors there go straight into boxes and scores. In the explicit route the graph decides; the builder did as it was told.
# </details>
#
# <details><summary>The INT8 engine has more layers than the FP32 engine. Is that bad?</summary>
#
# Look at what they are: conversions between INT8 and the higher precision. Each costs a pass over memory. A few are the
# price of mixed precision; many of them mean that Q/DQ nodes stand in unlucky places, and eat up what INT8 gains.
# </details>

# %% [markdown]
# ## C2 · Is it still right?
#
# "The boxes look the same" is not a verdict. One reference is enough for all engines: **ONNX Runtime in FP32** on the same
# input. Each engine is as good as its distance from that output, $a$ (actual) against $e$ (expected):
#
# $$\text{relative } L_2 = \frac{\lVert a - e \rVert}{\lVert e \rVert} \qquad
# \text{cosine} = \frac{a \cdot e}{\lVert a \rVert\, \lVert e \rVert}$$
#
# They see different things. The relative error sees size and direction, but forgives a small wrong part beside a large
# right one. The cosine sees direction only: it is blind to scale. So both are needed, on boxes and scores *apart*: box
# coordinates are in the hundreds, scores below one, and in one common norm the scores weigh nothing.

# %% [markdown]
# ### Predict
#
# The next cell spoils a real output in four ways. For each, guess which of the three numbers will notice: the cosine of
# the whole tensor, its relative error, or the relative error of the scores alone.

# %% tags=["demonstration"]
frames = [preprocess(read_image(path), input_hw=(320, 320))[0] for path in dataset.images("test")[:8]]
with open_runtime(fp32_onnx) as reference_runtime:
    reference = np.concatenate([reference_runtime.infer({"images": frame})["output0"] for frame in frames])
spoiled = {name: reference.astype(np.float64) for name in ("all x 1.1", "scores x 0.5", "two classes swapped", "BF16")}
spoiled["all x 1.1"] *= 1.1
spoiled["scores x 0.5"][:, 4:] *= 0.5
spoiled["two classes swapped"][:, [4, 5]] = spoiled["two classes swapped"][:, [5, 4]]
spoiled["BF16"] = (reference.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
print(f"{'':22}cosine (all)   rel. L2 (all)   rel. L2 (scores)")
for name, actual in spoiled.items():
    norm = np.linalg.norm
    cosine = np.vdot(actual, reference) / norm(actual) / norm(reference)
    whole, scores = (norm((actual - reference)[:, s:]) / norm(reference[:, s:]) for s in (0, 4))
    print(f"{name:22}{cosine:12.6f}   {whole:13.5f}   {scores:16.5f}")

# %% [markdown]
# With halved scores and a threshold of 0.25, every object that scored less than 0.5 is lost, and the whole tensor's cosine
# is 1.000000. Swapped classes turn bolts into nuts; in the whole tensor's error they weigh less than BF16's honest
# rounding. Only the scores' own error sees both.
#
# **The ladder.** How much is too much depends on what really ran. FP32 engines differ from ONNX Runtime only in the
# order of sums; INT8 has 256 levels. A single limit would either pass bugs in FP32 or fail honest INT8. So each
# precision has a row of its own, and the row is chosen by what the *inspector* shows, never by the engine's name.

# %% tags=["demonstration"]
print("precision   relative L2   cosine")
for precision, limits in TOLERANCES.items():
    print(f"{precision.upper():9}   at most {limits.relative_l2:<6g} at least {limits.cosine:g}")

# %% [markdown]
# **The order of the checks** matters. Shape first: numbers at different places cannot be compared. Then type: who reads
# float16 bytes as float32 gets noise. Then finiteness: any comparison with NaN is false, so `error > limit` lets NaN
# pass. Then the claim: an "INT8" engine that runs FP32 has excellent numbers. Only then the two measures.

# %% [markdown]
# ### Exercise · `lab4.compare_engines`
#
# *Core · difficulty 3/5 · 25 minutes · 8 points*
#
# Write the judge for three engines at once. Output and reference have the shape (N, 4 + classes, anchors): rows 0 to 3
# are boxes, the others scores. Measure boxes and scores apart; the worse of the two counts, for each measure. The first
# check that fails gives the reason. First, the two measures:


# %% nbgrader={"grade": false, "grade_id": "lab4-compare_engines-measures", "locked": false, "schema_version": 3, "solution": true, "task": false}
def measure_parts(actual: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return relative L2 error and cosine, each the worse of boxes and scores, for use in `judge_engines`.

    Compute in float64: a float32 sum over hundreds of thousands of squares loses digits of its own.
    """
    ### BEGIN SOLUTION
    errors, cosines = [], []
    for rows in (slice(0, 4), slice(4, None)):
        a, e = actual[:, rows].astype(np.float64).ravel(), expected[:, rows].astype(np.float64).ravel()
        lengths = np.linalg.norm(a) * np.linalg.norm(e)
        errors.append(float(np.linalg.norm(a - e) / np.linalg.norm(e)))
        cosines.append(float(a @ e / lengths) if lengths else 0.0)
    return max(errors), min(cosines)
    ### END SOLUTION


# %% [markdown]
# Now the judge.


# %% nbgrader={"grade": false, "grade_id": "lab4-compare_engines", "locked": false, "schema_version": 3, "solution": true, "task": false}
def judge_engines(reference: np.ndarray, engines: dict, tolerances: dict) -> dict:
    """Judge engines against ONNX Runtime's FP32 output by the tolerance ladder.

    Args:
        reference: (N, 4 + classes, anchors) float32: boxes in rows 0 to 3, scores below.
        engines: By the precision each engine claims ("fp32", "fp16", "int8"): a dict with "output", an array, and
            "executed", the precision that the inspector found ("fp32", "fp16", "bf16", "int8").
        tolerances: By precision: a dict with "relative_l2", the most allowed, and "cosine", the least allowed.

    Returns:
        By claimed precision a dict with "passed" (bool), "reason", "relative_l2" and "cosine". The reason is the first
        of these that applies: "shape", "dtype", "not finite" (then both measures are None); "precision" (it runs in
        something else than claimed; only BF16 may stand for FP16); "relative_l2", "cosine" (beyond the limit for what
        executed); otherwise "ok". Measures are the worse of boxes and scores; the cosine with a zero vector is 0.
    """
    ### BEGIN SOLUTION
    verdicts = {}
    for claimed, engine in engines.items():
        output, executed = engine["output"], engine["executed"]
        reason, relative_l2, cosine = "", None, None
        if output.shape != reference.shape:
            reason = "shape"
        elif output.dtype != reference.dtype:
            reason = "dtype"
        elif not np.isfinite(output).all():
            reason = "not finite"
        else:
            relative_l2, cosine = measure_parts(output, reference)
            limits = tolerances[executed]
            if executed != claimed and (claimed, executed) != ("fp16", "bf16"):
                reason = "precision"
            elif relative_l2 > limits["relative_l2"]:
                reason = "relative_l2"
            else:
                reason = "cosine" if cosine < limits["cosine"] else "ok"
        verdicts[claimed] = {"passed": reason == "ok", "reason": reason, "relative_l2": relative_l2, "cosine": cosine}
    return verdicts
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-compare_engines-check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("lab4.compare_engines")

# %% [markdown]
# Your judge on the three real engines and eight test images. What does the INT8 engine's place on its rung tell you about
# how much room is left for mistakes in calibration?

# %% tags=["demonstration"]
runtimes = {name: open_runtime(build.path) for name, build in builds.items()}
outputs = {
    name.lower(): {
        "output": np.concatenate([runtime.infer({"images": frame})["output0"] for frame in frames]),
        "executed": str(builds[name].report.executed_precision),
    }
    for name, runtime in runtimes.items()
}
ladder = {str(p): {"relative_l2": t.relative_l2, "cosine": t.cosine} for p, t in TOLERANCES.items()}
with using("lab4.compare_engines"):
    for claimed, verdict in judge_engines(reference, outputs, ladder).items():
        print(claimed, verdict)

# %% tags=["demonstration"]
with using("lab4.compare_engines"):
    rungs = [
        Rung(name, outputs[name]["executed"], verdict["relative_l2"], ladder[outputs[name]["executed"]]["relative_l2"])
        for name, verdict in judge_engines(reference, outputs, ladder).items()
    ]
    display(tolerance_ladder(rungs))

# %% [markdown]
# **Check yourself**
#
# <details><summary>An FP32 engine fails its rung with a relative error of 0.002. Name two suspects.</summary>
#
# TF32 (its multiplications have FP16's mantissa), and a preprocessing that is slightly different on the two sides. A
# wrong graph usually differs by much more.
# </details>
#
# <details><summary>An INT8 engine passes the ladder on raw outputs. Why still compute mAP?</summary>
#
# The ladder compares tensors, most of whose anchors are background. Whether the few that matter survive thresholds and
# NMS is only seen at the end. And mAP alone would not do either: it can stay while scores shift, and then a threshold
# chosen before no longer fits.
# </details>

# %% [markdown]
# ## C3 · The table you may show
#
# Now the numbers that a decision will rest on. Each column of such a table has a dishonest twin:
#
# | honest | its twin | why the twin lies |
# |---|---|---|
# | median, and 99th percentile, after warm-up | the mean of all runs | one hiccup moves it; the first runs happen once |
# | ratio to the FP32 *engine* | "three times faster" than PyTorch | mixes compiler and precision |
# | mAP drop against ONNX Runtime FP32, signed | the drop against the FP32 engine, or none | shared errors vanish |
# | what the inspector found | the file's name | see C1 |
# | an empty place where something failed | 0, or no row | 0 ms is the best latency of all |

# %% [markdown]
# ### Exercise · `lab4.engine_table`
#
# *Core · difficulty 2/5 · 20 minutes · 7 points*
#
# Turn raw measurements into the rows of that table.


# %% nbgrader={"grade": false, "grade_id": "lab4-engine_table", "locked": false, "schema_version": 3, "solution": true, "task": false}
def engine_table(measurements: dict) -> list[dict]:
    """Return the rows of an honest table, in the order of the measurements.

    Args:
        measurements: A dict with "reference" and "baseline", each the name of a model, and "models": by name a dict
            with "executed" (what the inspector found), "map50_95" (None if it could not be measured), "bytes" (of the
            file), "build_s" (None where nothing is built), "latency_ms" (every sample in order, possibly none), and
            "warmup" (how many samples at the start do not count).

    Returns:
        One dict per model, none left out, with "name", "executed", "map50_95", "build_s" as they are, and
        "drop": the reference's mAP minus this model's, in mAP points, negative where it is better;
        "size_mib": in MiB, of 2**20 bytes;
        "median_ms", "p99_ms": of the samples after the warm-up (99th percentile as np.percentile gives it);
        "time_ratio": this median over the baseline's, under 1 where it is faster.
        What cannot be computed is None.
    """
    ### BEGIN SOLUTION
    models = measurements["models"]
    counted = {name: model["latency_ms"][model["warmup"] :] for name, model in models.items()}
    medians = {name: float(np.median(samples)) if samples else None for name, samples in counted.items()}
    best, base = models[measurements["reference"]]["map50_95"], medians[measurements["baseline"]]
    rows = []
    for name, model in models.items():
        score, median = model["map50_95"], medians[name]
        row = {key: model[key] for key in ("executed", "map50_95", "build_s")}
        rows.append(
            {
                "name": name,
                **row,
                "drop": None if score is None or best is None else best - score,
                "size_mib": model["bytes"] / 2**20,
                "median_ms": median,
                "p99_ms": float(np.percentile(counted[name], 99)) if counted[name] else None,
                "time_ratio": None if median is None or base is None else median / base,
            }
        )
    return rows
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab4-engine_table-check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("lab4.engine_table")

# %% [markdown]
# Now measure. Accuracy first, on the 40 test images, with the settings that mAP is defined for (a very low confidence
# threshold). Then latency: the four models take turns, frame by frame, so that a slow spell of the machine hits all of
# them alike. The first samples are kept in the raw data; your function knows how many do not count.

# %% tags=["demonstration"]
model_paths = {"ONNX Runtime FP32": fp32_onnx, **{f"{name} engine": build.path for name, build in builds.items()}}
found = {}
for name, path in model_paths.items():
    with open_detector(path, config=MAP_CONFIG) as detector:
        found[name] = detect_split(detector, dataset, split="test")
    print(f"{name}: mAP50-95 {found[name].metrics().map50_95:.3f}")

# %% tags=["demonstration"]
timed = {name: open_runtime(path) for name, path in model_paths.items()}
latency_ms = {name: [] for name in timed}
for _ in range(70):
    for name, runtime in timed.items():
        started = time.perf_counter()
        runtime.infer({"images": frames[0]})
        latency_ms[name].append(1e3 * (time.perf_counter() - started))

# %% tags=["demonstration"]
models = {
    name: {
        "executed": str(runtime.executed_precision),
        "map50_95": found[name].metrics().map50_95,
        "bytes": model_paths[name].stat().st_size,
        "build_s": builds[name.split()[0]].seconds if name.endswith("engine") else None,
        "warmup": 10,
        "latency_ms": latency_ms[name],
    }
    for name, runtime in timed.items()
}
measurements = {"reference": "ONNX Runtime FP32", "baseline": "FP32 engine", "models": models}

# %% [markdown]
# **Your table**, from your function.

# %% tags=["demonstration"]
COLUMNS = ("map50_95", ".3f"), ("drop", "+.4f"), ("size_mib", ".1f"), ("build_s", ".1f")
COLUMNS += ("median_ms", ".1f"), ("p99_ms", ".1f"), ("time_ratio", ".2f")


def as_markdown(rows):
    """Return the rows as a table."""
    lines = ["| model | runs | mAP50-95 | drop | MiB | build s | median ms | p99 ms | time to FP32 |", "|---" * 9 + "|"]
    for row in rows:
        cells = ["" if row[key] is None else format(row[key], form) for key, form in COLUMNS]
        lines.append("| " + " | ".join([row["name"], row["executed"].upper(), *cells]) + " |")
    return "\n".join([*lines, "", f"*{info.timing_label}; 40 test images, 320 x 320, batch 1*"])


with using("lab4.engine_table"):
    display(Markdown(as_markdown(engine_table(measurements))))

# %% [markdown]
# **How sure is the drop?** Forty images are a small sample; other forty would give another mAP. To see how much of the
# drop is chance, draw forty images with replacement, again and again, and compute the *difference* on each draw. (The
# difference, because both engines see the same images: what makes the draw easy or hard cancels out.)


# %% tags=["demonstration"]
def map_of_draw(split, drawn):
    """Return mAP50-95 on some of the images."""
    truths, boxes = ([items[index] for index in drawn] for items in (split.ground_truth, split.detections))
    return evaluate_detections(truths, boxes, class_names=split.class_names).map50_95


rng = np.random.default_rng(0)
draws = [rng.integers(0, 40, size=40) for _ in range(60)]
expected_map = [map_of_draw(found["ONNX Runtime FP32"], drawn) for drawn in draws]
for name in ("FP16 engine", "INT8 engine"):
    drops = [e - map_of_draw(found[name], drawn) for e, drawn in zip(expected_map, draws, strict=True)]
    low, high = np.quantile(drops, [0.025, 0.975])
    print(f"{name}: median drop {np.median(drops):+.4f}; 95 % of the draws lie between {low:+.4f} and {high:+.4f}")

# %% [markdown]
# **Accuracy against latency**, with the demands of a product drawn in: no more than three quarters of the FP32 engine's
# time, at most 0.01 below the reference. Only the shaded part of the plane is of use to it. The whiskers end at the 99th
# percentile: a median inside with a whisker that sticks out means that some frames come too late.

# %% tags=["demonstration"]
with using("lab4.engine_table"):
    rows = engine_table(measurements)
    baseline_ms = next(row["median_ms"] for row in rows if row["name"] == "FP32 engine")
    budget_ms, floor = round(0.75 * baseline_ms, 1), round(rows[0]["map50_95"] - 0.01, 3)
    display(accuracy_latency(rows, budget_ms=budget_ms, floor=floor, platform=info))

# %% tags=["demonstration"]
for runtime in [*runtimes.values(), *timed.values()]:
    runtime.close()

# %% [markdown]
# **Check yourself**
#
# <details><summary>INT8 takes 0.5 of FP32's time here. What will it take on an NVIDIA GPU?</summary>
#
# Unknown. These are CPU timings of an emulation. Precisions and accuracy are real, and the method carries over; the
# ratio does not. On a large GPU a network as small as this one may gain nothing from INT8 at batch 1, because it is bound
# by launching kernels, not by arithmetic.
# </details>
#
# <details><summary>The INT8 engine's file is a third of FP32's. Why not a quarter?</summary>
#
# Not everything in a plan is INT8 weights: scales per channel, biases, the layers that stay in higher precision, and the
# plan's own description of layers and memory.
# </details>

# %% [markdown]
# # Written question
#
# *10 points · 20 minutes · graded by a person, by the rubric below*
#
# A packing line puts bolts, nuts and washers into bags; a camera counts what falls in. Today the FP32 engine just keeps
# pace with the belt. From next month the belt runs **a third faster**: a frame must be done in **three quarters of the
# FP32 engine's median time**, and a frame that is late is lost. A bag with a wrong count that reaches a customer costs
# about 40 €; a recount because of a doubtful score costs 10 seconds. The machine on the line is the one you measured on.
#
# **Choose between your FP16 and your INT8 engine, and defend the choice with evidence from this notebook**, in 200 to 300
# words. Address: whether each engine is what it claims to be; what each does to speed, including the slow frames; what
# each does to accuracy, and how sure that is; and what would make you change your mind.

# %% [markdown] nbgrader={"grade": false, "grade_id": "lab4-written-rubric", "locked": true, "schema_version": 3, "solution": false, "task": false}
# **Rubric** (10 points)
#
# | criterion | points |
# |---|---|
# | **Decision.** One engine is chosen, and the choice follows from the product's demands (deadline, price of a wrong count), not from "INT8 is fastest". | 2 |
# | **Proof.** The inspector's finding (what runs, and how much of it) and the ladder's verdict are given for the chosen engine. | 2 |
# | **Speed.** Median *and* tail are compared with the deadline, as ratios of the same session, with the platform named. | 2 |
# | **Accuracy.** The signed drop against ONNX Runtime is given with its uncertainty, and weighed by what an error costs. | 2 |
# | **Limits.** States what the evidence does not show (few images, this machine, threshold) and what would change the decision. | 2 |

# %% [markdown] nbgrader={"grade": true, "grade_id": "lab4-written", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# I choose the **FP16 engine**. (Numbers of a two-core AMD EPYC, TensorRT emulated: CPU timings, but of the line's machine.)
# Both engines are what they claim: the inspector shows all 76 convolutions of the FP16 engine in reduced precision (BF16,
# as this processor has no FP16), and 69 of 76 in INT8 in the other; the rest is the head, left out on purpose. Both pass
# the ladder: FP16 at 0.021 of 0.05 allowed for BF16, INT8 at 0.134 of 0.15, so a slightly worse calibration would fail.
# Speed: the deadline is 0.75 of the FP32 engine's median. FP16 takes 0.61, its 99th percentile 0.73; INT8 0.50 and 0.66.
# Both meet it, and being faster still earns nothing: the belt does not pay for frames it does not send. Accuracy: the drop
# is +0.002 for FP16 (95 % of the draws between -0.002 and +0.005) and +0.001 for INT8 (-0.006 to +0.007): mAP does not
# separate them, but INT8's is about twice as uncertain. A wrong count costs 40 €, a doubtful score 10 s; INT8 moves scores
# six times as far, and the threshold was chosen for FP32's. I do not take that risk for time nobody uses. Not shown: the
# line's own camera, counts instead of mAP, and the machine under load. FP16's tail is close to the deadline: if it crosses
# it in a day's run on the line, or the belt gets faster, I change to INT8, after choosing its threshold anew and comparing
# the counts of a day of real bags with FP32's.

# %% [markdown]
# # Recap
#
# We have:
#
# - **built** engines from ONNX with every refusal turned into an error, because TensorRT returns its "no" and does not
#   raise it;
# - **promised** a range of batches in a profile, and met the three ways in which the promise can fail;
# - **lowered** the precision by permission (a flag) and by command (types in the graph), and seen that only the second is
#   sure, and the only one left in TensorRT 11;
# - **quantized** by hand, from a scale and a rounding to thresholds, calibrators, Q/DQ graphs and sensitive layers;
# - **proven** what was built: fused nodes and executed precisions, from the inspector's own words;
# - **judged** engines by what really ran, boxes and scores apart, shape and finiteness first;
# - **reported** it in a table whose columns do not flatter anybody.
#
# In lab 5 these engines go to work: memory, streams, pre- and postprocessing, and the profile of a whole pipeline.

# %% [markdown]
# ## Further reading
#
# - NVIDIA, TensorRT 10.16: [precision control](https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/inference-library/precision-control.html)
#   and [engine tools](https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/inference-library/engine-tools.html), which
#   describes the inspector.
# - NVIDIA, [IOptimizationProfile](https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/OptimizationProfile.html),
#   and [working with quantized types](https://docs.nvidia.com/deeplearning/tensorrt/10.11.0/inference-library/work-quantized-types.html).
# - NVIDIA, [debugging accuracy with Polygraphy](https://github.com/NVIDIA/TensorRT/blob/main/tools/Polygraphy/how-to/debug_accuracy.md):
#   bisecting to the layer where an engine leaves its reference.
# - ONNX, [operators and their types](https://onnx.ai/onnx/operators/).
# - Jacob et al., [Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference](https://arxiv.org/abs/1712.05877) (2018).
# - Wu et al., [Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation](https://arxiv.org/abs/2004.09602) (2020).
# - Micikevicius et al., [Mixed Precision Training](https://arxiv.org/abs/1710.03740) (2018): why FP16 needs care with range.
