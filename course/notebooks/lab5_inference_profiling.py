# ---
# jupyter:
#   jupytext:
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
# # Lab 5 · Inference and profiling: fast and right
#
# An engine turns one block of numbers into another. A *detector* turns a photograph into boxes that somebody acts on.
# Between the two lie a few dozen lines of code that nobody quantizes, calibrates or accelerates, and in which most
# deployed detectors lose more accuracy than INT8 ever costs them: a padding that is not subtracted, two swapped
# channels, a suppression that eats neighbours. And around the engine lies memory that has to be moved, in which most
# of them lose their speed.
#
# In this lab you write both: the way from pixels to boxes, *right*, and the way through memory, *fast*. At its end you
# have a detector of your own on three engines, a plot that says what each precision costs and brings, and a
# recommendation that you can defend with error bars.

# %% [markdown]
# ## What you will be able to do
#
# After this lab you can
#
# - **letterbox** an image of any size and **bring boxes back** to the pixel,
# - **decode** the three kinds of output heads that exported YOLO models have,
# - **write** class-aware non-maximum suppression without a Python loop over pairs, and prove that it is right,
# - **assemble** a detector over any inference backend and show that it agrees with the reference,
# - **manage** device memory so that nothing is allocated, copied or awaited twice,
# - **find** where the milliseconds go, and what can be gained at most,
# - **decide** between engines by intervals instead of by the third decimal, and recommend one for a purpose.

# %% [markdown]
# ## Before you start
#
# You should have seen an ONNX export (lab 3) and built engines in three precisions (lab 4). Nothing here needs your own
# answers from those labs: where a tested function of an earlier lab is needed, it comes from the package.
#
# Time: about four hours, 90 points by checks and 10 for a written recommendation. A GPU is welcome and not needed:
# without one, TensorRT is emulated on the processor, says so, and all that this lab counts (copies, allocations, waits,
# boxes) is the same.

# %% [markdown]
# ## Map of the lab
#
# | part | exercise | tier | difficulty | minutes | points |
# |---|---|---|---|---|---|
# | A From image to boxes | `lab5.letterbox` | core | 2 of 5 | 25 | 10 |
# | | `lab5.decode` | core | 3 of 5 | 25 | 12 |
# | | `lab5.nms` | core | 4 of 5 | 35 | 10 |
# | B Memory, streams, time | part B rows | | | | 42 |
# | C The detector, end to end | `lab5.detector` | core | 3 of 5 | 25 | 10 |
# | | `lab5.pareto` | core | 3 of 5 | 20 | 6 |
# | | the written recommendation | core | 3 of 5 | 30 | 10 |

# %%
from functools import partial

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import read_labels
from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.detection.decode import OutputLayout, decode
from yolotrt_lab.detection.letterbox import (
    LetterboxTransform,
    image_xyxy_from_input_xyxy,
    input_xyxy_from_image_xyxy,
    letterbox,
)
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.evaluation.average_precision import evaluate_detections
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.figures.dominance import difference_cloud, verdict_plot
from yolotrt_lab.figures.letterboxing import input_planes, letterbox_panels, ways_back
from yolotrt_lab.figures.suppression import (
    SuppressionStep,
    candidates_by_score,
    overlap_table,
    score_maps,
    suppression_steps,
)
from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.interleave import measure_interleaved
from yolotrt_lab.report.plots.examples import ExampleImage, example_grid
from yolotrt_lab.report.plots.tradeoff import TradeoffPoint, precision_speed
from yolotrt_lab.report.schema import PlatformInfo
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
from yolotrt_lab.runtimes.detector import detector_from_runtime, open_detector
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.system import usable_cores
from yolotrt_lab.types import Detections, Precision

plt.switch_backend("inline")  # figures appear below their cells
platform = activate()

# %% [markdown]
# # Part A · From image to boxes
#
# In this part you write the three functions around every YOLO engine: into its input, out of its output, and from many
# candidates to one box per object. Each of them is short. Each of them has an error that costs a few points of mAP,
# raises no exception and survives in production for months.
#
# First we make what the whole lab works with: 64 drawn images, the course's YOLOv5n as ONNX, and the engines in three
# precisions that lab 4 taught you to build.

# %% tags=["demonstration"]
lab_folder = workspace() / "lab5"
dataset = prepare_dataset("parts", root=lab_folder, counts={"train": 16, "test": 48}, workers=usable_cores())
where = PlatformInfo(platform.kind, platform.tensorrt_version, platform.device_name)
class_names = dataset.class_names
print(f"{len(dataset.images('test'))} test images of {', '.join(class_names)}")
print(f"Timings in this lab: {where.timing_label}")


# %% tags=["demonstration"]
def make_engines(size):
    """Export the base checkpoint for one input size, quantize it, and build an engine in each precision."""
    onnx = {name: lab_folder / f"yolov5n-{size}.{name.lower()}.onnx" for name in ("FP32", "FP16", "INT8")}
    if not onnx["INT8"].exists():
        export_onnx("base", onnx["FP32"], image_size=size)
        convert_to_fp16(onnx["FP32"], onnx["FP16"])
        table = calibrate(onnx["FP32"], ImageBatches(dataset.images("train"), input_hw=(size, size)))
        quantize_onnx(onnx["FP32"], onnx["INT8"], table=table, base=Precision.FP16)
    engines = {}
    for name, path in onnx.items():
        options = EngineOptions(precision=Precision(name.lower()), max_batch=4)
        built = build_engine(path, path.with_suffix(".engine"), options=options)
        engines[name] = built.path
        print(f"{name} at {size}: {built.report.executed_precision.upper()} runs, built in {built.seconds:.1f} s")
    return onnx, engines


