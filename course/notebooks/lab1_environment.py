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
# Where a cell says *predict*, write a guess down before you run the next cell. Nobody grades it. Being wrong there, and
# noticing, is the fastest way to learn this.

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
real = platform.kind == "real"
print(f"Looked at {len(facts.probes)} packages on {facts.cpu} ({facts.cores} cores), GPU: {gpu_name or 'none'}.")

# %% tags=["demonstration"]
stops = [Station("PyTorch", training, version("torch")), Station("TensorFlow", training, presence="absent")]
stops += [Station("ONNX", exchange, version("onnx")), Station("TorchScript", exchange, "part of PyTorch")]
stops += [Station("TensorRT", engine_stage, platform.tensorrt_version, "here" if real else "emulated")]
stops += [Station("ONNX Runtime", engine_stage, str(facts.value("onnxruntime", "version")))]
stops += [Station("OpenVINO", engine_stage, str(facts.value("openvino", "version")))]
stops += [Station("LibTorch", engine_stage, "part of PyTorch"), Station("LiteRT", engine_stage, presence="absent")]
stops += [Station("NVIDIA GPU", hardware, gpu_name, "here" if gpu_name else "absent")]
stops += [Station("Processor", hardware, facts.cpu), Station("Phone", hardware, presence="absent")]
roads = [("PyTorch", "TorchScript"), ("PyTorch", "ONNX"), ("TensorFlow", "ONNX"), ("TorchScript", "LibTorch")]
roads += [("ONNX", name) for name in ("TensorRT", "ONNX Runtime", "OpenVINO", "LiteRT")]
roads += [("TensorRT", "NVIDIA GPU" if real else "Processor"), ("LiteRT", "Phone"), ("OpenVINO", "Processor")]
roads += [(name, place) for name in ("LibTorch", "ONNX Runtime") for place in ("NVIDIA GPU", "Processor")]
display(toolchain_map(stops, roads))

# %% [markdown]
# Every arrow is a conversion, and every conversion can change the numbers: another kernel adds in another order,
# another resize rounds the other way. That is why later labs never ask "did the export finish?" but "how far is the
# result from the reference, and how far may it be?". The reference is always the same: the ONNX file in ONNX Runtime,
# in FP32.
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
# Look at the cluster's column. Its driver is not "wrong": it runs everything that was built for CUDA 11 and 12, for
# ever. A PyTorch built for CUDA 12.8 works there beside a TensorRT built for CUDA 13 that does not. So "which CUDA do
# you have?" is the wrong question. The right one is: *which CUDA was each part built for, and does the driver run
# that?*

# %% [markdown]
# ### 2.2 Libraries that were made for each other
#
# **cuDNN.** PyTorch knows which cuDNN it was compiled against, and finds one when it starts. It takes the same major
# version with the same or a newer minor one; patches do not matter. Both come as one integer, and the digits were given
# more room with version 9:
#
# $$ n = 1000\,a + 100\,b + c \quad (a \le 8), \qquad n = 10\,000\,a + 100\,b + c \quad (a \ge 9) $$
#
# So 8907 is 8.9.7, 90100 is 9.1.0 and 91002 is 9.10.2.
#
# **TensorRT** is installed in two halves, Python bindings and libraries, which must be of exactly the same version.

# %% [markdown]
# **ONNX Runtime** comes as two packages, `onnxruntime` and `onnxruntime-gpu`. Both write the same folder. Whoever
# installs both has half of each. Only the GPU package lists the `CUDAExecutionProvider`. Its TensorRT provider is
# linked to a file like `libnvinfer.so.10`: to that *major* version of TensorRT and no other.
#
# **ONNX operator sets.** The vocabulary of ONNX has a version, the *opset*, and every model says which one it is
# written in. ONNX Runtime reads all older ones, and refuses newer ones. How new is too new on your machine? You could
# look that up in a table, which is out of date. Or you ask:

# %% tags=["demonstration"]
import onnx
import onnxruntime
from onnx import helper

one = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one_node", one[:1], one[1:])


# %% tags=["demonstration"]
def is_read(opset):
    """Whether this ONNX Runtime loads the model of one node when it is written in this operator set."""
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
# cores for it. On the CPU route it depends on the processor. Four flags say that it multiplies 8-bit numbers faster
# than 32-bit ones. Without any of them, INT8 engines are exact, and no faster than FP32.

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
compute = card and "{}.{}".format(*card.compute_capability)
mine = {
    "gpu": card and {"vendor": "NVIDIA", "name": card.name, "compute_capability": compute},
    "driver": facts.driver,
    "admin": False,
    "python": [".".join(facts.python.split(".")[:2])],
    "disk_free_gib": facts.disk_free_gib + 12,  # what the course itself takes is in use already
    "cpu_flags": sorted(facts.cpu_flags),
}
with using("lab1.pick_install"):
    print(f"For this machine: {choose_install(mine)}")
    print(f"The doctor says: {diagnosis.summary}")

