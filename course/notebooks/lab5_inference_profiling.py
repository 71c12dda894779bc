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
import cv2
import matplotlib.pyplot as plt
import numpy as np

from yolotrt_lab.grading import check, using, workspace

# %% [markdown]
# # Part A · From image to boxes

# %% tags=["demonstration"]
lab_folder = workspace() / "lab5"
dataset = prepare_dataset("parts", root=lab_folder, counts={"train": 16, "test": 48}, workers=usable_cores())
print(f"{len(dataset.images('test'))} test images of {', '.join(dataset.class_names)}")

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
# (part C goes here)

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
