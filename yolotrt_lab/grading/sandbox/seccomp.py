"""The system calls that nothing in a sandbox needs, as a filter the kernel applies.

Namespaces and a plain user already forbid most of what these calls could do. The filter takes away what is left: making
new namespaces (which gives powers back inside them), ways to reach the machine that no namespace covers (vsock, kernel
keys), memory that belongs to no process and so to no limit, and parts of the kernel that had many holes.
"""

from __future__ import annotations

import errno
import platform
import struct

__all__ = ["filter_program"]

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT, _THIRD_ARGUMENT_AT = 0, 4, 16, 24, 32
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = 0x7E020080
_FAMILIES = (1, 2, 10, 16)  # unix, IPv4, IPv6, netlink: what is not there fails by itself

# Name: (number on x86_64, number on aarch64); None where the machine has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "uselib": (134, None),
}
# "Not there" is what programs expect of calls that old kernels lack; they go another way then. CUDA uses memfd_create.
_ABSENT: dict[str, tuple[int, int]] = {
    "clone3": (435, 435),  # its flags cannot be looked at; the C library falls back to clone
    "memfd_secret": (447, 447),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
}
_ABSENT_WITHOUT_GPU: dict[str, tuple[int, int]] = {"memfd_create": (319, 279)}
_CLONE, _SOCKET, _SETSOCKOPT = (56, 220), (41, 198), (54, 208)
_SOL_SOCKET, _BUFFER_OPTIONS = 1, (7, 8)  # SO_SNDBUF, SO_RCVBUF
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def filter_program(*, gpu: bool = False, machine: str | None = None) -> bytes:
    """Return the filter in the kernel's format (classic BPF), empty for a machine whose calls are not listed here.

    Args:
        gpu: Whether CUDA has to work.
        machine: As `uname -m` says it; this machine's if None.
    """
    column, arch = _MACHINES.get(machine or platform.machine(), (0, 0))
    if not arch:
        return b""
    steps = [_step(_LOAD, _ARCH_AT), _step(_EQUAL, arch, skip_true=1), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER_AT)]
    if column == 0:
        steps += [_step(_AT_LEAST, _X32_BIT, skip_false=1), _step(_RETURN, _KILL)]
    absent = _ABSENT if gpu else _ABSENT | _ABSENT_WITHOUT_GPU
    denied = [(pair[column], errno.EPERM) for pair in _DENIED.values()]
    for number, error in [*denied, *((pair[column], errno.ENOSYS) for pair in absent.values())]:
        if number is not None:
            steps += [_step(_EQUAL, number, skip_false=1), _step(_RETURN, _FAIL | error)]
    steps += [
        _step(_EQUAL, _CLONE[column], skip_false=4),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_ANY_BIT, _NAMESPACE_FLAGS, skip_false=1),
        _step(_RETURN, _FAIL | errno.EPERM),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, _SOCKET[column], skip_false=3 + len(_FAMILIES)),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        *(_step(_EQUAL, family, skip_true=len(_FAMILIES) - at) for at, family in enumerate(_FAMILIES)),
        _step(_RETURN, _FAIL | errno.EAFNOSUPPORT),
        _step(_RETURN, _ALLOW),
        *_buffers_as_they_are(_SETSOCKOPT[column]),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _buffers_as_they_are(number: int) -> list[bytes]:
    """Return the steps that let a program believe that it changed a socket's buffers.

    The watchdog counts sockets, not what is in them, and a machine may allow megabytes in each.
    """
    send, receive = _BUFFER_OPTIONS
    return [
        _step(_EQUAL, number, skip_false=6),
        _step(_LOAD, _SECOND_ARGUMENT_AT),
        _step(_EQUAL, _SOL_SOCKET, skip_false=4),
        _step(_LOAD, _THIRD_ARGUMENT_AT),
        _step(_EQUAL, send, skip_true=1),
        _step(_EQUAL, receive, skip_false=1),
        _step(_RETURN, _FAIL),  # with error 0, which is success
    ]


def _step(code: int, value: int, *, skip_true: int = 0, skip_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_true, skip_false, value)