# %% [markdown]
# ## 3 · Why convert at all?
#
# PyTorch can run a detector on a camera's images today. Why leave it? Look at what one inference consists of. Python
# calls a module, the module calls an operator, the operator looks up types and devices, allocates its output, picks a
# kernel, and the kernel computes. Then the next one. With $n$ such pieces, a rough model of the time is
#
# $$ t \;\approx\; n \cdot t_{\text{call}} \;+\; \max\left(\frac{\text{operations}}{\text{peak arithmetic}},\;
#    \frac{\text{bytes moved}}{\text{bandwidth}}\right) $$
#
# An engine can shrink every term. It knows the whole graph in advance, so nobody has to look anything up:
# $t_{\text{call}}$ falls. It **fuses** pieces: $n$ falls. And lower precision makes both numerators smaller; that is
# for lab 4.

# %% [markdown]
# Fusion is worth a closer look, because it moves less memory although it computes the same. Convolution, batch norm and
# SiLU, executed one after the other, write and read the whole feature map three times. For a map of $C \times H \times
# W$ FP32 numbers that is
#
# $$ 3 \cdot 2 \cdot 4\,C H W \text{ bytes} \quad\text{instead of}\quad 2 \cdot 4\,C H W . $$
#
# With $64 \times 80 \times 80$, one of the middle layers of a YOLOv5n at 640 pixels, that is 9.8 MB instead of 3.3 MB,
# for one layer of one image. Batch norm even vanishes: at inference it is a multiplication by constants, which can be
# multiplied into the weights of the convolution before (lab 3 lets you prove it).

# %% [markdown]
# Let us see with the detector that ships with the course, a YOLOv5n trained on drawn machine parts. We export it for
# two input sizes and build an FP32 engine for each. What you see here in four lines, labs 3 and 4 take apart.

# %% tags=["demonstration"]
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.training.weights import base_checkpoint

device = "auto" if platform.kind == "real" else "cpu"  # where engines are emulated, all others run on the processor too
onnx_of = {size: lab_folder / f"detector-{size}.onnx" for size in (160, 320)}
engine_of, layer_count = {}, {}
for size, path in onnx_of.items():
    exported = export_onnx(base_checkpoint(), path, image_size=size)
    built = build_engine(path, path.with_suffix(".engine"), options=EngineOptions(max_batch=4))
    engine_of[size], layer_count[size] = built.path, len(built.report.layers)
    print(f"{size} x {size}: exported in {exported.seconds:.1f} s, engine built in {built.seconds:.1f} s")

# %% tags=["demonstration"]
import torch

from yolotrt_lab.export.onnx_export import load_detector
from yolotrt_lab.figures.toolchain import piece_counts

network = load_detector(base_checkpoint(), folder=lab_folder).model.float().eval()
calls = []
leaves = [module for module in network.modules() if not list(module.children())]
hooks = [leaf.register_forward_hook(lambda *_: calls.append(1)) for leaf in leaves]
with torch.inference_mode():
    network(torch.zeros(1, 3, 160, 160))
for hook in hooks:
    hook.remove()
pieces = {"PyTorch: module calls": len(calls), "ONNX: nodes": exported.node_count, "Engine: layers": layer_count[320]}
display(piece_counts(pieces))

# %% [markdown]
# ONNX has *more* pieces than PyTorch, since its words are smaller: one SiLU module becomes a Sigmoid and a Mul, and the
# head's arithmetic, plain Python in PyTorch, is written out. Batch norms are gone already. Then the engine fuses:
# activations disappear into convolutions, and what remains are kernels that each read and write memory once.
#
# **Predict.** All three compute the same in FP32. How many times as fast as PyTorch is the engine, at 160 pixels and at
# 320 pixels? At which of the two sizes does converting pay more, and why? *My guess:* …

# %% tags=["demonstration"]
from yolotrt_lab.profiling.comparison import ModelTarget, compare_models

timings = {}
for size in (160, 320):
    files = {"PyTorch": base_checkpoint(), "ONNX Runtime": onnx_of[size], "Engine": engine_of[size]}
    backends = ("pytorch", "onnxruntime", "tensorrt")
    targets = [ModelTarget(name, path, backend) for (name, path), backend in zip(files.items(), backends, strict=True)]
    timings[size] = compare_models(targets, rounds=25, input_hw=(size, size), device=device)
    for timing in timings[size]:
        ratio = timing.ratio_to_first
        times = f"{timing.latency.p50_ms:6.2f} ms, {1 / ratio.value:.2f} times as fast as PyTorch"
        print(f"{size}: {timing.target.label:13} {times} (95 %: {1 / ratio.high:.2f} to {1 / ratio.low:.2f})")

# %% tags=["demonstration"]
from yolotrt_lab.report.plots import framework_bars

for size in (160, 320):
    print(f"{size} x {size} pixels, one image, FP32, each framework with the threads it chooses")
    latency = {timing.target.label: timing.latency for timing in timings[size]}
    display(framework_bars(latency, platform=where, baseline="PyTorch"))

# %% [markdown]
# Compare with your guess, and look at the intervals before you believe a difference: if the interval holds 1, this run
# does not show that one is faster than the other. The three took turns in random order, round by round, so that a busy
# moment of your machine hits all of them; section 4 says more about that.
#
# Usually the gain is larger at 160 pixels. There, the arithmetic is a quarter, but the number of pieces $n$ is the
# same, so the share of $n \cdot t_{\text{call}}$ is larger: that is the term conversion is best at. At large inputs in
# FP32 on a processor, all three wait for the same multiplications, and the gain must come from lower precision or from
# better hardware. On a GPU, kernels are so fast that $n \cdot t_{\text{call}}$ dominates far longer.

