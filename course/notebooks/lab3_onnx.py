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
# # Lab 3 · ONNX: export, then prove it
#
# A checkpoint is a Python object: it needs your training code to mean anything. An ONNX file is a *list of arithmetic*:
# any runtime on any machine can carry it out. Between the two stands an export, and exports fail in a special way. They
# do not crash. They write a file that opens, runs and gives plausible boxes, and is wrong.
#
# So this lab has two halves. First you learn to write the file: what tracing records and what it forgets, what belongs
# to the contract of a file, what may be folded away. Then you learn to *prove* it: which numbers show that two networks
# compute the same, which errors those numbers hide, and how to find the one node among hundreds that is to blame.

# %% [markdown]
# ## What you will be able to do
#
# - **Export** a module with a free batch axis, agreed names and an agreed operator set.
# - **Predict** what tracing bakes into a graph, and recognise it in the file.
# - **Read** an ONNX graph: nodes, initializers, attributes, shapes, and the blocks of a real YOLO.
# - **Validate** a file that somebody hands you, without false alarms.
# - **Compare** two outputs by three measures, and **name** the errors that each measure hides.
# - **Derive** the fusion of convolution and batch norm, and prove it on 69 layers.
# - **Diagnose** broken exports by what they compute, and **repair** them by surgery on the graph.
# - **Locate** the first tensor that goes wrong, in a number of looks that grows with the logarithm of the depth.

# %% [markdown]
# ## Before you start
#
# **Prerequisites:** Python, NumPy, a little PyTorch (you have seen `nn.Module`). Labs 1 and 2 help but nothing is
# needed from them: the checkpoint used here ships with the course. No GPU is needed.
#
# **Time:** about 6 hours; part A takes 105 minutes, part B 90, part C 160. The exercises do not build on each other:
# where a later section needs something from an earlier one, it uses the course's own tested version.
#
# **How it works:** write each answer in its cell, run the `check(...)` below it, read what it says, try again. A check
# costs nothing. Cells that say **predict** are not graded: write your guess down before you run the next cell. Being
# wrong there is how the lab teaches.

# %% [markdown]
# ## Map of this lab
#
# | Part | Section | Exercise | Tier | Minutes | Points |
# |---|---|---|---|---|---|
# | A | 1 to 3: graphs, tracing, the contract | `lab3.dynamic_export` | core | 20 | 12 |
# | A | 4 to 6: folding, the real network, validation | `lab3.validate_onnx` | core | 35 | 14 |
# | B | 7, 8: three measures, and what each hides | `lab3.compare_outputs` | core | 30 | 14 |
# | B | 9: convolution and batch norm | `lab3.fuse_conv_bn` | core | 20 | 11 |
# | C | 10: what changed? | `lab3.graph_diff` | stretch | 40 | 12 |
# | C | 11: surgery | `lab3.repair_exports` | stretch | 60 | 16 |
# | C | 12: where does it go wrong? | `lab3.bisect_divergence` | core | 25 | 11 |
# | | Written question | accept or reject an export | core | 20 | 10 |

# %%
import copy
import hashlib
import io
import math
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
import torch
from IPython.display import display
from onnx import TensorProto, helper, numpy_helper

# %% [markdown]
# From the course's package come `check`, and tools for the demonstrations; you need none of these in your answers. The
# cell after that keeps two voices down: ONNX Runtime's own log (its errors still reach us, as Python exceptions), and
# PyTorch's notes that there is a newer exporter. More about that in section 2.
# %%
from yolotrt_lab.data.parts.generate import draw_part_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.export.graph import expose_tensors, infer_tensor_types, op_histogram
from yolotrt_lab.export.onnx_export import export_onnx, load_detector
from yolotrt_lab.export.runner import random_picture
from yolotrt_lab.figures.agreement import blind_measures, error_along_depth, error_histograms
from yolotrt_lab.figures.onnx_graph import block_diagram, blocks_of, channel_ranges, draw_graphs, operator_bars
from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.report.plots import ExampleImage, example_grid

# %%
onnxruntime.set_default_logger_severity(4)
for category in (DeprecationWarning, FutureWarning):
    warnings.filterwarnings("ignore", category=category)
folder = workspace() / "lab3"
folder.mkdir(exist_ok=True)

# %% tags=["demonstration"]
plt.switch_backend("inline")  # figures appear below their cells

# %% [markdown]
# ---
# # Part A · Writing the file
#
# ## 1 · What is in an ONNX file?
#
# Five things, and all of them can be wrong: a list of **nodes** (operator, inputs, outputs, attributes), in an order in
# which they can be computed; **initializers**, the weights; the **inputs** and **outputs** with types and shapes; the
# version of the **operator set** that says what each operator means; and free text, the metadata. Nodes are wired by
# the *names* of the tensors they read and write. There are no layers, no modules, no Python.
#
# You can write such a file by hand. This one computes SiLU, $x \cdot \sigma(x)$, after a convolution:

# %%
nodes = [
    helper.make_node("Conv", ["images", "weight"], ["features"], pads=[1, 1, 1, 1]),
    helper.make_node("Sigmoid", ["features"], ["gate"]),
    helper.make_node("Mul", ["features", "gate"], ["activated"]),
]
weight = numpy_helper.from_array(np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32), "weight")
images_info = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])
output_info = helper.make_tensor_value_info("activated", TensorProto.FLOAT, ["batch", 4, 8, 8])
graph = helper.make_graph(nodes, "by hand", [images_info], [output_info], [weight])
by_hand = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(by_hand, full_check=True)
draw_graphs({"written by hand": by_hand})

# %% [markdown]
# To carry it out takes a runtime. `run_model` is a helper for this lab; you may use it in your answers. Note that it
# hands the *bytes* of the model to ONNX Runtime: nothing of Python's objects survives.


