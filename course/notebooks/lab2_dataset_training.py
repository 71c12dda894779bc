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
# # Lab 2 · Data and training: data is the ceiling
#
# A detector cannot know more than its labels, and you cannot know more about it than your test set. Everything that
# comes later in this course (export, quantization, kernels) tries to lose *nothing* of what the training found; none of
# it can add anything. So this lab is about the two things that decide what there is to lose: the data, and the way you
# measure on it.
#
# **The story.** A factory sorts small parts. Its station A has a clean camera and a good detector, the base checkpoint of
# this course. Now station B is opened: the same parts, but its camera looks through a dusty window. You will prepare the
# data for it, learn to measure without fooling yourself, and in the end bring the detector to the new station.

# %% [markdown]
# ## What you will be able to do
#
# After this lab you can
#
# - **convert** boxes between the three formats that labelling tools write, without losing half a pixel,
# - **find** the errors that real label files have, and only these,
# - **split** a data set so that nothing leaks from training into the test, and show what a leak is worth,
# - **look** at training data through the network's eyes,
# - **compute** IoU, precision, recall and average precision by hand, equal to pycocotools to the sixth decimal,
# - **choose** a confidence threshold for a purpose instead of by habit,
# - **read** an ablation table without being fooled by the noise between seeds,
# - **fine-tune** a checkpoint on a hundred pictures and prove that it helped.

# %% [markdown]
# ## Before you start
#
# **Prerequisites:** Python and NumPy; lab 1 for the tools. You need no experience with training.
#
# **Time:** about five hours, of which the machine works two or three minutes. Part A (data) takes two hours, part B
# (measuring) one and a half, part C (training) one and a half. The exercises do not depend on each other's answers.
#
# **How it works:** write each answer in its cell, run the `check(...)` below it, read, try again; a check costs nothing.
# Cells that say *predict* have no right answer: write your guess down before you run the next cell. Being wrong there is
# how the lab teaches.

# %% [markdown]
# ## Map of the lab
#
# | Part | Section | Exercise | Tier | Minutes | Points |
# |---|---|---|---|---|---|
# | A Data | 1 What a label says | `lab2.box_formats` | core | 20 | 12 |
# | | 2 What a label should say | | | 15 | |
# | | 3 What real labels say | `lab2.label_validator` | core | 30 | 12 |
# | | 4 Splits that do not leak | `lab2.stratified_split` | core | 40 | 13 |
# | | 5 What the network sees | `lab2.letterbox_view` | core | 25 | 10 |
# | B Measuring | 6 From boxes to one number | `lab2.average_precision` | core | 45 | 13 |
# | | 7 From a curve to a decision | `lab2.confidence_threshold` | core | 30 | 10 |
# | C Training | 8 Augmentation is an experiment | `lab2.augmentation_readout` | core | 30 | 10 |
# | | 9 Fine-tuning for station B | `lab2.fine_tune` | core | 35 | 10 |
# | | Written question | a report you should not believe | core | 30 | 10 |

# %%
from itertools import pairwise
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import ProgressBar, display

from yolotrt_lab.data.contact_sheet import dataset_sheet
from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.data.images import read_image, write_image
from yolotrt_lab.data.labels import read_labeled_image
from yolotrt_lab.data.parts import CLASS_NAMES, MIN_VISIBLE, draw_part_image, generate_parts
from yolotrt_lab.data.split import fingerprint

# %%
from yolotrt_lab.data.statistics import dataset_statistics, plot_statistics
from yolotrt_lab.detection.boxes import iou_matrix, xyxy_from_cxcywh
from yolotrt_lab.detection.letterbox import letterbox
from yolotrt_lab.detection.pipeline import DetectorConfig
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.figures import annotation
from yolotrt_lab.figures import average_precision as ap_figures
from yolotrt_lab.figures.annotation import Panel, labelled_panels, outlines
from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.runtimes.accuracy import detect_split
from yolotrt_lab.runtimes.detector import open_detector
from yolotrt_lab.system import usable_cores
from yolotrt_lab.training import TrainConfig, plot_training, train
from yolotrt_lab.types import Detections

# %% tags=["demonstration"]
plt.switch_backend("inline")  # figures appear below their cells

# %% [markdown]
# # Part A · Data
#
# The pictures of this lab are drawn by a program, so there is nothing to download and every box is known exactly.
# That is a luxury: with photographs you never know the truth, only what somebody wrote down. The next two cells draw
# 120 scenes as station A photographs them, and then let station B's camera look at them.
#
# The dust on station B's window scatters the lamp's light into every pixel. This is the usual model of haze: a share $t$
# of the scene's light arrives, the rest has the colour of the veil,
#
# $$\text{picture} = t \cdot \text{scene} + (1 - t) \cdot \text{veil}, \qquad t = 0.2 .$$

# %%
VEIL_BGR = np.array([150, 190, 205])  # dust in the light of a warm lamp


def through_the_window(image_bgr, transmission=0.2):
    """Return what station B's camera sees of a scene."""
    return np.round(transmission * image_bgr + (1 - transmission) * VEIL_BGR).astype(np.uint8)


def draw_stations(folder):
    """Draw the scenes of station A, photograph them at station B too, and return both data sets."""
    drawn = {"seed": 7, "counts": {"train": 96, "val": 24}, "workers": usable_cores()}
    clear = generate_parts(folder / "lab2-station-a", **drawn)
    if not (folder / "lab2-station-b" / "data.yaml").exists():
        photograph_again(clear, folder / "lab2-station-b")
    return clear, load_dataset(folder / "lab2-station-b")


# %%
def photograph_again(clear, root):
    """Write station B's pictures of the same scenes: other images, the same labels, `data.yaml` last."""
    for path in (image for images in clear.splits.values() for image in images):
        target = root / path.relative_to(clear.root)
        write_image(target, through_the_window(read_image(path)), jpeg_quality=95)
        labels = root / clear.labels_path(path).relative_to(clear.root)
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(clear.labels_path(path).read_text())
    (root / "data.yaml").write_text(clear.data_yaml.read_text())


# %% tags=["demonstration"]
station_a, station_b = draw_stations(workspace() / "datasets")
for name, dataset in (("A", station_a), ("B", station_b)):
    print(f"Station {name}:", ", ".join(f"{split} {len(images)}" for split, images in dataset.splits.items()))
print("Classes:", ", ".join(CLASS_NAMES))

# %% [markdown]
# **Look first.** Before any statistics, before any training: look at pictures with their labels drawn in, many at a time.
# A contact sheet of twelve images takes a minute and finds more errors than an afternoon of debugging a loss curve.
# Here are some scenes as the two stations see them.

# %% tags=["demonstration"]
panels = []
for name, dataset in (("A", station_a), ("B", station_b)):
    for path in dataset.images("train")[:3]:
        item = read_labeled_image(path, num_classes=8)
        boxes = outlines(item.xyxy, item.class_ids, class_names=CLASS_NAMES)
        panels.append(Panel(f"Station {name}, {path.stem}", read_image(path), boxes))
display(labelled_panels(panels, columns=3))

# %% [markdown]
# And a whole sheet, as you should make one of every data set that anybody hands you. What should not be in it: boxes that
# lie beside their objects, objects without boxes, boxes with another object's name. Note what is *not* labelled on
# purpose: keys, rings, cables and blanks are clutter, and the detector must learn to leave them alone.

# %% tags=["demonstration"]
sheet = dataset_sheet(station_a, split="train", count=12, columns=4, cell_px=360)
plt.figure(figsize=(12, 9.6))
plt.imshow(sheet[..., ::-1])
plt.axis("off")
plt.show()

# %% tags=["demonstration"]
statistics = dataset_statistics(station_a)
display(plot_statistics(statistics))
sizes = statistics.size_counts()
print("By COCO's limits:", ", ".join(f"{count} {size}" for size, count in sizes.items()), "objects")

# %% [markdown]
# <details><summary>What to read off these six panels</summary>
#
# *Objects per class*: the rarest class decides how much data you need. *Objects per image*: many, so a picture is worth
# more here than in a set with one object each. *Box centres*: denser in the middle, where the heaps lie; a network
# learns that, too, and is a little blind at the border. *Sizes*: the median box is 45 pixels wide, the smallest are a
# few pixels; at a network input of 320 all of that is halved, and no grid of stride 8 resolves it well.
# </details>

# %% [markdown]
# ## 1 · What a label says
#
# A box is four numbers, and there are three ways to write them, because three communities began before they met. YOLO
# describes a box by its centre and size, in shares of the image. Pascal VOC gives two corners in pixels, in XML. COCO
# gives a corner and a size in pixels, in JSON. CVAT and Label Studio export all three. With $W$ and $H$ the image's
# width and height:
#
# $$(c_x, c_y, w, h)_\text{YOLO} = \left(\frac{x_1 + x_2}{2W},\ \frac{y_1 + y_2}{2H},\ \frac{x_2 - x_1}{W},\ \frac{y_2 - y_1}{H}\right)$$
#
# A YOLO data set is two folder trees, `images/train/a.jpg` and `labels/train/a.txt`: one line per object, the class's
# number first. An empty file says that there is nothing to see, which is information too.

