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
# # Lab 1 · Know your machine
#
# A detector that was trained well can still be useless. It runs, but at four images a second. It ran last week, until
# somebody updated a driver. It is "ten times as fast as before", until somebody else measures. None of this has to do
# with neural networks. It has to do with the machine below them, and with what people believe about it.
#
# So this course starts with the machine. You will look at the road that a model takes from training to hardware, find
# out which versions along that road fit each other and *why*, and measure how fast things are in a way that stands up
# to a sceptic. At the end you bring a piece of old TensorRT code to life. Everything in later labs rests on this: an
# engine nobody can install, or a speed-up nobody can repeat, is no result.

# %% [markdown]
# ## What you will be able to do
#
# After this lab you can
#
# - **draw** the road from training framework to hardware, and say what each stop adds and takes away,
# - **judge** a machine by its versions: what conflicts, what merely looks odd, and why,
# - **choose** an installation for a machine you have never seen,
# - **explain** with your own numbers what is gained by converting a model, and when it is little,
# - **measure** a latency: warm, awaited, as a distribution with a tail,
# - **find** the lines in a benchmark that make its result worthless,
# - **port** inference code from TensorRT 7 or 8 to today's API.

# %% [markdown]
# ## Before you start
#
# **Prerequisites.** You program in Python, have used NumPy, and have run a PyTorch model before. You need no GPU: where
# there is none, the course emulates TensorRT on your processor. The API is the same, results and precisions are real,
# and wherever a time is shown it says that it is a processor's.
#
# **Time.** About three and a half hours: 140 minutes for the five exercises, the rest for reading, looking and writing.
# The exercises do not depend on each other. Stop after any of them.
#
# **How it works.** Write an answer, run the `check(...)` below it, read what it says, try again, as often as you like.
# Where a cell says *predict*, write a guess down before you run the next cell. Nobody grades it. Being wrong there,
# and noticing, is the fastest way to learn this.

# %% [markdown]
# ## Map of this lab
#
# | Section | Exercise | Tier | Difficulty | Minutes | Points |
# |---|---|---|---|---|---|
# | 1 The road | | | | | |
# | 2 Versions that fit | `lab1.compatibility_report` | core | 3 of 5 | 35 | 22 |
# | | `lab1.pick_install` | core | 2 of 5 | 20 | 16 |
# | 3 Why convert at all | | | | | |
# | 4 Honest measurement | `lab1.honest_benchmark` | core | 3 of 5 | 30 | 22 |
# | 5 Five lies | `lab1.benchmark_lies` | core | 3 of 5 | 25 | 14 |
# | 6 Old code | `lab1.port_snippet` | core | 3 of 5 | 30 | 16 |
# | 7 Written question | a letter to a colleague | core | 3 of 5 | 25 | 10 |

# %%
import time
from importlib.metadata import version

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.grading import check, using, workspace
from yolotrt_lab.runtimes.tensorrt_buffers import use_primary_context

platform = activate()
use_primary_context()
import pycuda.driver as cuda
import tensorrt as trt

# %% [markdown]
# The last four lines deserve a look, because every lab begins with them. `activate()` looks for a GPU that answers and
# for a TensorRT that imports. If both are there, nothing else happens. If not, it puts modules of the same names in
# their places, and says so in one line. `import tensorrt` comes *after* that, so it finds whichever is right.

# %% tags=["demonstration"]
from yolotrt_lab.report.schema import PlatformInfo

plt.show()  # from here on, figures appear below their cells
lab_folder = workspace() / "lab1"
lab_folder.mkdir(exist_ok=True)
where = PlatformInfo(platform.kind, platform.tensorrt_version, platform.device_name)
print(f"TensorRT {platform.tensorrt_version} ({platform.kind}) on {platform.device_name}")
print(f"Times in this lab: {where.timing_label}")

# %% [markdown]
# ## 1 · The road from training to hardware
#
# A trained model is a list of numbers and a program that uses them. While you train, that program is written in Python,
# because you change it every hour. When you deploy, nobody changes it any more, and everything that made it easy to
# change is a burden. The road from one to the other has four stops:
#
# - the **training framework** knows gradients, augmentation and optimisers, none of which a camera needs;
# - the **exchange format** is a graph of operations with fixed names and meanings. It cannot be trained, but everybody
#   can read it;
# - the **inference engine** turns the graph into a program for one kind of hardware: it fuses operations, chooses a
#   kernel for each and lays out memory;
# - the **hardware** decides what "fast" means, and which arithmetic costs nothing extra.

