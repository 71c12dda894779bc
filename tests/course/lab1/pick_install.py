"""Wrong and right answers to lab1.pick_install."""

from tests_course_api import right, wrong

INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
PYTHONS = ("3.11", "3.12", "3.13")


def numbers(text):
    return tuple(int(part) for part in text.split("."))


def nvidia(machine):
    return machine["gpu"] is not None and machine["gpu"]["vendor"] == "NVIDIA"


def new_card(machine):
    return nvidia(machine) and numbers(machine["gpu"]["compute_capability"]) >= (7, 5)


def new_driver(machine):
    return bool(machine["driver"]) and numbers(machine["driver"])[0] >= 580


def gpu_route(machine):
    return new_card(machine) and (new_driver(machine) or machine["admin"])


def has_python(machine):
    return any(version in PYTHONS for version in machine["python"])


def has_int8(machine, route):
    return route == "gpu" or any(flag in INT8 for flag in machine["cpu_flags"])


def chosen(
    machine, *, takes_gpu=gpu_route, gib=(12, 20), python_ok=has_python, int8=has_int8, python_always=False, driver=True
):
    """A right choice, in which one idea at a time can be replaced by a wrong one."""
    route = "gpu" if takes_gpu(machine) else "cpu"
    first = []
    if driver and route == "gpu" and not new_driver(machine):
        first.append("driver")
    if machine["disk_free_gib"] < gib[route == "gpu"]:
        first.append("disk")
    if (route == "cpu" or python_always) and not python_ok(machine):
        first.append("python")
    return {"route": route, "first": first, "int8_hardware": int8(machine, route)}


@wrong(caught_by="test_route_suits_card_driver_and_rights", says="NVIDIA's GPUs only")
def any_gpu_will_do(machine):
    """Takes the GPU route wherever there is a GPU."""

    def takes(machine):
        return machine["gpu"] is not None and (not nvidia(machine) or gpu_route(machine))

    return chosen(machine, takes_gpu=takes)


@wrong(caught_by="test_route_suits_card_driver_and_rights", says="stop supporting")
def any_nvidia_card_will_do(machine):
    """Looks at the driver and not at the card."""
    return chosen(machine, takes_gpu=lambda m: nvidia(m) and (new_driver(m) or m["admin"]))


@wrong(caught_by="test_route_suits_card_driver_and_rights", says="Who could change that")
def somebody_will_update_the_driver(machine):
    """Forgets that not everybody may."""
    return chosen(machine, takes_gpu=new_card)


@wrong(caught_by="test_route_suits_card_driver_and_rights", says="ten minutes")
def old_driver_means_no_gpu(machine):
    """Gives the GPU up because of a driver that could be updated."""
    return chosen(machine, takes_gpu=lambda m: new_card(m) and new_driver(m))


@wrong(caught_by="test_steps_before_the_installation_are_the_right_ones", says="branch 580 or newer")
def driver_will_come_with_cuda(machine):
    """Believes that installing CUDA's libraries brings the driver."""
    return chosen(machine, driver=False)


@wrong(caught_by="test_steps_before_the_installation_are_the_right_ones", says="different room")
def one_size_of_disk(machine):
    """Takes the CPU route's room for both."""
    return chosen(machine, gib=(12, 12))


@wrong(caught_by="test_steps_before_the_installation_are_the_right_ones", says="used at all on this route")
def python_always_matters(machine):
    """Does not know that conda brings a Python of its own."""
    return chosen(machine, python_always=True)


@wrong(caught_by="test_steps_before_the_installation_are_the_right_ones", says="3.9 comes after 3.12")
def python_as_text(machine):
    """Compares Python versions as strings."""
    return chosen(machine, python_ok=lambda m: any(version >= "3.11" for version in m["python"]))


@wrong(caught_by="test_promise_about_int8_will_hold", says="more than one of its flags")
def one_name_for_int8(machine):
    """Knows AVX-512 VNNI and no other."""
    return chosen(machine, int8=lambda m, route: route == "gpu" or "avx512_vnni" in m["cpu_flags"])


@wrong(caught_by="test_promise_about_int8_will_hold", says="speeds up nothing")
def a_card_is_a_card(machine):
    """Counts a GPU that the labs cannot use."""
    return chosen(machine, int8=lambda m, route: nvidia(m) or has_int8(m, route))


@right
def with_sets(machine):
    """Decides by sets; the steps come in another order."""
    gpu = machine["gpu"] or {"vendor": None}
    card = gpu["vendor"] == "NVIDIA" and float(gpu["compute_capability"]) >= 7.5
    driver_age = int((machine["driver"] or "0").partition(".")[0]) - 580
    on_gpu = card and (driver_age >= 0 or machine["admin"])
    wanted = {
        "python": not on_gpu and set(PYTHONS).isdisjoint(machine["python"]),
        "disk": machine["disk_free_gib"] < (20 if on_gpu else 12),
        "driver": on_gpu and driver_age < 0,
    }
    steps = {name for name, needed in wanted.items() if needed}
    int8 = bool(on_gpu or set(INT8) & set(machine["cpu_flags"]))
    return {"route": ("cpu", "gpu")[on_gpu], "first": steps, "int8_hardware": int8}


@right
def with_early_returns(machine):
    """Rules the GPU out step by step; the steps come as a tuple."""

    def without_gpu():
        steps = ("disk",) * (machine["disk_free_gib"] < 12)
        if not [v for v in machine["python"] if (3, 11) <= numbers(v) < (3, 14)]:
            steps += ("python",)
        return {"route": "cpu", "first": steps, "int8_hardware": any(f in INT8 for f in machine["cpu_flags"])}

    if not machine["gpu"] or machine["gpu"]["compute_capability"] is None:
        return without_gpu()
    if numbers(machine["gpu"]["compute_capability"]) < (7, 5):
        return without_gpu()
    steps = ()
    if machine["driver"] is None or numbers(machine["driver"]) < (580,):
        if not machine["admin"]:
            return without_gpu()
        steps += ("driver",)
    if machine["disk_free_gib"] < 20:
        steps += ("disk",)
    return {"route": "gpu", "first": steps, "int8_hardware": True}