# %% [markdown]
# And a speed-up of the *network* is not one of the *product*. If the network takes the share $p$ of a frame's time and
# becomes $s$ times as fast, Amdahl's law says for the whole frame
#
# $$ S = \frac{1}{(1 - p) + p / s} \; < \; \frac{1}{1 - p}. $$
#
# <details><summary>Self-check: reading, letterboxing and drawing take 6 ms of a frame, the network 18 ms. What does an
# engine bring that is infinitely fast?</summary>
#
# $p = 18/24 = 0.75$, so at most a factor of 4: from 24 ms to 6 ms. An engine that is "10 times as fast" brings 24 to
# 7.8 ms, a factor of 3.1. That is why lab 5 spends as much care on the code around the engine as on the engine.
# </details>

# %% [markdown]
# ## 4 · Honest measurement
#
# You have just believed a table of milliseconds. Should you? Three things make measuring an inference harder than it
# looks: the first calls are different, the work goes on after the call has returned, and one number does not describe
# what varies. One after the other.
#
# ### 4.1 The first calls are different
#
# **Predict.** We load the same network in three frameworks and time every call from the very first one on. How many
# times as long as a later call will the first one take? After how many calls does it become steady? *My guess:* …

# %% tags=["demonstration"]
from yolotrt_lab.profiling.timing import time_call_ms
from yolotrt_lab.runtimes.open import open_runtime

image = np.random.default_rng(0).random((1, 3, 160, 160), dtype=np.float32)
place = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
fresh = load_detector(base_checkpoint(), folder=lab_folder).model.float().eval().to(place)
with torch.inference_mode():
    cold = {"PyTorch": [time_call_ms(lambda: fresh(torch.from_numpy(image).to(place))[0].cpu()) for _ in range(40)]}
for name, path in {"ONNX Runtime": onnx_of[160], "Engine": engine_of[160]}.items():
    with open_runtime(path, batch=1, device=device) as runtime:
        cold[name] = [time_call_ms(lambda: runtime.infer({"images": image})) for _ in range(40)]

# %% tags=["demonstration"]
from yolotrt_lab.figures.benchmarking import first_calls

display(first_calls(cold, platform=where))
worst = max(cold, key=lambda name: cold[name][0] / np.median(cold[name][20:]))
print(f"Mean of the first 10 calls of {worst}: {np.mean(cold[worst][:10]):.2f} ms")
print(f"Median of its last 20 calls:  {np.median(cold[worst][20:]):.2f} ms")

# %% [markdown]
# First calls allocate memory, compile or choose kernels, fill caches, wake threads and, on a GPU, raise the clock
# frequency. All of that happens once, and your users will see it once. But in a mean it never goes away: an extra cost
# $c$ of the first call still adds $c/n$ to the mean of $n$ calls, $\bar t = t + c/n$. The median does not notice.
#
# So **warm up**: make some calls that nobody times, then measure. And report the time of the *first* call separately if
# somebody has to wait for it, after a restart for example.

# %% [markdown]
# ### 4.2 The work goes on after the call has returned
#
# A GPU works on its own. The host puts work into a *stream* and goes on at once: `execute_async_v3` returns when the
# work is *handed over*. When is it done? The host knows only if it asks: `stream.synchronize()` returns when everything
# in that stream is finished.
#
# `EngineBuffers` of the package offers these two halves, `submit` and `wait`. Wrapped so that they take no arguments,
# they are two buttons: the ones that you will benchmark in a moment.

# %% tags=["demonstration"]
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.runtimes.tensorrt_buffers import EngineBuffers


# %% tags=["demonstration"]
def buttons_of(path, batch=1):
    """Return an engine's two buttons: one hands a batch over, the other waits until it is done."""
    loaded, waiting = load_engine(path), []
    buffers, images = EngineBuffers(loaded.engine, batch), np.repeat(image, batch, axis=0)

    def await_all():
        while waiting:
            waiting.pop()
            buffers.wait()

    def hand_over():
        await_all()  # one at a time: there is one set of buffers
        waiting.append((loaded, buffers.submit({"images": images})))

    return hand_over, await_all


# %% [markdown]
# **Predict.** We stop the clock twice for the same call: right after `launch`, and again after `synchronize`. How do
# the two times compare? *My guess:* …

# %% tags=["demonstration"]
from yolotrt_lab.figures.benchmarking import launch_and_wait

hand_over, await_all = buttons_of(engine_of[160])
readings = []
for _ in range(120):
    start = time.perf_counter_ns()
    hand_over()
    handed_over = time.perf_counter_ns()
    await_all()
    readings.append([(handed_over - start) / 1e6, (time.perf_counter_ns() - start) / 1e6])
launch_ms, total_ms = np.median(readings[20:], axis=0)  # the first 20 were the warm-up

# %% tags=["demonstration"]
display(launch_and_wait(launch_ms, total_ms, platform=where))
print(f"Stopped after the launch, this engine looks {total_ms / launch_ms:.0f} times as fast as it is.")

# %% [markdown]
# This is the most common false benchmark there is, because nothing looks wrong: the code runs, the number is small, and
# it hardly varies. It is the time for handing a task over. (The emulation behaves like a GPU here: work put into a
# stream is done when somebody waits for it.)
#
# The mirror image is just as bad. If the device is still busy with the *warm-up* when the clock starts, the first
# sample pays for all of it. So: **wait before the clock starts, and wait before it stops.**