# %%
def run_model(model, images):
    """Return the first output of a model with one input, computed by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


x = np.random.default_rng(1).random((2, 3, 8, 8), np.float32)
with torch.no_grad():
    kernel = torch.from_numpy(numpy_helper.to_array(weight).copy())
    by_torch = torch.nn.functional.silu(torch.conv2d(torch.from_numpy(x), kernel, padding=1))
print("largest difference from PyTorch:", np.abs(run_model(by_hand, x) - by_torch.numpy()).max())

# %% [markdown]
# The difference is some $10^{-7}$ and not zero: both sum the same products in another order, and floating point
# addition is not associative. Remember that number. It is what *equal* looks like, and the whole second half of this
# lab is about telling it from *almost*.
#
# <details><summary>Self-check: why does the file need the version of the operator set, if it names every operator?
# </summary>
#
# Because names stay while meanings change. `ReduceMean` took its axes as an attribute until version 17 and takes them as
# an input since 18; `Resize` changed its default coordinates. The version says which dictionary to read the file with.
# </details>

# %% [markdown]
# ## 2 · Tracing records one walk
#
# PyTorch's classic exporter **traces**: it runs your module once, on an example, and writes down every tensor operation
# that happens. It sees no Python. An `if` is not an operation, so what is recorded is the branch that was taken *that
# time*. The alternative is **scripting**: `torch.jit.script` compiles the source code, branches included.
#
# Here is a module whose behaviour depends on the values it sees: it inverts bright images.


# %%
class InvertIfBright(torch.nn.Module):
    """Turns bright images into their negatives."""

    def forward(self, images):
        """Return the images, inverted if they are bright on the whole."""
        if images.mean() > 0.5:
            images = 1 - images
        return torch.relu(images - 0.25)


dark, bright = torch.full((1, 3, 4, 4), 0.4), torch.full((1, 3, 4, 4), 0.9)

# %% [markdown]
# **Predict.** We trace it with a *dark* example and script it too, then run both files on a dark and on a bright image.
# Which of the four outputs will be wrong? Which of the two files could TensorRT like less, and why?

# %%
guess_branch = {"traced on dark": "?", "traced on bright": "?", "scripted on dark": "?", "scripted on bright": "?"}


# %%
def exported(module, example, **options):
    """Return the module as an ONNX model, and what the tracer warned of."""
    content = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = {"input_names": ["images"], "output_names": ["out"]}
        torch.onnx.export(module, (example,), content, dynamo=False, **names, **options)
    told = [str(entry.message) for entry in caught if issubclass(entry.category, torch.jit.TracerWarning)]
    return onnx.load_from_string(content.getvalue()), told


# %% tags=["demonstration"]
traced, told = exported(InvertIfBright(), dark, opset_version=17)
scripted, _ = exported(torch.jit.script(InvertIfBright()), dark, opset_version=17)
for name, model in {"traced": traced, "scripted": scripted}.items():
    for kind, image in {"dark": dark, "bright": bright}.items():
        error = np.abs(run_model(model, image.numpy()) - InvertIfBright()(image).numpy()).max()
        case = f"{name} on {kind}"
        print(f"{case:20} error {error:.2f}   your guess: {guess_branch[case]}")
print("\nThe tracer said:", told[0].split(". ")[0])

# %% tags=["demonstration"]
draw_graphs({"traced: the walk that was taken": traced, "scripted: both ways": scripted})

# %% [markdown]
# The traced file has no trace of the inversion. It is valid, it is fast, and it is wrong for half of the world. The only
# sign was a `TracerWarning` that most people scroll past; **read them**: each one is a value that was frozen.
#
# The scripted file is right, but holds an `If`. Engines dislike those: what runs is known only when the data are there,
# nothing can be fused across it, and TensorRT may refuse it. The third way is usually the best: say it as arithmetic.


# %% tags=["demonstration"]
class InvertByArithmetic(torch.nn.Module):
    """The same without a branch."""

    def forward(self, images):
        """Compute both, choose by value."""
        chosen = torch.where(images.mean() > 0.5, 1 - images, images)
        return torch.relu(chosen - 0.25)


chosen, told = exported(InvertByArithmetic(), dark, opset_version=17)
for kind, image in {"dark": dark, "bright": bright}.items():
    print(kind, "error:", np.abs(run_model(chosen, image.numpy()) - InvertIfBright()(image).numpy()).max())
print("warnings:", told)
draw_graphs({"by arithmetic": chosen})

# %% [markdown]
# There are two exporters in PyTorch today. The newer one (`dynamo=True`) goes through `torch.export`, which *refuses*
# such a branch instead of freezing it; it needs the package `onnxscript`. YOLO's tools use the classic one
# (`dynamo=False`), and so does this course. What you learn about graphs holds for both.
#
# <details><summary>Self-check: a <code>for</code> loop over the four layers of a module: is it a problem for tracing? And a loop
# until the error is below 0.01?</summary>
#
# The first is none: four is the same for all inputs, so the unrolled recording is right. The second stops after a number
# of rounds that depends on the data; the recording has as many rounds as the example needed.
# </details>

# %% [markdown]
# ## 3 · The contract: names, operator set, axes
#
# Whoever runs your file knows three things about it, and nothing else: what the tensors are **called**, which
# **operator set** it is written in, and which **axes** may vary. Left alone, the exporter chooses all three for you:
# names such as `onnx::Conv_0`, its newest operator set, and the example's shape as a law.
#
# The operator set first. The same two operators, in four dictionaries:


# %% tags=["demonstration"]
class Pool(torch.nn.Module):
    """An activation and a mean."""

    def forward(self, images):
        """Return one value per channel."""
        return torch.nn.functional.hardswish(images).mean((2, 3))


for version in (13, 14, 17, 18):
    model, _ = exported(Pool(), dark, opset_version=version)
    parts = [f"{n.op_type}({len(n.input)} inputs, {[a.name for a in n.attribute]})" for n in model.graph.node]
    print(version, " -> ".join(parts))

# %% [markdown]
# Version 13 knows no HardSwish and writes it in two nodes; from 18 on, the axes of a mean are an input and no attribute.
# Newer is not better: your file must be understood by *every* runtime it will meet. TensorRT 10, OpenVINO and ONNX
# Runtime with all its kernels on a GPU meet at **17**, which is this course's choice.
#
# Now the axes. An axis is free if its `dim` in the file holds a name (`dim_param`) in place of a number (`dim_value`).
# The name is a promise to the reader: axes of the same name have the same length.

# %% tags=["demonstration"]
fixed, _ = exported(Pool(), dark, opset_version=17)
free, _ = exported(Pool(), dark, opset_version=17, dynamic_axes={"images": {0: "batch"}, "out": {0: "batch"}})
for name, model in {"fixed": fixed, "free": free}.items():
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    try:
        print(name, dims, "gives for two images:", run_model(model, np.ones((2, 3, 4, 4), np.float32)).shape)
    except Exception as error:
        print(name, dims, "refuses two images:", str(error).splitlines()[1].strip())

# %% [markdown]
# **Predict.** A declaration is not a proof. The module below flattens each image with `len(images)`, a plain Python
# number. We free the batch axis of its export and feed two images. Will it refuse, be right, or something else?

# %%
guess_batch = "?"


# %% tags=["demonstration"]
class FlattenByLength(torch.nn.Module):
    """Flattens each image."""

    def forward(self, images):
        """Return one row per image; the number of images is read with len()."""
        return images.reshape(len(images), -1)


axes = {"images": {0: "batch"}, "out": {0: "batch"}}
lying, told = exported(FlattenByLength(), dark, opset_version=17, dynamic_axes=axes)
print("two images of 48 values become", run_model(lying, np.ones((2, 3, 4, 4), np.float32)).shape)
print("your guess:", guess_batch)
print("the tracer said:", told[0])

# %% [markdown]
# Two images became *one* row of 96 values, without an error. The file declares a free batch, and a constant `[1, -1]`
# inside of it says otherwise. This is a **baked batch**, the most frequent defect of exported detectors; you will repair
# one in section 11. The lesson for now: **run the file at several batch sizes**, none of them the example's.

# %% [markdown]
# ### Exercise 3.1 · `lab3.dynamic_export`
#
# core · difficulty 2/5 · 20 min · 12 points
#
# Write the export that the rest of the course could rely on. Your function gets any module that takes images, an example
# of *one* image, and the path to write to. The module may arrive in training mode, and must leave as it came: in its
# mode, with every buffer untouched.
#
# The exporter (`dynamo=False`) has a parameter for each part of the contract; its documentation is linked below the
# check when something is missing.


# %% nbgrader={"grade": false, "grade_id": "lab3-dynamic_export", "locked": false, "schema_version": 3, "solution": true, "task": false}
def export_dynamic(module, example, path):
    """Write `module` to the ONNX file `path` and return `path`.

    Args:
        module: A torch.nn.Module from images (batch, 3, height, width) to one tensor whose first axis is the batch.
        example: A tensor (1, 3, height, width), float32.
        path: A pathlib.Path ending in .onnx.

    The file: input "images", output "scores", operator set 17, weights inside. The first axis of input and output is
    free and bears the same name in both; the input's other axes keep the example's lengths. It computes what the module
    computes in evaluation mode. Afterwards the module is in the mode it was in, with the same parameters and buffers.
    """
    ### BEGIN SOLUTION
    was_training = module.training
    module.eval()  # tracing runs the module, which in training mode would update batch norm's statistics
    free_batch = {"images": {0: "batch"}, "scores": {0: "batch"}}
    try:
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes=free_batch,
            opset_version=17,
            dynamo=False,
        )
    finally:
        module.train(was_training)
    return path
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-dynamic_export-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab3.dynamic_export")

# %% [markdown]
# Use it on a module of your own: three layers, in training mode as after a training run.

# %% tags=["demonstration"]
small = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1)
)
with using("lab3.dynamic_export"):
    export_dynamic(small, torch.zeros(1, 3, 16, 16), folder / "small.onnx")
    small_model = onnx.load(folder / "small.onnx")
    for value in (*small_model.graph.input, *small_model.graph.output):
        print(value.name, [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim])
    print("batches:", [run_model(small_model, np.ones((n, 3, 16, 16), np.float32)).shape for n in (1, 2, 7)])
    display(draw_graphs({"your export: where is the batch norm?": small_model}))

# %% [markdown]
# ## 4 · Folding: what may be computed before the first image
#
# The batch norm is gone because it could be computed into the weights beforehand; you will derive how in section 9.
# That is one case of a general idea. Anything that does not depend on the images is a *constant*, however complicated
# the way to it, and can be replaced by its value. Detection heads need this badly: each cell of their grid adds its own
# position, and whether that grid is a constant depends on the axes you freed.


# %% tags=["demonstration"]
class AddGrid(torch.nn.Module):
    """Adds positions, as a detection head does."""

    def forward(self, images):
        """Return the values, each with the number of its cell added."""
        height, width = images.shape[2:]
        grid = torch.arange(height)[:, None] * width + torch.arange(width)
        return torch.relu(images) + grid


computed, _ = exported(AddGrid(), dark, opset_version=17, dynamic_axes={"images": {0: "batch"}})
folded, _ = exported(AddGrid(), dark, opset_version=17)
draw_graphs({"batch free": computed, "everything fixed": folded})

# %% [markdown]
# Look closely: *only the batch* was freed, and still height and width are read from the image at run time. The tracer
# treats all shapes as unknown as soon as one axis is free. So the best file takes one more step, which this course's
# exporter does for you: free the batch, then **pin** height and width in the file, and let a **simplifier** (onnxslim)
# fold everything that became constant by it.

# %% tags=["demonstration"]
import onnxslim

pinned = copy.deepcopy(computed)
for axis in (2, 3):
    pinned.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 4
slim = onnxslim.slim(pinned)
print(len(computed.graph.node), "nodes become", len(slim.graph.node))
images = np.random.default_rng(0).random((2, 3, 4, 4), np.float32)
print("largest difference:", np.abs(run_model(slim, images) - run_model(computed, images)).max())
draw_graphs({"batch free, height and width pinned, folded": slim})

# %% [markdown]
# Folding needs to know shapes, and for that there is **shape inference**: from the input's shape and the meaning of
# each operator, forward through the graph. It is also a proof of sorts: where two declarations contradict each other,
# inference finds it. Note how the free axis travels: it is `None` (any length), never a number.

# %% tags=["demonstration"]
print("recorded in the file:", [value.name for value in by_hand.graph.value_info] or "nothing but inputs and outputs")
for name, (_, shape) in infer_tensor_types(by_hand).items():
    print(f"{name:10} {shape}")

# %% [markdown]
# Now the real thing: the checkpoint that ships with this course, a YOLOv5n trained on pictures of industrial parts,
# exported with and without simplification. (What Ultralytics and the exporter say meanwhile is kept in a log.)
#
# **Predict:** how many nodes will each file have, and which operators will vanish altogether?

# %%
guess_nodes = {"as exported": "?", "simplified": "?", "vanished": "?"}

# %% tags=["demonstration"]
raw = export_onnx("base", folder / "raw.onnx", simplify=False)
base = export_onnx("base", folder / "base.onnx")
network = onnx.load(base.path)
counts = {"as exported": op_histogram(onnx.load(raw.path).graph), "simplified": op_histogram(network.graph)}
print(f"{raw.node_count} nodes become {base.node_count}; your guess: {guess_nodes}")
operator_bars(counts, title="YOLOv5n: nodes by operator")

# %% [markdown]
# All that reads or builds shapes (`Shape`, `Gather`, `Range`, `Expand`, `Cast`, …) is gone, and the constants that fed
# it: work that would have been done for every image, on a GPU each node with a launch of its own, to compute the same
# grid again and again. What is left is convolutions, activations, a few concatenations, and a short decode.
#
# <details><summary>Self-check: the number of <code>Conv</code> nodes is the same in both. Where would a simplifier be wrong to
# remove one?</summary>
#
# Each convolution reads something that depends on the images, so none is a constant. Merging two in a row would be right
# only if nothing stands between them, neither an activation nor padding that sees the edge.
# </details>

# %% [markdown]
# ## 5 · Reading a real graph
#
# 262 nodes are too many to look at and too few to be afraid of. The exporter leaves a thread: each node is named after
# the module it came from, `/model.13/m/m.0/cv1/conv/Conv`. Grouping by the number gives the blocks of the network, and
# shape inference gives their resolutions. The picture is computed from the file alone; the checkpoint is not asked.

# %% tags=["demonstration"]
blocks = blocks_of(network)
block_diagram(blocks)

# %% [markdown]
# Read it from the left. The **backbone** (0 to 9) halves the resolution five times while the channels grow: less and less
# *where*, more and more *what*. The **neck** climbs back up (11, 15) and down again (18, 21), and at each level a
# `Concat` takes in a map from earlier that still knows where things are: the orange arrows. The **head** (24) reads
# three resolutions: small objects at $80 \times 80$ cells, large ones at $20 \times 20$.
#
# Together $80^2 + 40^2 + 20^2 = 8400$ candidate boxes; that is the last axis of the output, `(batch, 4 + classes, 8400)`.

# %% tags=["demonstration"]
head = [node for node in network.graph.node if node.name.startswith("/model.24/")]
print(*(f"{node.op_type:8} reads {list(node.input)}" for node in head[-12:]), sep="\n")
print("\noutput:", [(spec.name, spec.shape) for spec in base.outputs], "classes:", base.class_names)

# %% [markdown]
# The last lines are the decode: distances to the four sides become center and size (`Sub`, `Add`, `Div`), grid cells
# become pixels (`Mul` by the stride), and the very last node joins boxes in **pixels** with scores in **[0, 1]**. Keep
# that in mind: two quantities of such different size in one tensor will fool us in section 8.
#
# <details><summary>Self-check: how could you tell from this listing whether the scores went through a sigmoid?</summary>
#
# Follow the last `Concat`'s second input to its producer: `/model.24/Sigmoid_output_0`. That there are other `Sigmoid`
# nodes proves nothing: every SiLU has one.
# </details>

# %% [markdown]
# ## 6 · Validation: judging a file you did not make
#
# A file arrives: from a colleague, a model zoo, last year's export. Before any engine is built from it, a program should
# have read it. `onnx.checker` asks whether the file is *grammatical*: operators exist, inputs have producers; with
# `full_check=True` also whether its shapes contradict each other. It does not ask whether the file is *sensible*: NaN
# weights, a frozen batch, NMS inside are all grammatical. That part is yours.
#
# The art is in **no false alarms**: old exporters list the weights among the graph's inputs; a file may import several
# operator sets; half precision is no defect. A validator that cries wolf is switched off.

# %% [markdown]
# Three places where things hide, before you write yours. Weights can be initializers or values of `Constant` nodes;
# branches are graphs inside of a node's attribute; and an axis has three states, not two:

# %% tags=["demonstration"]
dims = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", None, 640]).type.tensor_type.shape.dim
print("an axis is one of:", [dim.WhichOneof("value") for dim in dims])
branching = next(node for node in scripted.graph.node if node.op_type == "If")
for attribute in branching.attribute:
    print("inside of", branching.op_type, attribute.name, [node.op_type for node in attribute.g.node])
print("an empty file parses as", len(onnx.ModelProto.FromString(b"").graph.node), "nodes and no complaint")

# %% [markdown]
# ### Exercise 3.2 · `lab3.validate_onnx`
#
# core · difficulty 3/5 · 35 min · 14 points
#
# Write the validator. It returns pairs *(code, subject)* in any order, so that a program can act on them. Of the two
# codes for unusable files, each is the only finding: what else one could read from such a file means nothing.
#
# *Unwanted operators* are `If`, `Loop`, `Scan`, `NonMaxSuppression`, and every operator of a domain that is neither `""`
# nor `"ai.onnx"`, anywhere: in branches and loop bodies too. A *constant* is an initializer of the main graph or the
# `value` of one of its `Constant` nodes (its name is then that of the node's output).


# %% nbgrader={"grade": false, "grade_id": "lab3-validate_onnx", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inspect_onnx(path):
    """Return what is wrong with the ONNX file at `path`: a list of (code, subject), both text; [] if nothing is.

    code            subject         when
    "unreadable"    ""              the bytes do not parse, or give a graph without nodes; nothing else is reported
    "invalid"       ""              onnx.checker, full check, refuses the model; nothing else is reported
    "opset"         version, "9"    the standard operator set ("" or "ai.onnx") is not within 13 to 20
    "fixed batch"   input's name    the first axis of an input holds a number
    "free size"     input's name    another axis of an input holds no number
    "dtype"         tensor's name   an input, an output or a constant is float64 (TensorProto.DOUBLE)
    "not finite"    constant's name a constant holds NaN or infinity
    "operator"      operator, "If"  an unwanted operator is there

    Inputs are what has to be fed: names that are initializers too do not count.

    Example:
        >>> inspect_onnx(Path("exported_with_one_image.onnx"))
        [("fixed batch", "images")]
    """
    ### BEGIN SOLUTION
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's DecodeError
        return [("unreadable", "")]
    if not model.graph.node:
        return [("unreadable", "")]
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:
        return [("invalid", "")]

    findings = []
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not 13 <= entry.version <= 20:
            findings.append(("opset", str(entry.version)))

    stored = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in stored]
    for value in fed:
        numbered = [dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim]
        if numbered[:1] == [True]:
            findings.append(("fixed batch", value.name))
        if not all(numbered[1:]):
            findings.append(("free size", value.name))
    for value in (*fed, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            findings.append(("dtype", value.name))

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                constants[node.output[0]] = attribute.t
    for name, tensor in constants.items():
        if tensor.data_type == TensorProto.DOUBLE:
            findings.append(("dtype", name))
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            findings.append(("not finite", name))

    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            unwanted = node.op_type in ("If", "Loop", "Scan", "NonMaxSuppression")
            if unwanted or node.domain not in ("", "ai.onnx"):
                findings.append(("operator", node.op_type))
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return findings
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-validate_onnx-check", "locked": true, "points": 14, "schema_version": 3, "solution": false, "task": false}
check("lab3.validate_onnx")

# %% [markdown]
# Let it judge everything you have made so far. Which findings do you agree with?

# %% tags=["demonstration"]
files = {"by hand": by_hand, "traced": traced, "scripted": scripted, "lying about its batch": lying, "YOLOv5n": network}
with using("lab3.validate_onnx"):
    for name, model in files.items():
        onnx.save(model, folder / "judged.onnx")
        print(f"{name:22}", inspect_onnx(folder / "judged.onnx"))

# %% [markdown]
# The file that lies about its batch passes: all its declarations are in order. **No reading of a file can prove what it
# computes.** For that it has to run, beside something that is known to be right. That is part B.

# %% [markdown]
# ---
# # Part B · Proving it
#
# ## 7 · Three measures
#
# You have two outputs of the same network for the same images: `expected` ($e$) from PyTorch, `actual` ($a$) from the
# file. Three measures are in use. Each takes both as one long vector:
#
# $$\text{max abs} = \max_i |a_i - e_i| \qquad \text{relative L2} = \frac{\lVert a - e\rVert}{\lVert e\rVert} \qquad
# \text{cosine} = \frac{a \cdot e}{\lVert a\rVert\,\lVert e\rVert}$$
#
# The first asks for the worst value, the second for the error's energy compared with the signal's, the third for the
# angle. They are not three ways to say the same: each is **blind** to something. Guess to what, then compute it.

# %% [markdown]
# **Predict.** For each error, which measures notice it, at the limits max abs ≤ 0.01, relative L2 ≤ 0.01, cosine ≥
# 0.999? The tensor has 10,000 values of about size 1; in the third row of size 0.001.

# %%
guess_measures = {
    "all values times 1.5": ["?"],
    "one value of 10,000 off by 0.5": ["?"],
    "tiny scores, all replaced by 0": ["?"],
    "a little noise everywhere": ["?"],
}

# %% [markdown]
# Three traps in the arithmetic, before you write it. In **half precision** a sum of squares overflows at 65,504. In
# **bytes**, 3 - 5 is 254. And arrays of shape $(n, 1)$ and $(n,)$ subtract to $(n, n)$ without a word. So: the shapes
# must be equal, the values finite, the arithmetic in float64; what cannot be compared is refused, not measured. NaN
# deserves the refusal most of all: `nan > limit` is False, and passes every test that asks whether an error is too large.

# %% [markdown]
# ### Exercise 3.3 · `lab3.compare_outputs`
#
# core · difficulty 3/5 · 30 min · 14 points
#
# Three methods. `measures` computes. `blind` says, for given limits, which measures would have let an error pass that
# another one caught. And `forge` turns the tables: *you* make an output that is wrong, and that fools the measure named.
# Who can forge an error knows what a measure is worth.


# %% nbgrader={"grade": false, "grade_id": "lab3-compare_outputs", "locked": false, "schema_version": 3, "solution": true, "task": false}
class OutputComparison:
    """How far the array `actual` is from the array `expected`; measures are "max_abs", "relative_l2", "cosine"."""

    def __init__(self, actual, expected):
        self.actual, self.expected = np.asarray(actual), np.asarray(expected)

    def measures(self):
        """Return {"max_abs": …, "relative_l2": …, "cosine": …} as floats, computed in float64.

        If `expected` is all zero, relative_l2 is 0.0 if `actual` is too, and infinity if not. If one of the two is all
        zero, the cosine is 0.0; if both are, 1.0. Raise ValueError if shapes differ or a value is not finite.
        """
        ### BEGIN SOLUTION
        if self.actual.shape != self.expected.shape:
            raise ValueError(f"shapes {self.actual.shape} and {self.expected.shape} cannot be compared")
        a, e = (array.astype(np.float64).ravel() for array in (self.actual, self.expected))
        if not (np.isfinite(a).all() and np.isfinite(e).all()):
            raise ValueError("a value is not finite")
        difference, size_a, size_e = (float(np.linalg.norm(vector)) for vector in (a - e, a, e))
        relative = difference / size_e if size_e > 0 else (math.inf if difference > 0 else 0.0)
        cosine = float(a @ e) / (size_a * size_e) if size_a > 0 and size_e > 0 else float(size_a == size_e)
        return {"max_abs": float(np.abs(a - e).max()), "relative_l2": relative, "cosine": cosine}
        ### END SOLUTION

    def blind(self, limits):
        """Return the names of the measures that keep their limit although at least one other breaks its own.

        `limits` maps each measure to its limit: the most that max_abs and relative_l2 may be, the least for the cosine.
        """
        ### BEGIN SOLUTION
        found = self.measures()
        keeps = {name: value <= limits[name] for name, value in found.items()}
        keeps["cosine"] = found["cosine"] >= limits["cosine"]
        return [] if all(keeps.values()) else [name for name, kept in keeps.items() if kept]
        ### END SOLUTION

    @staticmethod
    def forge(expected, fooled, limits):
        """Return an array of expected's shape, finite, for which the measure `fooled` is blind at these limits."""
        ### BEGIN SOLUTION
        if fooled == "cosine":
            return 2 * expected  # longer, and in the same direction
        forged = expected.copy()
        if fooled == "relative_l2":
            forged.flat[0] += 2 * limits["max_abs"]  # one value among thousands
        else:
            forged[...] = 0  # the values are smaller than the limit: all of them may be wrong
        return forged
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-compare_outputs-check", "locked": true, "points": 14, "schema_version": 3, "solution": false, "task": false}
check("lab3.compare_outputs")

