"""lab1.compatibility_report: find what conflicts in a report about a machine, and say why."""

import re

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

reports = sibling(__file__, "reports")

EXERCISE = Exercise(
    id="lab1.compatibility_report",
    title="Judge a compatibility report",
    objective="Say which versions on a machine conflict, which do not, and why.",
    answer="find_conflicts",
    difficulty=3,
    minutes=35,
    cases=(
        "a healthy machine",
        "a new card",
        "an old driver",
        "a driver for one of two",
        "an old card",
        "libraries",
        "another cuDNN",
        "builds without CUDA",
        "ONNX Runtime",
        "no GPU",
        "several at once",
    ),
    hidden=(
        "a healthy machine",
        "a healthy machine",
        "an old driver",
        "an old card",
        "libraries",
        "ONNX Runtime",
        "several at once",
        "several at once",
    ),
    seconds=5.0,
    reading="https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
)

PROBLEMS = {
    "driver too old": ("torch", "tensorrt"),
    "GPU too old": ("torch", "tensorrt"),
    "CPU build": ("torch", "onnxruntime"),
    "cuDNN mismatch": ("torch",),
    "parts differ": ("tensorrt",),
    "two packages": ("onnxruntime",),
    "other TensorRT": ("onnxruntime",),
    "opset too new": ("onnxruntime",),
}

Conflicts = dict[tuple[str, str], tuple[str, ...]]
"""(part, problem) -> the versions its reason has to name."""


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    return {"report": reports.make_report(case, rng)}