# %% [markdown]
# ### 4.3 One number does not describe what varies
#
# Now measure properly, 400 times, and look at all of it. **Predict.** Sketch the distribution: is it a bell? Where will
# the mean be, left or right of the median? By which factor is the slowest call slower than the median? *My guess:* …

# %% tags=["demonstration"]
from yolotrt_lab.figures.benchmarking import latency_tail, percentile_spread
from yolotrt_lab.profiling.timing import measure_latency


def one_call():
    """Hand one image over and wait for the result."""
    hand_over()
    await_all()


warm = measure_latency(one_call, warmup=20, repeats=400)
display(latency_tail(warm.samples_ms, platform=where))
print(f"slowest call: {max(warm.samples_ms) / warm.p50_ms:.1f} times the median")

# %% [markdown]
# Latencies have a floor and no ceiling. Nothing is faster than the work itself, but anything may delay it: another
# process, a page fault, a clock that throttles. So on a quiet machine the distribution leans to the right. (If yours
# looks like a bell, the machine is busy with other things, and you have measured your neighbours.)
#
# - the **median** (p50) is what happens: half of the calls are faster. Disturbances hardly move it;
# - the **mean** is pulled up by the tail, and stands where nothing happens;
# - **p90** and **p99** are what your users complain about: one call in ten, or in a hundred, takes longer. At 30 images
#   a second, p99 is exceeded every three seconds;
# - the **minimum** says how fast the machine could be if it were not the machine you have.

# %% [markdown]
# How many calls does that take? The chance that $n$ calls contain *none* of the slowest percent is $0.99^n$: 37 % for
# 100 calls, 5 % for 300. A p99 from 20 calls is not a p99, it is the slowest of 20. The picture takes your own 400
# calls and asks what smaller benchmarks would have told.

# %% tags=["demonstration"]
display(percentile_spread(warm.samples_ms, counts=(10, 20, 50, 100, 200, 400), platform=where))

# %% [markdown]
# ### Exercise 3: `lab1.honest_benchmark`
#
# (core, difficulty 3 of 5, 30 minutes, 22 points.) Write the benchmark function. It gets two buttons of a device and a
# clock, so it works for an engine, for PyTorch on a GPU, or for anything else that can be launched and awaited.
#
# It is graded on a device that exists only on paper, with a clock of its own on which no real time passes: its first
# calls are slow, some later calls are very slow, and it works on after `launch` has returned. The verdict therefore
# does not depend on how busy your machine is. Some devices wait by themselves inside `launch`, as a processor does;
# your function should not have to know.


# %% nbgrader={"grade": false, "grade_id": "lab1-honest_benchmark", "locked": false, "schema_version": 3, "solution": true, "task": false}
def benchmark(launch, synchronize, clock_ns, *, warmup, repeats):
    """Measure how long one call takes, from launching it until it is done.

    Args:
        launch: Hands one call to the device and may return before it is done; takes no arguments.
        synchronize: Returns when the device has done everything handed to it; takes no arguments.
        clock_ns: Returns the time in whole nanoseconds since some moment, like `time.perf_counter_ns`.
        warmup: Calls to make first, not measured; 0 or more. They are done before the first measurement starts.
        repeats: Calls to measure, each for itself; 1 or more. Exactly `warmup + repeats` calls are made in all.

    Returns:
        A dict:
            "samples_ms": milliseconds of every measured call, in the order they ran, none left out;
            "p50_ms", "p90_ms", "p99_ms": the median and the percentiles of the samples, in milliseconds; between two
                neighbouring samples, any usual definition will do (`numpy.quantile` is fine).

    Raises:
        ValueError: `warmup` is negative, or `repeats` is less than 1.

    Example:
        With a device that takes 5 ms for every call and 0.02 ms to launch it:
        {"samples_ms": [5.02, 5.02, 5.02], "p50_ms": 5.02, "p90_ms": 5.02, "p99_ms": 5.02}
    """
    ### BEGIN SOLUTION
    if warmup < 0 or repeats < 1:
        raise ValueError(f"warmup must be 0 or more and repeats 1 or more, got {warmup} and {repeats}")
    for _ in range(warmup):
        launch()
    synchronize()  # the warm-up must not be paid for by the first sample
    samples_ms = []
    for _ in range(repeats):
        start_ns = clock_ns()
        launch()
        synchronize()
        samples_ms.append((clock_ns() - start_ns) / 1e6)
    p50, p90, p99 = np.quantile(samples_ms, [0.5, 0.9, 0.99])
    return {"samples_ms": samples_ms, "p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99)}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab1-honest_benchmark-check", "locked": true, "points": 22, "schema_version": 3, "solution": false, "task": false}
check("lab1.honest_benchmark")

# %% [markdown]
# Now with a real clock and a real engine: your function against the package's, on the same device.

# %% tags=["demonstration"]
with using("lab1.honest_benchmark"):
    mine = benchmark(hand_over, await_all, time.perf_counter_ns, warmup=20, repeats=300)
    theirs = measure_latency(one_call, warmup=20, repeats=300)
    for key in ("p50_ms", "p90_ms", "p99_ms"):
        print(f"{key[:3]}: yours {mine[key]:.2f} ms, the package's {getattr(theirs, key):.2f} ms")
    display(latency_tail(mine["samples_ms"], platform=where))

