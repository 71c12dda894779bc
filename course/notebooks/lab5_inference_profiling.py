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
# **Prerequisites.** You should have seen an ONNX export (lab 3) and built engines in three precisions (lab 4). Nothing here needs your own
# answers from those labs: where a tested function of an earlier lab is needed, it comes from the package.
#
# Time: about five and a half hours in three parts, which need not be done on one day; 90 points by checks and 10 for a
# written recommendation. A GPU is welcome and not needed: without one, TensorRT is emulated on the processor, says so,
# and all that this lab counts (copies, allocations, waits, boxes) is the same.

# %% [markdown]
# ## Map of the lab
#
# | part | exercise | tier | difficulty | minutes | points |
# |---|---|---|---|---|---|
# | A From image to boxes | `lab5.letterbox` | core | 2 of 5 | 25 | 10 |
# | | `lab5.decode` | core | 3 of 5 | 25 | 12 |
# | | `lab5.nms` | core | 4 of 5 | 35 | 10 |
# | B Memory, streams, time | `lab5.buffers` | core | 4 of 5 | 45 | 12 |
# | | `lab5.double_buffering` | core | 3 of 5 | 30 | 9 |
# | | `lab5.stage_breakdown` | core | 2 of 5 | 20 | 5 |
# | | `lab5.batch_sweep` | core | 3 of 5 | 25 | 5 |
# | | `lab5.hot_layers` | core | 3 of 5 | 25 | 6 |
# | | `lab5.roofline` | core | 3 of 5 | 25 | 5 |
# | C The detector, end to end | `lab5.detector` | core | 3 of 5 | 25 | 10 |
# | | `lab5.pareto` | core | 3 of 5 | 20 | 6 |
# | | the written recommendation | core | 3 of 5 | 30 | 10 |

# %%
from functools import partial

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.system import usable_cores
from yolotrt_lab.types import Detections, Precision

plt.show()  # from here on, figures appear below their cells
platform = activate()

# %%
from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import read_labels
from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.detection.decode import OutputLayout, decode
from yolotrt_lab.detection.letterbox import LetterboxTransform, image_xyxy_from_input_xyxy, input_xyxy_from_image_xyxy
from yolotrt_lab.detection.letterbox import letterbox
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.evaluation.average_precision import evaluate_detections
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections

# %%
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.interleave import measure_interleaved
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
from yolotrt_lab.runtimes.detector import detector_from_runtime, open_detector
from yolotrt_lab.runtimes.open import open_runtime

# %%
from yolotrt_lab.figures.dominance import difference_cloud, verdict_plot
from yolotrt_lab.figures.letterboxing import input_planes, letterbox_panels, ways_back
from yolotrt_lab.figures.suppression import SuppressionStep, candidates_by_score, overlap_table
from yolotrt_lab.figures.suppression import score_maps, suppression_steps
from yolotrt_lab.report.plots.examples import ExampleImage, example_grid
from yolotrt_lab.report.plots.tradeoff import TradeoffPoint, precision_speed
from yolotrt_lab.report.schema import PlatformInfo

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
counts = {"train": 16, "test": 48}
dataset = prepare_dataset("parts", root=lab_folder, counts=counts, workers=usable_cores())
where = PlatformInfo(platform.kind, platform.tensorrt_version, platform.device_name)
class_names = dataset.class_names
print(f"{len(dataset.images('test'))} test images of {', '.join(class_names)}")
print(f"Timings in this lab: {where.timing_label}")


# %% tags=["demonstration"]
def make_engines(size):
    """Export the base checkpoint for one input size and build an engine in each precision."""
    precisions = ("FP32", "FP16", "INT8")
    onnx = {name: lab_folder / f"yolov5n-{size}.{name.lower()}.onnx" for name in precisions}
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
        ran = built.report.executed_precision.upper()
        print(f"{name} at {size}: {ran} runs, built in {built.seconds:.1f} s")
    return onnx, engines


# %% tags=["demonstration"]
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

# %% [markdown]
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
print(f"gray: {1 - height * width / 640**2:.0%} of the input")
print(f"a part of 24 pixels becomes {24 * transform.scale:.0f} pixels wide")

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

    One scale for both sides, small images are enlarged; sides rounded to the nearest whole pixel,
    at least 1; centred, an odd free pixel right or below. For example, a 4 x 2 image (width x
    height) in a 4 x 4 input has one gray row above and one below.
    """

    def __init__(self, image_hw, input_hw=(640, 640)):
        ### BEGIN SOLUTION
        self.image_hw, self.input_hw = image_hw, input_hw
        scale = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        self.height, self.width = (max(round(side * scale), 1) for side in image_hw)
        self.left, self.top = (input_hw[1] - self.width) // 2, (input_hw[0] - self.height) // 2
        ### END SOLUTION

    def apply(self, image_bgr):
        """Return the canvas: (input height, input width, 3) uint8, gray 114 around the image.

        Channels stay in the order they came in. Resize with `cv2.resize(...,
        interpolation=cv2.INTER_LINEAR)`. The image itself stays as it is.
        """
        ### BEGIN SOLUTION
        canvas = np.full((*self.input_hw, 3), 114, np.uint8)
        resized = cv2.resize(image_bgr, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        canvas[self.top : self.top + self.height, self.left : self.left + self.width] = resized
        return canvas
        ### END SOLUTION

    def to_image(self, xyxy):
        """Return (n, 4) boxes in pixels of the image from (n, 4) boxes in pixels of the input.

        Boxes are left, top, right, bottom, and cut at the image's borders; n may be 0. The box of
        the whole image on the canvas must come back as 0, 0, width, height exactly.
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
transform = LetterboxTransform.fit(scene.image.shape[:2], input_hw=(256, 320))
with using("lab5.letterbox"):
    canvas = Letterbox(scene.image.shape[:2], input_hw=(256, 320)).apply(scene.image)
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    display(letterbox_panels(scene.image, canvas, content_xyxy=(left, top, left + width, top + height)))

# %% [markdown]
# And the way back. One labelled part is carried into the input by the formula above, and brought back by your
# `to_image` and by three wrong formulas that are found in real code. None of them raises an exception, and on square
# images all of them are right: there is no padding, and the two scales are equal. That is how they get through tests.

