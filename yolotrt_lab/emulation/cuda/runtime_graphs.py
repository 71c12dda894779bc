"""The emulated `cuda.bindings.runtime`: capturing streams into graphs, and launching them."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import graphs
from yolotrt_lab.emulation.cuda.described import types
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call

__all__ = [
    "cudaGraphDestroy",
    "cudaGraphExecDestroy",
    "cudaGraphGetNodes",
    "cudaGraphInstantiate",
    "cudaGraphInstantiateWithFlags",
    "cudaGraphLaunch",
    "cudaGraphNodeGetType",
    "cudaGraphUpload",
    "cudaStreamBeginCapture",
    "cudaStreamEndCapture",
    "cudaStreamIsCapturing",
]

_types = types("runtime")


@runtime_call(results=0)
def cudaStreamBeginCapture(stream: Any, mode: Any) -> Any:
    """Let a stream capture what is put into it, instead of doing it."""
    graphs.begin_capture(stream, mode)


@runtime_call(results=1)
def cudaStreamEndCapture(stream: Any) -> Any:
    """Stop capturing and return the graph."""
    return _types["cudaGraph_t"](graphs.end_capture(stream))


@runtime_call(results=1)
def cudaStreamIsCapturing(stream: Any) -> Any:
    """Return whether a stream captures, and whether its capture is still good."""
    return _types["cudaStreamCaptureStatus"](graphs.capture_status(stream))


@runtime_call(results=1)
def cudaGraphInstantiate(graph: Any, flags: int) -> Any:
    """Make a graph that can be launched."""
    return _types["cudaGraphExec_t"](graphs.instantiate(graph, flags))


@runtime_call(results=1)
def cudaGraphInstantiateWithFlags(graph: Any, flags: int) -> Any:
    """Make a graph that can be launched."""
    return _types["cudaGraphExec_t"](graphs.instantiate(graph, flags))


@runtime_call(results=0)
def cudaGraphLaunch(graphExec: Any, stream: Any) -> Any:
    """Enqueue all work of a graph, with the addresses and shapes it was captured with."""
    graphs.launch(graphExec, stream)


@runtime_call(results=0)
def cudaGraphUpload(graphExec: Any, stream: Any) -> Any:
    """Prepare a launch; here nothing is to be prepared."""
    graphs.upload(graphExec, stream)


@runtime_call(results=0)
def cudaGraphDestroy(graph: Any) -> Any:
    """Forget a graph; what was instantiated from it can still be launched."""
    graphs.destroy_graph(graph)


@runtime_call(results=0)
def cudaGraphExecDestroy(graphExec: Any) -> Any:
    """Forget a graph that can be launched."""
    graphs.destroy_exec(graphExec)


@runtime_call(results=2)
def cudaGraphGetNodes(graph: Any, numNodes: int = 0) -> Any:
    """Return a graph's nodes, and how many there are; with `numNodes` 0 only how many."""
    handles, count = graphs.node_handles(graph, numNodes)
    return [_types["cudaGraphNode_t"](handle) for handle in handles], count


@runtime_call(results=1)
def cudaGraphNodeGetType(node: Any) -> Any:
    """Return what a node is."""
    return _types["cudaGraphNodeType"](graphs.node_kind(node))