# %% [markdown]
# Now your own measures answer the prediction:

# %% tags=["demonstration"]
limits = {"max_abs": 0.01, "relative_l2": 0.01, "cosine": 0.999}
rng = np.random.default_rng(0)
usual, tiny = rng.normal(0, 1, 10_000), rng.uniform(0, 0.002, 10_000)
wild = usual.copy()
wild[0] += 0.5
pairs = {
    "all values times 1.5": (1.5 * usual, usual),
    "one value of 10,000 off by 0.5": (wild, usual),
    "tiny scores, all replaced by 0": (0 * tiny, tiny),
    "a little noise everywhere": (usual + rng.normal(0, 1e-4, 10_000), usual),
}

# %% tags=["demonstration"]
print("your guess:", guess_measures)
with using("lab3.compare_outputs"):
    measured = {name: OutputComparison(*pair).measures() for name, pair in pairs.items()}
    display(blind_measures(measured, limits=limits))

# %% [markdown]
# One row each for the three blind spots. A **scale** leaves the angle alone: the cosine passes anything scaled. **One
# wild value** drowns in the norm of thousands: relative L2 passes it, and the cosine too. **Small values** are below any
# absolute limit: max abs passes even an output of zeros. And a detector lives on exactly these things: scores that are
# scaled, one box that is off, scores that are small. So: all three, always, with limits for each.
#
# <details><summary>Self-check: can the cosine notice an error that relative L2 lets pass?</summary>
#
# Hardly. If the relative L2 error is $r < 1$, then the cosine is at least $\sqrt{1 - r^2}$: for $r = 0.01$ at least
# 0.99995. The cosine is the laxest of the three: the wrong one to use alone, and the one used alone most often.
# </details>