# %% [markdown]
# <details><summary>Self-check: your p50 and the package's differ by a few percent, run after run. Is one of the
# functions wrong?</summary>
#
# Run the cell some more times: the sign of the difference will change. Two measurements one after the other see two
# different machines: warmer, or busier. To compare two *things* instead of two *moments*, let them take turns and
# compare within each round; that is what `compare_models` in section 3 did. Its interval tells whether the difference
# survives.
# </details>

# %% [markdown]
# ## 5 · Five lies
#
# Nobody lies on purpose. But who has worked on something for a week wants it to be fast, and stops looking as soon as
# it is. Here is the benchmark of an article that claims a fine speed-up. It has five faults, each of a different kind,
# and each one alone would make the result worthless.
#
# So that a program can read it too, it is written as *steps*: each has its `line` in the script, its `code`, and what
# it `does`, with details. Blank lines and comments are left out, so line numbers have gaps.

# %%
first_half = [
    {"line": 1, "code": "images = read_images(64)", "does": "read image"},
    {"line": 2, "code": 'torch_model = load("detector.pt")', "does": "load", "model": "torch_model"},
    {"line": 3, "code": 'engine = load("detector.engine")', "does": "load", "model": "engine"},
    {"line": 6, "code": "for _ in range(100):", "does": "repeat", "times": 100},
    {"line": 7, "code": "    start_clock()", "does": "start clock"},
    {"line": 8, "code": "    image = letterbox(images[0], 640)", "does": "resize"},
    {"line": 9, "code": "    torch_model(images[:1])", "does": "call", "model": "torch_model", "batch": 1},
    {"line": 10, "code": "    synchronize()", "does": "synchronize"},
    {"line": 11, "code": "    stop_clock()", "does": "stop clock"},
    {"line": 12, "code": "print(p99(times))", "does": "report", "model": "torch_model", "statistic": "p99"},
]

# %%
second_half = [
    {"line": 15, "code": "engine(images[:8])", "does": "call", "model": "engine", "batch": 8},
    {"line": 16, "code": "synchronize()", "does": "synchronize"},
    {"line": 17, "code": "for _ in range(100):", "does": "repeat", "times": 100},
    {"line": 18, "code": "    start_clock()", "does": "start clock"},
    {"line": 19, "code": "    engine(images[:8])", "does": "call", "model": "engine", "batch": 8},
    {"line": 20, "code": "    stop_clock()", "does": "stop clock"},
    {"line": 21, "code": "synchronize()", "does": "synchronize"},
    {"line": 22, "code": "print(min(times) / 8)", "does": "report", "model": "engine", "statistic": "minimum"},
]
article = first_half + second_half
print("\n".join(f"{step['line']:>3}  {step['code']}" for step in article))

# %% [markdown]
# **Predict.** Find all five before you read on. For each: which line, what is wrong, and whom does it favour?
#
# *My guess:* …

# %% [markdown]
# These are the kinds of lies, and the line at which each is told:
#
# | kind | told at | when |
# |---|---|---|
# | `cold start` | a timed call | this model was not called before (timed or not) since it was loaded |
# | `no synchronisation` | `start clock` or `stop clock` | some call before it has not been waited for |
# | `extra work` | a step while the clock runs | it is neither a call nor a `synchronize` |
# | `unequal work` | a timed call | its batch is not that of the first timed call of the script |
# | `picked number` | `report` | its statistic is none of `median`, `p90`, `p99` |
#
# *Timed* means: between `start clock` and `stop clock`. Every call may return before it is done. Read every line once,
# from top to bottom; the body of a loop counts once.

# %% [markdown]
# ### Exercise 4: `lab1.benchmark_lies`
#
# (core, difficulty 3 of 5, 25 minutes, 14 points.) Write a reader of benchmarks. It gets steps like those of the
# article and returns the lies. It will read the article and others: honest ones, ones with a single lie, three models,
# models that are loaded again, warm-ups that nobody waited for. One line may tell two lies.


# %% nbgrader={"grade": false, "grade_id": "lab1-benchmark_lies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def find_lies(steps):
    """Find the lies in a benchmark.

    Args:
        steps: The steps of a script in order, as in `article`: dicts with "line", "code" and "does", which is one of
            "load" (with "model"), "call" (with "model" and "batch"), "synchronize", "start clock", "stop clock",
            "report" (with "model" and "statistic"), or something else that takes time ("read image", "resize",
            "print"), or "repeat", a loop. Must not be changed.

    Returns:
        A list of (line, kind) pairs, in any order, each once; an empty list for an honest benchmark. The line is the
        number under "line"; kinds are "cold start", "no synchronisation", "extra work", "unequal work" and
        "picked number", as in the table.

    Example:
        A script whose only fault is that its clock is stopped in line 20 before the work was waited for:
        [(20, "no synchronisation")]
    """
    ### BEGIN SOLUTION
    lies, warm = [], set()
    timing = unfinished = False
    first_batch = None
    for step in steps:
        line, does = step["line"], step["does"]
        if does in ("start clock", "stop clock"):
            timing = does == "start clock"
            if unfinished:
                lies.append((line, "no synchronisation"))
        elif does == "synchronize":
            unfinished = False
        elif does == "call":
            if timing:
                first_batch = first_batch or step["batch"]
                if step["model"] not in warm:
                    lies.append((line, "cold start"))
                if step["batch"] != first_batch:
                    lies.append((line, "unequal work"))
            warm.add(step["model"])
            unfinished = True
        elif timing:
            lies.append((line, "extra work"))
        if does == "load":
            warm.discard(step["model"])
        if does == "report" and step["statistic"] not in ("median", "p90", "p99"):
            lies.append((line, "picked number"))
    return lies
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab1-benchmark_lies-check", "locked": true, "points": 14, "schema_version": 3, "solution": false, "task": false}
check("lab1.benchmark_lies")

