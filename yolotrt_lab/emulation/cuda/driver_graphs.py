"""The emulated `cuda.bindings.driver`: capturing streams into graphs, and launching them."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import graphs
from yolotrt_lab.emulation.cuda.driver_core import driver_call, driver_types

__all__ = [
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphGetNodes",
    "cuGraphInstantiate",
    "cuGraphLaunch",
    "cuGraphNodeGetType",
    "cuGraphUpload",
    "cuStreamBeginCapture",
    "cuStreamEndCapture",
    "cuStreamIsCapturing",
]


@driver_call(results=0)
def cuStreamBeginCapture(hStream: Any, mode: Any) -> Any:
    """Let a stream capture what is put into it, instead of doing it."""
    graphs.begin_capture(hStream, mode)


@driver_call(results=1)
def cuStreamEndCapture(hStream: Any) -> Any:
    """Stop capturing and return the graph."""
    return driver_types["CUgraph"](graphs.end_capture(hStream))


@driver_call(results=1)
def cuStreamIsCapturing(hStream: Any) -> Any:
    """Return whether a stream captures, and whether its capture is still good."""
    return driver_types["CUstreamCaptureStatus"](graphs.capture_status(hStream))


@driver_call(results=1)
def cuGraphInstantiate(hGraph: Any, flags: int) -> Any:
    """Make a graph that can be launched."""
    return driver_types["CUgraphExec"](graphs.instantiate(hGraph, flags))


@driver_call(results=0)
def cuGraphLaunch(hGraphExec: Any, hStream: Any) -> Any:
    """Enqueue all work of a graph, with the addresses and shapes it was captured with."""
    graphs.launch(hGraphExec, hStream)


@driver_call(results=0)
def cuGraphUpload(hGraphExec: Any, hStream: Any) -> Any:
    """Prepare a launch; here nothing is to be prepared."""
    graphs.upload(hGraphExec, hStream)


@driver_call(results=0)
def cuGraphDestroy(hGraph: Any) -> Any:
    """Forget a graph; what was instantiated from it can still be launched."""
    graphs.destroy_graph(hGraph)


@driver_call(results=0)
def cuGraphExecDestroy(hGraphExec: Any) -> Any:
    """Forget a graph that can be launched."""
    graphs.destroy_exec(hGraphExec)


@driver_call(results=2)
def cuGraphGetNodes(hGraph: Any, numNodes: int = 0) -> Any:
    """Return a graph's nodes, and how many there are; with `numNodes` 0 only how many."""
    handles, count = graphs.node_handles(hGraph, numNodes)
    return [driver_types["CUgraphNode"](handle) for handle in handles], count


@driver_call(results=1)
def cuGraphNodeGetType(hNode: Any) -> Any:
    """Return what a node is."""
    return driver_types["CUgraphNodeType"](graphs.node_kind(hNode))
