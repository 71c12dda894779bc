"""lab1.pick_install: from the description of a machine to the right installation."""

import copy
import re

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab1.pick_install",
    title="Pick the right installation",
    objective="Choose an installation for a machine, and say what has to be done first and what to expect.",
    answer="choose_install",
    difficulty=2,
    minutes=20,
    cases=("laptop", "workstation", "cluster node", "old card", "other vendor", "full disk", "old Python"),
    hidden=("any", "any", "any", "any", "any", "any", "old card", "full disk"),
    seconds=5.0,
    reading="https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
)

ROUTES, STEPS = ("gpu", "cpu"), ("driver", "disk", "python")
NEEDED_GIB = {"cpu": 12.0, "gpu": 20.0}
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}

_NEW_CARDS = {"7.5": "Tesla T4", "8.6": "GeForce RTX 3060", "8.9": "GeForce RTX 4090", "9.0": "NVIDIA H200",
              "12.0": "GeForce RTX 5080"}  # fmt: skip
_OLD_CARDS = {"5.2": "GeForce GTX 970", "6.1": "GeForce GTX 1080", "7.0": "Tesla V100"}
_NEW_DRIVERS, _OLD_DRIVERS = ("580.65.06", "580.95.05", "590.48.01"), (None, "470.256.02", "535.183.01", "570.133.20")
_OTHER_VENDORS = (("AMD", "Radeon RX 7900 XTX"), ("Intel", "Arc B580"), ("Intel", "Iris Xe Graphics"))
_CPUS = (
    ["sse4_2", "avx2", "fma"],
    ["sse4_2", "avx2", "fma", "f16c"],
    ["sse4_2", "avx2", "fma", "avx_vnni"],
    ["sse4_2", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"],
    ["avx2", "avx512f", "avx512_vnni", "amx_bf16", "amx_int8", "amx_tile"],
    ["asimd", "asimdhp", "asimddp"],
    ["sse4_2", "avx2", "avx512f", "avx512bw"],
)

_THREE = {
    "laptop": {
        "gpu": None,
        "driver": None,
        "admin": True,
        "python": ["3.9", "3.12"],
        "disk_free_gib": 31.0,
        "cpu_flags": ["sse4_2", "avx2", "fma", "avx_vnni"],
    },
    "workstation": {
        "gpu": {"vendor": "NVIDIA", "name": "GeForce RTX 4090", "compute_capability": "8.9"},
        "driver": "535.183.01",
        "admin": True,
        "python": ["3.10"],
        "disk_free_gib": 412.0,
        "cpu_flags": ["sse4_2", "avx2", "fma"],
    },
    "cluster node": {
        "gpu": {"vendor": "NVIDIA", "name": "NVIDIA H200", "compute_capability": "9.0"},
        "driver": "570.133.20",
        "admin": False,
        "python": ["3.9"],
        "disk_free_gib": 15.0,
        "cpu_flags": ["avx2", "avx512f", "avx512_vnni", "amx_bf16", "amx_int8", "amx_tile"],
    },
}


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    if case in _THREE:
        return {"machine": copy.deepcopy(_THREE[case])}
    machine = _any_machine(rng)
    if case == "old card":
        machine |= {"gpu": _nvidia(rng, _OLD_CARDS), "driver": "580.65.06", "cpu_flags": list(_CPUS[0])}
    elif case == "other vendor":
        vendor, name = _pick(rng, _OTHER_VENDORS)
        machine |= {"gpu": {"vendor": vendor, "name": name, "compute_capability": None}, "driver": None}
    elif case == "full disk":
        machine |= {"gpu": _nvidia(rng, _NEW_CARDS), "driver": _pick(rng, _NEW_DRIVERS)}
        machine |= {"disk_free_gib": round(float(rng.uniform(13, 19)), 1)}
    elif case == "old Python":
        machine |= {"gpu": None, "driver": None, "python": _pick(rng, (["3.8", "3.10"], ["3.9"], ["2.7", "3.6"]))}
    return {"machine": machine}


def _pick(rng, values):
    values = list(values)
    return values[int(rng.integers(len(values)))]


def _nvidia(rng, cards) -> dict[str, str]:
    compute = _pick(rng, cards)
    return {"vendor": "NVIDIA", "name": cards[compute], "compute_capability": compute}


def _any_machine(rng) -> dict[str, object]:
    kind = rng.random()
    gpu = None if kind < 0.15 else _nvidia(rng, _OLD_CARDS if kind < 0.3 else _NEW_CARDS)
    drivers = _NEW_DRIVERS if rng.random() < 0.5 else _OLD_DRIVERS
    return {
        "gpu": gpu,
        "driver": None if gpu is None else _pick(rng, drivers),
        "admin": bool(rng.random() < 0.6),
        "python": _pick(rng, (["3.9"], ["3.10"], ["3.11"], ["3.8", "3.12"], ["3.13"], ["3.14"], ["3.10", "3.14"])),
        "disk_free_gib": _pick(rng, (4.5, 9.0, 14.5, 18.0, 25.0, 60.0, 300.0)),
        "cpu_flags": list(_pick(rng, _CPUS)),
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _card_suits(machine) -> bool:
    gpu = machine["gpu"]
    return bool(gpu) and gpu["vendor"] == "NVIDIA" and _numbers(gpu["compute_capability"]) >= (7, 5)


def _driver_suits(machine) -> bool:
    return machine["driver"] is not None and _numbers(machine["driver"]) >= (580,)


def right_route(machine) -> str:
    """Return the route for a machine."""
    return "gpu" if _card_suits(machine) and (_driver_suits(machine) or machine["admin"]) else "cpu"


def right_steps(machine, route: str) -> set[str]:
    """Return what has to be done first on a route."""
    steps = set()
    if route == "gpu" and not _driver_suits(machine):
        steps.add("driver")
    if machine["disk_free_gib"] < NEEDED_GIB[route]:
        steps.add("disk")
    if route == "cpu" and not any((3, 11) <= _numbers(version) <= (3, 13) for version in machine["python"]):
        steps.add("python")
    return steps


def right_int8(machine, route: str) -> bool:
    """Return whether INT8 is faster than FP32 on what the labs run on."""
    return route == "gpu" or bool(INT8_FLAGS & set(machine["cpu_flags"]))


def _route(answer) -> str:
    route = answer.item("route").text()
    if route not in ROUTES:
        raise Mismatch(expected='the route "gpu" or "cpu"', seen=repr(route)[:60])
    return route


@points(2)
def test_choice_has_the_agreed_form(answer):
    """The choice has a route, the steps before it, and a promise about INT8."""
    _route(answer)
    steps = answer.item("first").list()
    unknown = [step for step in steps if step not in STEPS]
    expect(
        not unknown and len(set(map(str, steps))) == len(steps),
        expected=f"each step at most once, out of {', '.join(STEPS)}",
        seen=repr(steps)[:80],
    )
    answer.item("int8_hardware").boolean()


def _why_not_gpu(machine) -> str:
    gpu = machine["gpu"]
    if gpu is None or gpu["vendor"] != "NVIDIA":
        return "TensorRT and CUDA run on NVIDIA's GPUs only. What does this machine have?"
    if not _card_suits(machine):
        return "The course's GPU environment is made for CUDA 13. Which cards did CUDA 13 stop supporting?"
    return "The GPU is fine, its driver is not. Who could change that on this machine?"


@points(6)
def test_route_suits_card_driver_and_rights(answer):
    """The route is one that works on this machine."""
    machine, route = answer.inputs["machine"], _route(answer)
    right = right_route(machine)
    if route == right:
        return
    if right == "cpu":
        hint = _why_not_gpu(machine)
    elif _driver_suits(machine):
        hint = "Card and driver are new enough. A newer driver or card than CUDA 13 asks for is no obstacle."
    else:
        hint = "An old driver is something that the owner of a machine can change in ten minutes."
    gpu = machine["gpu"]
    card = f"{gpu['name']}, driver {machine['driver']}" if gpu else "no GPU"
    raise Mismatch(
        expected=f"a route that works with {card}, {'an administrator' if machine['admin'] else 'no administrator'}",
        seen=f'the route "{route}"',
        misconception=hint,
    )


_STEP_HINTS = {
    ("driver", True): "CUDA 13 needs a driver of branch 580 or newer: this one is older, or not there at all.",
    ("driver", False): "The driver matters where the GPU is used, and only if it is older than CUDA 13 asks for.",
    ("disk", True): "The two routes need different room: look up both numbers.",
    ("disk", False): "There is room enough for this route.",
    ("python", True): "`make setup` uses a Python that is there; it has to be 3.11, 3.12 or 3.13. As text, 3.9 comes "
    "after 3.12.",
    ("python", False): "Is the Python of this machine used at all on this route, and is none of them suitable?",
}


@points(5)
def test_steps_before_the_installation_are_the_right_ones(answer):
    """What has to be done first is named, and nothing else."""
    machine, route = answer.inputs["machine"], _route(answer)
    if route != right_route(machine):
        raise Mismatch(
            expected="the steps before the route that works", seen=f'steps for the route "{route}"',
            misconception="Find the route first; the steps follow from it.",
        )  # fmt: skip
    steps = {step for step in answer.item("first").list() if isinstance(step, str)}
    right = right_steps(machine, route)
    for step in STEPS:
        if (step in right) != (step in steps):
            missing = step in right
            raise Mismatch(
                expected=f"steps that this machine needs on the route {route!r}, and no others",
                seen=f"{sorted(steps)}: {step!r} is {'missing' if missing else 'not needed'}",
                misconception=_STEP_HINTS[step, missing],
            )


@points(3)
def test_promise_about_int8_will_hold(answer):
    """It says rightly whether the hardware that will run the engines has INT8 arithmetic."""
    machine = answer.inputs["machine"]
    promised, right = answer.item("int8_hardware").boolean(), right_int8(machine, right_route(machine))
    if promised and not right:
        hint = "Every processor can multiply 8-bit numbers; only some do it faster. Which flags say so? And a GPU that "
        hint += "the labs cannot use speeds up nothing."
    else:
        hint = "Look at what will run the engines: on the GPU route the card, and every card since 7.5 has INT8 tensor "
        hint += "cores; on the CPU route the processor, and more than one of its flags stands for INT8."
    expect(promised == right, expected="a promise that the hardware keeps", seen=promised, misconception=hint)