# %% [markdown]
# ## 8 · The base checkpoint and its export
#
# Now the proof for the file from section 4. The reference is the checkpoint itself, in PyTorch, in evaluation mode. And
# the inputs? Random ones are at hand and unbiased, but a network that sees noise finds nothing: its scores are next to
# zero, and a whole region of its arithmetic is never visited. Real images excite it, but there are only so many. Take
# both, and take them through the *same* preprocessing that will be used later.


# %% tags=["demonstration"]
def letterboxed(seed):
    """Return a drawn picture of parts as the network takes it, (1, 3, 640, 640), RGB in [0, 1]."""
    return preprocess(draw_part_image(seed, split="test", index=0).image, input_hw=(640, 640))[0]


inputs = {
    "white noise": np.random.default_rng(0).random((1, 3, 640, 640), np.float32),
    "random picture": random_picture((640, 640)),
    "parts A": letterboxed(9),
    "parts B": letterboxed(4),
}

# %% tags=["demonstration"]
figure, panels = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained")
for panel, (name, image) in zip(panels, inputs.items(), strict=True):
    panel.imshow(image[0].transpose(1, 2, 0))
    panel.set(title=name, xticks=[], yticks=[])
plt.show()

# %% tags=["demonstration"]
from yolotrt_lab.export.torch_trace import TorchReference
from yolotrt_lab.training.weights import resolve_weights