# %% [markdown]
# The map below is drawn for the machine you are sitting at: blue stops are there, orange ones are emulated, gray ones
# are not here.
#
# **Predict.** Which arrows lead from PyTorch to your processor, and which one to a GPU? How many programs can read an
# ONNX file on your machine? *My guess:* …

# %% tags=["demonstration"]
from yolotrt_lab.doctor import diagnose, gather_facts
from yolotrt_lab.figures.toolchain import STAGES, Station, toolchain_map

facts = gather_facts()  # asks every package in a process of its own; half a minute on a slow disk
training, exchange, engine_stage, hardware = STAGES
gpu_name = facts.gpus[0].name if facts.gpus else ""
print(f"Looked at {len(facts.probes)} packages on {facts.cpu} ({facts.cores} cores), GPU: {gpu_name or 'none'}.")

# %% tags=["demonstration"]
stops = [Station("PyTorch", training, version("torch")), Station("TensorFlow", training, presence="absent")]
stops += [Station("TorchScript", exchange, "part of PyTorch"), Station("ONNX", exchange, version("onnx"))]
stops += [Station("LibTorch", engine_stage, "part of PyTorch"), Station("LiteRT", engine_stage, presence="absent")]
stops[5:5] = [Station(name, engine_stage, version(name.lower().replace(" ", ""))) for name in ("OpenVINO",)]
stops[5:5] = [Station("ONNX Runtime", engine_stage, str(facts.value("onnxruntime", "version")))]
stops[5:5] = [Station("TensorRT", engine_stage, platform.tensorrt_version, "here" if gpu_name else "emulated")]
stops += [Station("NVIDIA GPU", hardware, gpu_name, "here" if gpu_name else "absent")]
stops += [Station("Processor", hardware, facts.cpu), Station("Phone", hardware, presence="absent")]
roads = [("PyTorch", "TorchScript"), ("PyTorch", "ONNX"), ("TensorFlow", "ONNX"), ("TorchScript", "LibTorch")]
roads += [("ONNX", name) for name in ("TensorRT", "ONNX Runtime", "OpenVINO", "LiteRT")]
roads += [("TensorRT", "NVIDIA GPU" if gpu_name else "Processor"), ("LiteRT", "Phone"), ("OpenVINO", "Processor")]
roads += [(name, place) for name in ("LibTorch", "ONNX Runtime") for place in ("NVIDIA GPU", "Processor")]
display(toolchain_map(stops, roads))

# %% [markdown]
# Every arrow is a conversion, and every conversion can change the numbers: another kernel adds in another order, another
# resize rounds the other way. That is why later labs never ask "did the export finish?" but "how far is the result from
# the reference, and how far may it be?". The reference is always the same: the ONNX file in ONNX Runtime, in FP32.
#
# Note what has *no* arrow. No engine reads a PyTorch checkpoint. And an engine's own file, the *plan*, leads nowhere
# else: it is made for one version of TensorRT and one kind of GPU. You ship ONNX and build plans where they run.

# %% [markdown]
# <details><summary>Self-check: why is there an exchange format at all? Could every engine not read PyTorch?</summary>
#
# A checkpoint holds weights and the *names* of Python classes. To know what they compute, you have to run Python, with
# the very library that defined them. An exchange format says it in a closed vocabulary of some 200 operators whose
# meaning is written down. With $m$ frameworks and $n$ engines, that is also $m + n$ converters to maintain instead of
# $m \cdot n$.
# </details>

# %% [markdown]
# ## 2 · Versions that fit
#
# Most deployment problems are two numbers that do not fit each other. They are reported by a third party: PyTorch says
# "no GPU found" when the *driver* is old; ONNX Runtime quietly computes on the processor when *TensorRT* is too new.
# The doctor asks every part by itself and then compares. This is your machine:

# %% tags=["demonstration"]
diagnosis = diagnose(facts)
rows = ["| | | found | meaning |", "|---|---|---|---|"]
for finding in diagnosis.findings:
    rows.append(f"| {finding.name} | {finding.status} | {finding.found} | {finding.meaning} |")
display(Markdown("\n".join(rows)))
print(diagnosis.summary)

