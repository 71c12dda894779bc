"""CUDA graphs behind handles, as the runtime and the driver hand them out; `emulation.capture` has what they do."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

from yolotrt_lab.emulation.capture import CaptureMode, Graph, GraphExec
from yolotrt_lab.emulation.cuda.arguments import handle_of, integer, size
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = [
    "begin_capture",
    "capture_status",
    "destroy_exec",
    "destroy_graph",
    "end_capture",
    "forget_graphs",
    "instantiate",
    "launch",
    "node_handles",
    "node_kind",
    "upload",
]

_MODES: tuple[CaptureMode, ...] = ("global", "thread local", "relaxed")
_KERNEL, _MEMCPY, _MEMSET, _HOST = 0, 1, 2, 3
_NODE_KINDS = {"copy": _MEMCPY, "memset": _MEMSET, "host function": _HOST}
_AUTO_FREE, _DEVICE_LAUNCH, _NODE_PRIORITY = 1, 4, 8

_T = TypeVar("_T")

_graphs: dict[int, Graph] = {}
_execs: dict[int, GraphExec] = {}
_nodes: dict[int, tuple[int, int]] = {}  # a node's graph and kind
_handles = itertools.count(0x64A00000, 0x10)


def begin_capture(stream: Any, mode: Any) -> None:
    """Let a stream capture what is put into it.

    Raises:
        DeviceFault: There is no such stream or mode, it is the legacy default stream, or it captures already.
        TypeError: The mode is None.
    """
    if mode is None:
        raise TypeError("Argument 'mode' must not be None")
    if not 0 <= int(mode) < len(_MODES):
        raise DeviceFault("invalid value", f"there is no capture mode {int(mode)}")
    device().scheduler.begin_capture(handle_of(stream), _MODES[int(mode)])


def end_capture(stream: Any) -> int:
    """Stop capturing and return the graph's handle.

    Raises:
        DeviceFault: The stream does not capture, or the capture failed.
    """
    return _keep(_graphs, device().scheduler.end_capture(handle_of(stream)))


def capture_status(stream: Any) -> int:
    """Return 0 if a stream does not capture, 1 if it does, 2 if its capture failed and has to be ended."""
    return device().scheduler.capture_status(handle_of(stream))


def instantiate(graph: Any, flags: Any) -> int:
    """Make a graph that can be launched, and return its handle.

    Raises:
        DeviceFault: There is no such graph, or there are no such flags.
        EmulationError: It is to be launched by kernels.
    """
    given = integer(flags)
    if given & ~(_AUTO_FREE | _DEVICE_LAUNCH | _NODE_PRIORITY):  # the flag for uploading needs another function
        raise DeviceFault("invalid value", f"a graph cannot be instantiated with the flags {given:#x}")
    if given & _DEVICE_LAUNCH:
        raise EmulationError(
            "Graphs that kernels launch from the device are not emulated: they need code compiled for a GPU.",
            fix="Instantiate with flags 0 and launch from the host.",
        )
    device().scheduler.before_waiting_call()
    return _keep(_execs, GraphExec(_find(_graphs, graph)))


def launch(graph_exec: Any, stream: Any) -> None:
    """Enqueue all work of a graph in a stream."""
    device().scheduler.launch_graph(_find(_execs, graph_exec), handle_of(stream))


def upload(graph_exec: Any, stream: Any) -> None:
    """Prepare a launch; nothing is to be prepared here."""
    _find(_execs, graph_exec)
    device().scheduler.stream(handle_of(stream))


def destroy_graph(graph: Any) -> None:
    """Forget a graph; what was instantiated from it can still be launched."""
    _find(_graphs, graph)
    number = handle_of(graph)
    del _graphs[number]
    for node in [node for node, (owner, _) in _nodes.items() if owner == number]:
        del _nodes[node]


def destroy_exec(graph_exec: Any) -> None:
    """Forget a graph that can be launched; launches under way are still done."""
    _find(_execs, graph_exec)
    del _execs[handle_of(graph_exec)]


def node_handles(graph: Any, limit: Any) -> tuple[list[int], int]:
    """Return at most `limit` nodes, filled up with null handles, and how many there are or were given.

    An inference is as many kernel nodes as the engine has layers.
    """
    found, wanted = _find(_graphs, graph), size(limit)
    owner = handle_of(graph)
    known = [node for node, (its_graph, _) in _nodes.items() if its_graph == owner]
    if not known:
        for kind in _kinds(found):
            known.append(next(_handles))
            _nodes[known[-1]] = (owner, kind)
    if wanted == 0:
        return [], len(known)
    given = known[:wanted]
    return [*given, *[0] * (wanted - len(given))], len(given)


def node_kind(node: Any) -> int:
    """Return CUDA's number for what a node is.

    Raises:
        DeviceFault: There is no such node.
    """
    return _find(_nodes, node)[1]


def forget_graphs() -> None:
    """Forget all graphs, as the end of a process does."""
    for kept in (_graphs, _execs, _nodes):
        kept.clear()


def _kinds(graph: Graph) -> list[int]:
    kinds = []
    for node in graph.nodes:
        count = max(node.task.kernels, 1) if node.task.kind == "inference" else 1
        kinds += [_NODE_KINDS.get(node.task.kind, _KERNEL)] * count
    return kinds


def _keep(kept: dict[int, _T], value: _T) -> int:
    number = next(_handles)
    kept[number] = value
    return number


def _find(kept: dict[int, _T], handle: Any) -> _T:
    number = handle_of(handle)
    if number not in kept:
        raise DeviceFault("invalid value", f"{number:#x} is not such a graph or node, or was destroyed")
    return kept[number]