# %% tags=["demonstration"]
path = station_a.images("train")[84]
print(path.relative_to(station_a.root), "has the labels", station_a.labels_path(path).relative_to(station_a.root))
print(station_a.labels_path(path).read_text())
print((station_a.root / "data.yaml").read_text())
item = read_labeled_image(path, num_classes=8)
largest = int(np.argmax((item.xyxy[:, 2:] - item.xyxy[:, :2]).prod(axis=1)))
display(annotation.box_notations(read_image(path), tuple(item.xyxy[largest].tolist())))

# %% [markdown]
# Two details cause most of the trouble. **Edges or pixels?** The original VOC devkit numbers pixels from 1 and counts both
# ends; nearly every tool today writes *edges*, counted from 0, so that a box over a whole image of width $W$ goes from
# 0 to $W$ and has the width $W$. We use edges. **Borders:** annotators pull boxes beyond the image, and augmentation
# moves them there. What is outside cannot be seen, so it is cut off; and what can be cut is an *edge*. Cutting a centre
# or a size gives another box.

# %% [markdown]
# <details><summary>Self-check: the image is scaled to half its size. Which of the three notations must change?</summary>
#
# VOC and COCO, because they count pixels. YOLO's shares stay as they are, which is why a training pipeline that resizes
# everything likes them. The letterbox of section 5 is another matter: there the picture no longer fills the image.
# </details>

# %% [markdown]
# ### Exercise · `lab2.box_formats`
#
# *Core · difficulty 2/5 · 20 minutes · 12 points*
#
# One function for all nine pairs of formats. You do not need nine cases: go through one format in the middle.


# %% nbgrader={"grade": false, "grade_id": "lab2-box_formats", "locked": false, "schema_version": 3, "solution": true, "task": false}
def convert_boxes(boxes, source, target, image_hw):
    """Convert boxes from one format to another, cut to the image.

    "yolo" is centre x, centre y, width, height in shares of the image's width and height; "voc" is left, top, right,
    bottom in pixels (edges, counted from 0); "coco" is left, top, width, height in pixels.

    What reaches beyond the image is cut off. A box that lies wholly outside keeps its row: its edges move to the
    nearest border, and it has no area left.

    Args:
        boxes: (n, 4) array in the format `source`; n may be 0. It stays as it is.
        source: "yolo", "voc" or "coco".
        target: The same; it may equal `source`.
        image_hw: Height and width of the image in pixels.

    Returns:
        (n, 4) array of floats in the format `target`.

    Example:
        >>> convert_boxes(np.array([[0.5, 0.5, 0.25, 0.5]]), "yolo", "voc", (100, 400)).tolist()
        [[150.0, 25.0, 250.0, 75.0]]
    """
    ### BEGIN SOLUTION
    height, width = image_hw
    whole = np.array([width, height, width, height], np.float64)
    first, second = boxes[:, :2], boxes[:, 2:]
    if source == "yolo":
        edges = np.concatenate((first - second / 2, first + second / 2), axis=1) * whole
    elif source == "coco":
        edges = np.concatenate((first, first + second), axis=1)
    else:
        edges = np.array(boxes, np.float64)
    edges = np.clip(edges, 0, whole)
    corner, size = edges[:, :2], edges[:, 2:] - edges[:, :2]
    if target == "yolo":
        return np.concatenate((corner + size / 2, size), axis=1) / whole
    return np.concatenate((corner, size), axis=1) if target == "coco" else edges
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-box_formats-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab2.box_formats")

# %% [markdown]
# A round trip is a good test of any converter: there and back must be nowhere. It proves less than it seems, though.
# If you exchanged height and width in both directions, the round trip would still be perfect.

# %% tags=["demonstration"]
with using("lab2.box_formats"):
    image_hw, boxes = item.image_hw, item.xyxy
    for way in (["voc", "yolo", "voc"], ["voc", "coco", "yolo", "voc"], ["voc", "yolo", "coco", "yolo", "voc"]):
        moved = boxes
        for source, target in pairwise(way):
            moved = convert_boxes(moved, source, target, image_hw)
        print(f"{' → '.join(way):32s} largest change {np.abs(moved - boxes).max():.1e} pixels")

# %% [markdown]
# ## 2 · What a label should say
#
# Formats are the easy half. The hard half is what the numbers should *be*. Does the box of a half-hidden bolt end where
# the bolt ends, or where the view of it ends? Is a bolt of which a third can be seen a bolt? Is a bolt seen from above
# one? Is a photograph of a bolt? A data set answers such questions whether anybody asked them or not; if two annotators
# answer differently, the network learns the average, which is right for neither.
#
# An **annotation policy** writes the answers down, with pictures. Ours for these parts:
#
# 1. A box is the tight upright box of the *whole* part, hidden pixels included, cut at the image's border.
# 2. A part gets a box if at least 35 % of it can be seen; below that it is left without.
# 3. Clutter never gets a box, however much it looks like a part.

# %% tags=["demonstration"]
judgement_calls = []
for index in range(16):
    scene = draw_part_image(5, split="val", index=index, image_hw=(480, 480))
    for box, class_id, share in zip(scene.xyxy, scene.class_ids, scene.visible, strict=True):
        if (box[2:] - box[:2]).min() > 40 and share < 0.8:
            judgement_calls.append((float(share), index, box, int(class_id), scene.image))
judgement_calls.sort(key=lambda call: call[0])
print(f"{len(judgement_calls)} labelled parts are less than 80 % visible. The policy's limit is {MIN_VISIBLE:.0%}.")


# %%
def crop_around(image, box, side=220):
    """Return a square piece of an image around a box, and the box in it."""
    center, half = (box[:2] + box[2:]) / 2, 0.85 * (box[2:] - box[:2]).max()
    scale, corner = side / (2 * half), center - half
    move = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    piece = cv2.warpAffine(image, move, (side, side), borderValue=(60, 60, 60))
    return piece, (box - np.tile(corner, 2)) * scale


# %% tags=["demonstration"]
panels = []
for share, _, box, class_id, image in judgement_calls[:6]:
    piece, moved = crop_around(image, box)
    panels.append(Panel(f"{share:.0%} visible", piece, outlines([moved], [class_id], class_names=CLASS_NAMES)))
display(labelled_panels(panels, columns=3, width=9))

# %% [markdown]
# Would you have drawn these boxes? Another careful person would draw the visible part only. Both are defensible; what
# costs accuracy is to mix them. How much does it cost? Here is an experiment that needs no network at all. Take the
# true boxes as the answer of a *perfect* detector, and judge it by labels whose edges are off by a few pixels, as an
# annotator's are. Nobody, with any network, can score more than that on such labels.
#
# ### Predict
#
# The edges are off by 3 pixels (one standard deviation), in pictures where the median box is 45 pixels wide.
# What mAP50 does the perfect detector get, and what mAP50-95?

# %%
my_guess_map50, my_guess_map50_95 = 0.95, 0.9  # your guesses

# %% tags=["demonstration"]
items = [read_labeled_image(path, num_classes=8) for path in station_a.images("train")]
rng = np.random.default_rng(0)
noise_px = [0, 1, 2, 3, 4, 6, 8]
ceiling = {"mAP50": [], "mAP75": [], "mAP50-95": []}
for noise in noise_px:
    perfect = [Detections(i.xyxy.astype(np.float32), np.ones(len(i.xyxy), np.float32), i.class_ids) for i in items]
    off = [(i.xyxy + rng.normal(0, noise, i.xyxy.shape)).astype(np.float32) for i in items]
    labels = [GroundTruth(box, i.class_ids, i.image_hw) for box, i in zip(off, items, strict=True)]
    found = evaluate_detections(labels, perfect, class_names=CLASS_NAMES)
    for name, value in zip(ceiling, (found.map50, found.map75, found.map50_95), strict=True):
        ceiling[name].append(value)
display(ap_figures.label_noise_ceiling(noise_px, ceiling))
print(f"At 3 pixels: mAP50 {ceiling['mAP50'][3]:.3f}, mAP50-95 {ceiling['mAP50-95'][3]:.3f}; "
      f"you guessed {my_guess_map50} and {my_guess_map50_95}")  # fmt: skip

# %% [markdown]
# This is what "data is the ceiling" means. Three pixels are a careful human with a mouse. mAP50 hardly notices them, but
# the strict IoU thresholds inside mAP50-95 do, and small objects most of all.
#
# Two conclusions for practice. Before you buy a larger network, have two people annotate the same fifty pictures and
# compute the mAP of one against the other: that is your ceiling. And do not compare mAP50-95 between data sets; their
# ceilings differ.

# %% [markdown]
# <details><summary>Self-check: your detector reaches mAP50-95 0.62, two annotators against each other 0.64. What next?</summary>
#
# Nothing that concerns the network. It agrees with an annotator nearly as well as another annotator does, and what is
# left may be noise. Sharpen the policy, correct the labels of the *test* set first (a wrong ruler measures nothing), and
# measure again. Often the same weights gain several points that way.
# </details>

# %% [markdown]
# ## 3 · What real labels say
#
# BCCD is a small public data set of blood cells: 364 microscope pictures, 4,888 boxes, used in many tutorials. It
# holds two boxes without any area, a click where a drag was meant, and eight cells that were annotated twice, seven of
# them with the second box shifted by exactly two pixels: copied and pasted. None of that raises an error in training.
# A box without area is dropped in silence or makes a loss of 0 / 0, as the tool will have it. A doubled object teaches
# the network to report one thing twice, and in the test set it counts as a miss for ever after, because a good detector
# reports it once.
#
# ### Predict
#
# Below is one of BCCD's label files as YOLO text (0 red blood cell, 1 white, 2 platelet). One line is broken. Find it by
# eye, and look at the clock.