# %% [markdown]
# Read it from the bottom. The last line says what labs will build and run engines with. If it speaks of the emulation,
# look at *processor*: VNNI means that INT8 arithmetic is fast here; no FP16 means that half precision will run as BF16
# or FP32, and the inspector in lab 4 will tell you so.
#
# **ok** needs no attention. **warn** will disappoint you some day, and says how. **FAIL** stops the course; the command
# `yolotrt doctor` prints what to type. **absent** is something that would be nice to have. A machine without a GPU is a
# perfectly healthy machine.

# %% [markdown]
# ### 2.1 The driver and the CUDA of every part
#
# There are *several* CUDAs on a machine. PyTorch brings the one it was built for. TensorRT brings its own. What
# `nvidia-smi` prints as "CUDA Version" is none of them: it is the newest one that the driver could run.
#
# Three rules are enough. A driver runs programs of its own CUDA **major** version and of all older ones. Minor versions
# do not matter (12.8 runs on a driver made for 12.0). And each major version has dropped old cards: the *compute
# capability* says how old a card is, 6.1 for a GTX 1080, 8.9 for an RTX 4090, 12.0 for an RTX 5090.

# %%
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}  # CUDA major version -> first driver branch that runs it
OLDEST_CARD = {11: (3, 5), 12: (5, 0), 13: (7, 5)}  # CUDA major version -> lowest compute capability

# %% tags=["demonstration"]
from yolotrt_lab.figures.toolchain import driver_support

drivers = {"workstation": "535.183.01", "cluster": "570.133.20", "new server": "590.48.01"}
if facts.driver:
    drivers["this machine"] = facts.driver
display(driver_support(OLDEST_DRIVER, drivers))

# %% [markdown]
# Look at the cluster's column. Its driver is not "wrong": it runs everything that was built for CUDA 11 and 12, for ever.
# A PyTorch built for CUDA 12.8 works there beside a TensorRT built for CUDA 13 that does not. So "which CUDA do you
# have?" is the wrong question. The right one is: *which CUDA was each part built for, and does the driver run that?*

# %% [markdown]
# ### 2.2 Libraries that were made for each other
#
# **cuDNN.** PyTorch knows which cuDNN it was compiled against, and finds one when it starts. It takes the same major
# version with the same or a newer minor one; patches do not matter. Both come as one integer, and the digits were
# given more room with version 9:
#
# $$ n = 1000\,a + 100\,b + c \quad (a \le 8), \qquad n = 10\,000\,a + 100\,b + c \quad (a \ge 9) $$
#
# So 8907 is 8.9.7, 90100 is 9.1.0 and 91002 is 9.10.2.
#
# **TensorRT** is installed in two halves, Python bindings and libraries, which must be of exactly the same version.

# %% [markdown]
# **ONNX Runtime** comes as two packages, `onnxruntime` and `onnxruntime-gpu`. Both write the same folder. Whoever installs
# both has half of each. Only the GPU package lists the `CUDAExecutionProvider`. Its TensorRT provider is linked to a
# file like `libnvinfer.so.10`: to that *major* version of TensorRT and no other.
#
# **ONNX operator sets.** The vocabulary of ONNX has a version, the *opset*, and every model says which one it is written
# in. ONNX Runtime reads all older ones, and refuses newer ones. How new is too new on your machine? You could look that
# up in a table, which is out of date. Or you ask:

# %% tags=["demonstration"]
import onnx
import onnxruntime
from onnx import helper


def is_read(opset):
    """Whether this ONNX Runtime loads a model of one node that is written in this operator set."""
    one = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one_node", one[:1], one[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return bool(onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]))
    except Exception:
        return False


# %% tags=["demonstration"]
from yolotrt_lab.figures.toolchain import opset_support

newest_written = onnx.defs.onnx_opset_version()
newest_read = max(opset for opset in range(7, newest_written + 1) if is_read(opset))
readers = {"ONNX Runtime 1.17.3": 20, f"ONNX Runtime {onnxruntime.__version__} (here)": newest_read}
models = {"this course": 17, f"newest of onnx {version('onnx')}": newest_written}
display(opset_support(readers, models=models))
print(f"onnx {version('onnx')} writes up to {newest_written}; ONNX Runtime reads up to {newest_read} here.")

# %% [markdown]
# The two packages have different release dates, so the writer is often ahead of the reader. Exporting with "the newest
# opset" is then a way to write a file that your own machine refuses. This course exports opset 17: every program on the
# map reads it, and it has everything that a YOLO needs.

