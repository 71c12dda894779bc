"""Wrong and right answers to lab1.compatibility_report."""

import re
from functools import partial

from tests_course_api import right, wrong

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
OLDEST_CARD = {11: (3, 5), 12: (5, 0), 13: (7, 5)}


def numbers(text):
    return tuple(int(number) for number in re.findall(r"\d+", text))


def decoded(number):
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1_000)
    return major, rest // 100


def dotted(pair):
    return ".".join(map(str, pair))


def driver_runs(cuda, driver):
    return numbers(driver)[0] >= OLDEST_DRIVER[numbers(cuda)[0]]


def card_runs(cuda, compute):
    return numbers(compute) >= OLDEST_CARD[numbers(cuda)[0]]


def cudnn_fits(built, found):
    return decoded(found)[0] == decoded(built)[0] and decoded(found)[1] >= decoded(built)[1]


def opset_fits(opset, newest):
    return opset <= newest


def same_major(linked, libraries):
    return linked == numbers(libraries)[0]


def why_two_numbers(needed, there):
    return f"needs {needed}, has {there}"


def judged(
    report,
    *,
    driver_ok=driver_runs,
    card_ok=card_runs,
    cudnn_ok=cudnn_fits,
    opset_ok=opset_fits,
    tensorrt_ok=same_major,
    why=why_two_numbers,
    cuda_parts=("torch", "tensorrt"),
    gpu_matters=True,
):
    """A right judgement, in which one idea at a time can be replaced by a wrong one."""
    torch, tensorrt, runtime, gpu = (report[key] for key in ("torch", "tensorrt", "onnxruntime", "gpu"))
    found = []

    def say(part, problem, needed, there):
        found.append({"part": part, "problem": problem, "why": why(needed, there)})

    for part in cuda_parts:
        cuda = report[part] and report[part]["cuda"]
        if cuda and gpu:
            major = numbers(cuda)[0]
            if not driver_ok(cuda, report["driver"]):
                say(part, "driver too old", OLDEST_DRIVER[major], report["driver"])
            if not card_ok(cuda, gpu["compute_capability"]):
                say(part, "GPU too old", dotted(OLDEST_CARD[major]), gpu["compute_capability"])
    if (gpu or not gpu_matters) and torch["cuda"] is None:
        say("torch", "CPU build", "a build for CUDA", torch["version"])
    if (gpu or not gpu_matters) and "CUDAExecutionProvider" not in runtime["providers"]:
        say("onnxruntime", "CPU build", "a build for CUDA", runtime["version"])
    if torch["cuda"] and not cudnn_ok(torch["cudnn_built"], torch["cudnn_found"]):
        say("torch", "cuDNN mismatch", dotted(decoded(torch["cudnn_built"])), dotted(decoded(torch["cudnn_found"])))
    if tensorrt and tensorrt["bindings"] != tensorrt["libraries"]:
        say("tensorrt", "parts differ", tensorrt["bindings"], tensorrt["libraries"])
    if len(runtime["packages"]) == 2:
        say("onnxruntime", "two packages", "one package", "two")
    linked = runtime["tensorrt_major"]
    if tensorrt and linked and not tensorrt_ok(linked, tensorrt["libraries"]):
        say("onnxruntime", "other TensorRT", linked, tensorrt["libraries"])
    if not opset_ok(report["onnx"]["opset"], runtime["max_opset"]):
        say("onnxruntime", "opset too new", runtime["max_opset"], report["onnx"]["opset"])
    return found


@wrong(caught_by="test_what_fits_is_left_alone", says="need not be equal")
def driver_from_the_newest_cuda_only(report):
    """Believes that a driver has to be of the very generation that a CUDA came with."""

    def of_its_time(cuda, driver):
        first = OLDEST_DRIVER[numbers(cuda)[0]]
        return first <= numbers(driver)[0] < {450: 525, 525: 580, 580: 999}[first]

    return judged(report, driver_ok=of_its_time)


@wrong(caught_by="test_driver_and_card_are_held_against_cuda", says="not only PyTorch's")
def only_pytorch_counts(report):
    """Looks at PyTorch's CUDA and believes that the machine has one CUDA."""
    return judged(report, cuda_parts=("torch",))


@wrong(caught_by="test_what_fits_is_left_alone", says="12.0 comes before 7.5")
def versions_as_text(report):
    """Compares compute capabilities as strings."""
    return judged(report, card_ok=lambda cuda, compute: compute >= dotted(OLDEST_CARD[numbers(cuda)[0]]))


@wrong(caught_by="test_libraries_that_do_not_belong_together_are_found", says="8907 is 8.9.7")
def cudnn_newer_is_better(report):
    """Compares the raw numbers: any larger number will do, also that of another major version."""
    return judged(report, cudnn_ok=lambda built, found: decoded(found)[1] >= decoded(built)[1])