reference = TorchReference(resolve_weights("base"))
expected = {name: reference.predict(image) for name, image in inputs.items()}
actual = {name: run_model(network, image) for name, image in inputs.items()}
for name, output in expected.items():
    print(f"{name:15} output {output.shape}, best score {output[:, 4:].max():.3f}")

# %% [markdown]
# On white noise the detector is sure of nothing; on parts it is. Now the errors, boxes and scores apart, on a
# logarithmic scale: what *equal* looks like for a network of 76 convolutions.

# %% tags=["demonstration"]
errors = {name: actual[name] - expected[name] for name in inputs}
panels = {
    "boxes (pixels)": {name: error[:, :4] for name, error in errors.items()},
    "scores": {name: error[:, 4:] for name, error in errors.items()},
}
error_histograms(panels, limits={"boxes (pixels)": 0.1, "scores": 0.001})

# %% [markdown]
# Boxes are off by less than a hundredth of a pixel, scores by some $10^{-7}$: rounding, nothing else. Half of the box
# values agree to the last bit; the leftmost bar collects those. Note the legend of the scores: on noise, the largest error
# is about half of that on parts. The worst value is found where the network is excited, and noise does not excite it.
#
# **Predict.** Somebody breaks the export: every score is multiplied by 0.8, so that a fifth of all confidence is gone.
# Measured over the *whole* output, boxes and scores together, what will relative L2 and cosine say?

# %%
guess_scores = {"relative_l2": "?", "cosine": "?"}

# %% tags=["demonstration"]
damaged = expected["parts A"].copy()
damaged[:, 4:] *= 0.8
print("your guess for the whole output:", guess_scores)
views = {"whole output": slice(None), "boxes alone": slice(0, 4), "scores alone": slice(4, None)}
with using("lab3.compare_outputs"):
    measured = {
        name: OutputComparison(damaged[:, rows], expected["parts A"][:, rows]).measures()
        for name, rows in views.items()
    }
    display(blind_measures(measured, limits={"max_abs": 0.5, "relative_l2": 0.01, "cosine": 0.999}))

# %% [markdown]
# The whole output passes: box coordinates of hundreds of pixels outweigh scores below one by so much that the loss
# vanishes behind the fourth decimal. **Compare quantities of different size apart.** Even then the cosine of the scores
# is perfect: 0.8 is a scale. Every number in this table is correctly computed; only one of them is evidence.
#
# <details><summary>Self-check: your export agrees on one hundred white noise images to 1e-6. What have you shown?
# </summary>
#
# That the arithmetic agrees where scores are next to zero. Not that large activations agree, not that the preprocessing
# is right (there was none), not that other batch sizes work.
# </details>

# %% [markdown]
# ## 9 · Convolution and batch norm are one
#
# During training each convolution is followed by batch norm, which centers and scales every channel $c$ by statistics
# $\mu_c, \sigma_c^2$ and learned $\gamma_c, \beta_c$. In evaluation these are constants, and the pair is
#
# $$y_c = \gamma_c\,\frac{(w_c * x + b_c) - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c .$$
#
# A convolution is linear in its weights. So a factor in front of it can move *into* it, and everything that does not
# multiply $x$ is a bias. Take pen and paper: write the right side as $w'_c * x + b'_c$.

# %% [markdown]
# ### Exercise 3.4 · `lab3.fuse_conv_bn`
#
# core · difficulty 3/5 · 20 min · 11 points
#
# Three details that decide: $\varepsilon$ stands under the root, and YOLO's (0.001) is not PyTorch's default; the
# convolution may have a bias already (`None` if not); and the output channels are the *first* axis of the weights,
# whether the convolution is an ordinary one, (out, in, k, k), or depthwise, (out, 1, k, k). The result goes back into a
# float32 graph, and the arrays you were given still belong to somebody else.


# %% nbgrader={"grade": false, "grade_id": "lab3-fuse_conv_bn", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse_conv_bn(weight, bias, gamma, beta, mean, variance, epsilon):
    """Return (weight, bias) of the one convolution that computes what a convolution and its batch norm compute.

    Args:
        weight: (out, in, k, k) float32; in is 1 for a depthwise convolution.
        bias: (out,) float32, or None for a convolution without.
        gamma: (out,) float32, the norm's learned scale.
        beta: (out,) float32, the norm's learned shift.
        mean: (out,) float32, the running mean.
        variance: (out,) float32, the running variance.
        epsilon: A number, added to the variance.

    Returns:
        New float32 arrays of shapes (out, in, k, k) and (out,).
    """
    ### BEGIN SOLUTION
    gain = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    old_bias = 0.0 if bias is None else bias
    fused_weight = weight * gain[:, None, None, None]
    fused_bias = beta + gain * (old_bias - mean)
    return fused_weight.astype(np.float32), fused_bias.astype(np.float32)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-fuse_conv_bn-check", "locked": true, "points": 11, "schema_version": 3, "solution": false, "task": false}
check("lab3.fuse_conv_bn")

# %% [markdown]
# Prove it on the real network: fuse every pair in the checkpoint with your function, remove the norms, and compare.

# %% tags=["demonstration"]
unfused = load_detector(resolve_weights("base"), folder=folder).model.float().eval()
fused = copy.deepcopy(unfused)
pairs = [module for module in fused.modules() if hasattr(module, "bn") and hasattr(module, "conv")]
print(len(pairs), "pairs; the first norm's epsilon:", pairs[0].bn.eps)

# %% tags=["demonstration"]
with using("lab3.fuse_conv_bn"), torch.no_grad():
    for module in pairs:
        conv, norm = module.conv, module.bn
        arrays = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        old = None if conv.bias is None else conv.bias.numpy()
        new = fuse_conv_bn(conv.weight.numpy(), old, *(array.numpy() for array in arrays), norm.eps)
        conv.weight, conv.bias = (torch.nn.Parameter(torch.from_numpy(array)) for array in new)
        module.bn = torch.nn.Identity()
    image = torch.from_numpy(inputs["parts A"])
    before, after = unfused(image)[0].numpy(), fused(image)[0].numpy()
    change = np.abs(before - after)
    print(len(pairs), "norms are gone; largest change of a box and of a score:")
    print(f"{change[:, :4].max():.1e} pixels, {change[:, 4:].max():.1e}")

# %% [markdown]
# A network with 69 layers less, and the same to rounding. Every engine does this; PyTorch's exporter did it to you in
# section 3. But nothing is free: the ranges of the weights have changed.

# %% tags=["demonstration"]
with using("lab3.fuse_conv_bn"), torch.no_grad():
    module = unfused.get_submodule("model.24.cv3.2.0")  # where the scores of large objects begin
    norm, before = module.bn, module.conv.weight.numpy()
    arrays = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    after, _ = fuse_conv_bn(before, None, *(array.numpy() for array in arrays), norm.eps)
    display(channel_ranges({"before fusing": before, "after fusing": after}))

# %% [markdown]
# Before, all channels of this layer had weights of similar size, because batch norm took care of their scale. Now each
# channel carries its own, and they differ by a factor of eight. In float32 that means nothing. With eight bits, one scale
# for the whole layer would give its 127 steps to the largest channel and 16 of them to the smallest; in networks like
# MobileNetV2 the factor is in the hundreds. That is why lab 4 quantizes weights **per channel**.
#
# <details><summary>Self-check: may batch norm be fused when the convolution's output is also read by somebody else?
# </summary>
#
# Not by changing that convolution: the other reader wants the output from before the norm. Nor in training mode, where
# the statistics depend on the batch.
# </details>

# %% [markdown]
# ---
# # Part C · Surgery
#
# ## 10 · What changed?
#
# Two files of the same network: yesterday's and today's, one simplified and one not, one right and one wrong. What is the
# difference? Comparing bytes or names tells nothing: tensors are renamed by every exporter, nodes change places,
# constants move between initializers and `Constant` nodes. What counts is what is *computed*.
#
# Git has the idea for this. A commit's name is a hash of its content *and of its parents' hashes*: equal hashes mean
# equal histories. Give every tensor such a **fingerprint**: from the operator, the attributes, the fingerprints of
# everything the node reads, and which of the outputs it is. A constant's is its type, shape and value; a graph input's
# its name. Two tensors are **twins** if their fingerprints are equal, whatever they are called.