# %% [markdown]
# ### Exercise 1: `lab1.compatibility_report`
#
# (core, difficulty 3 of 5, 35 minutes, 22 points.) Write a doctor of your own. It gets a report and returns what
# conflicts. These are all problems there are:
#
# | problem | part | when |
# |---|---|---|
# | `driver too old` | `torch`, `tensorrt` | the driver does not run the CUDA that the part was built for |
# | `GPU too old` | `torch`, `tensorrt` | that CUDA has dropped the card |
# | `CPU build` | `torch`, `onnxruntime` | there is a GPU, and the part was built without CUDA |
# | `cuDNN mismatch` | `torch` | the cuDNN found is not one that PyTorch takes |
# | `parts differ` | `tensorrt` | bindings and libraries are of different versions |
# | `two packages` | `onnxruntime` | both packages are installed |
# | `other TensorRT` | `onnxruntime` | its provider is linked to another major version than the libraries |
# | `opset too new` | `onnxruntime` | the model's operator set is newer than the newest one it reads |
#
# Where there is no GPU, nothing about the GPU is a conflict. A part that is not there (`None`) conflicts with nothing.

# %% [markdown]
# A report looks like this one. It is a healthy machine, although hardly two numbers in it are equal. Before you write
# code, find out why each of them is fine.

# %%
example_report = {
    "driver": "580.65.06",  # None without one
    "gpu": {"name": "GeForce RTX 5090", "compute_capability": "12.0"},  # None without one
    "torch": {"version": "2.9.0", "cuda": "12.8", "cudnn_built": 91002, "cudnn_found": 91300},  # cuda None: CPU build
    "tensorrt": {"bindings": "10.16.1.11", "libraries": "10.16.1.11", "cuda": "13.0"},  # None if not installed
    "onnxruntime": {
        "version": "1.20.1",
        "packages": ["onnxruntime-gpu"],
        "providers": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
        "max_opset": 21,  # the newest operator set it reads
        "tensorrt_major": 10,  # what its provider is linked to; None for a CPU build
    },
    "onnx": {"opset": 17},  # of the model
}


# %% nbgrader={"grade": false, "grade_id": "lab1-compatibility_report", "locked": false, "schema_version": 3, "solution": true, "task": false}
def find_conflicts(report):
    """Judge a compatibility report.

    Args:
        report: As `example_report`. All versions are strings, cuDNN's are integers. Must not be changed.

    Returns:
        A list of findings, in any order, each conflict once; an empty list for a healthy machine. A finding is a dict:
            "part": "torch", "tensorrt" or "onnxruntime";
            "problem": one of the eight names of the table;
            "why": a sentence for a person. Where versions are compared, it names the one that is needed and the one
                that is there, written as people write them: "CUDA 13 needs driver 580, this is 535.183.01",
                "built for cuDNN 9.10, found 8.9". The driver's branch is enough. For a card, name the compute
                capability needed and the card's; for an operator set, the newest that is read and the model's.

    Example:
        >>> find_conflicts(example_report)
        []
    """
    ### BEGIN SOLUTION

    def numbers(text):
        return tuple(int(part) for part in text.split("."))

    def cudnn_version(number):
        """Return (major, minor) of cuDNN's integer."""
        if number >= 10_000:
            return number // 10_000, number // 100 % 100
        return number // 1000, number // 100 % 10

    findings = []

    def add(part, problem, why):
        findings.append({"part": part, "problem": problem, "why": why})

    torch, tensorrt, runtime, card = (report[key] for key in ("torch", "tensorrt", "onnxruntime", "gpu"))
    for part, entry in (("torch", torch), ("tensorrt", tensorrt)):
        if card and entry and entry["cuda"]:
            major = numbers(entry["cuda"])[0]
            driver, branch = report["driver"], OLDEST_DRIVER[major]
            if numbers(driver)[0] < branch:
                add(part, "driver too old", f"CUDA {major} needs driver {branch} or newer, this is {driver}")
            if numbers(card["compute_capability"]) < OLDEST_CARD[major]:
                needed, there = ".".join(map(str, OLDEST_CARD[major])), card["compute_capability"]
                add(part, "GPU too old", f"CUDA {major} needs compute capability {needed}, {card['name']} has {there}")
    if card and not torch["cuda"]:
        add("torch", "CPU build", f"PyTorch {torch['version']} was built without CUDA")
    if torch["cuda"]:
        built, found = cudnn_version(torch["cudnn_built"]), cudnn_version(torch["cudnn_found"])
        if found[0] != built[0] or found[1] < built[1]:
            add("torch", "cuDNN mismatch", "built for cuDNN {}.{}, found {}.{}".format(*built, *found))
    if tensorrt and tensorrt["bindings"] != tensorrt["libraries"]:
        add("tensorrt", "parts differ", f"bindings {tensorrt['bindings']}, libraries {tensorrt['libraries']}")
    if card and "CUDAExecutionProvider" not in runtime["providers"]:
        add("onnxruntime", "CPU build", f"its providers are {', '.join(runtime['providers'])}")
    if len(runtime["packages"]) > 1:
        add("onnxruntime", "two packages", " and ".join(runtime["packages"]))
    if tensorrt and runtime["tensorrt_major"] not in (None, numbers(tensorrt["libraries"])[0]):
        linked = runtime["tensorrt_major"]
        add("onnxruntime", "other TensorRT", f"linked to libnvinfer.so.{linked}, found {tensorrt['libraries']}")
    if report["onnx"]["opset"] > runtime["max_opset"]:
        opset = report["onnx"]["opset"]
        add("onnxruntime", "opset too new", f"it reads up to {runtime['max_opset']}, the model is written in {opset}")
    return findings
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab1-compatibility_report-check", "locked": true, "points": 22, "schema_version": 3, "solution": false, "task": false}
check("lab1.compatibility_report")

