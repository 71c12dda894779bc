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
# **You need** lab 3 (ONNX graphs, exporting, comparing tensors) and NumPy. No GPU is needed: without one, the course
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
# | A | 1 From graph to engine | `lab4.fp32_engine` | core | 25 | 8 |
# | A | 2 Batches that vary | `lab4.dynamic_profile` | core | 20 | 9 |
# | A | 3 Two ways to FP16 | `lab4.fp16_engines` | core | 25 | 8 |
# | B | … | (part B's rows) | | | 42 |
# | C | 11 What did it build? | `lab4.read_inspector` | core | 25 | 8 |
# | C | 12 Is it still right? | `lab4.compare_engines` | core | 25 | 8 |
# | C | 13 The table you may show | `lab4.engine_table` | core | 20 | 7 |
# | – | Written question | choose an engine and defend it | core | 20 | 10 |

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.grading import check, using, workspace

platform = activate()
import tensorrt as trt

# %% [markdown]
# # Part A · Building engines

# %% [markdown]
# # Part B · Quantization

# %%
# --- part B begins ---
# Names that demonstrations of part B can use (they are made in a demonstration cell of part A):
#   lab_folder: Path, this lab's folder in workspace();  dataset: Dataset of `parts`, 320 x 320, splits train and test;
#   fp32_onnx: Path of the base checkpoint exported with dynamic batch at 320 x 320;  fp16_onnx: its FP16 version;
#   int8_onnx: Part B may make it (Path, lab_folder / "model.int8.onnx", Q/DQ over FP16); part C makes it if it is not there.

# %%
# --- part B ends ---

# %% [markdown]
# # Part C · Reading and comparing

# %% [markdown]
# # Written question

# %% [markdown]
# # Recap