@wrong(caught_by="test_what_fits_is_left_alone", says="patches do not matter")
def cudnn_must_not_be_older_at_all(report):
    """Takes a smaller number for an older library that cannot work."""
    return judged(report, cudnn_ok=lambda built, found: found >= built)


@wrong(caught_by="test_what_fits_is_left_alone", says="reads all older")
def opset_must_be_the_same(report):
    """Believes that a runtime reads one operator set."""
    return judged(report, opset_ok=lambda opset, newest: opset == newest)


@wrong(caught_by="test_what_fits_is_left_alone", says="needs none is just right")
def cpu_builds_are_always_wrong(report):
    """Reports CPU builds where there is no GPU."""
    return judged(report, gpu_matters=False)


@wrong(caught_by="test_onnx_runtime_is_held_against_its_neighbours", says="linked to one major version")
def newer_tensorrt_will_do(report):
    """Believes that a library may be replaced by a newer major version."""
    return judged(report, tensorrt_ok=lambda linked, libraries: numbers(libraries)[0] >= linked)


@wrong(caught_by="test_onnx_runtime_is_held_against_its_neighbours", says="take a GPU to be too old")
def nothing_to_judge_without_a_gpu(report):
    """Returns at once where there is no GPU."""
    return judged(report) if report["gpu"] else []


@wrong(caught_by="test_reasons_name_what_is_needed_and_what_is_there", says="two numbers send them home")
def reasons_without_numbers(report):
    """Gives a verdict and no evidence."""
    return judged(report, why=lambda needed, there: "the versions do not match")


@wrong(caught_by="test_what_fits_is_left_alone", says="helps nobody")
def nothing_is_ever_wrong(report):
    """Finds nothing, which raises no false alarm."""
    return []


@right
def by_a_table_of_rules(report):
    """One rule after the other, each a generator of (applies, part, problem, why)."""
    gpu, torch, tensorrt, runtime = report["gpu"], report["torch"], report["tensorrt"] or {}, report["onnxruntime"]
    rules = []
    for part, entry in {"torch": torch, "tensorrt": tensorrt}.items():
        major = int((entry.get("cuda") or "0").split(".")[0])
        if gpu and major:
            branch = int(report["driver"].split(".")[0])
            card = tuple(map(int, gpu["compute_capability"].split(".")))
            rules += [
                (branch < OLDEST_DRIVER[major], part, "driver too old", f"{OLDEST_DRIVER[major]} > {branch}"),
                (card < OLDEST_CARD[major], part, "GPU too old", f"{dotted(OLDEST_CARD[major])} > {dotted(card)}"),
            ]
    rules += [
        (gpu and not torch["cuda"], "torch", "CPU build", "no CUDA inside"),
        (gpu and runtime["providers"][-2:-1] != ["CUDAExecutionProvider"], "onnxruntime", "CPU build", "CPU only"),
        (len(set(runtime["packages"])) > 1, "onnxruntime", "two packages", "+".join(runtime["packages"])),
        (
            report["onnx"]["opset"] > runtime["max_opset"],
            "onnxruntime",
            "opset too new",
            f"model: {report['onnx']['opset']}; newest read: {runtime['max_opset']}",
        ),
    ]
    if torch["cuda"]:
        (a, b), (c, d) = decoded(torch["cudnn_built"]), decoded(torch["cudnn_found"])
        rules.append((a != c or b > d, "torch", "cuDNN mismatch", f"compiled against {a}.{b}.x but found {c}.{d}.x"))
    if tensorrt:
        there = tensorrt["libraries"]
        rules.append((tensorrt["bindings"] != there, "tensorrt", "parts differ", f"{tensorrt['bindings']} / {there}"))
        linked = runtime["tensorrt_major"]
        other = linked is not None and not there.startswith(f"{linked}.")
        rules.append((other, "onnxruntime", "other TensorRT", f"libnvinfer.so.{linked} is not in TensorRT {there}"))
    return tuple({"part": p, "problem": q, "why": w} for applies, p, q, w in rules if applies)


@right
def with_packaging(report):
    """Compares versions with the library made for it, and sorts the findings."""
    from packaging.version import Version

    def driver_ok(cuda, driver):
        return Version(driver).major >= OLDEST_DRIVER[Version(cuda).major]

    def card_ok(cuda, compute):
        return Version(compute) >= Version(dotted(OLDEST_CARD[Version(cuda).major]))

    def cudnn_ok(built, found):
        older, newer = (Version(dotted(decoded(number))) for number in (built, found))
        return newer.major == older.major and newer >= older

    judge = partial(judged, driver_ok=driver_ok, card_ok=card_ok, cudnn_ok=cudnn_ok)
    return sorted(judge(report), key=lambda finding: finding["problem"])