# %% [markdown]
# **Predict.** Now your doctor examines your own machine, with a model that is written in the newest operator set that
# your `onnx` knows. What will it find? *My guess:* …

# %% tags=["demonstration"]
def report_of(facts, opset):
    """Write the doctor's facts down as a report."""
    card = facts.gpus[0] if facts.gpus else None
    packages = [name for name in ("onnxruntime", "onnxruntime-gpu") if name in facts.packages]
    cudnn = facts.value("torch", "cudnn")
    parts = {half: facts.packages.get(f"tensorrt-cu13-{half}") for half in ("bindings", "libs")}
    tensorrt = {"bindings": parts["bindings"], "libraries": parts["libs"], "cuda": "13.0"}
    return {
        "driver": facts.driver,
        "gpu": card and {"name": card.name, "compute_capability": "{}.{}".format(*card.compute_capability)},
        "torch": {**facts.probes["torch"].values, "cudnn_built": cudnn, "cudnn_found": cudnn},
        "tensorrt": tensorrt if all(parts.values()) else None,
        "onnxruntime": onnxruntime_of(facts, packages),
        "onnx": {"opset": opset},
    }


# %% tags=["demonstration"]
def onnxruntime_of(facts, packages):
    """Write the doctor's facts about ONNX Runtime down."""
    values = facts.probes["onnxruntime"].values
    linked = values.get("nvinfer_major")
    return {**values, "packages": packages, "max_opset": newest_read, "tensorrt_major": linked}


with using("lab1.compatibility_report"):
    for opset in (17, newest_written):
        found = find_conflicts(report_of(facts, opset))
        print(f"A model in opset {opset}: {'nothing conflicts' if not found else ''}")
        for finding in found:
            print(f"   {finding['part']}: {finding['problem']}: {finding['why']}")

# %% [markdown]
# <details><summary>Self-check: your driver is 570 and nvidia-smi says "CUDA Version: 12.8". You install a PyTorch for
# CUDA 12.1 and one colleague says that this cannot work, because 12.1 is not 12.8. Another says that you need CUDA
# installed first. Who is right?</summary>
#
# Neither. "12.8" is the newest CUDA that the driver can run; everything older runs too. And PyTorch brings the CUDA
# libraries that it needs. The only things it takes from the machine are the driver and the card.
# </details>

# %% [markdown]
# ### 2.3 Choosing an installation
#
# The course can be installed in two ways:
#
# | route | command | runs engines on | needs |
# |---|---|---|---|
# | `gpu` | `conda env create -f environment.yml` | TensorRT for CUDA 13 | an NVIDIA card of compute capability 7.5 or newer, driver 580 or newer, 20 GiB of disk |
# | `cpu` | `make setup` | the emulation | Python 3.11, 3.12 or 3.13, 12 GiB of disk |
#
# conda brings a Python of its own, so the GPU route does not care which one the machine has. It does *not* bring the
# driver: that belongs to the machine, and only an administrator can replace it.