# %% [markdown]
# One thing Git leaves to you. A change at the bottom alters *every* fingerprint above it, so a list of all nodes without
# twin is a list of consequences. Interesting are the **beginnings**: nodes without a twin that read (from other nodes)
# only tensors *with* one. There, and only there, something happened.
#
# For example, if one activation out of fifty is exchanged, the right report has one node added and one removed, not the
# hundred that stand behind it.

# %% [markdown]
# ### Exercise 3.5 · `lab3.graph_diff`
#
# stretch · difficulty 4/5 · 40 min · 12 points
#
# Write the diff. Nodes are named by their *first output*. `Constant` nodes are values, not computations: they never
# appear in the report, and a constant's storage is no change. Attributes count as they are written, in any order;
# `attribute.SerializeToString(deterministic=True)` is a text you can hash. Operands count in their order: `a - b` is not
# `b - a`. An input left out (`""`) is as absent as another. Graph outputs are compared by their place.


# %% nbgrader={"grade": false, "grade_id": "lab3-graph_diff", "locked": false, "schema_version": 3, "solution": true, "task": false}
def graph_diff(before, after):
    """Return how two graphs differ in what they compute.

    Args:
        before: An onnx.ModelProto without subgraphs, nodes in an order in which they can be computed.
        after: Another one, with the same inputs and as many outputs.

    Returns:
        {"added":     sorted names of the beginnings in `after`: first outputs of nodes without a twin in `before` that
                      read from other nodes only tensors with a twin there,
         "removed":   the same the other way round: beginnings in `before`, seen from `after`,
         "outputs":   sorted names of the outputs of `after` that are no twins of the output at the same place in
                      `before`,
         "operators": {operator: nodes in `after` minus nodes in `before`}, without zeros and without Constant}

    Example: the last Sigmoid is dropped, the output "scores" reads "logits" now
        >>> graph_diff(sound, broken)
        {"added": [], "removed": ["scores"], "outputs": ["scores"], "operators": {"Sigmoid": -1}}
    """
    ### BEGIN SOLUTION
    old, old_nodes = fingerprints(before)
    new, new_nodes = fingerprints(after)

    def beginnings(own, nodes, others):
        known = set(others.values())
        made = {name for node in nodes for name in node.output}
        return sorted(
            node.output[0]
            for node in nodes
            if own[node.output[0]] not in known and all(own[name] in known for name in node.input if name in made)
        )

    counts = Counter(node.op_type for node in new_nodes)
    counts.subtract(node.op_type for node in old_nodes)
    places = zip(before.graph.output, after.graph.output, strict=True)
    return {
        "added": beginnings(new, new_nodes, old),
        "removed": beginnings(old, old_nodes, new),
        "outputs": sorted(later.name for earlier, later in places if old[earlier.name] != new[later.name]),
        "operators": {name: change for name, change in counts.items() if change},
    }
    ### END SOLUTION


def fingerprints(model):
    """Return {tensor: fingerprint} for every tensor of a model, and its nodes without Constant; yours to use or not."""

    ### BEGIN SOLUTION
    def of_constant(tensor):
        values = numpy_helper.to_array(tensor)
        return hashlib.sha256(f"{values.dtype} {values.shape} ".encode() + values.tobytes()).hexdigest()

    marks = {"": "absent"} | {value.name: f"input {value.name}" for value in model.graph.input}
    marks |= {tensor.name: of_constant(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            marks[node.output[0]] = of_constant(node.attribute[0].t)
            continue
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        content = repr((node.domain, node.op_type, attributes, [marks[name] for name in node.input]))
        for place, name in enumerate(node.output):
            marks[name] = hashlib.sha256(f"{place} {content}".encode()).hexdigest()
        nodes.append(node)
    return marks, nodes
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-graph_diff-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab3.graph_diff")

# %% [markdown]
# Try it on something you can see: your hand-written graph, with its gate exchanged for a cheaper one.

# %% tags=["demonstration"]
cheaper = copy.deepcopy(by_hand)
cheaper.graph.node[1].CopyFrom(helper.make_node("HardSigmoid", ["features"], ["gate"], alpha=1 / 6))
with using("lab3.graph_diff"):
    difference = graph_diff(by_hand, cheaper)
    print(difference)
    display(draw_graphs({"before": by_hand, "after": cheaper}, marked=difference["added"] + difference["removed"]))

# %% [markdown]
# And on something you cannot: the real network, in which one weight out of 2.5 million is changed.

# %% tags=["demonstration"]
touched = copy.deepcopy(network)
kernel = next(tensor for tensor in touched.graph.initializer if tensor.name == "model.8.cv1.conv.weight")
values = numpy_helper.to_array(kernel).copy()
values.flat[1234] += 1e-3
kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
with using("lab3.graph_diff"):
    print(graph_diff(network, touched))

# %% [markdown]
# One node of 262. (Everything behind it has another fingerprint too, down to the output; only the beginning is named.)
#
# <details><summary>Self-check: a simplifier replaced <code>x * 2 + x * 3</code> by <code>x * 5</code>. What does your diff report, and is it
# wrong?</summary>
#
# It reports a change: it compares how something is computed, not what comes out. That two different expressions are
# equal for all inputs is undecidable in general. A structural diff proves sameness; for *other structure, same function*
# you need part B.
# </details>

# %% [markdown]
# ## 11 · Surgery on a graph
#
# A broken export, and the training code is out of reach: the checkpoint lost, the colleague gone. The file can be
# repaired. A graph is a list of nodes wired by names, so four moves are enough: **replace** a constant; **insert** a node
# and let its reader read the new name; **rewire** an input; **declare** shapes anew. The rules of hygiene: nodes stand
# after those they read from; new names are new; recorded intermediate shapes (`value_info`) that are no longer true are
# deleted; `onnx.checker` has the last word.
#
# As an example, an operation that is *not* in the exercise: a network takes values in [0, 1], but the camera gives 0 to
# 255. The division moves into the graph.

# %% tags=["demonstration"]
operated = copy.deepcopy(by_hand)
graph = operated.graph
graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "full_scale"))
for node in graph.node:  # rewire: whoever read the images reads what the new node makes
    node.input[:] = ["scaled" if name == "images" else name for name in node.input]
graph.node.insert(0, helper.make_node("Div", ["images", "full_scale"], ["scaled"]))
del graph.value_info[:]
onnx.checker.check_model(operated, full_check=True)
print("largest difference:", np.abs(run_model(operated, 255 * x) - run_model(by_hand, x)).max())
draw_graphs({"before": by_hand, "after surgery": operated}, marked=["scaled"])

# %% [markdown]
# Now the patients. Three faults make up most broken exports of detectors. Here are two of them, made on purpose in the
# real network, and what they look like to somebody who *looks at pictures*:

# %% tags=["demonstration"]
swapped = copy.deepcopy(network)
first = next(tensor for tensor in swapped.graph.initializer if tensor.name == "model.0.conv.weight")
first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first)[:, [2, 1, 0]], first.name))
onnx.save(swapped, folder / "swapped.onnx")

bare = copy.deepcopy(network)
bare.graph.node[-1].input[1] = "/model.24/Concat_7_output_0"
bare.graph.node.remove(next(node for node in bare.graph.node if node.name == "/model.24/Sigmoid"))
onnx.save(bare, folder / "no_sigmoid.onnx")

# %% tags=["demonstration"]
from yolotrt_lab.errors import LabError
from yolotrt_lab.runtimes.detector import open_detector

picture, found = draw_part_image(9, split="test", index=0).image, []
for name, path in {"sound": base.path, "swapped": folder / "swapped.onnx", "bare": folder / "no_sigmoid.onnx"}.items():
    with open_detector(path, backend="onnxruntime") as detector:
        try:
            found.append((name, detector.detect(picture)))
        except LabError as error:
            print(f"{name}: {error.one_line}")
example_grid([ExampleImage("parts A", picture, found)], class_names=base.class_names)

# %% [markdown]
# The export without its sigmoid is noticed at once, by a detector that checks its scores (many do not, and show a few
# boxes with scores above 1). But **swapped channels look fine**: the same twelve parts, with nearly the same scores. This
# network has learned to go by shape, and hardly minds blue wood. A month later somebody adds caps that differ in color
# only. Looking at pictures is not evidence; your measures are:

# %% tags=["demonstration"]
with using("lab3.compare_outputs"):
    output = run_model(swapped, inputs["parts A"])
    rows = {"boxes": slice(0, 4), "scores": slice(4, None)}
    measured = {name: OutputComparison(output[:, r], expected["parts A"][:, r]).measures() for name, r in rows.items()}
    display(blind_measures(measured, limits={"max_abs": 0.1, "relative_l2": 1e-4, "cosine": 0.99999}))

# %% [markdown]
# ### Exercise 3.6 · `lab3.repair_exports`
#
# stretch · difficulty 5/5 · 60 min · 16 points
#
# You get a small detector's export (constants differ from case to case, the wiring is drawn below), two images, and what
# PyTorch computed for them. The export has a baked batch, swapped channels, a missing sigmoid, two of these, or nothing
# wrong at all. Return a model that is right for **any** batch size. It is judged by what it computes in ONNX Runtime, on
# images you have not seen, at several batch sizes; how you get there is up to you.

# %% [markdown]
# The patients' anatomy. `images` are RGB; of the output's rows the first four are boxes in pixels, the others scores.
# What the symptoms are: a **baked batch** declares a number and refuses two images, and somewhere a `Reshape` reads a
# shape that starts with 1. **Swapped channels** are right on images whose channels you reverse. A **missing sigmoid**
# gives right boxes and scores whose sigmoid would be right. Two faults show both symptoms at once.
#
# Two warnings from experience. A shape may hold *one* -1 ("whatever is left"), and sometimes it is taken already. And not
# every `Reshape` is about the batch: one of them shapes a constant.

# %% tags=["demonstration"]
from yolotrt_lab.grading.suite import load_exercise

patients = load_exercise("lab3.repair_exports").module
sample = patients.inputs("baked batch and missing sigmoid", np.random.default_rng(0))
for node in sample["model"].graph.node:
    print(f"{node.op_type:9} {list(node.input)} -> {list(node.output)}")
draw_graphs({"a patient": sample["model"]})


# %% nbgrader={"grade": false, "grade_id": "lab3-repair_exports", "locked": false, "schema_version": 3, "solution": true, "task": false}
def repair_export(model, images, expected):
    """Return a model that computes what PyTorch computes, for any batch size.

    Args:
        model: The export, an onnx.ModelProto, perhaps broken; input `images` (batch, 3, size, size), RGB in [0, 1],
            one output (batch, 4 + classes, cells): four rows of boxes in pixels, then scores in [0, 1].
        images: Two images, (2, 3, size, size) float32.
        expected: What PyTorch computes for them, (2, 4 + classes, cells) float32.

    Returns:
        An onnx.ModelProto that passes onnx.checker with a full check, with one input and one output whose first axes
        are free. It may be `model` itself, changed, or a new one.
    """
    ### BEGIN SOLUTION
    repaired = copy.deepcopy(model)
    free_batch(repaired)
    for is_swapped in (False, True):
        output = run_model(repaired, np.ascontiguousarray(images[:, ::-1]) if is_swapped else images)
        squashed = np.concatenate([output[:, :4], 1 / (1 + np.exp(-output[:, 4:]))], axis=1)
        for is_bare, candidate in ((False, output), (True, squashed)):
            if np.allclose(candidate, expected, rtol=1e-3, atol=1e-4):
                if is_swapped:
                    swap_channels(repaired)
                if is_bare:
                    append_sigmoid(repaired)
                return repaired
    raise ValueError("the export is broken in another way")
    ### END SOLUTION