# %% tags=["demonstration"]
bearing = scene.xyxy[scene.class_ids == class_names.index("bearing")][:1]
in_input = input_xyxy_from_image_xyxy(bearing.astype(np.float64), transform)
pad, scale = np.array(transform.pad_xy * 2), transform.scale
with using("lab5.letterbox"):
    formulas = {
        "your to_image": Letterbox(scene.image.shape[:2], input_hw=(256, 320)).to_image(in_input),
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

# %% [markdown]
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

# %% [markdown]
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
        output: The head's output with a batch of one, float32 or float16, in the shape of the table
            above; with any number of candidates and classes.
        layout: "anchor_based", "anchor_free" or "end_to_end".
        conf_threshold: A candidate is kept if its score is greater than this.

    Returns:
        `Detections(xyxy, scores, class_ids)` with (n, 4) boxes as left, top, right, bottom in pixels
        of the input, computed in float32 or better, (n,) scores, and (n,) whole class ids; each
        candidate once, with its best class, in any order. n may be 0: then the shapes are (0, 4),
        (0,) and (0,).

    For example, an anchor-free candidate 10, 20, 4, 6, 0.1, 0.8 is the box 8, 17, 12, 23 of class 1
    with score 0.8.
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
    once, again = (best > threshold).sum(), (twice > threshold).sum()
    print(f"threshold {threshold:<4}: {once:5} pass, with a second sigmoid {again:5}")

# %% [markdown]
# <details><summary><b>Check yourself:</b> a model has one class, and its output is (1, 300, 6). Which head is it?
# </summary>
#
# The shape does not tell: $5 + 1 = 6$, so it may be an anchor-based head with 300 anchors as well as an end-to-end
# head. The *number of candidates* helps: anchor-based heads have a multiple of 63 or 255 of them, end-to-end heads a
# round number such as 300. If a program cannot tell it should ask rather than guess, as `detect_layout` of the package
# does.
# </details>

# %% [markdown]
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
heap_output = reference.infer(reference.preprocess([heap])[0])
found = decode(heap_output, layout=OutputLayout.ANCHOR_FREE, conf_threshold=0.25)[0]
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
# - **Classes are strangers.** A nut sits on a bolt: two objects, one place. In the table there is such a pair of classes:
#   a bright block *off* the diagonal.
# - **Coordinates are not pixel indices.** Code from the days of Fast R-CNN adds 1 to each width. With boxes of 6 pixels,
#   this turns an IoU of 0.45 into one of 0.51: over the usual threshold.

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

    For example, boxes [0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10] of one class with scores 0.6,
    0.9, 0.3 give [1, 2] at a threshold of 0.5.
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
# white what waits for a later round, green what was kept before. Eight rounds are shown.

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
# parts side by side 0.5 is generous; in a heap of screws it removes real ones. Sweep it with your function: with a high
# threshold duplicates return, with a low one real neighbours may go.

# %% tags=["demonstration"]
with using("lab5.nms"):
    truth = read_labels(dataset.labels_path(heap_path), num_classes=len(class_names))
    print(f"{len(truth.class_ids)} labelled parts")
    for threshold in (0.05, 0.3, 0.5, 0.7, 0.9, 0.99):
        count = len(nms(found.xyxy, found.scores, found.class_ids, threshold))
        print(f"IoU threshold {threshold:<4}: {count:3} boxes  {'#' * (count // 2)}")

# %% [markdown]
# No threshold gives just the labelled number. Suppression removes duplicates, not mistakes: a bolt that is taken for a
# bearing as well stays twice, since these are two classes.

# %% [markdown]
# <details><summary><b>Check yourself:</b> why do end-to-end heads need no suppression?</summary>
#
# They are trained so that only one candidate per object may score high: the loss punishes every second one. The price
# is paid in training, not at inference, where a step with an unpredictable amount of work disappears. That is worth
# much on devices that run everything in one graph.
# </details>

# %% [markdown]
# <details><summary><b>Check yourself:</b> some exports carry NMS inside the ONNX graph. Why do the labs leave it out?
# </summary>
#
# Its output has a length that depends on the data, which engines handle by copies between device and host or by padding
# to a maximum; INT8 calibration and layer comparison get harder; and thresholds become constants of the file. With few
# candidates, suppression on the host takes about a millisecond, as you will measure in part B.
# </details>

# %% [markdown]
# # Part B · Memory, streams, time
#
# An engine cannot see your array. It sees device memory, and it runs when the GPU gets to it, not when Python calls.
# Between your program and the engine lies a world with rules of its own, and most of the time that deployed detectors
# waste is wasted there: memory allocated for every frame, copies that hold everything up, a GPU that idles while the
# processor draws boxes.
#
# In this part you write what lies in between, once simple and once overlapping. You will not need a GPU to learn it:
# what your program *asks for* can be recorded and counted on any machine, and a small model shows what a GPU would make
# of it. Then you measure: where a frame's time goes, what its tail looks like, which layers are hot and why.

# %%
from collections import deque
from dataclasses import replace
from time import perf_counter

import pycuda.driver as cuda
import tensorrt as trt

from yolotrt_lab.engines.call_trace import record_calls
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.figures.latency import BatchPoint, amdahl, batch_tradeoff, latency_tail, share_bars
from yolotrt_lab.figures.memory_timeline import copy_times, device_timelines, memory_paths, outcomes
from yolotrt_lab.figures.roofline import LayerPoint, Machine, hot_layer_bars, roofline_plot
from yolotrt_lab.profiling.convolutions import convolutions_of
from yolotrt_lab.profiling.layers import main_node, measure_layers
from yolotrt_lab.profiling.reference_gpu import ALL_ON_GPU, COPIES, FRAME_BYTES, H200, LAUNCHES, LOOPS, SWEEP
from yolotrt_lab.profiling.replay import replay
from yolotrt_lab.profiling.timing import measure_latency
from yolotrt_lab.runtimes import tensorrt_buffers
from yolotrt_lab.runtimes.annotation import annotate

tensorrt_buffers.use_primary_context()  # whose memory PyCUDA manages: the context that PyTorch and TensorRT use too

# %% [markdown]
# ## B1 · Where memory lies
#
# The GPU has memory of its own, and a bus in between. To cross it, the bytes must lie still: the copy engine (DMA) works
# with physical addresses, but the operating system may move or swap out any ordinary, **pageable** page at any time. So
# CUDA first copies your array into a buffer that it has **pinned** (page-locked), and sends that. If *you* allocate
# pinned memory, the detour falls away, and the processor has nothing to do with the transfer any more.
#
# | memory | how to get it | who can use it | use it for |
# |---|---|---|---|
# | pageable | `np.empty(shape)` | the processor | everything that does not travel |
# | pinned | `cuda.pagelocked_empty(shape, dtype)` | the processor, and DMA | what travels with every frame |
# | device | `cuda.mem_alloc(nbytes)` | the GPU | inputs, outputs, weights |
# | unified | `cuda.managed_empty(…)` | both, page by page | prototypes, data larger than the GPU |

# %% tags=["demonstration"]
rates = {"pageable": H200.pageable_gb_s, "pinned": H200.pinned_gb_s}
memory_paths(rates, note="Rates of copies to the device, measured for this course on an NVIDIA H200 (PCIe 5).")

# %% [markdown]
# Pinned memory is not free. Allocating it takes a system call per page (1.6 ms for one frame on that machine, longer
# than an inference), and what is pinned is missing to everybody else. So: a little of it, once, for ever.
#
# A copy of $n$ bytes takes about $t(n) = t_0 + n / R$: a fixed price and a rate. Your frame, $(1, 3, 640, 640)$ in
# `float32`, has $n = 1 \cdot 3 \cdot 640 \cdot 640 \cdot 4 = 4.9$ MB.
#
# **Predict.** How long does that frame take on the H200, pageable and pinned? And how does this compare with its
# inference, 0.93 ms? Which of the two copies would you be willing to forget about?
#
# *My guess:* …

# %% tags=["demonstration"]
copy_times(COPIES, sizes={"one frame": FRAME_BYTES}, note="Copies to the device on an NVIDIA H200, with PyCUDA.")

# %% [markdown]
# 0.30 ms against 0.10 ms: a third of the inference, or a tenth. And left of the bend size does not matter: there you
# pay $t_0$, a few microseconds, whatever you copy. Ten small copies cost ten times that.
#
# Now *your* machine. **Predict:** will pinned memory be faster here, too? Think of what "device" means on the platform
# that the first cell of this lab announced.

# %% tags=["demonstration"]
device_memory = cuda.mem_alloc(FRAME_BYTES)
for kind, array in (
    ("pageable", np.zeros(FRAME_BYTES // 4, np.float32)),
    ("pinned", cuda.pagelocked_zeros(FRAME_BYTES // 4, np.float32)),
):
    took = measure_latency(partial(cuda.memcpy_htod, device_memory, array), warmup=3, repeats=30)
    print(f"{kind:9} {took.p50_ms:.3f} ms, {FRAME_BYTES / took.p50_ms / 1e6:5.1f} GB/s")
print(where.timing_label)
device_memory.free()

# %% [markdown]
# On a GPU you see the gap of the picture. In the emulation the "device" is a heap in this process's own memory, so both
# are plain copies within one memory, equally fast. Remember this cell when you read timings below: *counts* mean the
# same on every machine, *milliseconds* do not.
#
# **Unified memory** has one address for both sides; pages move when somebody touches them. That is comfortable, and
# makes the expensive thing invisible: a page fault costs tens of microseconds, in the middle of a kernel. Explicit
# copies let you say *when*. On boards where processor and GPU share one memory (Jetson), it is the better choice.

# %% tags=["demonstration"]
try:
    shared = cuda.managed_empty(4, np.float32, mem_flags=cuda.mem_attach_flags.GLOBAL)
    shared[:] = 1  # written by the processor, readable by the GPU at the same address
    print("unified memory:", shared)
except Exception as error:
    print(error)

# %% [markdown]
# ## B2 · A stream is a queue of promises
#
# A **stream** is a queue of work for the GPU. An asynchronous call puts work into it and returns within microseconds;
# nothing has happened yet. Three rules are all there is:
#
# 1. Work of *one* stream runs in the order in which it was queued.
# 2. Work of *different* streams has no order, unless an event makes one wait for the other.
# 3. The host knows that work is done only after it has waited: `stream.synchronize()`.
#
# So `copy in → infer → copy out` in one stream needs no waiting in between, and exactly one wait at the end. The
# **default stream** (no stream given) is an exception to rule 2: it waits for all the others, and they wait for it.

# %% [markdown]
# Here is a whole inference by hand, with three switches to make a mistake: forget the copy in, change the frame too
# early, forget to wait. It is the skeleton of the class you will write in B3.

# %% tags=["demonstration"]
loaded = load_engine(engine_paths["FP32"])
context, stream = loaded.engine.create_execution_context(), cuda.Stream()
shapes = {"images": (1, 3, 640, 640), "output0": (1, 4 + len(class_names), 8400)}
host = {name: cuda.pagelocked_zeros(shape, np.float32) for name, shape in shapes.items()}
device = {name: cuda.mem_alloc(array.nbytes) for name, array in host.items()}
context.set_input_shape("images", shapes["images"])
for name, memory in device.items():
    context.set_tensor_address(name, int(memory))


# %% tags=["demonstration"]
def run_by_hand(frame, *, copy_in=True, too_early=None, wait=True):
    """Run one frame; the switches are mistakes."""
    host["images"][:] = frame
    if copy_in:
        cuda.memcpy_htod_async(device["images"], host["images"], stream)
    if too_early is not None:
        host["images"][:] = too_early  # the next frame arrives while the copy is still queued
    context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(host["output0"], device["output0"], stream)
    if wait:
        stream.synchronize()
    return host["output0"].copy()


# %% [markdown]
# **Predict.** Four programs run the same photograph: the right one and one for each mistake. What will each of them
# find? Which mistake raises an error?
#
# *My guess:* …

# %% tags=["demonstration"]
photo, next_photo, old_photo = (read_image(path) for path in dataset.images("test")[4:7])
frame, next_frame, old_frame = (reference.preprocess([image])[0].copy() for image in (photo, next_photo, old_photo))
transforms = reference.preprocess([photo])[1]
outputs = {"as it should be": run_by_hand(frame)}
outputs["next frame too early"] = run_by_hand(frame, too_early=next_frame)
run_by_hand(old_frame)  # any earlier photograph
outputs["forgotten wait"] = run_by_hand(frame, wait=False)
stream.synchronize()  # tidy up what that one left in the stream
device["images"] = cuda.mem_alloc(host["images"].nbytes)  # fresh memory: nothing was ever written there
context.set_tensor_address("images", int(device["images"]))
outputs["forgotten copy in"] = run_by_hand(frame, copy_in=False)
for title, output in outputs.items():
    difference = np.abs(output - outputs["as it should be"]).max()
    print(f"{title:22} {np.isnan(output).mean():5.0%} NaN, largest difference {difference:.3g}")


# %% tags=["demonstration"]
def picture(output):
    """Return the photograph with what a program found in it."""
    found = reference.postprocess(np.nan_to_num(output), transforms)[0]
    return annotate(photo, found, class_names=class_names)


outcomes({title: picture(output) for title, output in outputs.items()})

# %% [markdown]
# No mistake raised an error. On a GPU none of them is *visibly* wrong either; each gives an answer, and often a
# plausible one. The emulation makes them visible on purpose: fresh device memory holds NaN, and queued work really does
# not run before somebody waits. This is what an H200 did in 300 tries each:
#
# | mistake | what the H200 made of it |
# |---|---|
# | forgotten wait | 299 of 300 times the result of the *previous* frame, one frame late for ever |
# | next frame too early | 293 of 300 times (300 when the GPU was busy) bytes of the *next* frame in this one |
# | forgotten copy in | fresh memory was all zeros: a black image, in which nothing is found |
#
# A detector that is one frame late passes every test with a still image.

# %% [markdown]
# Nobody can see a GPU work, but everybody can see what a program asks of it. `record_calls` puts itself between your
# program and PyCUDA and TensorRT, like NVIDIA's Nsight Systems does, and lists the calls:

# %% tags=["demonstration"]
with record_calls() as trace:
    run_by_hand(frame)
print("\n".join(trace.lines()))

# %% [markdown]
# Two copies, one inference, one wait, all in one stream, both copies pinned and asynchronous. Learn to read this list;
# it is how the next two exercises are graded.
#
# **Events** are marks in a stream. They serve three purposes: to wait for a place in a stream instead of its end, to
# make one stream wait for another (`stream.wait_for_event(event)`), and to measure: the GPU notes the time when it
# passes the mark, so the host's own delays are not in the result.

# %% tags=["demonstration"]
start, copied, done = cuda.Event(), cuda.Event(), cuda.Event()
start.record(stream)
cuda.memcpy_htod_async(device["images"], host["images"], stream)
copied.record(stream)
context.execute_async_v3(stream.handle)
done.record(stream)
done.synchronize()
print(f"copy in {start.time_till(copied):.2f} ms, inference {copied.time_till(done):.2f} ms; {where.timing_label}")

# %% [markdown]
# <details><summary><b>Check yourself:</b> why does <code>time.perf_counter()</code> around
# <code>execute_async_v3</code> measure almost nothing?</summary>
#
# The call only queues the work. The time between two clock readings on the host is the time to *ask*, a few
# microseconds. Either the measured piece ends with a wait, or events measure on the device.
# </details>
#
# <details><summary><b>Check yourself:</b> you call <code>memcpy_htod_async</code> with an ordinary NumPy array. What
# happens?</summary>
#
# It works, and it is not asynchronous: CUDA copies the array through its own pinned buffer and holds your program up
# meanwhile. Nothing warns you; the name of the function is a wish.
# </details>

# %% [markdown]
# ## B3 · Memory that is allocated once
#
# This is how inference is written in many a tutorial: allocate what the frame needs, copy, run, copy, done. It is right.
# Look at what it asks for, and what an H200 would make of six such frames.


# %% tags=["demonstration"]
def tutorial_loop(frames):
    """Run frames one by one, with memory allocated for each; right, and slow."""
    for one in frames:
        memory = {name: cuda.mem_alloc(array.nbytes) for name, array in host.items()}
        for name, address in memory.items():
            context.set_tensor_address(name, int(address))
        cuda.memcpy_htod(memory["images"], one)
        context.execute_async_v3(0)
        result = np.empty_like(host["output0"])
        cuda.Context.synchronize()
        cuda.memcpy_dtoh(result, memory["output0"])


six = [frame] * 6
with record_calls() as tutorial:
    tutorial_loop(six)
print("\n".join(tutorial.lines()[:6]))

# %% tags=["demonstration"]
MODEL_NOTE = "Your calls on a model of an NVIDIA H200, 0.4 ms of your program per frame: not a measurement."
programs = {"tutorial": tutorial.calls}
device_timelines({"tutorial": replay(tutorial.calls, gpu=H200, host_us=400)}, note=MODEL_NOTE)

# %% [markdown]
# The four rows are the four things that can work at the same time: your program, the two copy engines, and the part that
# computes. Here only ever one of them does. Everything orange and gray in the top row is your program doing nothing
# useful.
#
# ### Exercise 4: `lab5.buffers`
#
# Write a class that holds an execution context, a stream of its own, and for every input and output pinned host memory
# and device memory. It allocates in `__init__` and never again. `submit` and `wait` are separate, so that in B4 another
# frame can be handed in between. Everything you need was in `run_by_hand`; what is new: the names come from the engine,
# and the batch may be smaller than the largest. (12 points, about 45 minutes, difficulty 4 of 5. Use `cuda`, not the
# package's runtimes.)


# %% nbgrader={"grade": false, "grade_id": "lab5-buffers", "locked": false, "schema_version": 3, "solution": true, "task": false}
class EngineBuffers:
    """One execution context with its memory.

    Example:
        >>> buffers = EngineBuffers(engine, 4)
        >>> buffers.submit({"images": frames})   # returns at once; frames (3, 3, 640, 640): fewer than 4 are fine
        >>> buffers.wait()["output0"].shape      # (3, 12, 8400)
    """

    def __init__(self, engine, batch):
        """Make context and stream, and allocate pinned and device memory for `batch` images.

        `engine` tells its tensors: `num_io_tensors`, `get_tensor_name(index)`, `get_tensor_mode(name)`
        (`trt.TensorIOMode.INPUT` or `OUTPUT`), `get_tensor_dtype(name)` (see `trt.nptype`) and
        `get_tensor_shape(name)`. The first axis of each is the batch, -1 there; how many tensors there are, and what
        they are called, differs from engine to engine. When the inputs' shapes are set, the context knows those of
        the outputs: `context.get_tensor_shape(name)`.
        """
        ### BEGIN SOLUTION
        self.context, self.stream = engine.create_execution_context(), cuda.Stream()
        self.host, self.device = {}, {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if name not in self.inputs]
        for name in self.inputs:
            self.context.set_input_shape(name, (batch, *tuple(engine.get_tensor_shape(name))[1:]))
        for name in names:
            dtype = trt.nptype(engine.get_tensor_dtype(name))
            self.host[name] = cuda.pagelocked_empty(tuple(self.context.get_tensor_shape(name)), dtype)
            self.device[name] = cuda.mem_alloc(self.host[name].nbytes)
            self.context.set_tensor_address(name, int(self.device[name]))
        ### END SOLUTION

    def submit(self, feeds):
        """Queue one inference and return without waiting.

        Args:
            feeds: Input name to array (n, …), n from 1 to `batch`; any memory layout. The caller may overwrite it as
                soon as this returns. Copy only the n images, one copy per tensor, in your stream.
        """
        ### BEGIN SOLUTION
        for name in self.inputs:
            self.count = len(feeds[name])
            staged = self.host[name][: self.count]
            np.copyto(staged, feeds[name])
            self.context.set_input_shape(name, staged.shape)
            cuda.memcpy_htod_async(self.device[name], staged, self.stream)
        self.context.execute_async_v3(self.stream.handle)
        for name in self.outputs:
            cuda.memcpy_dtoh_async(self.host[name][: self.count], self.device[name], self.stream)
        ### END SOLUTION

    def wait(self):
        """Wait once, for what was submitted, and return output name to array (n, …).

        The arrays belong to the caller: the next frame must not change them.
        """
        ### BEGIN SOLUTION
        self.stream.synchronize()
        return {name: self.host[name][: self.count].copy() for name in self.outputs}
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-buffers-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab5.buffers")

# %% [markdown]
# Your class on the real network: the same six frames, recorded and replayed on the same model.

# %% tags=["demonstration"]
with using("lab5.buffers"):
    buffers = EngineBuffers(loaded.engine, 1)
    with record_calls() as once:
        for one in six:
            buffers.submit({"images": one})
            result = buffers.wait()
    difference = np.abs(result["output0"] - outputs["as it should be"]).max()
    print(f"largest difference to the program by hand: {difference:.2g}")
    programs["your buffers"] = once.calls
    replays = {name: replay(calls, gpu=H200, host_us=400) for name, calls in programs.items()}
    display(device_timelines(replays, note=MODEL_NOTE))

# %% [markdown]
# The frame became shorter, and still only one thing happens at a time. That is no fault of your class: the *loop* waits
# for each frame before it looks at the next.
#
# <details><summary><b>Check yourself:</b> why does <code>wait</code> copy the result again, from pinned memory into a
# fresh array? Is that not the very waste we avoid?</summary>
#
# It is a copy within the processor's memory, a few hundredths of a millisecond here, and it buys safety: whoever keeps the result does
# not see it change. A pipeline that is done with a result before it submits the next may hand out the view. That is a
# contract to be written down, not an optimisation to slip in.
# </details>

# %% [markdown]
# ## B4 · Double buffering
#
# While the GPU computes frame $i$, the processor could prepare frame $i+1$ and copy it over. For that the next frame has
# to be handed in *before* the last one is awaited, and since its memory is in use, there must be two sets of it. With
# $n$ frames, and times $t_\text{host}$ for your program, $t_\text{in}$, $t_\text{infer}$ and $t_\text{out}$:
#
# $$ T_\text{one after the other} = n\,(t_\text{host} + t_\text{in} + t_\text{infer} + t_\text{out}), \qquad
#    T_\text{overlapping} \approx n \cdot \max(t_\text{host},\ t_\text{in},\ t_\text{infer},\ t_\text{out}). $$
#
# The slowest part alone decides: throughput rises, but *no frame gets through faster*. And there is one trap that no
# error message tells you about: an execution context holds the intermediate results of one inference. Two inferences
# at once need two contexts; in one they overwrite each other.

# %% [markdown]
# **Predict.** On the H200: $t_\text{host} = 0.4$, $t_\text{in} = 0.09$, $t_\text{infer} = 0.93$, $t_\text{out} = 0.01$
# ms. What is the gain of double buffering at most? And with an engine three times as fast?
#
# *My guess:* …
#
# ### Exercise 5: `lab5.double_buffering`
#
# Write a generator that takes frames from a camera and yields their results in order, with two frames under way. For
# the buffers use the package's tested ones, `tensorrt_buffers.EngineBuffers(engine, 1)`, which have the same `submit`
# and `wait` as yours; so this does not depend on the last exercise. (9 points, about 30 minutes, difficulty 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-double_buffering", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_buffered(engine, frames):
    """Yield the result of every frame, in order, with the next frame already under way.

    Args:
        engine: A TensorRT engine with the input "images", batch 1.
        frames: An iterator over float32 arrays (1, 3, height, width): a camera. It may never end, or be empty. It has
            one piece of memory, which it overwrites when the next frame is asked for.

    Yields:
        For each frame a dict, output name to array, as soon as possible: frame i + 1 is submitted before frame i is
        awaited (if there is one), and at most two frames are under way. Two sets of buffers take turns, made once.
    """
    ### BEGIN SOLUTION
    sets = [tensorrt_buffers.EngineBuffers(engine, 1), tensorrt_buffers.EngineBuffers(engine, 1)]
    under_way = deque()
    for number, frame in enumerate(frames):
        if len(under_way) == 2:
            yield under_way.popleft().wait()
        sets[number % 2].submit({"images": frame})
        under_way.append(sets[number % 2])
    while under_way:
        yield under_way.popleft().wait()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-double_buffering-check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("lab5.double_buffering")

# %% tags=["demonstration"]
with using("lab5.double_buffering"):
    with record_calls() as doubled:
        for _ in double_buffered(loaded.engine, iter(six)):
            pass
    kinds = ("copy", "infer", "wait")
    programs["two sets"] = [call for call in doubled.calls if call.action in kinds]  # making them happens once
    replays = {name: replay(calls, gpu=H200, host_us=400) for name, calls in programs.items()}
    display(device_timelines(replays, note=MODEL_NOTE))

# %% [markdown]
# The third panel is what a fast deployment looks like: the compute row is full. From here on only a faster engine helps.
# Now make it three times as fast and look again. Which row is the bottleneck now?

# %% tags=["demonstration"]
with using("lab5.double_buffering"):
    faster = replace(H200, infer_ms=H200.infer_ms / 3)
    replays = {name: replay(calls, gpu=faster, host_us=400) for name, calls in programs.items()}
    display(device_timelines(replays, note=MODEL_NOTE + " The engine is three times as fast."))

# %% [markdown]
# How far can you trust such a model? As far as it was compared with reality. On an H200 the same loops ran for real,
# with a kernel in place of the engine that keeps the GPU busy for a known time:

# %% tags=["demonstration"]
print(f"{'loop on an H200':34} {'kernel':>8} {'measured':>9} {'model':>8}   per frame")
for loop in LOOPS:
    model = replay(loop.calls(100), gpu=replace(H200, infer_ms=loop.infer_us / 1e3)).total_us / 100
    print(f"{loop.name:34} {loop.infer_us / 1e3:5.2f} ms {loop.frame_us / 1e3:6.2f} ms {model / 1e3:5.2f} ms")

# %% [markdown]
# The model is within 10 % of each of these eight; its rates were fitted to single copies, not to the loops. It leaves
# out what it does not know: a bus that others use too, several small kernels side by side, a clock that slows down when
# the chip is hot.
#
# <details><summary><b>Check yourself:</b> would three sets be better than two?</summary>
#
# Not if the slowest part is busy all the time already: on the H200 three streams took the same 0.911 ms per frame as
# two. A third set helps when the times of frames vary, at the price of one more frame of latency.
# </details>
#
# <details><summary><b>Check yourself:</b> <code>frames</code> is a camera with 25 frames per second, and a frame takes
# 1.5 ms. What does double buffering bring?</summary>
#
# Nothing: 38 of 40 ms the GPU waits for the camera, and the result of each frame now comes one frame later, when the
# next one has been handed in. Overlap is for work that is there. Look at the camera first, then at the pipeline.
# </details>

# %% [markdown]
# ## B5 · When asking takes longer than doing: CUDA graphs
#
# A YOLOv5n is about 250 kernels, and each has to be launched by the processor. This is one image on the H200, FP16 in
# PyTorch, once launched kernel by kernel and once as a **CUDA graph**: the launches are recorded once and then replayed
# by a single call.

# %% tags=["demonstration"]
for launch in LAUNCHES:
    print(f"{launch.name:17} asked for in {launch.host_ms:6.4f} ms, done after {launch.done_ms:.2f} ms")

# %% [markdown]
# The kernels keep the GPU busy for 0.88 ms. Launched one by one they take 2.60 ms, because the processor cannot ask fast
# enough: the GPU waits for Python. TensorRT fuses layers and launches from C++, so the gap is smaller there, but for
# small networks and batches it is still the cheapest factor there is. With `cuda.bindings`:
#
# ```python
# cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
# cudart.cudaMemcpyAsync(…); context.execute_async_v3(stream); cudart.cudaMemcpyAsync(…)   # noted, not run
# _, graph = cudart.cudaStreamEndCapture(stream)
# _, executable = cudart.cudaGraphInstantiate(graph, 0)
# cudart.cudaGraphLaunch(executable, stream)                                                # per frame: one call
# ```

# %% [markdown]
# The price: addresses and shapes are frozen in the graph. That is why it belongs *after* B3: whoever allocates per frame
# cannot capture. One graph per batch size, captured after one ordinary run (TensorRT finishes its set-up then). Nothing
# that waits or allocates may happen during the capture.
#
# Here on the processor there is no launch to save, and the emulation refuses to pretend:

# %% tags=["demonstration"]
try:
    from cuda.bindings import runtime as cudart

    print(cudart.cudaStreamBeginCapture.__name__, "is there: capture run_by_hand's calls, if you like")
except Exception as error:
    print(error)

# %% [markdown]
# ## B6 · Where the time goes, and Amdahl's law
#
# Before you make something faster, find out what it is worth. If a stage takes the share $p$ of the time and becomes $k$
# times as fast, the whole becomes faster by
#
# $$ S(k) = \frac{1}{(1 - p) + p/k}, \qquad S(\infty) = \frac{1}{1-p}. $$
#
# This is Amdahl's law, and it is merciless: with $p = 0.6$, an engine of infinite speed makes your detector 2.5 times as
# fast, not more. Vendors quote $k$. You get $S$.
#
# The next cell times the five stages of real frames on your machine. It waits after every stage, which a fast program
# would not do: to *see* stages one has to separate them.


# %% tags=["demonstration"]
def five_stages(image):
    """Return the milliseconds of each stage of one frame, each waited for."""
    stamps = [perf_counter()]
    batch, placed = reference.preprocess([image])
    stamps.append(perf_counter())
    cuda.memcpy_htod(device["images"], batch)
    stamps.append(perf_counter())
    context.execute_async_v3(stream.handle)
    stream.synchronize()
    stamps.append(perf_counter())
    cuda.memcpy_dtoh(host["output0"], device["output0"])
    stamps.append(perf_counter())
    reference.postprocess(host["output0"], placed)
    stamps.append(perf_counter())
    return 1e3 * np.diff(stamps)


# %% tags=["demonstration"]
context.set_tensor_address("output0", int(device["output0"]))
context.set_tensor_address("images", int(device["images"]))
photos = [read_image(path) for path in dataset.images("test")[:24]]
table = np.array([five_stages(photo) for photo in photos * 2])
stages = ("preprocess", "copy_in", "inference", "copy_out", "postprocess")
stage_ms = dict(zip(stages, table.T, strict=True))

# %% [markdown]
# **Predict.** Which share has the inference on your machine? And on a GPU that computes ten times as fast, with the same
# processor beside it?
#
# *My guess:* …

# %% tags=["demonstration"]
medians = {stage: float(np.median(times[8:])) for stage, times in stage_ms.items()}
with_gpu = {**medians, "copy_in": 0.1, "inference": H200.infer_ms, "copy_out": 0.05}
GPU_NOTE = "With a GPU: your pre- and postprocessing, and an H200's copies and inference"
pipelines = {"this machine": medians, "with a GPU": with_gpu, "all on the GPU": ALL_ON_GPU}
share_bars(pipelines, note=GPU_NOTE, platform=where)

# %% [markdown]
# The second bar is a thought experiment: *your* pre- and postprocessing beside the H200's measured copies and inference.
# It is what people find when they put a fast GPU into a slow pipeline: the engine is no longer what takes the time. The
# third was measured: letterbox and NMS as kernels (`yolotrt_lab.gpu`), everything from the image in pinned memory to the
# boxes on the host asked for as one CUDA graph. On the host's clock that took 1.02 ms, the network alone 0.94 ms.
#
# ### Exercise 6: `lab5.stage_breakdown`
#
# Compute medians, shares, Amdahl's speed-up and bound, and turn the question round: how much faster must the engine
# become to reach a target, if it can be reached at all? (5 points, about 20 minutes, difficulty 2 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-stage_breakdown", "locked": false, "schema_version": 3, "solution": true, "task": false}
def stage_breakdown(stage_ms, *, warmup, engine_speedup, target_ms):
    """Say where a frame's time goes and what a faster engine brings.

    Args:
        stage_ms: Stage name to array (frames,) of milliseconds: "preprocess", "copy_in", "inference", "copy_out",
            "postprocess".
        warmup: How many frames at the beginning to leave out.
        engine_speedup: How many times as fast the inference becomes; the other stages stay.
        target_ms: What a frame (the sum of the stages' medians) is meant to take.

    Returns:
        A dict with
            "median_ms": stage to its median;
            "share": stage to its part of the sum of medians, from 0 to 1;
            "speedup": how many times as fast the frame becomes with `engine_speedup`;
            "bound": how many times as fast with an inference that takes no time;
            "needed": how many times as fast the inference must become to reach `target_ms` exactly; 1 if the frame is
                fast enough already, None if no engine can do it.
    """
    ### BEGIN SOLUTION
    median_ms = {stage: float(np.median(times[warmup:])) for stage, times in stage_ms.items()}
    total, inference = sum(median_ms.values()), median_ms["inference"]
    others = total - inference
    return {
        "median_ms": median_ms,
        "share": {stage: value / total for stage, value in median_ms.items()},
        "speedup": total / (others + inference / engine_speedup),
        "bound": total / others,
        "needed": max(inference / (target_ms - others), 1.0) if target_ms > others else None,
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-stage_breakdown-check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("lab5.stage_breakdown")

# %% tags=["demonstration"]
with using("lab5.stage_breakdown"):
    answer = stage_breakdown(stage_ms, warmup=8, engine_speedup=2, target_ms=sum(medians.values()) / 2)
    print(f"an engine twice as fast: {answer['speedup']:.2f} times as fast; at most {answer['bound']:.2f} times")
    needed = "no engine can do it" if answer["needed"] is None else f"the engine must become {answer['needed']:.2f} x"
    print(f"to halve the frame's time: {needed}")
    gpu_samples = {stage: [value] for stage, value in with_gpu.items()}
    faster = stage_breakdown(gpu_samples, warmup=0, engine_speedup=2, target_ms=1)
    print(f"beside the H200: an engine twice as fast brings {faster['speedup']:.2f}, at most {faster['bound']:.2f}")
    display(amdahl(faster["median_ms"], note=GPU_NOTE, platform=where))

# %% [markdown]
# The picture is that of the thought experiment, with your own pre- and postprocessing in it. Whoever buys the next GPU
# for such a pipeline pays for a shorter blue piece. Whoever moves the preprocessing to the GPU gets more for nothing.
#
# <details><summary><b>Check yourself:</b> Amdahl's law assumes that stages run one after the other. What is the bound
# when they overlap, as in B4?</summary>
#
# Then the slowest stage sets the pace: $1 / \max_i t_i$. Making any other stage faster brings nothing at all, not even
# a little. Amdahl still holds for the *latency* of a single frame, which overlap does not shorten.
# </details>

# %% [markdown]
# ## B7 · The tail, and the price of a batch
#
# "It takes 20 ms" is never true; it takes a *distribution*. The **median** is what happens usually. The **p99** is what
# 99 of 100 frames keep: at 25 frames per second, one frame every four seconds is slower. The **mean** describes no frame
# at all, but a long run's total.
#
# **Predict.** In the next picture, how far will the p99 be from the median: 5 %, 50 %, or more? What could make a single
# call slower than its neighbours, when it does exactly the same work?
#
# *My guess:* …

# %% tags=["demonstration"]
loaded_int8 = load_engine(engine_paths["INT8"])
quick = tensorrt_buffers.EngineBuffers(loaded_int8.engine, 1)


def one_frame():
    """Run one frame through the INT8 engine and wait for it."""
    quick.submit({"images": frame})
    quick.wait()


latency = measure_latency(one_frame, warmup=5, repeats=200, max_seconds=6)
latency_tail(latency.samples_ms, platform=where)

# %% [markdown]
# Same work, other times: the operating system gave the core to somebody else, a clock changed, a cache was cold. On a
# GPU the computing itself is steadier; its tail comes from the host, from copies, and from other programs on the GPU.
# For a pusher that must fire within 40 ms only the tail counts. Look at a tail with enough calls: the p99 of 50 calls is
# the slowest of them, a single accident.
#
# **Batches.** A GPU has tens of thousands of lanes, and one small image does not fill them. Several images at once do:
# throughput rises, and so does latency, because an image is done when its *batch* is. The recorded H200:

# %% tags=["demonstration"]
sweeps = {
    "one CUDA graph": [BatchPoint(p.batch, p.graph_p50_ms, 1000 * p.batch / p.graph_mean_ms) for p in SWEEP[:8]],
    "kernel by kernel": [BatchPoint(p.batch, p.eager_p50_ms, 1000 * p.batch / p.eager_mean_ms) for p in SWEEP[:8]],
}
H200_NOTE = "Recorded on an NVIDIA H200: YOLOv5n at 640 in FP16, PyTorch 2.11"
batch_tradeoff(sweeps, latency="median of the whole batch", note=H200_NOTE)

# %% [markdown]
# Up to 16 images the launched kernels take about 3 ms whatever the batch: the GPU waits for the processor, and more
# images are free. From 64 on throughput stands still and only latency grows: the GPU is full. Between them lies the
# decision. (And from 64 on the graph brings nothing any more: asking is hidden behind doing.)
#
# A camera adds something that no sweep shows: a batch has to **fill**. With $\lambda$ images per second, the first of
# $b$ images waits for the other $b - 1$ to arrive:
#
# $$ t_\text{worst}(b) = \underbrace{\frac{b - 1}{\lambda}}_{\text{filling}} + t_{99}(b). $$
#
# And the engine must keep up: if it gets fewer than $\lambda$ images done per second, the queue grows for ever.

# %% [markdown]
# ### Exercise 7: `lab5.batch_sweep`
#
# Choose a batch: the highest throughput among those that keep the budget (tail and filling included) and keep up. (5
# points, about 25 minutes, difficulty 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-batch_sweep", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_batch(sweep, *, budget_ms, images_per_s):
    """Choose the batch with the highest throughput that keeps a latency budget.

    Args:
        sweep: Batch to array (calls,) of milliseconds, each of one whole batch; batches in any order.
        budget_ms: No image may take longer from its arrival, save for one call in a hundred.
        images_per_s: The rate at which images arrive one by one; None if they are all there already (a folder).

    Returns:
        A dict with
            "p99_ms": batch to the 99th percentile of its calls;
            "images_per_s": batch to the images that a long run of such calls gets done per second;
            "worst_ms": batch to its p99 plus what the first image waits until the batch is full;
            "batch": the batch with the most images per second among those whose worst time is within the budget and
                which keep up with the arriving images; None if there is none.
    """
    ### BEGIN SOLUTION
    p99_ms = {batch: float(np.quantile(times, 0.99)) for batch, times in sweep.items()}
    throughput = {batch: 1000 * batch / float(np.mean(times)) for batch, times in sweep.items()}
    step_ms = 0.0 if images_per_s is None else 1000 / images_per_s
    worst_ms = {batch: p99_ms[batch] + (batch - 1) * step_ms for batch in sweep}
    allowed = [b for b in sweep if worst_ms[b] <= budget_ms and throughput[b] >= (images_per_s or 0)]
    return {
        "p99_ms": p99_ms,
        "images_per_s": throughput,
        "worst_ms": worst_ms,
        "batch": max(sorted(allowed), key=throughput.get, default=None),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-batch_sweep-check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("lab5.batch_sweep")

# %% [markdown]
# Now a sweep of your own, with the engine of this lab. **Predict:** on this machine, will a batch of four images get
# more done per second than four single images? Think of what was *not* full on the H200.

# %% tags=["demonstration"]
measured = {}
with open_runtime(engine_paths["FP32"], batch=4) as engine:
    for size in (1, 2, 4):
        block = {"images": np.repeat(frame, size, axis=0)}
        run = partial(engine.infer, block)
        measured[size] = measure_latency(run, warmup=3, repeats=24, max_seconds=4).samples_ms
points = [BatchPoint(b, np.quantile(t, 0.99), 1000 * b / np.mean(t)) for b, t in measured.items()]
batch_tradeoff({"FP32 at 640": points}, latency="p99 of the whole batch", platform=where)

# %% tags=["demonstration"]
with using("lab5.batch_sweep"):
    for budget, load in ((2, None), (8, None), (8, 0.5)):
        budget_ms = budget * float(np.quantile(measured[1], 0.99))
        rate = load and load * 1000 / float(np.mean(measured[1]))  # half of what single images get done
        chosen = choose_batch(measured, budget_ms=budget_ms, images_per_s=rate)["batch"]
        arriving = "all images there" if rate is None else f"{rate:.3g} images per second"
        print(f"budget {budget_ms:6.1f} ms, {arriving:20}: batch {chosen}")

# %% [markdown]
# A processor with few cores is full with one image, so batches bring it next to nothing. On a GPU they bring a factor of
# seven. This is the kind of result that does not carry over from one machine to another: not even its *direction* does.
#
# <details><summary><b>Check yourself:</b> why is the throughput computed from the mean and the budget from the
# p99?</summary>
#
# A long run pays for every call, the slow ones too, and the sum of all times is what the mean tells. A promise to each
# single user is about the slow calls alone. Two questions, two summaries of the same numbers.
# </details>

# %% [markdown]
# ## B8 · Hot layers
#
# When the engine *is* the bottleneck, look inside. TensorRT reports the time of each layer to an object that you give
# to the context (`context.profiler = timer`): after every inference it calls `report_layer_time(name, ms)` once per
# layer. The class has to inherit from `trt.IProfiler`, and since that is a C++ class, its `__init__` must be called.
#
# Profiling has its price: a clock reading around every layer, and no overlap between them. So the sum of layers is not
# the latency, and nobody leaves a profiler on in production. What it tells are *shares*.
#
# ### Exercise 8: `lab5.hot_layers`
#
# Collect the reports of several runs, and find the few layers worth working on. (6 points, about 25 minutes, difficulty
# 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-hot_layers", "locked": false, "schema_version": 3, "solution": true, "task": false}
class LayerTimer(trt.IProfiler):
    """Collects layer times over several runs.

    Example:
        >>> timer = LayerTimer()
        >>> for name, ms in (("a", 9.0), ("b", 1.0), ("a", 2.0), ("b", 1.0), ("a", 3.0), ("b", 1.0)):  # three runs
        ...     timer.report_layer_time(name, ms)
        >>> timer.layer_ms()         # {"a": 3.0, "b": 1.0}
        >>> timer.hot_layers(0.5)    # ["a"]: it takes 3 of 4 ms
    """

    def __init__(self):
        """Begin with nothing."""
        ### BEGIN SOLUTION
        trt.IProfiler.__init__(self)
        self.times = {}
        ### END SOLUTION

    def report_layer_time(self, layer_name, ms):
        """Take note of one layer's time in one run. Called by TensorRT."""
        ### BEGIN SOLUTION
        self.times.setdefault(layer_name, []).append(ms)
        ### END SOLUTION

    def layer_ms(self):
        """Return layer name to its median over all runs, in the order in which the layers run; {} before any run."""
        ### BEGIN SOLUTION
        return {name: float(np.median(times)) for name, times in self.times.items()}
        ### END SOLUTION

    def hot_layers(self, share):
        """Return the names of the fewest layers that together take at least `share` (0 to 1) of all layers' time.

        Slowest first; of equal ones the one that runs earlier. [] before any run.
        """
        ### BEGIN SOLUTION
        layer_ms = self.layer_ms()
        total, covered, hot = sum(layer_ms.values()), 0.0, []
        for name in sorted(layer_ms, key=lambda name: -layer_ms[name]):
            if covered >= share * total:
                break
            hot.append(name)
            covered += layer_ms[name]
        return hot
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-hot_layers-check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("lab5.hot_layers")

# %% [markdown]
# **Predict.** The FP32 engine of the detector has over a hundred layers. How many of them take half of the time? And are
# they at the beginning of the network (large maps, few channels) or at its end (small maps, many channels)?
#
# *My guess:* …

# %% tags=["demonstration"]
with using("lab5.hot_layers"):
    timer = LayerTimer()
    profiled = tensorrt_buffers.EngineBuffers(loaded.engine, 1, profiler=timer)
    for _ in range(12):
        profiled.submit({"images": frame})
        profiled.wait()
    layer_ms, hot = timer.layer_ms(), timer.hot_layers(0.5)
    short = {name: name.split(" + ")[0] for name in layer_ms}
    bars = {short[name]: time_ms for name, time_ms in layer_ms.items()}
    display(hot_layer_bars(bars, [short[name] for name in hot], share=0.5, platform=where))

# %% [markdown]
# A dozen layers take half of the time; over a hundred others share the rest. Those few are where another precision,
# another kernel, or a smaller head pays. But how much *could* a layer gain? That is the last question.

# %% [markdown]
# ## B9 · The roofline: how fast could it be?
#
# A layer needs operations, and it needs bytes: its input and weights must be read, its output written. The machine has a
# peak rate for each. Their ratio in the layer is its **arithmetic intensity** $I$, in operations per byte:
#
# $$ I = \frac{\text{operations}}{\text{bytes}}, \qquad
#    \text{attainable rate} = \min(\text{peak},\ I \cdot \text{bandwidth}), \qquad
#    I_\text{ridge} = \frac{\text{peak}}{\text{bandwidth}}. $$
#
# Left of the ridge memory is the limit: more arithmetic units would idle. Right of it arithmetic is. That tells what
# helps: fewer bytes (fusion, INT8, FP16) on the left, fewer or cheaper operations on the right.

# %% [markdown]
# For a convolution with $C_\text{in}$ and $C_\text{out}$ channels, a $k \times k$ kernel, $g$ groups, a batch of $n$,
# from $h \times w$ to $h' \times w'$ pixels, with $h' = \lfloor (h + 2p - k)/s \rfloor + 1$ for padding $p$, stride $s$:
#
# $$ \text{operations} = 2 \cdot n\, C_\text{out}\, h' w' \cdot \frac{C_\text{in}}{g}\, k^2, $$
#
# $$ \text{values} = \underbrace{n\, C_\text{in}\, h\, w}_{\text{input}}
#    + \underbrace{C_\text{out} \tfrac{C_\text{in}}{g} k^2}_{\text{weights}}
#    + \underbrace{n\, C_\text{out}\, h' w'}_{\text{output}} . $$
#
# The 2 counts a multiplication *and* an addition. Weights are read once per batch, not once per image: that is why a
# batch raises the intensity.

# %% [markdown]
# ### Exercise 9: `lab5.roofline`
#
# (5 points, about 25 minutes, difficulty 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def roofline(layer, *, peak_gflops, bandwidth_gb_s):
    """Say what holds a convolution back, and how fast it can be at most.

    Args:
        layer: A dict: "batch", "in_channels", "out_channels", "in_hw" (height, width), "kernel", "stride", "padding",
            "groups", "bytes_per_value" (4 for FP32, 2 for FP16, 1 for INT8; the same for input, weights, output).
        peak_gflops: 10^9 operations per second that the machine can do.
        bandwidth_gb_s: 10^9 bytes per second that its memory can move.

    Returns:
        A dict with "flops" (operations), "bytes" (each value moved once; no bias), "intensity" (operations per byte),
        "attainable_gflops", "bound" ("memory" left of the ridge, else "compute"), and "least_ms": the milliseconds
        that no run can undercut, reading and computing going on at the same time.
    """
    ### BEGIN SOLUTION
    out_h, out_w = ((size + 2 * layer["padding"] - layer["kernel"]) // layer["stride"] + 1 for size in layer["in_hw"])
    per_output = layer["in_channels"] // layer["groups"] * layer["kernel"] ** 2
    outputs = layer["batch"] * layer["out_channels"] * out_h * out_w
    inputs = layer["batch"] * layer["in_channels"] * layer["in_hw"][0] * layer["in_hw"][1]
    flops = 2 * outputs * per_output
    nbytes = layer["bytes_per_value"] * (inputs + layer["out_channels"] * per_output + outputs)
    intensity = flops / nbytes
    attainable = min(peak_gflops, intensity * bandwidth_gb_s)
    return {
        "flops": flops,
        "bytes": nbytes,
        "intensity": intensity,
        "attainable_gflops": attainable,
        "bound": "memory" if intensity * bandwidth_gb_s < peak_gflops else "compute",
        "least_ms": flops / attainable / 1e6,
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab5-roofline-check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("lab5.roofline")

# %% [markdown]
# The roof of *this* machine, measured rather than read off a data sheet: a large matrix product is the best customer of
# arithmetic, a large copy that of memory. (On a GPU the engine does not run on this processor: replace both numbers by
# your GPU's.)

# %% tags=["demonstration"]
matrix = np.random.default_rng(0).random((512, 512), np.float32)
product = measure_latency(lambda: matrix @ matrix, warmup=5, repeats=200, max_seconds=3)
source, target = np.ones(1 << 26, np.uint8), np.empty(1 << 26, np.uint8)
moving = measure_latency(lambda: np.copyto(target, source), warmup=3, repeats=20, max_seconds=2)
here = Machine("This machine, FP32", 2 * 512**3 / product.min_ms / 1e6, 2 * source.nbytes / moving.min_ms / 1e6)
print(f"{here.peak_gflops:.0f} GFLOP/s, {here.bandwidth_gb_s:.0f} GB/s, ridge at {here.ridge:.1f} operations per byte")

# %% tags=["demonstration"]
convolutions = convolutions_of(onnx_paths["FP32"])
limits = {"peak_gflops": here.peak_gflops, "bandwidth_gb_s": here.bandwidth_gb_s}
with open_runtime(engine_paths["FP32"], batch=1) as engine:
    timed = {main_node(layer.origins): layer.time_ms for layer in measure_layers(engine, {"images": frame}, repeats=8)}
with using("lab5.roofline"):
    reports = {name: roofline(layer, **limits) for name, layer in convolutions.items()}
    print(f"{sum(report['flops'] for report in reports.values()) / 1e9:.1f} GFLOP per image; Ultralytics says 7.1")
    spots = [
        LayerPoint(name, report["intensity"], report["flops"] / timed[name] / 1e6, weight=timed[name])
        for name, report in reports.items()
        if timed.get(name)
    ]
    display(roofline_plot(here, spots, note="larger circles take more time", platform=where))

# %% [markdown]
# Circles below the roof have room: the distance is what a better kernel could win. Circles *above* it are no magic:
# another program may have kept the processor busy while you measured the roof, some kernels need fewer operations than
# the formula counts (Winograd's), and what stays in the cache between two layers is never fetched from memory.
#
# **Predict.** The H200 has a measured peak of 765 TFLOP/s in FP16 and moves 4100 GB/s. Where is its ridge? Are the
# layers of this network, one image at a time, left or right of it? And with a batch of 64?
#
# *My guess:* …

# %% tags=["demonstration"]
gpu = {"peak_gflops": 765_000, "bandwidth_gb_s": 4_100}
with using("lab5.roofline"):
    print(f"ridge of the H200: {gpu['peak_gflops'] / gpu['bandwidth_gb_s']:.0f} operations per byte")
    for size in (1, 64):
        sizes = convolutions_of(onnx_paths["FP32"], batch=size, bytes_per_value=2)
        bounds = [roofline(layer, **gpu) for layer in sizes.values()]
        least_ms = sum(report["least_ms"] for report in bounds)
        memory = sum(report["bound"] == "memory" for report in bounds)
        print(f"batch {size:2}: {memory} of {len(bounds)} memory bound, at least {least_ms / size:.4f} ms per image")

# %% [markdown]
# The same network that is limited by arithmetic on a processor is mostly limited by memory on a large GPU. There the
# data sheet's petaflops are out of reach for most layers, FP16 helps because it *halves the bytes*, and fusing an
# activation into a convolution is worth more than a faster multiplication. A batch changes little: it shares the
# weights, and in a detector's early layers the maps are what is large.
#
# The bound says 0.020 ms per image. The H200 took 0.93 ms for one, and 0.13 ms each in a batch of 64. What is missing?
# Kernels too small to fill the chip, and the gaps between 250 of them: the roofline knows neither. A bound tells what is
# impossible; only measuring tells what is.

# %% [markdown]
# <details><summary><b>Check yourself:</b> INT8 quarters the bytes of FP32 and, on tensor cores, quadruples the peak.
# Which layers gain from which?</summary>
#
# Left of the ridge the bytes decide: a quarter of them, up to four times the rate. Right of it the peak does. Both move,
# and the ridge stays where it was; what does not gain are layers whose time is neither, but launch and set-up. Which is
# why INT8 rarely brings the factor that the data sheet suggests, on small networks least of all.
# </details>
#
# **If you want to go on** (stretch, not graded): give `double_buffered` a third set and a camera with an uneven rate, and
# replay both. Expert: on a GPU, capture `submit` in a CUDA graph and compare `once` and the graph in Nsight Systems
# (`nsys profile python …`) with the picture that the model drew.

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

# %% [markdown]
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
# ### Exercise 10: `lab5.detector`
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
        backend: Runs the network, whose head is anchor-free. Its first input is (1 or any, 3, height,
            width), float32 or float16, RGB from 0 to 1; its first output is (batch, 4 + classes,
            candidates). Run it once.
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
with using("lab5.detector"):
    for name, path in engine_paths.items():
        with open_runtime(path) as engine:
            found = [detect(image, engine) for image in images]
            ran = engine.executed_precision
        limits = TOLERANCES[ran]
        agreement = compare_detections(found, expected, tolerance=limits, conf_threshold=0.25)
        matched = f"{agreement.matched_fraction:.1%} of {agreement.compared} boxes match"
        verdict = "follows" if agreement.matched_fraction >= limits.matched_fraction else "LEAVES"
        print(f"{name} ({ran.upper()} ran): {matched} at IoU {limits.match_iou}: {verdict} the reference")

# %% tags=["demonstration"]
with using("lab5.detector"):
    columns = []
    for name, path in engine_paths.items():
        with open_runtime(path) as engine:
            columns.append((name, detect(images[17], engine)))
    display(example_grid([ExampleImage("your detect", images[17], columns)], class_names=class_names))

# %% [markdown]
# This is what lower precision does: clear objects stay where they were to a fraction of a pixel, and among the doubtful
# boxes with scores around 0.3 some come and others go. Whether that is better or worse cannot be seen in one image. It
# takes labels, and many images.

# %% [markdown]
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
# Precision is one way to buy speed with accuracy; the size of the input is another. At 512 instead of 640 pixels the
# network does $(512/640)^2 = 64\,\%$ of the work, in any precision. So there are six engines to choose from.
#
# **Predict.** Order these four from fast to slow, and from accurate to inaccurate: FP32 at 640, INT8 at 640, FP32 at
# 512, INT8 at 512. Which one will nobody want?
#
# *My guess:* …

# %% tags=["demonstration"]
_, small_paths = make_engines(512)
paths = {f"{name} 640": path for name, path in engine_paths.items()}
paths |= {f"{name} 512": path for name, path in small_paths.items()}
engines = {name: open_runtime(path, batch=1) for name, path in paths.items()}

# %% [markdown]
# First the accuracy, on all 48 test images, at the low confidence threshold that mAP is computed with. The package's
# detector does it, so that this part works whatever the state of your exercises.

# %% tags=["demonstration"]
splits, map50_95 = {}, {}
for name, engine in engines.items():
    splits[name] = detect_split(detector_from_runtime(engine, config=MAP_CONFIG), dataset)
    map50_95[name] = splits[name].metrics().map50_95
    print(f"{name}: mAP50-95 {map50_95[name]:.3f}   ({engine.executed_precision.upper()} ran)")

# %% [markdown]
# Then the time, as lab 1 taught: from photograph to boxes, warmed up, many rounds. The engines take *turns* within each
# round, in random order. If the machine is disturbed for a second, all six are disturbed, and the ratio of two engines
# within a round hardly notices.

# %% tags=["demonstration"]
ROUNDS = 30
runners = {name: partial(detector_from_runtime(engine).detect, heap) for name, engine in engines.items()}
timings = measure_interleaved(runners, rounds=ROUNDS, calls_per_turn=1, warmup=3)
print(where.timing_label)
print("           median    p90      time relative to FP32 640, with 95 % interval")
for name, stats in timings.stats.items():
    ratio = timings.ratio(name, baseline="FP32 640")
    relative = f"{ratio.value:.2f}  ({ratio.low:.2f} to {ratio.high:.2f})"
    print(f"{name:10} {stats.p50_ms:6.1f} {stats.p90_ms:6.1f} ms   {relative}")

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
chosen_images = rng.integers(0, 48, (150, 48))


# %% tags=["demonstration"]
def map_of(split, chosen):
    """Return the mAP50-95 on the chosen images."""
    truths, found = [split.ground_truth[i] for i in chosen], [split.detections[i] for i in chosen]
    return evaluate_detections(truths, found, class_names=class_names).map50_95


latency_draws = {
    name: np.median(np.array(stats.samples_ms)[chosen_rounds], axis=1) for name, stats in timings.stats.items()
}
map_draws = {name: np.array([map_of(split, chosen) for chosen in chosen_images]) for name, split in splits.items()}
for name, values in map_draws.items():
    low, high = np.quantile(values, [0.025, 0.975])
    print(f"{name}: mAP50-95 from {low:.3f} to {high:.3f} in 95 % of the draws")

# %% [markdown]
# Wide intervals: they overlap even where the input sizes differ. "Not significant", one would say, and be wrong. Look at two engines in the plot: on the left each by itself, on the right their **difference** in every
# single draw. What they share cancels out.

# %% tags=["demonstration"]
difference_cloud(latency_draws, map_draws, one="INT8 640", other="INT8 512", platform=where)

# %% tags=["demonstration"]
difference_cloud(latency_draws, map_draws, one="INT8 640", other="FP32 640", platform=where)

# %% [markdown]
# The same numbers for all engines, each compared with FP32 at 640. These are the ones to quote.

# %% tags=["demonstration"]
for name in engines:
    low, middle, high = np.quantile(map_draws[name] - map_draws["FP32 640"], [0.025, 0.5, 0.975])
    ratio = timings.ratio(name, baseline="FP32 640")
    time = f"{ratio.value:.2f} of the time ({ratio.low:.2f} to {ratio.high:.2f})"
    print(f"{name}: {time}, mAP {middle:+.4f} ({low:+.4f} to {high:+.4f})")

# %% [markdown]
# Read the right-hand panels like this. Where the whole vertical bar lies above zero, the first engine is more accurate,
# with a confidence of 95 %. Where the bar crosses zero, the images leave it open. The first pair is a
# matter of taste: slower, and *certainly* more accurate, though the bars on the left overlap. In the second pair, INT8
# is certainly faster; whether it loses any accuracy, 48 images cannot say.
#
# So an engine can be in one of three states, not two:
#
# - **dominated**: some other engine is certainly faster *and* certainly more accurate;
# - **undecided**: by the centres another one looks at least as good in both, but none is certain to be;
# - **front**: not even by the centres is any other at least as good in both.

# %% [markdown]
# ### Exercise 11: `lab5.pareto`
#
# Write the function that gives the verdicts. (6 points, about 20 minutes, difficulty 3 of 5.)


# %% nbgrader={"grade": false, "grade_id": "lab5-pareto", "locked": false, "schema_version": 3, "solution": true, "task": false}
def judge_engines(latency_ms, map50_95):
    """Return each engine's verdict: "front", "undecided" or "dominated".

    Args:
        latency_ms: Engine name to (draws,) array: the median latency in each draw. Less is better.
        map50_95: Engine name to (draws,) array: the mAP in each draw. More is better. Draw i is the
            same for all.

    Returns:
        A dict from every engine's name to its verdict:

        "dominated" if for some other engine the 95 % interval (from the 2.5 % to the 97.5 % quantile)
        of the difference "other minus this" of latencies, draw by draw, lies wholly below zero, and
        that of the mAPs wholly above zero;
        else "undecided" if some other engine's median over the draws is at least as good in both,
        and better in one;
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

# %% [markdown]
# <details><summary><b>Check yourself:</b> somebody reports "INT8 loses 0.4 % mAP" from 100 images. What do you ask?
# </summary>
#
# For the interval of the *difference* on these same images. If it holds zero, the honest sentence is "on 100 images we
# saw no loss; one of more than so much is ruled out". And which images calibrated the engine: if they are among the
# test images, the number is too good.
# </details>

# %% [markdown]
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
# **In short:** INT8 at 640 for the sorting line, INT8 at 512 for the scanner if it passes one more test, FP16 at 640 for
# the audit; FP32 nowhere. The evidence comes from an office computer that imitates a graphics card. Its accuracies and
# the *ratios* between engines count; its milliseconds do not, and have to be measured where the detector will run.
#
# **Sorting line.** What counts is the slowest frame, not the average one. INT8 at 640 took 0.45 of FP32's time (95 %
# interval 0.40 to 0.49). On 48 labelled images its accuracy (mAP, from 0 to 1) differed by -0.009 to +0.002, so a loss
# of more than 0.01 is ruled out, a smaller one is not. At 512 pixels it would be faster still, but certainly loses
# about 0.04, at 200 euros per missed part. Before signing: a day of recorded frames on the line's own PC. If the slowest
# frame in a thousand takes more than 30 ms there, or more parts are missed than with FP32, I take FP16 at 640, whose
# accuracy nobody could tell from FP32's.
#
# **Scanner.** Energy follows the work that is done, so few pixels and low precision: INT8 at 512 took 0.30 of the time of
# FP32 at 640. A single part fills the picture, so the loss at 512, which small parts cause, should matter less, and the
# worker sees mistakes. "Should" has to be shown: 200 photographs taken with the scanner. If more than one part in fifty
# is missed, INT8 at 640. Battery and heat can only be measured on the device. FP32 at 512 is out everywhere: INT8 at 640
# is certainly both faster and more accurate.
#
# **Audit.** Two million photographs in eight hours are 70 per second. Nobody waits for a single one, so they go through
# in batches, and throughput matters, not latency. The counts go into the books: FP16 at 640 differed from FP32 by
# -0.002 to +0.003, in 0.55 of the time. (Here it ran in BF16, a coarser relative; on the server it must be checked
# again.) If one card does not reach 70 per second, a second one costs less than wrong books. INT8 would need some
# thousand labelled images first, because 48 cannot rule out a loss of half a percent.

# %% [markdown]
# ## Recap
#
# We have:
#
# - letterboxed images of any shape, and brought boxes back to the pixel: undo the last step first, with the scale that
#   each side really got;
# - read the three heads of exported YOLO models, whose shapes tell how, and whose numbers never complain;
# - written suppression that agrees with torchvision's and runs no Python per pair, shown by counting lines, not seconds;
# - put one detector around every engine, so that what differs is the engine's doing, and held each engine against FP32
#   in ONNX Runtime by the tolerance of the precision that really ran;
# - a buffer class that allocates once, copies asynchronously through pinned memory and waits once, and the list of calls
#   that proves it;
# - two frames under way at any time, and a model that shows which row of the machine is the bottleneck;
# - the share of each stage, and Amdahl's bound on what a faster engine can bring;
# - a rule for choosing a batch that includes the tail and the filling, and the experience that it does not carry over
#   from machine to machine;
# - the hot layers of an engine, and the roof that says how far each is from the possible;
# - measured precision against speed in turns, compared *differences* on the same images, and told engines that are
#   beaten from engines that only look so.

# %% [markdown]
# In lab 6 this detector gets a door: formats for other devices, a service with a queue, and a monitor that notices when
# it gets worse.

# %% [markdown]
# ## Further reading
#
# - Ultralytics, [pre- and postprocessing of `predict`](https://docs.ultralytics.com/modes/predict/): the reference for
#   letterbox, thresholds and what they are called.
# - Torchvision, [`batched_nms`](https://docs.pytorch.org/vision/stable/generated/torchvision.ops.batched_nms.html), and
#   Bolya et al., [YOLACT](https://arxiv.org/abs/1904.02689), whose "Fast NMS" is the one-liner of trap one.
# - Wang et al., [YOLOv10](https://arxiv.org/abs/2405.14458): how a head learns to need no suppression.
# - Bodla et al., [Soft-NMS](https://arxiv.org/abs/1704.04503): what to do where objects of a class do overlap.
# - Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), chapters 6 and 13: intervals by resampling.
# - Memory, streams and overlap: [CUDA C++ Best Practices Guide](https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/),
#   chapters on memory optimisations and asynchronous transfers;
#   [How to Overlap Data Transfers in CUDA C/C++](https://developer.nvidia.com/blog/how-overlap-data-transfers-cuda-cc/).
# - [PyCUDA's documentation](https://documen.tician.de/pycuda/) of `pycuda.driver`.
# - TensorRT: [best practices for performance](https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html),
#   with CUDA graphs and profiling.
# - Gene Amdahl, *Validity of the single processor approach*, 1967; Jeffrey Dean and Luiz Barroso, [The Tail at
#   Scale](https://research.google/pubs/the-tail-at-scale/), 2013.
# - Samuel Williams, Andrew Waterman, David Patterson, [Roofline: an insightful visual performance
#   model](https://doi.org/10.1145/1498765.1498785), 2009.
# - [Triton's dynamic batcher](https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html):
#   filling a batch with a deadline, which lab 6 uses.