# %% tags=["demonstration"]
BLOOD_IMAGE_00338 = """0 0.787500 0.273958 0.159375 0.210417
0 0.839844 0.497917 0.192188 0.283333
0 0.625781 0.550000 0.170313 0.216667
0 0.117969 0.333333 0.160937 0.195833
0 0.353125 0.168750 0.196875 0.208333
0 0.201562 0.713542 0.143750 0.164583
0 0.560156 0.247917 0.170313 0.229167
0 0.166406 0.227083 0.145312 0.200000
0 0.342969 0.757292 0.142187 0.177083
0 0.377344 0.426042 0.157812 0.168750
0 0.219531 0.476042 0.154688 0.197917
0 0.337500 0.500000 0.146875 0.158333
0 0.787500 0.702083 0.000000 0.000000
1 0.588281 0.840625 0.414062 0.318750
"""

# %% tags=["demonstration"]
print(BLOOD_IMAGE_00338)

# %% [markdown]
# Now imagine 364 of them. A validator is a program that reads every line and complains: about *everything* that is wrong,
# not only the first thing, with file and line, so that one pass of repair is enough. And about *nothing else*: one false
# alarm per ten files, and nobody reads its output any more. Most bugs in validators are false alarms.
#
# The delicate places: labels are rounded to six decimals or fewer, so a box at the border may stick out by a hair. Two
# boxes may well lie on top of each other, if they are of different classes, or if it is a heap. And a class id may be
# written `1.0`, because some tool kept it in an array of floats.

# %% [markdown]
# ### Exercise · `lab2.label_validator`
#
# *Core · difficulty 3/5 · 30 minutes · 12 points*
#
# Check one label file. The public cases contain the real errors of three BCCD pictures. You may use `iou_matrix` and
# `xyxy_from_cxcywh` from the first cell; IoU is the same in shares as in pixels.


# %% nbgrader={"grade": false, "grade_id": "lab2-label_validator", "locked": false, "schema_version": 3, "solution": true, "task": false}
def find_label_problems(text, num_classes):
    r"""Return every problem in the text of a YOLO label file.

    A line is reported once, under the first of these kinds that fits:

    - "fields": it is not five finite numbers, separated by blanks;
    - "class": the first number is not a whole number from 0 to num_classes - 1 (`1.0` is one);
    - "size": the width or the height is not greater than 0;
    - "outside": an edge of the box lies more than 0.002 outside of the image (0 to 1);
    - "double": an earlier line that has none of the problems above has the same class and an IoU of 0.8 or more.

    Args:
        text: The whole file. Blank lines are no objects, but they count when lines are numbered.
        num_classes: Number of classes.

    Returns:
        List of (line number, kind), numbered from 1, in ascending order.

    Example:
        >>> find_label_problems("0 0.5 0.5 0.2 0.2\n3 0.1 0.1 0.1 0.1\n", num_classes=3)
        [(2, 'class')]
    """
    ### BEGIN SOLUTION
    problems, sound = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        kind, row = problem_of_line(line, num_classes)
        if kind is None:
            box = xyxy_from_cxcywh(row[None, 1:])
            if any(row[0] == class_id and iou_matrix(box, other)[0, 0] >= 0.8 for class_id, other in sound):
                kind = "double"
            sound.append((row[0], box))
        if kind is not None:
            problems.append((number, kind))
    return problems
    ### END SOLUTION


def problem_of_line(line, num_classes):
    """Return the first of the kinds "fields" to "outside" that fits a line, or None, and its five numbers."""
    ### BEGIN SOLUTION
    try:
        row = np.array(line.split(), np.float64)
    except ValueError:
        return "fields", None
    if row.shape != (5,) or not np.isfinite(row).all():
        return "fields", None
    if row[0] % 1 or not 0 <= row[0] < num_classes:
        return "class", row
    if (row[3:] <= 0).any():
        return "size", row
    edges = xyxy_from_cxcywh(row[None, 1:])
    return ("outside" if edges.min() < -0.002 or edges.max() > 1.002 else None), row
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-label_validator-check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("lab2.label_validator")

# %% [markdown]
# Let your validator loose on all label files of station A. They are made by a program, so they should be sound; then
# somebody has an accident with six of them. How many of the accidents does it find, and what does it say about the rest?

# %% tags=["demonstration"]
texts = {path.stem: station_a.labels_path(path).read_text() for path in station_a.images("train")}
with using("lab2.label_validator"):
    print("as drawn:", sum(len(find_label_problems(text, 8)) for text in texts.values()), "problems")
    victims = np.random.default_rng(4).choice(sorted(texts), 6, replace=False)
    accidents = ("8 0.5 0.5 0.1 0.1", "2 320 240 64 48", "1 0.98 0.5 0.2 0.2", "0 0.4 0.4 0.0 0.1", "3 0.5 0.5 0.1")
    for stem, accident in zip(victims, accidents, strict=False):
        texts[stem] += accident + "\n"
    texts[victims[-1]] += texts[victims[-1]].splitlines()[0] + "\n"
    for stem, text in texts.items():
        for line, kind in find_label_problems(text, 8):
            print(f"{stem}.txt:{line}: {kind:8s} {text.splitlines()[line - 1]}")

# %% [markdown]
# The package's own validator also decodes every image, looks for label files without an image, and for equal pictures in
# two splits: `yolotrt data validate FOLDER`. Run it whenever data comes in from outside, before anybody trains on it.

# %% [markdown]
# ## 4 · Splits that do not leak
#
# A test set answers one question: how well will this do on pictures that it has never seen? The answer is worthless if
# it *has* seen them, and pictures can be the same without being equal: neighbouring frames of a film, the same tray
# photographed twice, one crop of a scan and another. A random shuffle of files puts such twins on both sides. That is
# **leakage**, the commonest way to publish a number that collapses in the factory.
#
# How bad can it be? We film sixty trays, four frames each, with a slightly moving camera and flickering light. Then we
# build the dumbest "detector" there is: it keeps the training frames, and for a new picture it copies the labels of the
# most similar one. It has never looked for a bolt. It cannot know anything about a tray it has not seen.


# %%
def film(path, frames=4, side=256):
    """Return frames of one tray: the camera drifts, the light flickers; each with its boxes and classes."""
    item = read_labeled_image(path, num_classes=8)
    picture, boxes = cv2.resize(read_image(path), (side, side)), item.xyxy * side / item.image_hw[0]
    rng, taken = np.random.default_rng(len(path.stem) + int(path.stem[-3:])), []
    for _ in range(frames):
        drift, light = rng.integers(-2, 3, 2), rng.uniform(0.8, 1.2)
        frame = np.roll(np.clip(picture * light, 0, 255).astype(np.uint8), drift, axis=(1, 0))
        taken.append((frame, boxes + np.tile(drift, 2), item.class_ids))
    return taken


# %%
def copycat_score(frames, is_train):
    """Return the mAP50 of copying the labels of the most similar training frame, the test frames, and their twins."""
    prints = np.stack([fingerprint(frame) for frame, _, _ in frames])
    train_rows, test_rows = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    twins = train_rows[np.argmax(prints[test_rows] @ prints[train_rows].T, axis=1)]
    truth, copied = [], []
    for row, twin in zip(test_rows, twins, strict=True):
        _, boxes, class_ids = frames[row]
        truth.append(GroundTruth(boxes.astype(np.float32), class_ids, (256, 256)))
        _, boxes, class_ids = frames[twin]
        copied.append(Detections(boxes.astype(np.float32), np.ones(len(boxes), np.float32), class_ids))
    return evaluate_detections(truth, copied, class_names=CLASS_NAMES).map50, test_rows, twins


# %% [markdown]
# ### Predict
#
# What mAP50 does the copycat get if frames are split at random, 70 to 30? And what if whole trays are?

# %%
my_guess_random_split, my_guess_tray_split = 0.3, 0.3  # your guesses

# %% tags=["demonstration"]
trays = [film(path) for path in station_a.images("train")[:60]]
frames, tray_of = [frame for tray in trays for frame in tray], np.repeat(np.arange(60), 4)
rng = np.random.default_rng(1)
by_frame = rng.permutation(len(frames)) < 0.7 * len(frames)
by_tray = (rng.permutation(60) < 42)[tray_of]
for name, is_train, guess in (
    ("random frames", by_frame, my_guess_random_split),
    ("whole trays  ", by_tray, my_guess_tray_split),
):
    score, _, _ = copycat_score(frames, is_train)
    print(f"{name}: mAP50 of the copycat {score:.3f} (you guessed {guess})")

# %% [markdown]
# A program without any idea of a bolt scores like a good detector, and nothing in its number gives it away. Look at what
# it does: a test frame with its true boxes, and beside it the training frame that it took for its twin, whose boxes it
# copies; on the left with frames dealt out at random, on the right with whole trays.