def free_batch(model):
    """Make the batch size free, in what is declared and in what Reshape nodes read; yours to use or not."""
    ### BEGIN SOLUTION
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    lengths = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] in constants:
            continue  # a constant that is reshaped has no batch
        tensor = constants[node.input[1]]
        shape = numpy_helper.to_array(tensor).tolist()
        known = [length if length > 0 else lengths[node.output[0]][axis] for axis, length in enumerate(shape)]
        tensor.CopyFrom(numpy_helper.from_array(np.array([-1, *known[1:]], np.int64), tensor.name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    ### END SOLUTION


def swap_channels(model):
    """Let the first convolution read red first; yours to use or not."""
    ### BEGIN SOLUTION
    graph = model.graph
    conv = next(node for node in graph.node if node.op_type == "Conv" and node.input[0] == graph.input[0].name)
    tensor = next(tensor for tensor in graph.initializer if tensor.name == conv.input[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:, [2, 1, 0]], tensor.name))
    ### END SOLUTION


def append_sigmoid(model):
    """Put a sigmoid between the logits and the node that joins them with the boxes; yours to use or not."""
    ### BEGIN SOLUTION
    graph = model.graph
    place = next(number for number, node in enumerate(graph.node) if graph.output[0].name in node.output)
    joint = graph.node[place]
    sigmoid = helper.make_node("Sigmoid", [joint.input[1]], ["repaired_scores"], name="repaired_scores")
    joint.input[1] = "repaired_scores"
    graph.node.insert(place, sigmoid)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-repair_exports-check", "locked": true, "points": 16, "schema_version": 3, "solution": false, "task": false}
check("lab3.repair_exports")

# %% [markdown]
# Watch your surgery on the patient from above:

# %% tags=["demonstration"]
with using("lab3.repair_exports"):
    healed = repair_export(copy.deepcopy(sample["model"]), sample["images"], sample["expected"])
    new_nodes = {name for node in healed.graph.node for name in node.output}
    new_nodes -= {name for node in sample["model"].graph.node for name in node.output}
    error = np.abs(run_model(healed, sample["images"]) - sample["expected"]).max()
    print(f"largest error on the two images: {error:.1e}")
    display(draw_graphs({"broken": sample["model"], "repaired": healed}, marked=new_nodes))

# %% [markdown]
# <details><summary>Self-check: you repaired a file. What has to go with it when you hand it on?</summary>
#
# What was wrong, what you changed, and the evidence: the measures on which inputs and batch sizes, against which
# reference. A repaired file without that is one more file that somebody has to believe.
# </details>
#
# <details><summary>Self-check: the channels can be put right in the weights of the first convolution, or by a node in
# front. Which is better in an engine?</summary>
#
# In the weights: it costs nothing at run time. A `Gather` in front copies the largest tensor of the whole network.
# </details>

# %% [markdown]
# ## 12 · Where does it go wrong?
#
# The measures say *that* an export is wrong. With 262 nodes, where do you look? Not at the output: look *inside*. Any
# intermediate tensor can be made an output of the graph, in the sound file and in the suspect, and compared. Each such
# look runs two networks, and on a device perhaps builds two engines first: minutes. So looks are what it costs.
#
# In a chain, an error that has appeared stays: what follows is computed from it. So the tensors are good, good, …, good,
# bad, …, bad, and the question is where it flips. You know what to do with a sorted list.

# %% [markdown]
# ### Exercise 3.7 · `lab3.bisect_divergence`
#
# core · difficulty 3/5 · 25 min · 11 points
#
# Find the first bad tensor. With $n$ tensors there are $n + 1$ possible answers ("none" is one), so no method can do with
# fewer than $\lceil \log_2(n + 1) \rceil$ looks in the worst case; yours may not need more. The oracle counts.


# %% nbgrader={"grade": false, "grade_id": "lab3-bisect_divergence", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bisect_divergence(tensors, relative_error, tolerance):
    """Return the name of the first tensor that differs, or None if none does.

    Args:
        tensors: Names along a chain, in order of computation; may be empty. Once a tensor differs, all later ones do.
        relative_error: A function from a name to the relative L2 error of that tensor. Each call is a look and costs a
            run of both networks: at most ceil(log2(len(tensors) + 1)) calls are allowed.
        tolerance: A tensor agrees if its error is at most this; one whose error is NaN differs.

    Example: errors 1e-7, 1e-6, 0.2, 0.5 at tolerance 1e-3
        >>> bisect_divergence(["a", "b", "c", "d"], errors.get, 1e-3)
        "c"
    """
    ### BEGIN SOLUTION
    low, high = 0, len(tensors)  # the answer is at low, …, or high; high stands for "none"
    while low < high:
        middle = (low + high) // 2
        if relative_error(tensors[middle]) <= tolerance:  # False for NaN, as it should be
            low = middle + 1
        else:
            high = middle
    return tensors[low] if low < len(tensors) else None
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab3-bisect_divergence-check", "locked": true, "points": 11, "schema_version": 3, "solution": false, "task": false}
check("lab3.bisect_divergence")

# %% [markdown]
# Now a case from life. A converter for small devices replaced some of the gates in the network by `HardSigmoid`, three
# straight lines that are cheaper to compute, "with no visible effect". The chain are the outputs of the 25 blocks, each
# of which reads the one before it. Your search looks; every look runs both files up to that tensor.

# %% tags=["demonstration"]
converted = copy.deepcopy(network)
for node in converted.graph.node:
    if node.op_type == "Sigmoid" and node.name.startswith("/model.13/m/"):
        node.op_type = "HardSigmoid"
        node.attribute.append(helper.make_attribute("alpha", 1 / 6))

chain = {f"block {block.number}": block.tensor for block in blocks}
photo = inputs["parts A"]


# %% tags=["demonstration"]
def value_of(model, name):
    """Run a model up to the output of a block and return it."""
    cut = expose_tensors(model, [chain[name]])
    session = onnxruntime.InferenceSession(cut.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([chain[name]], {"images": photo})[0]


looks = []


def look(name):
    """Return the relative L2 error of a block's output in the converted file, and remember that it was asked for."""
    looks.append(name)
    good, bad = value_of(network, name), value_of(converted, name)
    return float(np.linalg.norm(bad - good) / np.linalg.norm(good))


# %% tags=["demonstration"]
first = None
with using("lab3.bisect_divergence"):
    first = bisect_divergence(list(chain), look, 1e-4)
    print(f"first difference: {first}, after {len(looks)} looks at {len(chain)} blocks: {', '.join(looks)}")

# %% [markdown]
# For the picture, and only for it, here are the errors of *all* blocks: of the converted file, and, so that we know what
# harmless looks like, of the sound export against PyTorch, whose blocks are recorded by hooks.

# %% tags=["demonstration"]
recorded = {}
hooked = copy.deepcopy(unfused)
for number, block in enumerate(hooked.model):
    block.register_forward_hook(lambda _, __, output, number=number: recorded.setdefault(number, output))
with torch.no_grad():
    recorded[24] = hooked(torch.from_numpy(photo))[0]  # decoded, as in the file


def relative(actual, expected):
    """Return the relative L2 error."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# %% tags=["demonstration"]
sound = {name: value_of(network, name) for name in chain}
along = {
    "sound export, from PyTorch": [relative(sound[n], np.asarray(recorded[i])) for i, n in enumerate(chain)],
    "converted file, from sound": [relative(value_of(converted, name), sound[name]) for name in chain],
}
error_along_depth(list(chain), along, tolerance=1e-4, looks=looks, first=first)

# %% [markdown]
# The lower line is rounding: about $10^{-6}$ from the first block to the last, because the file has its norms fused and
# the checkpoint here has not. The other is exactly nothing up to block 12 (drawn at the bottom) and then jumps to several
# percent. It does not stay there: later blocks mix the damaged map with sound ones that arrive over the skips, and in the
# output, where boxes of hundreds of pixels outweigh the rest, less than one percent is left. Whoever looks only at the end
# sees the smallest trace of the damage.
#
# From the block to the node it is a short way, and your diff from section 10 knows it already:

# %% tags=["demonstration"]
with using("lab3.graph_diff"):
    difference = graph_diff(network, converted)
    print("operators:", difference["operators"])
    print("beginning:", difference["added"], "instead of", difference["removed"])

# %% [markdown]
# Diff and bisection answer the same question from two sides: the diff needs two graphs that are *meant* to be equal in
# structure; the bisection needs only outputs, and so also works between PyTorch and ONNX, or between ONNX and an engine
# in which nothing has the structure it had.
#
# <details><summary>Self-check: the 262 nodes in topological order are no chain. What could go wrong if you bisected over
# them?</summary>
#
# Beside a damaged branch there are sound ones whose tensors come later in the order: good after bad. A look that lands on
# one of these sends the search the wrong way. Bisect over tensors that everything has to pass through, the blocks, then
# go into the block.
# </details>

# %% [markdown]
# ### Beyond the exercises (ungraded)
#
# - **stretch** Bisect over the nodes *inside* block 13 along its main path, and name the node without the diff.
# - **stretch** Extend your validator: metadata without class names, initializers nobody reads, int64 values that do not
#   fit int32. `yolotrt verify base.onnx --weights base` shows what the course's own one reports.
# - **expert** Errors along the depth are not always monotone: a ReLU can hide one, a saturated sigmoid too. Write a search
#   that finds *a* place where good turns bad even then, and say what it guarantees.
# - **expert** Install `onnxscript` in an environment of its own, export `InvertIfBright` with `dynamo=True`, and compare
#   what it says with what tracing did.

# %% [markdown]
# ---
# # Written question
#
# **Accept or reject?** A colleague hands you a detector's ONNX file with this note: *"Exported with a batch of 1, operator
# set 20. I compared the complete output with PyTorch on ten images of white noise: the cosine is 0.99998, the greatest
# difference 0.4. The boxes on three photographs look right. Ready for the engine."* The product runs batches of 1 to 8 on
# TensorRT 10, and on a second target whose runtime takes operator sets up to 17.
#
# In at most 300 words: decide, say which errors this evidence would *not* have shown, and write the acceptance test you
# would demand instead, with measures, limits, inputs and batch sizes.
#
# | Criterion | Points |
# |---|---|
# | Names at least three errors that the evidence hides, each with the reason why it does | 4 |
# | Notices the contract: batch, operator set, and what is unknown of names and preprocessing | 2 |
# | Demands measurable acceptance: several measures with limits, boxes and scores apart, real and random inputs, batches | 3 |
# | Decides clearly, and says what would change the decision | 1 |

# %% [markdown] nbgrader={"grade": true, "grade_id": "lab3-written", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# **Reject, for now.** Nothing in the note is wrong; little of it is evidence. *What it hides:* the cosine does not see a
# scale, so all scores at 80 % would pass. Over the complete output, boxes of hundreds of pixels outweigh scores below one:
# even a missing sigmoid hardly moves it. White noise gives scores next to zero, so large activations are never compared,
# and no preprocessing was involved. A difference of 0.4 is harmless in pixels and a catastrophe in a score; which was it?
# Photographs of grey parts look right with red and blue exchanged. *The contract:* one batch size was run, 8 are needed:
# it may be baked into a reshape. Operator set 20 cannot be read by the second target. Names and axes are not mentioned.
#
# *What I would demand:* (1) checker with full check, operator set 17, agreed names, only the batch free, no NaN, no
# float64, no control flow. (2) ONNX Runtime against PyTorch in FP32, boxes and scores apart: relative L2 ≤ 1e-4, cosine ≥
# 0.99999, max abs ≤ 0.1 pixel and ≤ 0.001 in score, all three. (3) On random pictures *and* at least 50 real images through
# the product's own preprocessing. (4) At batches 1, 2, 5, 8, each image also compared with its result alone. (5) If one
# fails: bisect over the blocks, name the node. I would accept a second export that passes all five.

# %% [markdown]
# ---
# # Recap
#
# **We have:**
#
# - written ONNX files by hand, by tracing and by scripting, and seen what a trace forgets;
# - a contract for files: names, operator set, one free axis, and a validator that reads it without false alarms;
# - a YOLOv5n of 479 nodes folded to 262, and its blocks drawn from the file alone;
# - three measures of agreement, an error that fools each of them, and the habit to compare boxes and scores apart;
# - convolution and batch norm fused by hand on 69 layers, and the reason why INT8 wants scales per channel;
# - a diff that ignores names, surgery on three broken exports, and a search that finds a fault in five looks.
#
# The file is proven. In **lab 4** it becomes an engine, whose arithmetic is *meant* to differ, and the measures of this
# lab, with other limits, decide how much it may.

# %% [markdown]
# ## Further reading
#
# - [ONNX concepts](https://onnx.ai/onnx/intro/concepts.html), [ONNX in Python](https://onnx.ai/onnx/intro/python.html), and
#   the [operator reference](https://onnx.ai/onnx/operators/): what each operator means in each version.
# - [torch.onnx, the TorchScript-based exporter](https://docs.pytorch.org/docs/stable/onnx_torchscript.html).
# - [ONNX Runtime, Python API](https://onnxruntime.ai/docs/api/python/api_summary.html).
# - [Polygraphy](https://github.com/NVIDIA/TensorRT/tree/main/tools/Polygraphy): compare runtimes, cut graphs, bisect.
# - Ioffe and Szegedy, [Batch Normalization](https://arxiv.org/abs/1502.03167), 2015; Nagel and others, [Data-Free
#   Quantization](https://arxiv.org/abs/1906.04721), 2019: what fusing does to the ranges of weights.
# - Goldberg, [What Every Computer Scientist Should Know About Floating-Point
#   Arithmetic](https://docs.oracle.com/cd/E19957-01/806-3568/ncg_goldberg.html), 1991: why *equal* is $10^{-7}$.
