"""What of the host a Python of ours needs to see: its own installation, this package, the system's libraries."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yolotrt_lab

__all__ = ["base_environment", "gpu_devices", "python_mounts"]

# Not the whole prefix: an installation can lie above the course's folder.
_PREFIX_PARTS = ("bin", "etc", "include", "lib", "lib64", "nvvm", "pyvenv.cfg", "share", "targets")
# What the loader, the clock and the libraries' defaults are read from; nothing that tells about accounts or hosts.
_ETC = ("OpenCL", "alternatives", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "nsswitch.conf")
# OpenVINO plans its threads by the processors' topology.
_SYS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
_ROOT_LINKS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def python_mounts() -> tuple[tuple[Path, str], ...]:
    """Return the read-only mounts, each a path of the host and its place inside, outer ones first.

    Of the repository only the package's folder is there: no solutions, no tests, no gradebook.
    """
    found: dict[str, Path] = {"/usr": Path("/usr")}
    for name in _ROOT_LINKS:  # where /usr is not merged these are folders; links are made by `root_links`
        folder = Path("/") / name
        if folder.is_dir() and not folder.is_symlink():
            found[str(folder)] = folder
    for prefix in {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}:
        for part in _PREFIX_PARTS:
            path = Path(prefix) / part
            if path.exists() and not path.is_relative_to("/usr") and prefix != "/":
                found[str(path)] = path.resolve()
    for path in _interpreter_links():
        if not any(path.is_relative_to(place) for place in found):
            found[str(path)] = path.resolve()
    found |= {f"/etc/{name}": Path("/etc") / name for name in _ETC if (Path("/etc") / name).exists()}
    found |= {name: Path(name) for name in _SYS if Path(name).exists()}
    package = _package()
    found[str(package)] = package
    return tuple((path, place) for place, path in sorted(found.items()))


def root_links() -> tuple[tuple[str, str], ...]:
    """Return the links in the root folder, each with its target: /bin and others where /usr is merged."""
    links = [Path("/") / name for name in _ROOT_LINKS]
    return tuple((str(link), os.readlink(link)) for link in links if link.is_symlink())


def gpu_devices() -> tuple[Path, ...]:
    """Return the NVIDIA devices of this machine."""
    return tuple(sorted(Path("/dev").glob("nvidia*")))


def base_environment(*, cores: int = 1) -> dict[str, str]:
    """Return the environment inside, where nothing more is asked for.

    Args:
        cores: Threads that numerical libraries use.
    """
    programs = [str(Path(sys.prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "HOME": "/tmp",
        "IPYTHONDIR": "/tmp/.ipython",
        "LANG": "C.UTF-8",
        "LOGNAME": "student",
        "MPLCONFIGDIR": "/tmp/.matplotlib",
        "OPENBLAS_NUM_THREADS": str(cores),
        "PATH": ":".join(programs),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the same submission gives the same output, sets and all
        "PYTHONSAFEPATH": "1",  # a file of the student's must not shadow a module
        "TMPDIR": "/tmp",
        "USER": "student",
        "YOLO_CONFIG_DIR": "/tmp",
        "YOLO_OFFLINE": "true",
        **dict.fromkeys(_THREAD_VARIABLES, str(cores)),
        **_path_of_package(),
    }


def _package() -> Path:
    return Path(yolotrt_lab.__file__).resolve().parent


def _path_of_package() -> dict[str, str]:
    """Return where Python finds the package that runs here, if not among the installed ones.

    On a cluster's worker it came as a parcel, and what is installed may be another or none. Nothing else of that
    folder is shown.
    """
    folder = _package().parent
    return {} if folder.is_relative_to(sys.prefix) else {"PYTHONPATH": str(folder)}


def _interpreter_links() -> list[Path]:
    """Return the links from the running interpreter's name to its file: a virtual environment is found through them."""
    found, path = [], Path(sys.executable)
    while path.is_symlink():
        path = path.parent / os.readlink(path)
        path = Path(os.path.normpath(path))
        found.append(path)
    return [path for path in found if not path.is_relative_to("/usr")]