# %% [markdown]
# How much does each of these lies change? You have everything at hand to try: PyTorch and the engine, once honestly (in
# turns, warm, awaited, the same image, medians), and then with one fault at a time. **Predict** which one will
# exaggerate most. *My guess:* …

# %% tags=["demonstration"]
import cv2

from yolotrt_lab.detection.letterbox import letterbox
from yolotrt_lab.profiling.interleave import measure_interleaved

texture = np.random.default_rng(2).integers(0, 255, (135, 240, 3), dtype=np.uint8)
jpeg = cv2.imencode(".jpg", cv2.resize(texture, (1920, 1080)))[1]
hand_over_four, await_four = buttons_of(engine_of[160], batch=4)


# %% tags=["demonstration"]
with open_runtime(base_checkpoint(), input_hw=(160, 160), device=device) as pytorch:
    runners = {
        "PyTorch": lambda: pytorch.infer({"images": image}),
        "Engine": one_call,
        "Four": lambda: (hand_over_four(), await_four()),
        "Photograph": lambda: letterbox(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), input_hw=(160, 160)),
    }
    turns = measure_interleaved(runners, rounds=40).stats
torch_ms, engine_ms, photograph_ms = (turns[name].p50_ms for name in ("PyTorch", "Engine", "Photograph"))
print(f"PyTorch {torch_ms:.2f} ms, engine {engine_ms:.2f} ms, decoding and letterboxing a frame {photograph_ms:.2f} ms")

# %% tags=["demonstration"]
from yolotrt_lab.figures.benchmarking import told_speedups

told = {
    "honest": torch_ms / engine_ms,
    "cold start: the engine's first call": torch_ms / cold["Engine"][0],
    "no synchronisation: engine not awaited": torch_ms / launch_ms,
    "extra work: PyTorch reads the frame too": (torch_ms + photograph_ms) / engine_ms,
    "unequal work: engine with batch 4, over 4": torch_ms / (turns["Four"].p50_ms / 4),
    "picked: PyTorch's p99, engine's fastest": turns["PyTorch"].p99_ms / turns["Engine"].min_ms,
}
display(told_speedups(told, honest="honest", platform=where))

# %% [markdown]
# All of these numbers were measured on your machine within minutes, and each could be printed in good faith. A lie need
# not flatter: the cold start makes a good engine look bad, and has buried more than one. What makes the honest one
# honest is not the number, but that somebody else can find out how it was made. A speed-up without the words *warm,
# awaited, same work, same moment, median of n* is an opinion.
#
# <details><summary>Self-check: is throughput with a batch of 8, divided by 8, always a lie?</summary>
#
# No. It is the right answer to another question: how many images does this machine get through per hour? There, nobody
# waits for a single image. As a *latency* it is false, since no image comes back after an eighth of the batch's time,
# and somebody had to wait until eight images were there.
# </details>

# %% [markdown]
# ## 6 · Old code
#
# You will search the web for TensorRT examples, and most of what you find was written for TensorRT 7 or 8. It looks
# like this. Read it once; the idea is still right, nearly every call to TensorRT is gone.

# %% [markdown]
# ```python
# def infer(engine, images):
#     inputs, outputs, bindings, stream = [], [], [], cuda.Stream()
#     for binding in engine:
#         size = trt.volume(engine.get_binding_shape(binding)) * engine.max_batch_size
#         host = cuda.pagelocked_empty(size, trt.nptype(engine.get_binding_dtype(binding)))
#         device = cuda.mem_alloc(host.nbytes)
#         bindings.append(int(device))
#         (inputs if engine.binding_is_input(binding) else outputs).append((host, device))
# ```

# %% [markdown]
# ```python
#     context = engine.create_execution_context()
#     np.copyto(inputs[0][0], images.ravel())
#     cuda.memcpy_htod_async(inputs[0][1], inputs[0][0], stream)
#     context.execute_async(len(images), bindings, stream.handle)
#     for host, device in outputs:
#         cuda.memcpy_dtoh_async(host, device, stream)
#     stream.synchronize()
#     return [host for host, device in outputs]
# ```
#
# PyCUDA's part (memory, copies, the stream) has not changed. TensorRT's part has: *bindings*, numbered slots in a list,
# became *tensors* that are known by name, and the batch became an axis of the shape like any other.