# %% tags=["demonstration"]
panels = []
for name, is_train in (("frames", by_frame), ("trays", by_tray)):
    _, test_rows, twins = copycat_score(frames, is_train)
    for title, index in (("test", test_rows[3]), ("its twin", twins[3])):
        frame, boxes, class_ids = frames[index]
        drawn = outlines(boxes, class_ids, class_names=CLASS_NAMES, names=False)
        panels.append(Panel(f"{name} dealt: {title}", frame, drawn))
display(labelled_panels(panels, columns=4, width=11))

# %% [markdown]
# So the unit of a split is not the picture but the **group**: all that shares an origin. If you know the capture session,
# use it. If you do not, find near-duplicates with a *perceptual hash*: a few bits (here 64) made from a tiny thumbnail,
# so that similar pictures differ in few bits. The distance is the Hamming distance, the number of differing bits:
# `(a ^ b).bit_count()`. Being linked is transitive: if A is like B and B like C, all three go together, though A and C
# may be far apart. The groups are the connected components of that graph.
#
# Then deal the groups out so that every split gets its share of the images *and* of each class. With random groups the
# rarest class is the victim. The usual remedy is greedy (Sechidis et al. 2011): begin with the rarest class, and give
# each group to the split that still lacks most of that class.

# %% [markdown]
# ### Exercise · `lab2.stratified_split`
#
# *Core · difficulty 4/5 · 40 minutes · 13 points*
#
# Both steps in one function: the groups, and the deal. About 150 images; a loop over all pairs is quick enough.