# %% [markdown]
# What should somebody expect afterwards? On the GPU route, INT8 arithmetic is there: every card since 7.5 has tensor
# cores for it. On the CPU route it depends on the processor. Four flags say that it multiplies 8-bit numbers faster than
# 32-bit ones. Without any of them, INT8 engines are exact, and no faster than FP32.

# %%
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}

# %% [markdown]
# Three people ask you what to install.
#
# | | Ada's laptop | Ben's workstation | Chi's cluster node |
# |---|---|---|---|
# | GPU | none | GeForce RTX 4090 (8.9) | H200 (9.0) |
# | driver | none | 535.183.01 | 570.133.20 |
# | administrator | yes | yes | no |
# | Python | 3.9 and 3.12 | 3.10 | 3.9 |
# | free disk | 31 GiB | 412 GiB | 15 GiB |
# | INT8 on the processor | `avx_vnni` | none | `avx512_vnni`, `amx_int8` |
#
# **Predict.** Which route for each of them, what must be done first, and who gets fast INT8? *My guess:* …

# %% [markdown]
# ### Exercise 2: `lab1.pick_install`
#
# (core, difficulty 2 of 5, 20 minutes, 16 points.) Write your decision down as a function. It will be asked about these
# three machines and about others: an old card, another vendor's card, a full disk, an old Python.
#
# One rule to keep it simple: **if the GPU can be made to work here, take the GPU route**, and name what has to be done
# first. A disk can always be cleared and a Python always be installed; a card cannot be changed, and a driver only by
# an administrator.


# %% nbgrader={"grade": false, "grade_id": "lab1-pick_install", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_install(machine):
    """Choose how to install the course on a machine.

    Args:
        machine: A dict:
            "gpu": None, or a dict with "vendor" ("NVIDIA", "AMD", "Intel"), "name" and "compute_capability" (a string
                such as "8.9"; None for other vendors);
            "driver": version of the NVIDIA driver as a string, or None if there is none;
            "admin": whether somebody with administrator's rights will help;
            "python": versions installed, such as ["3.9", "3.12"];
            "disk_free_gib": free disk space;
            "cpu_flags": features of the processor, such as ["avx2", "avx_vnni"].

    Returns:
        A dict:
            "route": "gpu" or "cpu";
            "first": what has to be done before the command of that route will work, in any order, a list out of
                "driver" (install or update it), "disk" (make room), "python" (install one that suits);
            "int8_hardware": True if what will run the engines has fast INT8 arithmetic.

    Example:
        Ada's laptop: {"route": "cpu", "first": [], "int8_hardware": True}
    """
    ### BEGIN SOLUTION
    gpu = machine["gpu"]
    card_fits = bool(gpu) and gpu["vendor"] == "NVIDIA"
    if card_fits:
        card_fits = tuple(map(int, gpu["compute_capability"].split("."))) >= (7, 5)
    driver_fits = machine["driver"] is not None and int(machine["driver"].split(".")[0]) >= 580
    route = "gpu" if card_fits and (driver_fits or machine["admin"]) else "cpu"
    first = []
    if route == "gpu" and not driver_fits:
        first.append("driver")
    if machine["disk_free_gib"] < {"gpu": 20, "cpu": 12}[route]:
        first.append("disk")
    if route == "cpu" and not {"3.11", "3.12", "3.13"} & set(machine["python"]):
        first.append("python")
    int8_hardware = route == "gpu" or bool(INT8_FLAGS & set(machine["cpu_flags"]))
    return {"route": route, "first": first, "int8_hardware": int8_hardware}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab1-pick_install-check", "locked": true, "points": 16, "schema_version": 3, "solution": false, "task": false}
check("lab1.pick_install")

# %% tags=["demonstration"]
card = facts.gpus[0] if facts.gpus else None
mine = {
    "gpu": card and {"vendor": "NVIDIA", "name": card.name, "compute_capability": "{}.{}".format(*card.compute_capability)},
    "driver": facts.driver,
    "admin": False,
    "python": [".".join(facts.python.split(".")[:2])],
    "disk_free_gib": facts.disk_free_gib + 12,  # what the course itself takes is in use already
    "cpu_flags": sorted(facts.cpu_flags),
}
with using("lab1.pick_install"):
    print(f"For this machine: {choose_install(mine)}")
    print(f"The doctor says: {diagnosis.summary}")