# %% tags=["demonstration"]
old_names = {
    "ICudaEngine": ["num_bindings", "max_batch_size", "get_binding_shape", "get_binding_dtype", "binding_is_input"],
    "IExecutionContext": ["set_binding_shape", "execute_async", "execute_async_v2", "execute_v2"],
    "IBuilderConfig": ["max_workspace_size"],
    "Builder": ["build_engine", "build_cuda_engine"],
}
for owner, names in old_names.items():
    for name in names:
        print(f"{owner + '.' + name:36} {'still there' if hasattr(getattr(trt, owner), name) else 'gone'}")

# %% [markdown]
# What took their places (the same in TensorRT 10 and 11):
#
# | TensorRT 7, 8 | today | returns |
# |---|---|---|
# | `for binding in engine`, `num_bindings` | `num_io_tensors`, `get_tensor_name(index)` | |
# | `binding_is_input(binding)` | `get_tensor_mode(name)` | `trt.TensorIOMode.INPUT` or `.OUTPUT` |
# | `get_binding_dtype(binding)` | `get_tensor_dtype(name)` | for `trt.nptype` |
# | `get_binding_shape`, `max_batch_size` | `context.get_tensor_shape(name)` | -1 in the engine where it may vary |
# | `context.set_binding_shape(0, shape)` | `context.set_input_shape(name, shape)` | True, or **False** |
# | the list `bindings` | `context.set_tensor_address(name, address)` | True, or **False** |
# | `execute_async`, `execute_async_v2` | `context.execute_async_v3(stream_handle)` | True, or **False** |

# %% [markdown]
# The last column is where ported code goes wrong. TensorRT is a C++ library without exceptions: when you ask for
# something impossible, a method returns `False`, a line goes to the log, and your program goes on with whatever is in
# the output memory. On a GPU that is often the result of the *previous* image, which looks perfectly right. (The
# emulation fills fresh memory with NaN, so that you notice.)
#
# **Predict.** An engine was built for batches of 1 to 4. Somebody sends 7 images, and the code above ignores what
# `set_input_shape` returns. What will the caller get? *My guess:* …

# %% [markdown]
# <details><summary>Self-check: why must the shape be set before the output memory is allocated?</summary>
#
# An engine with a dynamic batch has the shape (-1, 84, 8400), and the volume of that is a negative number. Only the
# *context*, once it knows the shape of the input, can say how large the output of this very batch is. Code that asks
# the engine works with fixed shapes, and fails on the day when somebody exports with a dynamic batch.
# </details>

# %% [markdown]
# ### Exercise 5: `lab1.port_snippet`
#
# (core, difficulty 3 of 5, 30 minutes, 16 points.) Port the function. It will run on small engines with one or two
# outputs, fixed and dynamic batch, and names that you do not know. Judged are the outputs, held against ONNX Runtime;
# that wrong batches are refused; and what was asked of the device: every tensor copied once, one inference, on a stream
# of your own. Use PyCUDA (`cuda`) and TensorRT (`trt`) from the lab's first cell.
#
# It makes a context and allocates memory for every call, as the old code did. That is slow, and fine here: lab 5 is
# about doing it once.