# %% nbgrader={"grade": false, "grade_id": "lab2-stratified_split", "locked": false, "schema_version": 3, "solution": true, "task": false}
def split_images(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Split images by groups of near-duplicates, with every class in every split.

    Two images are linked if they have the same session, or if their hashes differ in at most `max_distance` bits.
    Linked images, also by way of others, are a group and go to the same split. Each split gets its share of the images
    to within 6 percent points, and of every class's objects at least half and at most double its share.

    Args:
        class_counts: (n, classes) int array: objects of each class in each image.
        sessions: n texts, the capture session of each image.
        hashes: n whole numbers of 64 bits, the perceptual hash of each image.
        fractions: Name of each split to its share, such as {"train": 0.7, "val": 0.15, "test": 0.15}.
        max_distance: Largest Hamming distance of near-duplicates.
        seed: Decides between equally good deals; the same seed gives the same split.

    Returns:
        List of n names of splits, in the order of the images.
    """
    ### BEGIN SOLUTION
    group_of = linked_groups(sessions, hashes, max_distance)
    groups, place = np.unique(group_of, return_inverse=True)
    # One more column counts images, so that sizes are balanced like one more class.
    content = np.zeros((len(groups), class_counts.shape[1] + 1))
    np.add.at(content, place, np.column_stack((class_counts, np.ones(len(place)))))
    names, rng = list(fractions), np.random.default_rng(seed)
    lacking = np.outer(list(fractions.values()), content.sum(axis=0))
    chosen = np.full(len(groups), -1)
    for column in [*np.argsort(content[:, :-1].sum(axis=0)), -1]:
        waiting = rng.permutation(np.flatnonzero((chosen < 0) & (content[:, column] > 0)))
        for group in waiting[np.argsort(-content[waiting, column], kind="stable")]:
            has_room = lacking[:, -1] >= content[group, -1] / 2
            best = max(range(len(names)), key=lambda k: (has_room[k], lacking[k, column], lacking[k, -1]))
            chosen[group] = best
            lacking[best] -= content[group]
    return [names[chosen[index]] for index in place]
    ### END SOLUTION


def linked_groups(sessions, hashes, max_distance):
    """Return (n,) numbers, equal for images that are linked, also by way of others."""
    ### BEGIN SOLUTION
    group_of = np.arange(len(hashes))
    for i in range(len(hashes)):
        for j in range(i):
            if sessions[i] == sessions[j] or (hashes[i] ^ hashes[j]).bit_count() <= max_distance:
                group_of[group_of == group_of[i]] = group_of[j]
    return group_of
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-stratified_split-check", "locked": true, "points": 13, "schema_version": 3, "solution": false, "task": false}
check("lab2.stratified_split")

# %% [markdown]
# Your split on our film: the trays are the sessions. The dashed lines are the shares that each split should have; a
# random deal of trays is drawn below yours for comparison.

# %% tags=["demonstration"]
counts = np.stack([np.bincount(class_ids, minlength=8) for _, _, class_ids in frames])
fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
random_trays = rng.choice(list(fractions), 60, p=list(fractions.values()))[tray_of]
with using("lab2.stratified_split"):
    hashes = [int.from_bytes(rng.bytes(8), "little") for _ in frames]  # no two alike: only sessions link here
    mine = np.array(split_images(counts, [f"tray {tray}" for tray in tray_of], hashes, fractions, 6, 0))
    for split in (mine, random_trays):
        shares = {name: counts[split == name].sum(axis=0).tolist() for name in fractions}
        display(annotation.class_shares(shares, class_names=CLASS_NAMES, fractions=fractions))
    print(f"The copycat under your split: mAP50 {copycat_score(frames, mine == 'train')[0]:.3f}")

# %% [markdown]
# <details><summary>Self-check: after augmentation you have five versions of every picture. When do you split?</summary>
#
# Before. Versions of one picture are near-duplicates by construction. The same holds for everything that is *learned*
# from the data: anchor sizes, normalisation constants, a list of hard examples. Split first, and let nothing that comes
# after look at the test part.
# </details>
#
# <details><summary>Self-check: why three parts? Would training and test not do?</summary>
#
# You will choose: a learning rate, an epoch, a threshold, one of five runs. Each choice made on a set makes the number on
# that set a little too good, because it also chooses luck. Validation data are there to be used up that way; the test
# set is opened once, at the end.
# </details>

# %% [markdown]
# ## 5 · What the network sees
#
# A network has an input of fixed size; pictures come in all shapes. Squeezing a picture of 640 x 480 into 320 x 320 would
# teach the network that everything is a quarter narrower than it is. So YOLO *letterboxes*: scale by the smaller of the two
# ratios, put the picture into the middle, fill the rest with gray 114:
#
# $$s = \min\left(\frac{H_\text{in}}{H}, \frac{W_\text{in}}{W}\right), \qquad x_\text{in} = s_x\, x + p_x, \qquad y_\text{in} = s_y\, y + p_y$$
#
# The picture is resized to whole pixels, and that makes $s_x$ and $s_y$ differ from $s$ a little, each in its own way.
# The pads $p_x$ and $p_y$ are whole pixels too. Most label bugs in home-made training code live in these two sentences,
# and they are invisible in the loss. They are visible in one place: a picture of what the network gets, labels included.

# %% [markdown]
# ### Exercise · `lab2.letterbox_view`
#
# *Core · difficulty 2/5 · 25 minutes · 10 points*
#
# You get the picture from `letterbox(image_bgr, input_hw=...)`, which returns the canvas and a `LetterboxTransform`
# (`scale`, `scale_xy`, `pad_xy`, `resized_hw`, `image_hw`, `input_hw`). Bring the labels there and draw them. In lab 5
# you will write the letterbox itself, to the pixel.


# %% nbgrader={"grade": false, "grade_id": "lab2-letterbox_view", "locked": false, "schema_version": 3, "solution": true, "task": false}
def letterbox_view(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Return the network's view of a picture with its labels outlined, and the boxes in it.

    Args:
        image_bgr: (h, w, 3) uint8 picture. It stays as it is.
        class_ids: (n,) whole numbers; n may be 0.
        cxcywh: (n, 4) YOLO boxes: centre and size in shares of the picture.
        input_hw: Height and width of the network's input.
        colours: One (blue, green, red) per class.

    Returns:
        Two results. The view: (input height, input width, 3) uint8, the letterboxed picture with every box outlined in
        its class's colour, one or two pixels thick, at its edges rounded to whole pixels, and nothing else drawn. And
        the boxes: (n, 4) floats, left, top, right, bottom in pixels of the view, not rounded.

    Example:
        A picture of 100 x 200 (h, w) in an input of (200, 200) is not scaled and has 50 gray rows above it: a box that
        covers the picture, [0.5, 0.5, 1, 1], becomes [0, 50, 200, 150].
    """
    ### BEGIN SOLUTION
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    height, width = transform.resized_hw
    edges = np.concatenate((cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2), axis=1)
    xyxy = edges * (width, height, width, height) + np.tile(transform.pad_xy, 2)
    for (left, top, right, bottom), class_id in zip(np.round(xyxy).astype(int).tolist(), class_ids, strict=True):
        cv2.rectangle(view, (left, top), (right - 1, bottom - 1), colours[class_id], 1)
    return view, xyxy
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-letterbox_view-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab2.letterbox_view")

# %% [markdown]
# Your view of three crops of different shapes, at the input size that we will train with. At 320 x 320 the small parts
# are a dozen pixels large. If you cannot tell a nut from a washer here, the network has no easier life.

# %% tags=["demonstration"]
item, panels = items[8], []
shapes = {"whole": (640, 640), "wide": (360, 640), "high": (640, 400)}
colours = [tuple(int(annotation.class_color(k, 8)[i : i + 2], 16) for i in (5, 3, 1)) for k in range(8)]
with using("lab2.letterbox_view"):
    for name, (height, width) in shapes.items():
        picture = np.ascontiguousarray(read_image(item.path)[:height, :width])
        inside = (item.xyxy[:, 2] <= width) & (item.xyxy[:, 3] <= height)
        edges = item.xyxy[inside] / (width, height, width, height)
        shares = np.concatenate(((edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2]), axis=1)
        view, _ = letterbox_view(picture, item.class_ids[inside], shares, (320, 320), colours)
        panels.append(Panel(f"{name}: {height} x {width} in 320 x 320", view))
    display(labelled_panels(panels, columns=3))
# %% [markdown]
# # Part B · Measuring
#
# A number decides which model is deployed. You should be able to compute it with pencil and paper, because every
# surprise ("mAP fell and users are happier") is explained by one of its steps. This part goes from two boxes to mAP and
# from a curve to a decision.

# %% [markdown]
# ## 6 · From boxes to one number
#
# **Overlap.** How well does a detected box $A$ fit a true box $B$? Intersection over union:
#
# $$\text{IoU}(A, B) = \frac{|A \cap B|}{|A \cup B|} = \frac{|A \cap B|}{|A| + |B| - |A \cap B|}$$
#
# It is 1 for equal boxes, 0 for boxes that do not meet, and stricter than it feels. Guess the IoUs below before you look
# at the titles: both boxes are ten units wide and high.

# %% tags=["demonstration"]
ten = (0.0, 0.0, 10.0, 10.0)
moved = [(shift, shift / 2, shift + 10.0, shift / 2 + 10.0) for shift in (1.0, 2.0, 4.0)]
display(ap_figures.overlaps([(ten, box) for box in (*moved, (2.5, 2.5, 7.5, 7.5))]))

# %% [markdown]
# **Verdicts.** Detections are judged in the order of their confidence, for the detector committed to the confident ones
# first. Each takes, of the true boxes of its class in its image that are still free, the one with the greatest IoU, if
# that reaches the threshold (0.5 for mAP50): a *true positive*. Otherwise it is a *false positive*; so is a second
# detection of the same object. True boxes that nobody took are *false negatives*.
#
# **Precision** is the share of the detections that are right, **recall** the share of the objects that were found:
#
# $$P = \frac{TP}{TP + FP}, \qquad R = \frac{TP}{TP + FN}$$
#
# Both belong to a confidence threshold. Lower it, and recall can only rise, while precision wanders. Going through the
# detections from the most confident on draws the precision-recall curve.

# %% [markdown]
# **Average precision** is one number for the whole curve. COCO first removes the wiggles: at recall $r$ counts the best
# precision that is reached at $r$ *or any higher recall*, because who asks for recall 0.3 is happy to get 0.4. Then it
# takes the mean over 101 recalls; where the curve does not reach, precision is 0:
#
# $$\text{AP} = \frac{1}{101} \sum_{r \in \{0, 0.01, \dots, 1\}} \ \max_{r' \ge r} P(r')$$
#
# The mean over the classes is mAP50; the mean over classes and the ten thresholds 0.50, 0.55 … 0.95 is mAP50-95. Here are
# the steps for nine detections of one class, in which six objects are to be found.

# %% tags=["demonstration"]
verdicts, objects = [True, True, False, True, False, False, True, True, False], 6
found = np.cumsum(verdicts)
print("rank  verdict   precision  recall")
for rank, (verdict, true) in enumerate(zip(verdicts, found, strict=True), start=1):
    print(f"{rank:4d}  {'right' if verdict else 'wrong':8s}  {true / rank:9.3f}  {true / objects:6.3f}")
display(ap_figures.average_precision_curve(verdicts, objects, title="Nine detections, six objects"))

# %% [markdown]
# <details><summary>Self-check: a detector finds everything, but gives each object's box twice. What is its AP?</summary>
#
# The second box of each object is a false positive. If every pair has nearly the same score, the two come one after the
# other, and precision hovers around one half all along: AP is about 0.5, from a detector that sees everything. That is
# what non-maximum suppression is for (lab 5).
# </details>
#
# <details><summary>Self-check: why evaluate with a confidence threshold of 0.001 when users see 0.25?</summary>
#
# AP describes the whole curve. Cutting off the uncertain detections cuts off its right end: recall stops earlier, the
# samples beyond count as 0, and AP falls, though no detection became worse. A cut for users is chosen *afterwards*, from
# the curve: that is section 7.
# </details>

# %% [markdown]
# ### Exercise · `lab2.average_precision`
#
# *Core · difficulty 4/5 · 45 minutes · 13 points*
#
# All of it, for one class: IoU, verdicts, AP. The judge is pycocotools, the reference implementation, and you have to
# agree with it to a millionth. The package's own functions for this are off limits here, `iou_matrix` included.


# %% nbgrader={"grade": false, "grade_id": "lab2-average_precision", "locked": false, "schema_version": 3, "solution": true, "task": false}
def average_precision(truths, boxes, scores, iou_threshold):
    """Judge the detections of one class in some images, and return COCO's average precision.

    Args:
        truths: One (m, 4) array per image: the true boxes, left, top, right, bottom. m may be 0, not in all images.
        boxes: One (n, 4) array per image: the detected boxes. n may be 0, in all images too; then AP is 0.
        scores: One (n,) array per image: their confidences, all different, in any order.
        iou_threshold: A detection that reaches this IoU fits; equal is enough.

    Returns:
        A dict with three entries:
        "iou": list with one (n, m) array per image, the IoU of every detection (row) with every true box (column);
        "is_true": list with one (n,) array or list of bools per image, in the order of `boxes`: whether the detection
            found an object of its own (the most confident chooses first, the best of the free boxes that fit);
        "ap": the mean over the recalls 0, 0.01 … 1 of the best precision at this recall or more, a float.
    """
    ### BEGIN SOLUTION
    iou = [box_iou(found, truth) for found, truth in zip(boxes, truths, strict=True)]
    is_true = [verdicts_of(table, values, iou_threshold) for table, values in zip(iou, scores, strict=True)]
    order = np.argsort(-np.concatenate(scores), kind="stable")
    true = np.cumsum(np.concatenate(is_true)[order])
    recall, precision = true / sum(map(len, truths)), true / np.arange(1, len(true) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return {"iou": iou, "is_true": is_true, "ap": float(np.append(envelope, 0.0)[place].mean())}
    ### END SOLUTION


def box_iou(found, truth):
    """Return the (n, m) intersection over union of (n, 4) and (m, 4) boxes."""
    ### BEGIN SOLUTION
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area_found, area_truth = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (found, truth))
    return shared / (area_found[:, None] + area_truth[None, :] - shared)
    ### END SOLUTION


def verdicts_of(iou, scores, iou_threshold):
    """Return (n,) bools: which detections find a true box of their own."""
    ### BEGIN SOLUTION
    verdicts, free = np.zeros(len(scores), bool), np.ones(iou.shape[1], bool)
    for row in np.argsort(-scores, kind="stable"):
        overlap = np.where(free, iou[row], -1.0)
        if len(overlap) and overlap.max() >= iou_threshold:
            free[overlap.argmax()] = False
            verdicts[row] = True
    return verdicts
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-average_precision-check", "locked": true, "points": 13, "schema_version": 3, "solution": false, "task": false}
check("lab2.average_precision")

# %% [markdown]
# Now a real detector: the base checkpoint, exported to ONNX (lab 3 explains how), on the 24 validation pictures of both
# stations, at an input of 320 x 320.
#
# ### Predict
#
# At station A, whose light it was trained in, it reaches an mAP50 of about two thirds. What will it be behind the dust?

# %%
my_guess_station_b = 0.4  # your guess

# %% tags=["demonstration"]
lab_folder = workspace() / "lab2"
base_onnx = lab_folder / "base-320.onnx"
if not base_onnx.exists():
    export_onnx("base", base_onnx, image_size=320)


# %%
def examine(onnx_path, dataset):
    """Return what a detector finds in the validation pictures of a station, and what is there."""
    with open_detector(onnx_path, config=DetectorConfig(conf_threshold=0.001, max_detections=100)) as detector:
        return detect_split(detector, dataset, split="val")


# %% tags=["demonstration"]
base_at = {"A": examine(base_onnx, station_a), "B": examine(base_onnx, station_b)}
for name, result in base_at.items():
    print(f"Base checkpoint at station {name}: mAP50 {result.metrics().map50:.3f}")
print(f"Your guess for station B was {my_guess_station_b}.")

# %% [markdown]
# A human does not see much of a difference between the stations, after a second of getting used to it. The network has
# no second of getting used to it. Your own function, class by class (the package's evaluation beside it, for trust):


# %% tags=["demonstration"]
def one_class(result, class_id):
    """Return true boxes, detected boxes and scores of one class, per image."""
    truths = [each.xyxy[each.class_ids == class_id].astype(float) for each in result.ground_truth]
    kept = [each.select(each.class_ids == class_id) for each in result.detections]
    return truths, [each.xyxy.astype(float) for each in kept], [each.scores for each in kept]


with using("lab2.average_precision"):
    print("              station A          station B\nclass         yours  package     yours  package")
    for class_id, class_name in enumerate(CLASS_NAMES):
        line = f"{class_name:12s}"
        for result in base_at.values():
            yours = average_precision(*one_class(result, class_id), 0.5)["ap"]
            line += f"  {yours:5.3f}  {result.metrics().per_class_ap50[class_name]:7.3f}   "
        print(line)

# %% [markdown]
# And the curves of one class. Read them from the left: at station A the first detections are all right, and precision
# falls slowly as the doubtful ones join. Behind the dust the curve ends early: most of the gears are not reported at
# *any* confidence. No threshold brings them back. That is a matter for training.

# %% tags=["demonstration"]
for name, result in base_at.items():
    judged = next(each for each in result.metrics().curves.classes if each.name == "gear")
    title = f"gear at station {name}"
    display(ap_figures.average_precision_curve(judged.is_true[:, 0], judged.positives, title=title))

# %% [markdown]
# ## 7 · From a curve to a decision
#
# A deployed detector needs *one* threshold, and mAP does not tell it. It follows from what errors cost, and that depends
# on who is asking:
#
# - **Safety.** A camera watches the open gearbox: no part may be left in it. A miss destroys the gearbox, a false alarm
#   costs a look. So recall has a *floor*, and among the thresholds that keep it you want the best precision, because
#   people switch off guards that cry wolf.
# - **Search.** Somebody looks through an archive for pictures with brackets. Wrong hits make the tool useless, and a few
#   missed pictures go unnoticed. So precision has a floor, and above it you want the best recall.
#
# The default of 0.25, and the threshold with the best F1, are answers to questions that neither of them asked.

# %% [markdown]
# Three traps. Recall counts *all* objects, those without any detection too; it may never reach 1, and then some floors
# cannot be had: say so. Precision does not rise steadily with the threshold, it is bumpy, so compare at every threshold
# instead of stopping at the first. And equal scores stay together: a threshold keeps all of them or none.

# %% [markdown]
# ### Exercise · `lab2.confidence_threshold`
#
# *Core · difficulty 3/5 · 30 minutes · 10 points*


# %% nbgrader={"grade": false, "grade_id": "lab2-confidence_threshold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_thresholds(scores, is_true, positives, recall_floor, precision_floor):
    """Choose a confidence threshold for a safety and for a search use case.

    A detection is kept if its score is at least the threshold. Precision is the share of the kept detections that are
    true; recall is the share of all `positives` that the kept detections found.

    Args:
        scores: (n,) confidences in any order, some of them equal.
        is_true: (n,) bools: whether each detection found an object of its own.
        positives: How many objects there are, those that no detection found included.
        recall_floor: Least recall for "safety"; of the thresholds that keep it, the one with the best precision.
        precision_floor: Least precision for "search"; of the thresholds that keep it, the one with the best recall.

    Returns:
        {"safety": ..., "search": ...}; each is a dict with "threshold", "precision" and "recall", or None if no
        threshold keeps the floor.
    """
    ### BEGIN SOLUTION
    points = []
    for threshold in np.unique(scores):
        kept = is_true[scores >= threshold]
        rates = {"precision": float(kept.mean()), "recall": float(kept.sum() / positives)}
        points.append({"threshold": float(threshold), **rates})
    safe = [point for point in points if point["recall"] >= recall_floor]
    precise = [point for point in points if point["precision"] >= precision_floor]
    return {
        "safety": max(safe, key=lambda point: point["precision"], default=None),
        "search": max(precise, key=lambda point: point["recall"], default=None),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-confidence_threshold-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab2.confidence_threshold")

# %% [markdown]
# Your choice for the base checkpoint at station A, all classes together. The guard asks for a recall of 0.7, the archive
# for a precision of 0.95.

# %% tags=["demonstration"]
judged = base_at["A"].metrics().curves.classes
scores = np.concatenate([each.scores for each in judged]).astype(float)
is_true = np.concatenate([each.is_true[:, 0] for each in judged])
positives = sum(each.positives for each in judged)
floors = {"recall_floor": 0.7, "precision_floor": 0.95}
cuts = np.linspace(0.01, 0.9, 179)
precision = np.array([is_true[scores >= cut].mean() for cut in cuts])
recall = np.array([is_true[scores >= cut].sum() for cut in cuts]) / positives
with using("lab2.confidence_threshold"):
    answer = choose_thresholds(scores, is_true, positives, **floors)
    chosen = {use: point["threshold"] for use, point in answer.items() if point}
    kept = {"recall": 0.7, "precision": 0.95}
    display(ap_figures.operating_points(cuts, precision, recall, floors=kept, chosen=chosen))
    print(*(f"{use}: {point}" for use, point in answer.items()), sep="\n")

# %% [markdown]
# Two customers, one network, and thresholds that lie far apart. Also look at what the guard pays: nearly every second
# alarm is false. If that is unacceptable, no threshold helps; only a better curve does.
#
# <details><summary>Self-check: on which data may the threshold be chosen, and where is its recall to be reported?</summary>
#
# Chosen on validation data; reported on test data that took no part in the choice. And with an interval: a recall of
# 0.70 measured on 280 objects is known to about ±0.05, so a floor that really matters needs a margin, or more data.
# </details>
# %% [markdown]
# # Part C · Training
#
# Now the network learns. First the cheapest way to more data, and how to find out whether it works; then the training
# itself.

# %% [markdown]
# ## 8 · Augmentation is an experiment
#
# An augmentation changes a training picture in a way that should not change the answer: flipped, shifted, in another
# light. The network cannot learn "bolts lie at the left" or "nuts are blue", because it is not true any more. So each
# augmentation is a *claim about the world*: that such pictures could occur, and that their labels are still right. Where
# the claim is false, it does harm. Here are the usual ones, with their labels.


# %%
def flipped(picture, edges):
    """Left and right exchanged."""
    width = picture.shape[1]
    return picture[:, ::-1].copy(), np.stack(
        (width - edges[:, 2], edges[:, 1], width - edges[:, 0], edges[:, 3]), axis=1
    )


# %%
def other_light(picture, edges, gains=(1.0, 1.6, 0.7)):
    """Hue, saturation and value changed (HSV jitter)."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(float) * gains
    return cv2.cvtColor(np.clip(hsv, 0, (179, 255, 255)).astype(np.uint8), cv2.COLOR_HSV2BGR), edges


def blended(picture, edges, other, share=0.6):
    """MixUp: two pictures on top of each other, the labels of both."""
    return cv2.addWeighted(picture, share, other[0], 1 - share, 0), np.concatenate((edges, other[1]))


# %%
def warped(picture, edges, degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Rotated, scaled and shifted; the new box is the upright box around the corners of the old one."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += np.array(shift) * (width, height)
    corners = edges[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ matrix[:, :2].T + matrix[:, 2]
    moved = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return cv2.warpAffine(picture, matrix, (width, height), borderValue=(114, 114, 114)), moved


# %%
def mosaic(pictures):
    """Four pictures at half their size, two by two."""
    tiles = [(cv2.resize(picture, None, fx=0.5, fy=0.5), edges / 2) for picture, edges in pictures]
    height, width = tiles[0][0].shape[:2]
    rows = [np.hstack((tiles[0][0], tiles[1][0])), np.hstack((tiles[2][0], tiles[3][0]))]
    offsets = [(0, 0, 0, 0), (width, 0, width, 0), (0, height, 0, height), (width, height, width, height)]
    return np.vstack(rows), np.concatenate([edges + offset for (_, edges), offset in zip(tiles, offsets, strict=True)])


# %% tags=["demonstration"]
def kept_inside(edges, side=640):
    """Return boxes cut to the picture, those that are gone left out."""
    cut = np.clip(edges, 0, side)
    return cut[((cut[:, 2:] - cut[:, :2]) > 4).all(axis=1)]


shots = [(read_image(items[index].path), items[index].xyxy) for index in (61, 72, 87, 3)]
shown = {
    "as it is": shots[0],
    "flip": flipped(*shots[0]),
    "HSV": other_light(*shots[0]),
    "scale and shift": warped(*shots[0], scale=0.7, shift=(0.12, -0.1)),
    "mosaic": mosaic(shots),
    "MixUp": blended(*shots[0], shots[1]),
}

# %% tags=["demonstration"]
panels = [
    Panel(name, picture, [annotation.Outline(tuple(box)) for box in kept_inside(edges).tolist()])
    for name, (picture, edges) in shown.items()
]
display(labelled_panels(panels, columns=3))

# %% [markdown]
# One is missing: rotation. A part on a table may lie in any direction, so the picture is fine. Look at the *label*. Nobody
# draws the box anew; it is computed from the corners of the old box, and the upright box around a turned box is larger
# than the object in it. A box of $w \times h$ turned by $\theta$ becomes
#
# $$w' = w \cos\theta + h \sin\theta, \qquad h' = w \sin\theta + h \cos\theta ,$$
#
# which for a square and 15° is 22 % too wide. The network learns to draw boxes that are too large, as it was told to.

# %% tags=["demonstration"]
panels = []
for degrees in (0, 15, 30):
    picture, edges = warped(*shots[0], degrees=degrees)
    boxes = [annotation.Outline(tuple(box)) for box in kept_inside(edges).tolist()]
    panels.append(Panel(f"turned by {degrees}°", picture, boxes))
display(labelled_panels(panels, columns=3))

# %% [markdown]
# **So measure it.** An *ablation* trains with and without one change, everything else equal. The trouble: two runs of the
# *same* recipe differ too, by the seed that shuffles pictures and draws augmentations. A difference of one run against
# one run says nothing. Therefore: several seeds per recipe, and the difference *per seed*, because both runs of a seed
# share its luck (the same pictures in the same order, the same validation set):
#
# $$d_i = m_i^\text{with} - m_i^\text{without}, \qquad \bar d \pm t_{n-1,\,0.975}\ \frac{s_d}{\sqrt n}$$
#
# is the 95 % interval of the mean gain, with $s_d$ the standard deviation of the $n$ differences (with $n - 1$ in its
# denominator) and $t$ from Student's distribution: 3.18 for four seeds, and only for many seeds 1.96. If the interval
# holds 0, these runs cannot tell the change from nothing.

# %% [markdown]
# Here is a real table. On an H200 we fine-tuned the base checkpoint for station B: 96 pictures, 16 epochs, batch 8, one
# recipe without any augmentation ("none") and six that add one each. The numbers are mAP50-95 on 100 test pictures. A
# dash is a run that did not finish in the time we had; real tables have holes.
#
# ### Predict
#
# Cover the columns but the first one. Which augmentations help? Now look at all columns and answer again.

# %% tags=["demonstration"]
MEASURED = """
none              0.3735 0.3981 0.3912 0.3813 0.3837
flips             0.4346 0.4206 0.4156 0.3893      -
shift and scale   0.4237 0.4060 0.4171 0.3959 0.4060
mosaic            0.4156 0.4177 0.3702 0.4047      -
colour            0.4043 0.3964 0.3618 0.3966      -
mixup             0.3877 0.3772 0.3645 0.3755      -
rotation          0.3153 0.2887 0.3298 0.3199      -
"""
print("augmentation      seed 0 seed 1 seed 2 seed 3 seed 4", MEASURED, sep="")
rows = []
for line in MEASURED.strip().splitlines():
    for seed, value in enumerate(line[18:].split()):
        if value != "-":
            rows.append({"augmentation": line[:18].strip(), "seed": seed, "map50_95": float(value)})

# %%
T_QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}  # degrees of freedom: 97.5 %

# %% [markdown]
# ### Exercise · `lab2.augmentation_readout`
#
# *Core · difficulty 3/5 · 30 minutes · 10 points*
#
# Rows come in any order, and runs may be missing on either side. Only seeds that both recipes have can be compared.


# %% nbgrader={"grade": false, "grade_id": "lab2-augmentation_readout", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_ablation(rows, baseline, t_quantile):
    """Say for each augmentation whether it helps, hurts, or cannot be told from noise.

    Args:
        rows: One dict per run, in any order: "augmentation" (its name), "seed" (a whole number), "map50_95".
        baseline: Name of the recipe to compare with; the recipe that has no augmentation.
        t_quantile: Degrees of freedom (n - 1) to the 97.5 % quantile of Student's t.

    Returns:
        A dict with one entry per augmentation, the baseline left out; each is a dict with
        "gain": the mean, over the seeds that both have, of the augmentation's value minus the baseline's;
        "low", "high": the ends of the 95 % interval of that mean;
        "verdict": "helps" if the interval lies above 0, "hurts" if it lies below, else "unclear".

    Example:
        Gains of 0.01, 0.02 and 0.03 have the mean 0.02 and the interval -0.0048 to 0.0448: unclear.
    """
    ### BEGIN SOLUTION
    runs = {}
    for row in rows:
        runs.setdefault(row["augmentation"], {})[row["seed"]] = row["map50_95"]
    readout = {}
    for name in runs.keys() - {baseline}:
        seeds = runs[name].keys() & runs[baseline].keys()
        gains = np.array([runs[name][seed] - runs[baseline][seed] for seed in seeds])
        half = t_quantile[len(gains) - 1] * gains.std(ddof=1) / np.sqrt(len(gains))
        low, high = float(gains.mean() - half), float(gains.mean() + half)
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "unclear"
        readout[name] = {"gain": float(gains.mean()), "low": low, "high": high, "verdict": verdict}
    return readout
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab2-augmentation_readout-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab2.augmentation_readout")

# %% tags=["demonstration"]
with using("lab2.augmentation_readout"):
    readout = read_ablation(rows, "none", T_QUANTILE)
    value_of = {(row["augmentation"], row["seed"]): row["map50_95"] for row in rows}
    gains = {
        name: [value - value_of["none", seed] for (other, seed), value in value_of.items() if other == name]
        for name in readout
    }
    intervals = {name: (entry["low"], entry["high"]) for name, entry in readout.items()}
    display(ap_figures.paired_gains(gains, intervals))
    for name, entry in sorted(readout.items(), key=lambda pair: -pair[1]["gain"]):
        print(f"{name:16s} {entry['gain']:+.4f}  ({entry['low']:+.4f} to {entry['high']:+.4f})  {entry['verdict']}")

# %% [markdown]
# Seed 0 alone would have praised five of the six. Flips have the largest mean gain of all and are *not* proven: the gain
# of one seed carries them. Shifting and scaling gains less and more reliably. Rotation is beyond doubt, and it hurts.
# And *unclear* is a result: it says that four runs are too few for an effect of that size. So it is not worth an
# argument; perhaps it is worth more runs.
#
# The verdict belongs to the data, too. The same experiment on BCCD's blood cells (64 pictures, 20 epochs, five seeds) gave
# for rotation +0.010, interval -0.006 to +0.025: unclear, no harm to be seen. We have not found out why. A guess: those
# boxes are drawn by hand and loosely, so that a slightly larger box costs little; ours are exact to the pixel.

# %% [markdown]
# <details><summary>Self-check: you test twenty augmentations at 95 %, and one of them helps. Are you convinced?</summary>
#
# No. One of twenty intervals misses the truth by chance alone, so a lucky one is to be expected. Run that one again with
# new seeds: if it was luck, it will be gone.
# </details>
#
# <details><summary>Self-check: why the difference per seed, and not the mean of one recipe minus the mean of the other?</summary>
#
# Without gaps both give the same gain. But the interval differs: what a seed does to *both* runs (its pictures are in a
# lucky order) cancels in the difference and stays in the two means. Pairing removes noise that has nothing to do with
# your question, and with a missing run, means compare different seeds.
# </details>

# %% [markdown]
# ## 9 · Fine-tuning for station B
#
# Transfer learning starts from weights that know something. Most of what a detector knows (edges, shine, holes) is true
# in the new place too; so a hundred pictures can be enough where training from random weights needs thousands. The art
# is to change what must change and to keep the rest. You have four levers:
#
# - the **learning rate**: how far each step goes. Adam's steps have about this length *whatever the gradient*, so a rate
#   that is right for random weights walks away from good ones;
# - **freezing**: layers that do not learn cannot forget, and cost no backward pass;
# - **batch normalisation**: every such layer subtracts the mean and divides by the standard deviation of its channel, and
#   uses *running statistics* of the training pictures, $\hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}$. They are not
#   learned by gradient; they are *observed*, while the layer is in training mode;
# - **time**: epochs, and how many pictures a step sees.

# %% [markdown]
# Think about what the dust does to the numbers inside the network: contrast is a fifth of what it was, and everything is
# bright. Which of the things in the last cell know about contrast and brightness? And what happens to them in the presets?
#
# | preset | made for | frozen | statistics | augmentation |
# |---|---|---|---|---|
# | `demo` | a checkpoint that is already right | backbone | all kept | weak |
# | `transfer` | new classes, similar light | backbone | backbone's kept | weak |
# | `plain` | seeing what augmentation is worth | nothing | observed anew | flips, small shifts |
# | `augmented` | training from random weights | nothing | observed anew | mosaic, MixUp, HSV … |
#
# `TrainConfig` takes `preset`, and to override it `epochs`, `batch`, `learning_rate`, `max_train_images`,
# `max_val_images`. A preset's own learning rate suits a start from random weights (`plain`, `augmented`: about 0.001) or
# a new head (`transfer`: 0.0015).

# %% [markdown]
# ### Exercise · `lab2.fine_tune`
#
# *Core · difficulty 3/5 · 35 minutes · 10 points*
#
# Choose settings, train, and hand in an ONNX file that sees through the dust. It is examined on pictures of station B
# that nobody has seen: **mAP50 of at least 0.38**. The base checkpoint gets about 0.2. 500 picture visits (96 pictures,
# five epochs) are enough if the settings are right, and take about a minute on two cores. You may train as often as
# you like.
#
# The file `station_b.onnx` lies beside this notebook; it is handed in together with it. Nothing else of the training is.


# %% nbgrader={"grade": false, "grade_id": "lab2-fine_tune", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_settings():
    """Return settings for `TrainConfig`, such as {"preset": ..., "epochs": ..., "batch": ..., "learning_rate": ...}.

    The data set, the start from the base checkpoint, the image size of 320 and the seed are given by the next cell.
    """
    ### BEGIN SOLUTION
    # Nothing frozen, so that the statistics can follow the light; small steps, because the weights are good already.
    return {"preset": "plain", "epochs": 5, "batch": 4, "learning_rate": 1e-4}
    ### END SOLUTION


def fine_tuned_model():
    """Return the path of the ONNX file with the fine-tuned detector: "station_b.onnx", beside this notebook.

    It only says where the file is; the cell below trains and writes it. Input (batch, 3, 320, 320), the eight classes
    of the base checkpoint in their order.

    Returns:
        A relative `Path`.
    """
    ### BEGIN SOLUTION
    return Path("station_b.onnx")
    ### END SOLUTION


# %% [markdown]
# The training cell. It trains on station B's pictures, exports the best epoch's weights to the file that you named, and
# takes about a minute. If nothing in your settings has changed, it keeps the run that is there.


# %%
def fine_tune(settings, onnx_path):
    """Fine-tune the base checkpoint for station B, export it, and return the folder of the run."""
    name = "_".join(f"{key}-{value}" for key, value in sorted(settings.items()))
    run = workspace() / "lab2" / "runs" / name
    if not (run / "best.pt").exists():
        config = TrainConfig(
            data_yaml=station_b.data_yaml, weights="base", image_size=320, seed=1, output=run, **settings
        )
        bar = ProgressBar(100)
        bar.display()
        result = train(config, on_progress=lambda done, total: setattr(bar, "progress", 100 * done // total))
        print(f"{result.epochs} epochs in {result.seconds:.0f} s")
    export_onnx(run / "best.pt", onnx_path, image_size=320)
    return run


# %% tags=["demonstration"]
with using("lab2.fine_tune"):
    run_folder = fine_tune(training_settings(), fine_tuned_model())
    display(plot_training(run_folder))

# %% [markdown]
# **How to read the curves.** Training losses should fall; validation losses tell whether what was learned is true of other
# pictures. If they rise while the training losses fall, the network learns the pictures by heart: stop, or augment. If
# mAP is *below the base checkpoint's* after the first epoch and then climbs, the first steps were too long: you watch a
# network forget, and learn again from your hundred pictures what it knew from a thousand. A usual cause is the warm-up:
# Ultralytics lets biases begin with a rate of 0.1, which is meant for random weights. `train.log` and `results.csv` in
# the run's folder tell the rates of every epoch (`lr/pg2` is that of the biases).

# %% nbgrader={"grade": true, "grade_id": "lab2-fine_tune-check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("lab2.fine_tune")


# %%
def tuned_model():
    """Return the file of the fine-tuned detector, once there is one."""
    if not fine_tuned_model().is_file():
        raise NotImplementedError
    return fine_tuned_model()


# %% tags=["demonstration"]
with using("lab2.fine_tune"):
    tuned_at = {"A": examine(tuned_model(), station_a), "B": examine(tuned_model(), station_b)}
    print("mAP50                 station A  station B")
    for name, result in (("base checkpoint", base_at), ("fine-tuned", tuned_at)):
        print(f"{name:20s}  {result['A'].metrics().map50:9.3f}  {result['B'].metrics().map50:9.3f}")
    before, after = (each["B"].metrics().per_class_ap50 for each in (base_at, tuned_at))
    display(ap_figures.ap_by_class(before, after, names=("base checkpoint", "fine-tuned")))

# %% [markdown]
# Compare the columns before you celebrate. What does the fine-tuned network do at station A? It has not learned to see
# through dust as well; it has moved there, and lost the old place on the way. A test set that holds only what is new
# would never have told you. If one model must serve both stations, train on both, and keep both test sets.

# %% tags=["demonstration"]
with using("lab2.fine_tune"):
    panels, tuned = [], examine(tuned_model(), station_b)
    for title, result in (("base checkpoint", base_at["B"]), ("fine-tuned", tuned)):
        for index in (2, 5):
            found = result.detections[index]
            sure = found.select(found.scores >= 0.25)
            boxes = outlines(sure.xyxy, sure.class_ids, class_names=CLASS_NAMES)
            wanted = len(result.ground_truth[index])
            panels.append(Panel(f"{title}: {len(sure)} found, {wanted} there", read_image(result.images[index]), boxes))
    display(labelled_panels(panels, columns=2))

# %% [markdown]
# <details><summary>Stretch, ungraded: how much of the gain was learned, and how much merely observed?</summary>
#
# In training mode batch normalisation re-estimates its statistics, even if no weight ever changes. We showed station B's
# 96 training pictures to the base checkpoint that way, without labels and without one gradient step. Its mAP50 on the
# validation pictures went from 0.245 to 0.39 after one pass and 0.49 after five; the fine-tuned network has 0.53. So most
# of the gain needs no labels at all. It is a method of its own, adaptive batch normalisation (Li et al. 2016), and the
# first thing to try when only the light or the camera has changed. Can you do it in ten lines of PyTorch?
# </details>
#
# <details><summary>Expert, ungraded: can it be done without any training?</summary>
#
# The veil is known, so it can be taken off: scene = (picture - (1 - t) veil) / t. These are two nodes, Mul and Add, in
# front of the base checkpoint's ONNX graph (lab 3 teaches how), and the result passes the check. Physics first, then
# data. But the dust will be thicker next month, and then the constants are wrong, while a new hundred pictures are not.
# </details>

# %% [markdown]
# ## Written question
#
# A colleague reports: *"Our new detector for the packing line reaches mAP50-95 0.81, up from 0.77. We cut 38 videos into
# 1,900 frames and split them 80/20 at random. Two of us labelled half of the frames each. We tried eight augmentation
# recipes and kept the best one; mosaic with rotation won. At the threshold with the best F1, recall is 0.93, good enough
# for the hand guard. All numbers are from the 20 %."* You have **40 hours of annotation work** to spend, and a week.
#
# Write 200 to 300 words: which of these claims you do not believe and why, what you would measure first and what each
# outcome would tell you, and how you would spend the 40 hours.

# %% [markdown]
# | Criterion | Points |
# |---|---|
# | Names the leak of frames across the split, says in which direction it moves the number, and how to show it | 3 |
# | Explains two other faults (choice on the reported set without seeds, two annotators, rotation's boxes, F1 for a guard) | 3 |
# | Spends the 40 hours by a reason and with numbers: a test set of whole videos first, agreement of annotators, rare cases | 2 |
# | Says for each measurement what outcome would change the decision, and claims no more than can be known | 2 |

# %% [markdown] nbgrader={"grade": true, "grade_id": "lab2-written", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# **The leak.** 38 videos give 50 frames each; a random split puts neighbours of nearly every test frame into training. A
# copycat would score well, so 0.81 is too high, and even the gain of 0.04 may be memory. First measurement: train both
# models on 30 videos, test on the other 8. If the gain survives, keep the recipe; if 0.81 becomes 0.55, expect 0.55.
#
# **Selection.** The best of eight recipes, one run each, is the luckiest of eight, chosen on the set that reports it. I
# would train baseline and winner with four seeds on validation videos; if the paired interval holds 0, there is no gain.
# Rotation makes me doubt more: boxes around turned boxes are too large, and strict IoU punishes that.
#
# **Labels.** Both annotators label the same 60 frames; the mAP of one against the other is the ceiling. If it is near
# 0.8, write a policy before anything else. **The guard** needs a recall floor for hands, set by whoever answers for
# safety and measured on people in no training video, with its interval. F1 weighs a missed hand like a false alarm.
#
# **40 hours:** 6 for the policy and the doubly labelled frames, 14 for a test set of 8 whole videos, 12 for rare frames
# (gloves, night shift) where the model fails, 8 for errors that validator and worst false positives show.

# %% [markdown]
# ## Recap
#
# **We have:**
#
# - data of two stations, looked at, counted, validated, and split by origin instead of by file;
# - box conversion that cuts edges and nothing else, and a view of the data as the network sees it;
# - IoU, verdicts and average precision of our own, equal to pycocotools;
# - two thresholds for two customers, from one curve;
# - a way to tell an effect from a seed, and a table in which it mattered;
# - `station_b.onnx`, fine-tuned on 96 pictures, examined on unseen ones.
#
# And three habits: look at pictures before numbers; ask of every number on which data it was *chosen*; ask of every label
# who drew it by which rule. Lab 3 takes a checkpoint to ONNX and proves that nothing was lost on the way.

# %% [markdown]
# ## Further reading
#
# - [Ultralytics: object detection datasets](https://docs.ultralytics.com/datasets/detect/), the YOLO format, and
#   [model training tips](https://docs.ultralytics.com/guides/model-training-tips/).
# - [COCO detection evaluation](https://cocodataset.org/#detection-eval), the definition of mAP50-95, and
#   [pycocotools' source](https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py).
# - Sechidis, Tsoumakas, Vlahavas, [On the Stratification of Multi-Label Data](https://link.springer.com/chapter/10.1007/978-3-642-23808-6_10), 2011.
# - Northcutt, Athalye, Mueller, [Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks](https://arxiv.org/abs/2103.14749), 2021.
# - Kapoor, Narayanan, [Leakage and the Reproducibility Crisis in Machine-Learning-Based Science](https://arxiv.org/abs/2207.07048), 2022.
# - Li et al., [Revisiting Batch Normalization For Practical Domain Adaptation](https://arxiv.org/abs/1603.04779), 2016.
# - Narasimhan, Nayar, [Vision and the Atmosphere](https://link.springer.com/article/10.1023/A:1016328200723), 2002: the model of haze.
# - [BCCD](https://github.com/Shenggan/BCCD_Dataset), the blood cells (MIT licence).