onnx_paths, engine_paths = make_engines(640)
reference = open_detector(onnx_paths["FP32"])  # FP32 in ONNX Runtime: what everything is compared with

# %% [markdown]
# ## A1 · Into the input: letterbox
#
# What a camera gives and what the network takes differ in four ways:
#
# | | camera, OpenCV | this network |
# |---|---|---|
# | size | any, say 1280 x 720 | 640 x 640 |
# | channels | blue, green, red | red, green, blue |
# | axes | height, width, channel | batch, channel, height, width |
# | numbers | `uint8`, 0 to 255 | `float32`, 0 to 1 |
#
# Three of them are a line of NumPy each (part C). The size is a decision. Stretching makes every gear an ellipse, and
# the network has never seen elliptic gears. Cropping loses parts. So the image is scaled by *one* factor until it just
# fits, and what stays free is filled with gray: it is put into a letterbox.

# %% [markdown]
# For an image of $h \times w$ pixels and an input of $H \times W$:
#
# $$ s = \min\left(\frac{H}{h}, \frac{W}{w}\right), \qquad h' = \max(\operatorname{round}(s\,h), 1), \quad
#    w' = \max(\operatorname{round}(s\,w), 1) $$
#
# $$ p_x = \left\lfloor \frac{W - w'}{2} \right\rfloor, \qquad p_y = \left\lfloor \frac{H - h'}{2} \right\rfloor $$
#
# $p_x$ columns of gray go before the image and $p_y$ rows above it; the rest, one more if the number is odd, goes
# behind. A point $(x, y)$ of the image lands at $(x\,w'/w + p_x,\; y\,h'/h + p_y)$. Note $w'/w$ and not $s$: resizing
# ends at whole pixels, so each side got a scale of its own. Near the right edge of a large photograph, the difference
# is more than a pixel.

# %% [markdown]
# **Predict.** A frame of 1920 x 1080 goes into 640 x 640. Which share of the input's pixels will be gray? And a part
# that is 24 pixels wide in the frame: how wide is it for the network? Write your two guesses here before you run the
# next cell.
#
# *My guess:* …

# %% tags=["demonstration"]
transform = LetterboxTransform.fit((1080, 1920), input_hw=(640, 640))
height, width = transform.resized_hw
print(f"scale {transform.scale:.4f}: {width} x {height} pixels, {transform.pad_xy[1]} rows of gray above")
print(f"gray: {1 - height * width / 640**2:.0%} of the input; a part of 24 pixels becomes {24 * transform.scale:.0f}")

# %% [markdown]
# Almost half of what the engine computes is gray, and parts shrink to a third. Both are reasons why people export
# models with the camera's own aspect ratio (384 x 640 here), and why small objects vanish after deployment that were
# found in training. The letterbox makes no mistakes here; it only shows the price of an input size.
#
# ### Exercise 1: `lab5.letterbox`
#
# Write the class below. `apply` puts an image onto the canvas, `to_image` brings boxes back. Both need the same
# numbers, so compute these once. (10 points, about 25 minutes, difficulty 2 of 5. The package has the same thing as
# `yolotrt_lab.detection.letterbox`; here you write your own.)