# %% nbgrader={"grade": false, "grade_id": "lab1-port_snippet", "locked": false, "schema_version": 3, "solution": true, "task": false}
def infer(engine, images):
    """Run an engine once, by TensorRT's present API.

    Args:
        engine: A deserialized engine with one input, for images, and at least one output, all of type float32.
        images: Array of shape (batch, 3, height, width), float32; not necessarily contiguous in memory.

    Returns:
        A dict with every output: name -> array, in the shape that it has for this batch. The arrays belong to the
        caller: they stay as they are when the engine runs again.

    Raises:
        ValueError (or another exception of yours): The engine does not take images of this shape.

    One call makes one inference for the whole batch, by `execute_async_v3` on a stream of its own; copies the images
    to the device once and each output to the host once, at the size it has for this batch; and waits for the stream.
    """
    ### BEGIN SOLUTION
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    source = next(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
    context, stream = engine.create_execution_context(), cuda.Stream()
    if not context.set_input_shape(source, images.shape):
        raise ValueError(f"The engine does not take images of shape {images.shape}.")
    host, device = {}, {}
    for name in names:
        shape = tuple(context.get_tensor_shape(name))
        host[name] = cuda.pagelocked_empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
        device[name] = cuda.mem_alloc(host[name].nbytes)
        if not context.set_tensor_address(name, int(device[name])):
            raise ValueError(f"The engine does not take an address for {name}.")
    host[source][...] = images
    cuda.memcpy_htod_async(device[source], host[source], stream)
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT refused to run; its log says why.")
    outputs = [name for name in names if name != source]
    for name in outputs:
        cuda.memcpy_dtoh_async(host[name], device[name], stream)
    stream.synchronize()
    return {name: np.array(host[name]) for name in outputs}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lab1-port_snippet-check", "locked": true, "points": 16, "schema_version": 3, "solution": false, "task": false}
check("lab1.port_snippet")

# %% [markdown]
# And now on the detector itself: your function and ONNX Runtime on the same images.

# %% tags=["demonstration"]
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_tensors
from yolotrt_lab.types import Precision

with using("lab1.port_snippet"), open_runtime(onnx_of[160]) as reference:
    loaded = load_engine(engine_of[160])
    pair = np.random.default_rng(1).random((2, 3, 160, 160), dtype=np.float32)
    for name, output in infer(loaded.engine, pair).items():
        agreement = compare_tensors(output, reference.infer({"images": pair})[name])
        limit = TOLERANCES[Precision.FP32].relative_l2
        print(f"{name} {output.shape}: relative L2 error {agreement.relative_l2:.1e}, allowed in FP32: {limit:.0e}")

# %% [markdown]
# ## If you want more (ungraded)
#
# - **Stretch.** Extend `find_conflicts` by a rule that you have met in real life: two OpenCVs that overwrite each
#   other, a PyTorch older than the card it should run on. The file `yolotrt_lab/doctor/package_rules.py` shows how the
#   course's doctor does it.
# - **Stretch.** Give `benchmark` a stopping rule: go on until the 95 % interval of the median is narrower than 2 % of
#   it. How many calls does your machine need when it is quiet, and how many while you compile something?
# - **Expert.** The clock in `benchmark` is the host's. On a GPU, events are recorded *in the stream* and timed by the
#   device (`cuda.Event`, `record`, `time_since`). Measure both ways. What is in the difference, and which of the two
#   does your user feel?

# %% [markdown]
# ## 7 · Written question (10 points)
#
# A colleague writes to the team:
#
# > *I moved our detector to TensorRT. PyTorch: 41 ms. Engine: 3.1 ms. That is 13 times as fast, so we can order the
# > cheap boards for all 200 stations. The engine file is attached, just copy it.*
#
# You look into the script. PyTorch: mean of the first 10 calls after loading, reading the JPEG included. Engine: 200
# calls to warm up, then 1000 calls with a batch of 8, divided by 8; the clock stops right after `execute_async_v3`.
# Both ran on the colleague's workstation (RTX 4090, driver 580). The boards have an old card of compute capability 6.1.
# A station must answer within 25 ms for 99 of 100 images, camera to result.

# %% [markdown]
# **Answer in 150 to 250 words**, as a reply that your colleague can act on. It is graded by this rubric:
#
# | Criterion | Points |
# |---|---|
# | **Faults.** Three faults of the measurement, each with the direction in which it moves the claimed speed-up | 3 |
# | **Protocol.** A measurement that would settle it, concrete enough to be carried out by somebody else | 3 |
# | **Decision.** Which number decides about the boards, and why the factor 13 is not it even if it were true | 2 |
# | **Machine.** Why the attached file will not work there, and what has to be checked before anything is ordered | 1 |
# | **Tone.** Says what can be kept, blames nobody, keeps to the length | 1 |

# %% [markdown] nbgrader={"grade": true, "grade_id": "lab1-written", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# Thank you for moving it over: that the engine runs is the larger half of the work. Four things before we order.
#
# The 13 is too high, and all faults push it up. PyTorch is measured cold and with JPEG decoding: 41 ms is too long. The
# engine's clock stops when the work has only been handed over: 3.1 ms is too short. And a batch of 8 over 8 is
# throughput; no station will ever see that latency.
#
# Could we measure like this: batch 1 and the same decoded images for both, 50 calls each to warm up, 500 calls in turns,
# `stream.synchronize()` before the clock starts and before it stops, p50 and p99 reported, samples attached?
#
# What decides is another number: p99 from camera to result, on a board, against 25 ms. If decoding and drawing take
# 20 ms there, an infinitely fast network leaves 5 ms, and a median says nothing about one image in a hundred.
#
# And the file: a plan belongs to one kind of GPU and one TensorRT version, so copying does not help. A card of 6.1 is
# too old for CUDA 13 altogether. Let us borrow a board with a newer card, build from the ONNX there, and measure again.

# %% [markdown]
# ## Recap
#
# **We have:**
#
# - a map of the road from PyTorch to hardware, and the rule that every arrow must be checked against a reference;
# - three rules that explain most conflicts: drivers run old CUDAs, libraries want their major version, readers want
#   models that are not newer than they are;
# - a doctor and an installer of our own, which have judged machines that we have never seen;
# - measured reasons to convert: fewer pieces, less memory traffic, and a gain that depends on what the time is made of;
# - a benchmark function that warms up, waits, keeps the tail, and an eye for those that do not;
# - an inference function in today's API, whose result agrees with ONNX Runtime.
#
# In lab 2 the model itself comes: data, labels and training, where more accuracy is won and lost than in all later
# labs.

# %% [markdown]
# ## Further reading
#
# - [CUDA minor version compatibility](https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html), NVIDIA: the table behind `OLDEST_DRIVER`.
# - [ONNX Runtime's compatibility](https://onnxruntime.ai/docs/reference/compatibility.html), its [TensorRT provider](https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html), and [versions of ONNX](https://github.com/onnx/onnx/blob/main/docs/Versioning.md).
# - [From TensorRT 8 to 10 in Python](https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/api/tensorrt-8x-to-10x-python-api.html), NVIDIA: more old and new code side by side.
# - [Best practices for performance](https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/performance/best-practices.html), NVIDIA, and [PyTorch's benchmark recipe](https://docs.pytorch.org/tutorials/recipes/recipes/benchmark.html).
# - Hoefler and Belli, [Scientific benchmarking of parallel computing systems](https://doi.org/10.1145/2807591.2807644), 2015: twelve rules, and how rarely they are kept.
# - Dean and Barroso, [The tail at scale](https://doi.org/10.1145/2408776.2408794), 2013: why p99 matters more as systems grow.