def _cudnn_minor(number: int) -> tuple[int, int]:
    """Return (major, minor): from 9 on, cuDNN says 10000 * major + 100 * minor, before 1000 * major."""
    return (number // 10_000, number // 100 % 100) if number >= 10_000 else (number // 1000, number // 100 % 10)


def _dotted(numbers) -> str:
    return ".".join(str(number) for number in numbers)


def expected_conflicts(report) -> Conflicts:
    """Return what conflicts on a machine."""
    found: Conflicts = {}
    torch, tensorrt, has_gpu = report["torch"], report["tensorrt"], report["gpu"] is not None
    for part, entry in (("torch", torch), ("tensorrt", tensorrt)):
        if entry and entry["cuda"] and has_gpu:
            found |= _cuda_conflicts(part, entry["cuda"], report)
    if has_gpu and torch["cuda"] is None:
        found["torch", "CPU build"] = ()
    if torch["cuda"] is not None:
        built, there = _cudnn_minor(torch["cudnn_built"]), _cudnn_minor(torch["cudnn_found"])
        if there[0] != built[0] or there[1] < built[1]:
            found["torch", "cuDNN mismatch"] = (_dotted(built), _dotted(there))
    if tensorrt and tensorrt["bindings"] != tensorrt["libraries"]:
        found["tensorrt", "parts differ"] = (tensorrt["bindings"], tensorrt["libraries"])
    return found | _runtime_conflicts(report, has_gpu)


def _cuda_conflicts(part: str, cuda: str, report) -> Conflicts:
    major, branch = reports.numbers_in(cuda)[0], reports.numbers_in(report["driver"])[0]
    compute = report["gpu"]["compute_capability"]
    found: Conflicts = {}
    if branch < reports.DRIVER_FOR_CUDA[major]:
        found[part, "driver too old"] = (str(reports.DRIVER_FOR_CUDA[major]), str(branch))
    if reports.numbers_in(compute) < reports.COMPUTE_FOR_CUDA[major]:
        found[part, "GPU too old"] = (_dotted(reports.COMPUTE_FOR_CUDA[major]), compute)
    return found


def _runtime_conflicts(report, has_gpu: bool) -> Conflicts:
    found: Conflicts = {}
    runtime, tensorrt = report["onnxruntime"], report["tensorrt"]
    if has_gpu and "CUDAExecutionProvider" not in runtime["providers"]:
        found["onnxruntime", "CPU build"] = ()
    if len(runtime["packages"]) > 1:
        found["onnxruntime", "two packages"] = ()
    if tensorrt and runtime["tensorrt_major"] is not None:
        there = reports.numbers_in(tensorrt["libraries"])[0]
        if there != runtime["tensorrt_major"]:
            found["onnxruntime", "other TensorRT"] = (str(runtime["tensorrt_major"]), str(there))
    if report["onnx"]["opset"] > runtime["max_opset"]:
        found["onnxruntime", "opset too new"] = (str(runtime["max_opset"]), str(report["onnx"]["opset"]))
    return found


def _findings(answer) -> dict[tuple[str, str], str]:
    """Return the student's findings as (part, problem) -> why; raises Mismatch if they have another form."""
    found = {}
    for index in range(len(answer.list())):
        entry = answer.item(index)
        part, problem, why = (entry.item(key).text() for key in ("part", "problem", "why"))
        if part not in PROBLEMS.get(problem, ()):
            words = ", ".join(f"`{name}`" for name in PROBLEMS)
            raise Mismatch(
                expected=f"problems by the names of the table ({words}), each at a part that can have it",
                seen=f"problem {problem[:40]!r} at part {part[:40]!r}",
            )
        found[part, problem] = why
    return found


def _say(keys) -> str:
    return "; ".join(f"{part}: {problem}" for part, problem in sorted(keys)) or "no conflict"


@points(2)
def test_findings_have_the_agreed_form(answer):
    """Every finding names part, problem and why, each conflict once."""
    found = _findings(answer)
    expect(
        len(found) == len(answer.list()),
        expected="each conflict once",
        seen=f"{len(answer.list())} findings about {len(found)} conflicts",
    )
    expect(
        not answer.changed_inputs,
        expected="the report as it was",
        seen="a changed report",
        misconception="Others will read the same report after you: judge it, leave it as it is.",
    )


_FALSE_ALARM = {
    "driver too old": "Look at what is compared: a driver runs programs of its own CUDA major version and of all "
    "older ones, and CUDA's minor version does not matter. Numbers need not be equal.",
    "GPU too old": "A compute capability is two numbers, major and minor; read as text, 12.0 comes before 7.5.",
    "CPU build": "Where there is no GPU, a build that needs none is just right.",
    "cuDNN mismatch": "A newer cuDNN of the same major version is welcome, and patches do not matter. Decode both "
    "numbers first: up to version 8 the major version counts thousands, since 9 ten thousands.",
    "parts differ": "Only the two halves of TensorRT have to be of one version.",
    "two packages": "One distribution of ONNX Runtime is as it should be.",
    "other TensorRT": "Only the major version is in the library's file name: libnvinfer.so.10 is every TensorRT 10.",
    "opset too new": "ONNX Runtime reads all older operator sets: a model need not use the newest it knows.",
}


@points(6)
def test_what_fits_is_left_alone(answer):
    """Nothing that fits is called a conflict."""
    found, right = _findings(answer), expected_conflicts(answer.inputs["report"])
    wrong = sorted(key for key in found if key not in right)
    if wrong:
        raise Mismatch(
            expected="no false alarm",
            seen=f"{_say(wrong)}, because {found[wrong[0]]!r}"[:200],
            misconception=_FALSE_ALARM[wrong[0][1]],
        )
    if not found and answer.case.name == "several at once":
        raise Mismatch(
            expected="conflicts, on a machine on which several things are wrong",
            seen="no conflict at all",
            misconception="Who never reports anything raises no false alarms, but helps nobody either.",
        )


def _require_found(answer, hints: dict[str, str]) -> None:
    found, right = _findings(answer), expected_conflicts(answer.inputs["report"])
    there = sorted(key for key in right if key[1] in hints)
    missed = [key for key in there if key not in found]
    if missed:
        kinds = ", ".join(f"`{name}`" for name in hints)
        raise Mismatch(
            expected=f"all conflicts of the kinds {kinds}; this machine has {len(there)} of them",
            seen=f"{len(missed)} missed; found: {_say(found)}",
            misconception=hints[missed[0][1]],
        )


@points(4)
def test_driver_and_card_are_held_against_cuda(answer):
    """Finds a driver or a card too old for the CUDA that a part was built for."""
    _require_found(
        answer,
        {
            "driver too old": "Each part brings the CUDA it was built for, and the driver has to suit all of them, not "
            "only PyTorch's. What is needed follows from the major version.",
            "GPU too old": "A new driver does not make a card younger: every CUDA major version drops old cards. "
            "Compare major and minor as two numbers, for each part that was built for CUDA.",
        },
    )


@points(5)
def test_libraries_that_do_not_belong_together_are_found(answer):
    """Finds libraries that were not made for each other, and builds that ignore the GPU."""
    _require_found(
        answer,
        {
            "cuDNN mismatch": "PyTorch takes the same major version with the same or a newer minor one. Decode the "
            "two numbers before comparing: 8907 is 8.9.7, 90100 is 9.1.0, 91002 is 9.10.2.",
            "parts differ": "TensorRT is installed in two halves, Python bindings and libraries. pip may leave them at "
            "different versions, and even the last digits count.",
            "CPU build": "A package may be there, import without complaint, and never touch the GPU.",
        },
    )


@points(3)
def test_onnx_runtime_is_held_against_its_neighbours(answer):
    """Finds what keeps ONNX Runtime from the model, or from TensorRT."""
    _require_found(
        answer,
        {
            "two packages": "Both distributions write the same folder `onnxruntime`: half of each remains, and the "
            "list of providers says nothing about that.",
            "other TensorRT": "ONNX Runtime's TensorRT provider is linked to one major version of TensorRT's library, "
            "whatever else is installed.",
            "opset too new": "The model's operator set and the newest one that this ONNX Runtime reads are both in the "
            "report. Does it take a GPU to be too old for a model?",
        },
    )


@points(2)
def test_reasons_name_what_is_needed_and_what_is_there(answer):
    """Each reason names the version needed and the version found."""
    found, right = _findings(answer), expected_conflicts(answer.inputs["report"])
    if right and not any(key in found for key in right):
        raise Mismatch(expected="reasons for the conflicts of this machine", seen="none of its conflicts found")
    for (part, problem), why in found.items():
        names = right.get((part, problem), ())
        unnamed = [name for name in names if not re.search(rf"(?<!\d){re.escape(name)}(?!\d)", why)]
        if unnamed or not why.strip():
            raise Mismatch(
                expected=f"why {part} has the problem `{problem}`, with the version needed and the version there",
                seen=repr(why)[:160],
                misconception="Whoever reads this has to act on it: 'too old' sends them searching, two numbers send "
                "them home. Write versions as people do, cuDNN's with dots.",
            )