# %% nbgrader={"grade": false, "grade_id": "lab5-letterbox", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Letterbox:
    """Fits images of one size into a network's input, and brings boxes back.

    Args:
        image_hw: Height and width of the images in pixels, whole numbers of 1 or more.
        input_hw: Height and width of the network's input in pixels.

    One scale for both sides, small images are enlarged; sides rounded to the nearest whole pixel, at least 1; centred,
    an odd free pixel right or below. For example, a 4 x 2 image (width x height) in a 4 x 4 input has one gray row
    above and one below.
    """

    def __init__(self, image_hw, input_hw=(640, 640)):
        ### BEGIN SOLUTION
        self.image_hw, self.input_hw = image_hw, input_hw
        scale = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        self.height, self.width = (max(round(side * scale), 1) for side in image_hw)
        self.left, self.top = (input_hw[1] - self.width) // 2, (input_hw[0] - self.height) // 2
        ### END SOLUTION

    def apply(self, image_bgr):
        """Return the canvas: (input height, input width, 3) uint8, gray 114 around the image, channels as they came.

        Resize with `cv2.resize(..., interpolation=cv2.INTER_LINEAR)`. The image itself stays as it is.
        """
        ### BEGIN SOLUTION
        canvas = np.full((*self.input_hw, 3), 114, np.uint8)
        resized = cv2.resize(image_bgr, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        canvas[self.top : self.top + self.height, self.left : self.left + self.width] = resized
        return canvas
        ### END SOLUTION

    def to_image(self, xyxy):
        """Return (n, 4) boxes in pixels of the image, cut at its borders, from (n, 4) boxes in pixels of the input.

        Boxes are left, top, right, bottom; n may be 0. The box of the whole image on the canvas must come back as
        0, 0, width, height exactly.
        """
        ### BEGIN SOLUTION
        height, width = self.image_hw
        scale = np.array([self.width / width, self.height / height] * 2)
        boxes = (np.asarray(xyxy) - np.array([self.left, self.top] * 2)) / scale
        return np.clip(boxes, 0, np.array([width, height] * 2))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-letterbox-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab5.letterbox")

# %% [markdown]
# Now look at it. The picture below is drawn like a frame of a conveyor camera, wider than high. Compare the free
# pixels with the formula.

# %% tags=["demonstration"]
scene = draw_part_image(47, split="test", index=0, image_hw=(360, 640))
with using("lab5.letterbox"):
    mine = Letterbox(scene.image.shape[:2], input_hw=(256, 320))
    canvas = mine.apply(scene.image)
    _, transform = letterbox(scene.image, input_hw=(256, 320))
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    display(letterbox_panels(scene.image, canvas, content_xyxy=(left, top, left + width, top + height)))

# %% [markdown]
# And the way back. One labelled part is carried into the input by the formula above, and brought back by your
# `to_image` and by three wrong formulas that are found in real code. None of them raises an exception, and on square
# images all of them are right: there is no padding, and the two scales are equal. That is how they get through tests.

# %% tags=["demonstration"]
with using("lab5.letterbox"):
    bearing = scene.xyxy[scene.class_ids == class_names.index("bearing")][:1]
    in_input = input_xyxy_from_image_xyxy(bearing.astype(np.float64), transform)
    pad, scale = np.array(transform.pad_xy * 2), transform.scale
    formulas = {
        "your to_image": mine.to_image(in_input),
        "padding forgotten": in_input / scale,
        "scaled first, padding after": in_input / scale - pad,
        "all of the padding subtracted": (in_input - 2 * pad) / scale,
    }
    display(ways_back(scene.image, formulas))

# %% [markdown]
# <details><summary><b>Check yourself:</b> calibration images for INT8 were resized without letterbox. What happens?
# </summary>
#
# The activations' ranges are measured on stretched objects without any gray. The engine then clips values that the
# letterboxed images of real life do produce: accuracy drops, and nothing in the engine's build log says so. Lab 4 has
# an exercise that finds this bug. Calibration must see exactly what inference will see.
# </details>
#
# <details><summary><b>Check yourself:</b> why gray 114, and not black?</summary>
#
# Because training used it. Any value would do if the network had met it; 114 is close to the mean of natural images,
# so the border makes no strong edge. A black border does make one, and convolutions near it answer with activations
# that no training image ever gave.
# </details>

# %% [markdown]
# ## A2 · Out of the output: decoding a head
#
# An engine returns one array. What its axes mean is nowhere in it: the three families of exported YOLO models arrange
# the same facts in three ways, and the shape is the only hint.
#
# | head | shape | one candidate is | score |
# |---|---|---|---|
# | anchor-based (v3, v5, v7) | `(1, 25200, 85)` | a row: $c_x, c_y, w, h$, objectness, 80 classes | objectness x class |
# | anchor-free (v8, 11, v5u) | `(1, 84, 8400)` | a **column**: $c_x, c_y, w, h$, 80 classes | class |
# | end-to-end (v10, 26) | `(1, 300, 6)` | a row: left, top, right, bottom, score, class | as it stands |
#
# Boxes are in pixels of the *input*, and all scores have been through their sigmoid. In the first family, the network
# says two things apart: "there is an object" and "if so, it is a bolt". What we want is both at once:
#
# $$ p(\text{bolt}) = p(\text{object}) \cdot p(\text{bolt} \mid \text{object}) $$

# %% [markdown]
# Where do the numbers 25200 and 8400 come from? The network looks at three grids with cells of 8, 16 and 32 pixels:
# $80^2 + 40^2 + 20^2 = 8400$ cells at 640 x 640. Anchor-free heads give each cell one candidate, anchor-based ones
# three, one per anchor shape.
#
# **Predict.** Our model is anchor-free with 8 classes. What is its output's shape? On an image with a dozen parts, how
# many of the 8400 candidates will score above 0.25? Ten, fifty, five hundred?
#
# *My guess:* …

# %% tags=["demonstration"]
image = read_image(dataset.images("test")[37])
batch, _ = reference.preprocess([image])
output = reference.infer(batch).copy()
best = output[0, 4:].max(axis=0)
print(f"output {output.shape} {output.dtype}; {(best > 0.25).sum()} candidates above 0.25")
for name, row in zip(["center x", "center y", "width", "height", *class_names], output[0], strict=True):
    print(f"{name:<9} {row.min():9.4f} to {row.max():9.4f}")
score_maps(image, best)

# %% [markdown]
# Each map is one grid laid over the image: a bright cell is a candidate that is sure of itself. Two things are worth
# seeing. A part lights up several neighbouring cells, often in two grids: every object is found many times, which is
# what section A3 is about. And small parts glow in the fine grid, larger ones in the middle grid: that is what the grids
# are for. The coarse grid stays dark; it waits for objects larger than any on this bench.

# %% [markdown]
# ### Exercise 2: `lab5.decode`
#
# Write one function for all three heads. Two hints on things that raise no error. `reshape` is not `transpose`: it
# keeps the numbers in their order and only breaks the lines elsewhere. And an engine with FP16 outputs hands you
# `float16`, which between 256 and 512 knows quarters of a pixel only: convert before you compute. (12 points, about 25
# minutes, difficulty 3 of 5. Not with the package's `decode`.)


# %% nbgrader={"grade": false, "grade_id": "lab5-decode", "locked": false, "schema_version": 3, "solution": true, "task": false}
def decode_head(output, layout, conf_threshold):
    """Return the candidates of one image that score above the threshold, before suppression.

    Args:
        output: The head's output with a batch of one, float32 or float16, in the shape of the table above; with
            any number of candidates and classes.
        layout: "anchor_based", "anchor_free" or "end_to_end".
        conf_threshold: A candidate is kept if its score is greater than this.

    Returns:
        `Detections(xyxy, scores, class_ids)` with (n, 4) boxes as left, top, right, bottom in pixels of the input,
        computed in float32 or better, (n,) scores, and (n,) whole class ids, each candidate once, with its best class;
        in any order. n may be 0: then the shapes are (0, 4), (0,) and (0,).

    For example, an anchor-free candidate 10, 20, 4, 6, 0.1, 0.8 is the box 8, 17, 12, 23 of class 1 with score 0.8.
    """
    ### BEGIN SOLUTION
    rows = output[0].astype(np.float32)
    if layout == "anchor_free":
        rows = rows.T
    boxes, rest = rows[:, :4], rows[:, 4:]
    if layout == "end_to_end":
        scores, class_ids = rest[:, 0], rest[:, 1].astype(np.int64)
    else:
        if layout == "anchor_based":
            rest = rest[:, :1] * rest[:, 1:]
        scores, class_ids = rest.max(axis=1), rest.argmax(axis=1)
        half = boxes[:, 2:] / 2
        boxes = np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
    keep = scores > conf_threshold
    return Detections(boxes[keep], scores[keep], class_ids[keep])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-decode-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab5.decode")

# %% [markdown]
# Your function, on the real output from above. On the left all 8400 scores; mind the logarithmic axis. Nearly all
# candidates say "nothing here", as they should: that is why a good decoder looks at scores first and converts only the
# few boxes that pass.

# %% tags=["demonstration"]
with using("lab5.decode"):
    candidates = decode_head(output, "anchor_free", 0.25)
    display(candidates_by_score(image, candidates, all_scores=best, conf_threshold=0.25))

# %% [markdown]
# **Try it.** What if the sigmoid is applied once more, because "networks give logits"? A score of 0.001 becomes
# $1/(1 + e^{-0.001}) \approx 0.5$: everything passes.

# %% tags=["demonstration"]
twice = 1 / (1 + np.exp(-best))
for threshold in (0.25, 0.5, 0.51, 0.7):
    print(f"threshold {threshold:<4}: {(best > threshold).sum():5} pass, with a second sigmoid {(twice > threshold).sum():5}")

# %% [markdown]
# <details><summary><b>Check yourself:</b> a model has one class, and its output is (1, 300, 6). Which head is it?
# </summary>
#
# The shape does not tell: $5 + 1 = 6$, so it may be an anchor-based head with 300 anchors as well as an end-to-end
# head. The *number of candidates* helps: anchor-based heads have a multiple of 63 or 255 of them, end-to-end heads a
# round number such as 300. If a program cannot tell it should ask rather than guess, as `detect_layout` of the package
# does.
# </details>
#
# <details><summary><b>Check yourself:</b> objectness is 0.3 and the best class 0.6. Is this a detection at threshold
# 0.25?</summary>
#
# No: the score is $0.3 \cdot 0.6 = 0.18$. Whoever compares one of the factors alone finds objects that the network does
# not claim. In mAP this hardly shows, because the order of the scores changes little; in production it does.
# </details>

# %% [markdown]
# ## A3 · One box per object: non-maximum suppression
#
# How much two boxes cover the same thing is measured by their intersection over union:
#
# $$ \operatorname{IoU}(A, B) = \frac{|A \cap B|}{|A \cup B|} = \frac{|A \cap B|}{|A| + |B| - |A \cap B|} $$
#
# Greedy suppression takes the best box, removes every box *of the same class* whose IoU with it exceeds a threshold,
# and goes on with the best of those that are left, until none is. The table of all IoUs shows what it has to do:
# boxes of one object form a bright block, and one box of each block must survive.

# %% tags=["demonstration"]
heap_path = dataset.images("test")[15]  # parts that lie on and across each other
heap = read_image(heap_path)
found = decode(reference.infer(reference.preprocess([heap])[0]), layout=OutputLayout.ANCHOR_FREE, conf_threshold=0.25)[0]
overlaps = iou_matrix(found.xyxy, found.xyxy)
overlap_table(found, overlaps, class_names=class_names, iou_threshold=0.5)

# %% [markdown]
# **Predict.** Count the bright blocks on the diagonal: so many boxes should be left. How many do you expect?
#
# *My guess:* …
#
# Three traps, before you write:
#
# - **A removed box removes nothing.** If A removes B, and B overlaps C, then C may still stay. The fashionable one-liner
#   `~(iou > t).triu(1).any(0)` gets this wrong.
# - **Classes are strangers.** A nut sits on a bolt: two objects, one place.
# - **Coordinates are not pixel indices.** Code from the days of Fast R-CNN adds 1 to each width. With boxes of 6 pixels,
#   this turns an IoU of 0.45 into one of 0.55.

# %% [markdown]
# And speed. With 300 candidates there are 45,000 pairs. A Python loop over pairs takes tens of milliseconds, longer
# than the engine. Array operations compare one box with all others at once, so that Python runs a few lines per *kept*
# box. The check below does not use a clock for this, which would depend on what else your machine does. It counts the
# lines of Python that your function executes: with four times the boxes, these may become four times as many, but not
# sixteen times.
#
# ### Exercise 3: `lab5.nms`
#
# (10 points, about 35 minutes, difficulty 4 of 5. You may use the package's tested `iou_matrix`, which lab 2 is about;
# not the suppression of the package, torchvision or OpenCV.)


# %% nbgrader={"grade": false, "grade_id": "lab5-nms", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nms(xyxy, scores, class_ids, iou_threshold):
    """Return the indices of the boxes to keep, best first over all classes.

    Args:
        xyxy: (n, 4) float32 boxes: left, top, right, bottom. n may be 0.
        scores: (n,) float32, all different.
        class_ids: (n,) int64.
        iou_threshold: A box is removed if its IoU with a kept box of its class is greater than this.

    Returns:
        (kept,) whole numbers, an array or a list; empty for no boxes.

    For example, boxes [0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10] of one class with scores 0.6, 0.9, 0.3 give
    [1, 2] at a threshold of 0.5.
    """
    ### BEGIN SOLUTION
    overlaps = iou_matrix(xyxy, xyxy) > iou_threshold
    overlaps &= class_ids[:, None] == class_ids[None, :]
    alive = np.ones(len(scores), bool)
    kept = []
    for index in np.argsort(-scores):
        if alive[index]:
            kept.append(index)
            alive &= ~overlaps[index]
    return np.array(kept, np.int64)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-nms-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab5.nms")

# %% [markdown]
# Suppression, round by round, with your function. Blue is the best box that is left, dashed orange what it removes,
# white what waits for a later round, green what was kept before.

# %% tags=["demonstration"]
with using("lab5.nms"):
    kept = [int(index) for index in nms(found.xyxy, found.scores, found.class_ids, 0.5)]
    rounds, waiting = [], set(range(len(found)))
    for place, index in enumerate(kept):
        same = found.class_ids == found.class_ids[index]
        removed = tuple(j for j in sorted(waiting - {index}) if same[j] and overlaps[index, j] > 0.5)
        waiting -= {index, *removed}
        rounds.append(SuppressionStep(index, removed, tuple(sorted(waiting)), tuple(kept[:place])))
    print(f"{len(found)} candidates, {len(kept)} boxes kept")
    display(suppression_steps(heap, found, rounds, class_names=class_names))

# %% [markdown]
# The threshold is a statement about the world: how much may two *different* objects of a class overlap? On a belt with
# parts side by side 0.5 is generous; in a heap of screws it removes real ones. Sweep it with your function and look at
# both ends: duplicates return on the right, real neighbours disappear on the left.

# %% tags=["demonstration"]
with using("lab5.nms"):
    truth = read_labels(dataset.labels_path(heap_path), num_classes=len(class_names))
    print(f"{len(truth.class_ids)} labelled parts")
    for threshold in (0.05, 0.3, 0.5, 0.7, 0.9, 0.99):
        count = len(nms(found.xyxy, found.scores, found.class_ids, threshold))
        print(f"IoU threshold {threshold:<4}: {count:3} boxes  {'#' * count}")

# %% [markdown]
# <details><summary><b>Check yourself:</b> why do end-to-end heads need no suppression?</summary>
#
# They are trained so that only one candidate per object may score high: the loss punishes every second one. The price
# is paid in training, not at inference, where a step with an unpredictable amount of work disappears. That is worth
# much on devices that run everything in one graph.
# </details>
#
# <details><summary><b>Check yourself:</b> some exports carry NMS inside the ONNX graph. Why do the labs leave it out?
# </summary>
#
# Its output has a length that depends on the data, which engines handle by copies between device and host or by padding
# to a maximum; INT8 calibration and layer comparison get harder; and thresholds become constants of the file. With few
# candidates, suppression on the host takes well under a millisecond, as you will measure in part C.
# </details>

# %%
# --- part B begins ---
# Names that demonstrations of part B can use (they are made in demonstration cells at the start of part A):
#   platform: what activate() returned;  lab_folder: Path, this lab's folder in workspace();
#   dataset: Dataset of `parts`, 640 x 640, splits train (16) and test (48);
#   onnx_paths: dict "FP32"|"FP16"|"INT8" -> ONNX of the base checkpoint, 640 x 640, dynamic batch;
#   engine_paths: dict "FP32"|"FP16"|"INT8" -> plan built from it, profile min 1, opt 1, max 4;
#   reference: an open package Detector on ONNX Runtime FP32.

# %%
# --- part B ends ---

# %% [markdown]
# # Part C · The detector, end to end
#
# Part A made the pieces right, part B the memory fast. Now they become one detector that takes a photograph and returns
# boxes, whatever engine is inside: ONNX Runtime, or TensorRT in any precision. That is more than convenience. When
# everything around the engine is the same code, then whatever differs between two results is the engine's doing, and
# you can judge it.

# %% [markdown]
# ## C1 · One detector for every engine
#
# | step | from | to | what goes wrong there |
# |---|---|---|---|
# | letterbox | (h, w, 3) `uint8` | (H, W, 3) `uint8` | stretching |
# | channels | blue, green, red | red, green, blue | forgotten: scores sink by a few percent |
# | scale | 0 to 255 | 0 to 1 | forgotten: nothing is found |
# | axes | (H, W, 3) | (1, 3, H, W) | `reshape`: nothing is found |
# | engine | batch | (1, 4 + classes, candidates) | names and types written into the code |
# | decode, suppress | all candidates | one box per object | thresholds written into the code |
# | way back | pixels of the input | pixels of the image | forgotten: boxes sit elsewhere |
#
# The most expensive row is the second: it looks like a slightly worse model, and who would suspect the colours?

# %% tags=["demonstration"]
batch, _ = reference.preprocess([heap])
input_planes(batch)

# %% [markdown]
# **Predict.** The blue mat is bright in one of the three planes and dark in another. Which is which, and what would the
# network see if red and blue were swapped?
#
# *My guess:* …
#
# ### Exercise 4: `lab5.detector`
#
# Write `detect` from tested pieces. These come from the package, not from your answers above: `letterbox` (gives the
# canvas *and* the transform), `decode`, `class_aware_nms` and `image_xyxy_from_input_xyxy`. A backend has `inputs` and
# `outputs`, each a tuple of specifications with `name`, `dtype` and `shape`, and `infer({name: array})`, which returns
# arrays by name. It takes nothing but contiguous arrays of its own type. (10 points, about 25 minutes, difficulty 3 of
# 5. Not with the package's `Detector` or `preprocess`.)


# %% nbgrader={"grade": false, "grade_id": "lab5-detector", "locked": false, "schema_version": 3, "solution": true, "task": false}
def detect(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Return the objects in one image, best first, in pixels of the image.

    Args:
        image_bgr: (height, width, 3) uint8 as OpenCV reads it, any size.
        backend: Runs the network, whose head is anchor-free. Its first input is (1 or any, 3, height, width), float32
            or float16, RGB from 0 to 1; its first output is (batch, 4 + classes, candidates). Run it once.
        conf_threshold: Candidates are kept above this score.
        iou_threshold: Of two boxes of a class that overlap more, the better is kept.

    Returns:
        `Detections`, empty if nothing is found.
    """
    ### BEGIN SOLUTION
    taken, given = backend.inputs[0], backend.outputs[0]
    canvas, transform = letterbox(image_bgr, input_hw=tuple(taken.shape[2:]))
    planes = canvas[..., ::-1].transpose(2, 0, 1)[None]
    batch = np.ascontiguousarray(planes / np.float32(255), dtype=taken.dtype)
    output = backend.infer({taken.name: batch})[given.name]
    candidates = decode(output, layout=OutputLayout.ANCHOR_FREE, conf_threshold=conf_threshold)[0]
    kept = class_aware_nms(candidates, iou_threshold=iou_threshold)
    boxes = image_xyxy_from_input_xyxy(kept.xyxy, transform)
    return Detections(boxes, kept.scores, kept.class_ids)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-detector-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab5.detector")

# %% [markdown]
# The check has run your detector on a small copy of the course's network in ONNX Runtime. Now it meets the real
# engines. Each is held against FP32 in ONNX Runtime by the tolerance of the precision that *really ran*: boxes must
# overlap and scores agree, more closely for FP32 than for INT8. Boxes just above the confidence threshold do not count,
# because half a percent decides whether they are there at all.

# %% tags=["demonstration"]
images = [read_image(path) for path in dataset.images("test")[:24]]
expected = [reference.detect(image) for image in images]
found_by = {}
with using("lab5.detector"):
    for name, path in engine_paths.items():
        with open_runtime(path) as engine:
            found_by[name] = [detect(image, engine) for image in images]
            tolerance = TOLERANCES[engine.executed_precision]
        agreement = compare_detections(found_by[name], expected, tolerance=tolerance, conf_threshold=0.25)
        verdict = "follows the reference" if agreement.matched_fraction >= tolerance.matched_fraction else "DEVIATES"
        print(
            f"{name} ({engine.executed_precision.upper()} ran): {agreement.matched_fraction:.1%} of "
            f"{agreement.compared} boxes match at IoU {tolerance.match_iou}, needed "
            f"{tolerance.matched_fraction:.0%}: {verdict}"
        )

# %% tags=["demonstration"]
with using("lab5.detector"):
    columns = [(name, found[15]) for name, found in found_by.items()]
    display(example_grid([ExampleImage("the heap", images[15], columns)], class_names=class_names))

# %% [markdown]
# The heap is a hard image, and it shows best what lower precision does: clear objects stay where they were to a
# fraction of a pixel, and among the doubtful boxes around 0.3 some come and others go. Whether that is better or worse
# cannot be seen in one image. It takes labels, and many images.
#
# <details><summary><b>Check yourself:</b> an engine matches only 60 % of the boxes. If scores are ignored it is 99 %,
# if places are ignored still 60 %. What do you suspect?</summary>
#
# The boxes are right, so letterbox, decoding and way back are. The scores are not: another preprocessing (BGR, no
# division), or a quantized head whose scores collapse. `BoxAgreement` reports these three numbers for exactly this
# reason: they tell *which* of the three conditions keeps boxes apart.
# </details>

# %% [markdown]
# ## C2 · Precision against speed, measured
#
# Precision is one way to buy speed with accuracy; the size of the input is another. At 416 instead of 640 pixels the
# network computes $(416/640)^2 = 42\,\%$ of the work, in any precision. So there are six engines to choose from.
#
# **Predict.** Order these four from fast to slow, and from accurate to inaccurate: FP32 at 640, INT8 at 640, FP32 at
# 416, INT8 at 416. Which one will nobody want?
#
# *My guess:* …

# %% tags=["demonstration"]
_, small_paths = make_engines(416)
paths = {f"{name} 640": path for name, path in engine_paths.items()}
paths |= {f"{name} 416": path for name, path in small_paths.items()}
engines = {name: open_runtime(path, batch=1) for name, path in paths.items()}

# %% [markdown]
# First the accuracy, on all 48 test images, at the low confidence threshold that mAP is computed with. The package's
# detector does it, so that this part works whatever the state of your exercises.

# %% tags=["demonstration"]
splits = {name: detect_split(detector_from_runtime(engine, config=MAP_CONFIG), dataset) for name, engine in engines.items()}
map50_95 = {name: split.metrics().map50_95 for name, split in splits.items()}
for name, value in map50_95.items():
    print(f"{name}: mAP50-95 {value:.3f}   ({engines[name].executed_precision.upper()} ran)")

# %% [markdown]
# Then the time, as lab 1 taught: from photograph to boxes, warmed up, many rounds. The engines take *turns* within each
# round, in random order. If the machine is disturbed for a second, all six are disturbed, and the ratio of two engines
# within a round hardly notices.

# %% tags=["demonstration"]
ROUNDS = 40
runners = {name: partial(detector_from_runtime(engine).detect, heap) for name, engine in engines.items()}
timings = measure_interleaved(runners, rounds=ROUNDS, calls_per_turn=1, warmup=3)
print(f"{where.timing_label}\n{'':10} median    p90    time relative to FP32 640, with 95 % interval")
for name, stats in timings.stats.items():
    ratio = timings.ratio(name, baseline="FP32 640")
    print(f"{name:10} {stats.p50_ms:6.1f} {stats.p90_ms:6.1f} ms   {ratio.value:.2f}  ({ratio.low:.2f} to {ratio.high:.2f})")

# %% tags=["demonstration"]
points = {
    name: TradeoffPoint(map50_95[name], stats, remark=f"{engines[name].executed_precision.upper()} ran")
    for name, stats in timings.stats.items()
}
precision_speed(points, platform=where)

# %% [markdown]
# Compare the plot with your prediction. The dashed line is the *Pareto front*: the engines that no other beats in both
# directions at once. Everything below and to the right of it is dominated, so the plot says. But look at the bars of
# the latency, and ask what the plot does not show: these mAPs come from 48 images. Had we drawn 48 others, each would
# be another number.

# %% [markdown]
# ## C3 · Which engines are really beaten?
#
# How far would the numbers move? The bootstrap gives an answer without drawing new images: draw 48 of our 48 images
# *with replacement*, compute the mAP, and repeat that 150 times. The spread of the results is about the spread over
# imagined test sets. The same goes for the rounds of the latency.
#
# There is a trap here that even papers fall into. All engines were measured on the **same** images. When a draw happens
# to contain many hard images, *all* engines score low in it. So we use the same draws for all, and keep them in order:
# entry $i$ of every engine belongs to the same drawn images.

# %% tags=["demonstration"]
rng = np.random.default_rng(5)
chosen_rounds = rng.integers(0, ROUNDS, (150, ROUNDS))
chosen_images = rng.integers(0, len(images_of := dataset.images("test")), (150, len(images_of)))


def map_of(split, chosen):
    """Return the mAP50-95 on the chosen images."""
    truths, found = [split.ground_truth[i] for i in chosen], [split.detections[i] for i in chosen]
    return evaluate_detections(truths, found, class_names=class_names).map50_95


latency_draws = {
    name: np.median(np.array(stats.samples_ms)[chosen_rounds], axis=1) for name, stats in timings.stats.items()
}
map_draws = {name: np.array([map_of(split, chosen) for chosen in chosen_images]) for name, split in splits.items()}
for name, values in map_draws.items():
    print(f"{name}: mAP50-95 from {np.quantile(values, 0.025):.3f} to {np.quantile(values, 0.975):.3f} in 95 % of draws")

# %% [markdown]
# Wide intervals: they overlap even for engines that differ by a whole input size. "Not significant", one would say, and
# be wrong. Look at two engines in the plot: on the left each by itself, on the right their **difference** in every
# single draw. What they share cancels out.

# %% tags=["demonstration"]
difference_cloud(latency_draws, map_draws, one="INT8 640", other="INT8 416", platform=where)

# %% tags=["demonstration"]
difference_cloud(latency_draws, map_draws, one="INT8 640", other="FP32 640", platform=where)

# %% [markdown]
# Read the right-hand panels like this. If 95 % of the points lie above zero, the first engine is more accurate, with
# the confidence that goes with it. If the vertical bar crosses zero, the images leave it open. The first pair is a
# matter of taste: slower, and *certainly* more accurate, though the bars on the left overlap. In the second pair, INT8
# is certainly faster; whether it loses any accuracy, 48 images cannot say.
#
# So an engine can be in one of three states, not two:
#
# - **dominated**: some other engine is certainly faster *and* certainly more accurate;
# - **undecided**: by the centres another one looks at least as good in both, but none is certain to be;
# - **front**: not even by the centres is any other at least as good in both.

# %% [markdown]
# ### Exercise 5: `lab5.pareto`
#
# Write the function that gives the verdicts. (6 points, about 20 minutes, difficulty 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-pareto", "locked": false, "schema_version": 3, "solution": true, "task": false}
def judge_engines(latency_ms, map50_95):
    """Return each engine's verdict: "front", "undecided" or "dominated".

    Args:
        latency_ms: Engine name to (draws,) array: the median latency in each draw. Less is better.
        map50_95: Engine name to (draws,) array: the mAP in each draw. More is better. Draw i is the same for all.

    Returns:
        A dict from every engine's name to its verdict:

        "dominated" if for some other engine the 95 % interval (from the 2.5 % to the 97.5 % quantile) of the difference
        of latencies, draw by draw, lies wholly below zero, and that of the mAPs wholly above zero;
        else "undecided" if some other engine's median over the draws is at least as good in both, and better in one;
        else "front".
    """
    ### BEGIN SOLUTION
    verdicts = {}
    for name in latency_ms:
        certain = seems = False
        for other in latency_ms:
            if other == name:
                continue
            gain_ms, gain_map = latency_ms[name] - latency_ms[other], map50_95[other] - map50_95[name]
            certain |= np.quantile(gain_ms, 0.025) > 0 and np.quantile(gain_map, 0.025) > 0
            faster = np.median(latency_ms[name]) - np.median(latency_ms[other])
            better = np.median(map50_95[other]) - np.median(map50_95[name])
            seems |= min(faster, better) >= 0 and max(faster, better) > 0
        verdicts[name] = "dominated" if certain else "undecided" if seems else "front"
    return verdicts
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-pareto-check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("lab5.pareto")

# %% tags=["demonstration"]
with using("lab5.pareto"):
    verdicts = judge_engines(latency_draws, map_draws)
    print(", ".join(f"{name}: {verdict}" for name, verdict in verdicts.items()))
    display(verdict_plot(latency_draws, map_draws, verdicts, platform=where))

# %% [markdown]
# This is the picture to show to somebody who has to decide. What is dominated can be dropped without regret. What is
# undecided needs either more images or a modest sentence. And what is on the front is a *choice*, for which the plot
# has no answer, because it does not know what a missed bolt costs.
#
# <details><summary><b>Check yourself:</b> somebody reports "INT8 loses 0.4 % mAP" from 100 images. What do you ask?
# </summary>
#
# For the interval of the *difference* on these same images. If it holds zero, the honest sentence is "on 100 images we
# saw no loss; one of more than so much is ruled out". And which images calibrated the engine: if they are among the
# test images, the number is too good.
# </details>
#
# <details><summary><b>Check yourself:</b> 48 images leave a difference open. How many would settle it?</summary>
#
# The width of an interval shrinks with the square root of the number of images. To halve it takes about four times as
# many. If the interval of the difference is ±0.01 at 48 images and you want to see 0.002, you need $48 \cdot 25 = 1200$.
# That is a reason to think before asking for the third decimal.
# </details>

# %% tags=["demonstration"]
for engine in engines.values():
    engine.close()

# %% [markdown]
# **If you want to go on** (stretch, not graded): give `make_engines` a third size and find out where the front bends.
# Or (expert) measure the whole front twice, once with every core busy (`python -c "while True: pass"` in a terminal):
# the latencies move, but do the *verdicts*? That is what pairing is for.

# %% [markdown] nbgrader={"grade": false, "grade_id": "lab5-written-question", "locked": true, "schema_version": 3, "solution": false, "task": false}
# ## C4 · The recommendation (10 points)
#
# Your company deploys the parts detector in three places. Recommend an engine (precision and input size) for each, in
# **250 to 400 words altogether**, for a reader who will sign the purchase order and has not taken this course.
#
# 1. **Sorting line.** One camera, 25 frames per second, a pusher that must fire within 40 ms after the frame, always. A
#    missed part stops the line: 200 euros. The line has an industrial PC with a GPU.
# 2. **Handheld scanner.** Battery, passive cooling, little memory. Workers point it at one part at a time and look at
#    the result themselves. Its processor has INT8 units.
# 3. **Nightly audit.** A server counts parts in 2 million archived photographs. Nobody waits, but each night must be
#    enough, and the counts go into the books.

# %% [markdown] nbgrader={"grade": false, "grade_id": "lab5-written-rubric", "locked": true, "schema_version": 3, "solution": false, "task": false}
# What earns the points:
#
# | points | criterion |
# |---|---|
# | 3 | For each target one clear choice that follows from *its* constraint: tail latency; energy and memory; throughput and accuracy. One point each. |
# | 2 | Numbers of your own from this lab, with intervals, and the verdicts of C3: nothing recommended that is dominated, nothing called better that is undecided. |
# | 2 | Says where the numbers were measured and which of them carry over to the target: what is emulated, what is a ratio, what must be measured again there. |
# | 2 | What would change your mind: for each target, or for the weakest of the three, the measurement that could overturn the choice, and a fallback. |
# | 1 | The reader can follow it: an answer first, reasons second, no unexplained abbreviation. |

# %% [markdown] nbgrader={"grade": true, "grade_id": "lab5-written", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# **In short:** INT8 at 640 for the sorting line, INT8 at 416 for the scanner if it passes one more test, FP16 at 640 for
# the audit. FP32 nowhere. All three rest on measurements on an office computer without a GPU that imitates one: its
# accuracy and the ratios between engines are evidence, its milliseconds are not.
#
# **Sorting line.** What counts is the slowest frame, not the average one: 40 ms, always. INT8 at 640 took 0.45 of the
# time of FP32 (95 % interval 0.43 to 0.47), and on 48 labelled images its accuracy did not differ from FP32's: the
# difference was between -0.010 and +0.003 mAP, so a loss of more than 0.01 is ruled out, a smaller one is not. Going
# down to 416 would be faster still, but certainly costs about 0.10 mAP, at 200 euros per missed part. I would run a day
# of recorded frames on the line's own PC and look at the slowest frame in a thousand. If that exceeds 30 ms or more
# parts are missed than with FP32, FP16 at 640 is the fallback; it was indistinguishable in accuracy.
#
# **Scanner.** Energy follows the work done, so small input and low precision. A single part fills the picture, so the
# loss at 416, which comes from small parts, should matter less, and the worker sees mistakes. "Should" has to be shown:
# 200 photographs of single parts, taken with the scanner. If INT8 at 416 misses more than one in fifty, INT8 at 640.
# Battery and temperature can only be measured on the device.
#
# **Audit.** 2 million photographs in eight hours are 70 per second. Nobody waits for a single one, so frames go in
# batches, and throughput matters, not latency. The counts go into the books: I take the engine that follows the
# reference most closely at a good price, FP16 at 640 (on our computer it ran in the related format BF16). If one GPU
# does not reach 70 per second with batches, a second one costs less than wrong books; INT8 would need a test with
# thousands of images first, because 48 cannot rule out a loss of half a percent.

# %% [markdown]
# ## Recap
#
# We have:
#
# - (part A and C: to be written)
#
# --- part B recap begins ---
# --- part B recap ends ---

# %% [markdown]
# ## Further reading
#
# --- part B reading begins ---
# --- part B reading ends ---
