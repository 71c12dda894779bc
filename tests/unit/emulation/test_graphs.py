"""CUDA graphs by stream capture. Codes and states are those of an H200 with CUDA 13.0, where each call was tried."""

import importlib

import numpy as np
import pytest

from yolotrt_lab.emulation.cost_model import DEFAULT
from yolotrt_lab.emulation.counters import Tally, count_work
from yolotrt_lab.emulation.timeline import modelled_timeline
from yolotrt_lab.emulation.trace import record_timeline
from yolotrt_lab.errors import EmulationError

NONE, ACTIVE, INVALIDATED = 0, 1, 2
NBYTES = 16


def value(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


class TestLaunching:
    def test_capturing_runs_nothing_and_launching_does(self, rt, box):
        launchable = box.round_trip()
        value(rt.cudaStreamSynchronize(box.stream))
        assert not box.back.any()
        value(rt.cudaGraphLaunch(launchable, box.stream))
        assert not box.back.any(), "a launch enqueues"
        value(rt.cudaStreamSynchronize(box.stream))
        assert np.array_equal(box.back, box.host)

    def test_each_launch_takes_what_the_memory_holds_then(self, rt, box):
        launchable = box.round_trip()
        for number in (5.0, 6.0):
            box.host[:] = number
            value(rt.cudaGraphLaunch(launchable, box.stream))
            value(rt.cudaStreamSynchronize(box.stream))
            assert (box.back == number).all()

    def test_it_is_counted_as_one_launch_and_its_work(self, rt, box):
        with count_work() as capturing:
            launchable = box.round_trip()
        with count_work() as launching:
            for _ in range(3):
                value(rt.cudaGraphLaunch(launchable, box.stream))
            value(rt.cudaStreamSynchronize(box.stream))
        assert capturing.work.copied() == Tally()
        assert launching.work.graph_launches == 3
        assert launching.work.copied("h2d", own_stream=True) == Tally(3, 3 * NBYTES)
        assert launching.work.synchronization_count == 1

    def test_launches_keep_the_order_of_the_stream(self, rt, box):
        launchable = box.round_trip()
        value(rt.cudaGraphLaunch(launchable, box.stream))
        value(box.fill(box.stream, 0))
        value(box.copy_back())
        value(rt.cudaStreamSynchronize(box.stream))
        assert not box.back.any()

    def test_a_graph_waits_for_its_own_latest_launch_in_another_stream(self, rt, box):
        pinned, kinds = value(rt.cudaMallocHost(NBYTES)), rt.cudaMemcpyKind
        box.begin()
        value(rt.cudaMemcpyAsync(box.memory, pinned, NBYTES, kinds.cudaMemcpyHostToDevice, box.stream))
        value(rt.cudaMemcpyAsync(pinned, box.memory, NBYTES, kinds.cudaMemcpyDeviceToHost, box.stream))
        graph = value(box.end())
        one, two = (value(rt.cudaGraphInstantiate(graph, 0)) for _ in range(2))
        for second, waits in ((one, True), (two, False)):
            with record_timeline() as recording:
                value(rt.cudaGraphLaunch(one, box.stream))
                value(rt.cudaGraphLaunch(second, box.other))
            launches = [record.number for record in recording.records if record.call == "graph launch"]
            first_nodes = {record.number for record in recording.records if record.graph == launches[0]}
            second_nodes = [record for record in recording.records if record.graph == launches[1]]
            assert any(first_nodes & set(record.after) for record in second_nodes) is waits
            value(rt.cudaDeviceSynchronize())

    def test_work_under_way_when_a_capture_begins_is_no_part_of_it(self, rt, box):
        value(box.fill(box.stream, 1))
        box.begin()
        value(box.copy_back())
        graph = value(box.end())
        assert value_pair(rt.cudaGraphGetNodes(graph))[1] == 1
        value(rt.cudaStreamSynchronize(box.stream))
        value(rt.cudaMemcpy(box.back, box.memory, NBYTES, rt.cudaMemcpyKind.cudaMemcpyDeviceToHost))
        assert (box.back.view(np.uint8) == 1).all()

    def test_an_empty_graph_can_be_launched(self, rt, box):
        box.begin()
        graph = value(box.end())
        assert value_pair(rt.cudaGraphGetNodes(graph)) == [[], 0]
        value(rt.cudaGraphLaunch(value(rt.cudaGraphInstantiate(graph, 0)), box.stream))
        value(rt.cudaStreamSynchronize(box.stream))

    def test_a_graph_captured_into_another(self, rt, box):
        inner = box.round_trip()
        box.begin()
        value(rt.cudaGraphLaunch(inner, box.stream))
        outer = value(rt.cudaGraphInstantiate(value(box.end()), 0))
        assert not box.back.any()
        value(rt.cudaGraphLaunch(outer, box.stream))
        value(rt.cudaStreamSynchronize(box.stream))
        assert np.array_equal(box.back, box.host)

    def test_memory_freed_before_a_launch_is_a_fault(self, rt, box):
        launchable = box.round_trip()
        value(rt.cudaFree(box.memory))
        value(rt.cudaGraphLaunch(launchable, box.stream))
        assert int(rt.cudaStreamSynchronize(box.stream)[0]) == 700

    def test_graphs_and_launchable_graphs_live_apart(self, rt, box):
        box.begin()
        value(box.copy_in())
        graph = value(box.end())
        launchable = value(rt.cudaGraphInstantiateWithFlags(graph, 0))
        value(rt.cudaGraphDestroy(graph))
        value(rt.cudaGraphUpload(launchable, box.stream))
        value(rt.cudaGraphLaunch(launchable, box.stream))
        value(rt.cudaGraphExecDestroy(launchable))
        value(rt.cudaStreamSynchronize(box.stream))

    @pytest.mark.parametrize(
        "call",
        [
            lambda rt, box: rt.cudaGraphLaunch(0, box.stream),
            lambda rt, box: rt.cudaGraphDestroy(0),
            lambda rt, box: rt.cudaGraphExecDestroy(0),
            lambda rt, box: rt.cudaGraphInstantiate(0, 0),
            lambda rt, box: rt.cudaGraphInstantiate(box.graph, 2),
            lambda rt, box: rt.cudaGraphInstantiate(box.graph, 16),
            lambda rt, box: rt.cudaGraphInstantiate(destroyed(rt, box), 0),
            lambda rt, box: rt.cudaGraphNodeGetType(0),
            lambda rt, box: rt.cudaGraphGetNodes(0),
            lambda rt, box: rt.cudaStreamBeginCapture(box.stream, 7),
        ],
    )
    def test_nonsense_is_an_invalid_value(self, rt, box, call):
        code, *values = call(rt, box)
        assert int(code) == 1
        assert all(v is None for v in values)

    def test_graphs_for_launching_from_the_device_are_refused(self, rt, box):
        box.begin()
        with pytest.raises(EmulationError, match="kernels launch"):
            rt.cudaGraphInstantiate(value(box.end()), 4)

    def test_freeing_in_stream_order_is_refused(self, rt, box):
        box.begin()
        with pytest.raises(EmulationError, match="cudaFreeAsync"):
            rt.cudaFreeAsync(box.memory, box.stream)


def value_pair(result):
    assert int(result[0]) == 0
    return list(result[1:])


def destroyed(rt, box):
    box.begin()
    graph = value(box.end())
    value(rt.cudaGraphDestroy(graph))
    return graph


class TestForkAndJoin:
    def fork(self, rt, box, *, join):
        box.begin()
        value(box.copy_in())
        value(rt.cudaStreamWaitEvent(box.other, box.recorded(), 0))
        assert box.status(box.other) == ACTIVE
        value(box.fill(box.other))
        if join:
            value(rt.cudaStreamWaitEvent(box.stream, box.recorded(box.other), 0))
            value(box.copy_back())
        return box.end()

    def test_events_carry_a_capture_into_another_stream_and_back(self, rt, box):
        graph = value(self.fork(rt, box, join=True))
        assert box.status(box.other) == NONE
        nodes, count = value_pair(rt.cudaGraphGetNodes(graph, 10))
        assert count == 3
        kinds = [value(rt.cudaGraphNodeGetType(node)).name.removeprefix("cudaGraphNodeType") for node in nodes[:count]]
        assert kinds == ["Memcpy", "Memset", "Memcpy"]
        assert [int(node) for node in nodes[count:]] == [0] * 7
        value(rt.cudaGraphLaunch(value(rt.cudaGraphInstantiate(graph, 0)), box.stream))
        value(rt.cudaStreamSynchronize(box.stream))
        assert (box.back.view(np.uint8) == 7).all()

    def test_branches_of_finished_launches_are_forgotten(self, rt, box):
        from yolotrt_lab.emulation.device import device

        launchable = value(rt.cudaGraphInstantiate(value(self.fork(rt, box, join=True)), 0))
        for _ in range(5):
            value(rt.cudaGraphLaunch(launchable, box.stream))
            value(rt.cudaStreamSynchronize(box.stream))
        assert len(device().scheduler._retired) <= 1

    def test_work_that_was_not_joined_spoils_the_capture(self, rt, box):
        code, graph = self.fork(rt, box, join=False)
        assert (int(code), graph) == (904, None)
        assert (box.status(), box.status(box.other)) == (NONE, NONE)

    def test_a_fork_without_work_need_not_be_joined(self, rt, box):
        box.begin()
        value(rt.cudaStreamWaitEvent(box.other, box.recorded(), 0))
        value(box.end())

    def test_a_capture_ends_in_its_own_stream(self, rt, box):
        box.begin()
        value(rt.cudaStreamWaitEvent(box.other, box.recorded(), 0))
        assert int(box.end(box.other)[0]) == 903
        assert (box.status(), box.status(box.other)) == (INVALIDATED, INVALIDATED)
        assert int(box.end()[0]) == 901

    def test_the_default_stream_cannot_take_part(self, rt, box):
        box.begin()
        assert int(rt.cudaStreamWaitEvent(0, box.recorded(), 0)[0]) == 906
        assert box.status() == INVALIDATED

    def test_two_captures_cannot_be_joined(self, rt, box):
        box.begin()
        box.begin(box.other)
        code, *_ = rt.cudaStreamWaitEvent(box.other, box.recorded(), 0)
        assert int(code) == 902
        assert (box.status(), box.status(box.other)) == (INVALIDATED, INVALIDATED)

    def test_branches_run_side_by_side_on_the_modelled_gpu(self, rt, box):
        far = value(rt.cudaMalloc(1 << 22))
        near = value(rt.cudaMallocHost(1 << 22))
        kinds = rt.cudaMemcpyKind
        box.begin()
        value(rt.cudaStreamWaitEvent(box.other, box.recorded(), 0))
        value(rt.cudaMemcpyAsync(far, near, 1 << 21, kinds.cudaMemcpyHostToDevice, box.stream))
        value(rt.cudaMemcpyAsync(near + (1 << 21), far + (1 << 21), 1 << 21, kinds.cudaMemcpyDeviceToHost, box.other))
        value(rt.cudaStreamWaitEvent(box.stream, box.recorded(box.other), 0))
        launchable = value(rt.cudaGraphInstantiate(value(box.end()), 0))
        with record_timeline() as recording:
            value(rt.cudaGraphLaunch(launchable, box.stream))
            value(rt.cudaStreamSynchronize(box.stream))
        timeline = modelled_timeline(recording.records)
        (there,), (back,) = timeline.on("copy to device"), timeline.on("copy to host")
        assert there.start_us == back.start_us
        assert timeline.unawaited == frozenset()


class TestEngines:
    @pytest.fixture
    def captured(self, lab, model, cudart, images):
        """A context with addresses set, and a graph of one inference and the copies around it."""
        path = model()
        engine = lab.engine(path)
        context = engine.create_execution_context()
        data = images().copy()
        output = np.zeros(tuple(engine.get_tensor_shape("output0")), np.float32)
        stream = value(cudart.cudaStreamCreate())
        there, back = value(cudart.cudaMalloc(data.nbytes)), value(cudart.cudaMalloc(output.nbytes))
        context.set_tensor_address("images", there)
        context.set_tensor_address("output0", back)
        kinds = cudart.cudaMemcpyKind
        value(cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal))
        value(cudart.cudaMemcpyAsync(there, data, data.nbytes, kinds.cudaMemcpyHostToDevice, stream))
        assert context.execute_async_v3(int(stream))
        value(cudart.cudaMemcpyAsync(output, back, output.nbytes, kinds.cudaMemcpyDeviceToHost, stream))
        graph = value(cudart.cudaStreamEndCapture(stream))
        launchable = value(cudart.cudaGraphInstantiate(graph, 0))
        return path, context, data, output, stream, graph, launchable

    def test_every_launch_infers_anew(self, captured, cudart, reference):
        path, _, data, output, stream, _, launchable = captured
        assert not output.any()
        for seed in (1, 2):
            data[:] = np.random.default_rng(seed).random(data.shape, np.float32)
            value(cudart.cudaGraphLaunch(launchable, stream))
            value(cudart.cudaStreamSynchronize(stream))
            np.testing.assert_allclose(output, reference(path, data), rtol=1e-3, atol=1e-5)

    def test_addresses_are_those_of_the_capture(self, captured, cudart, reference):
        path, context, data, output, stream, _, launchable = captured
        context.set_tensor_address("images", value(cudart.cudaMalloc(data.nbytes)))
        value(cudart.cudaGraphLaunch(launchable, stream))
        value(cudart.cudaStreamSynchronize(stream))
        np.testing.assert_allclose(output, reference(path, data), rtol=1e-3, atol=1e-5)

    def test_its_nodes_are_a_kernel_for_each_layer_and_the_copies(self, captured, cudart):
        _, context, *_, graph, _ = captured
        assert value_pair(cudart.cudaGraphGetNodes(graph))[1] == context.engine.num_layers + 2

    def test_a_spoilt_capture_takes_no_inference(self, captured, cudart, log):
        context, stream = captured[1], captured[4]
        value(cudart.cudaStreamBeginCapture(stream, 0))
        cudart.cudaStreamSynchronize(stream)
        assert not context.execute_async_v3(int(stream))
        assert "operation failed due to a previous error during capture" in log.errors
        assert int(cudart.cudaStreamEndCapture(stream)[0]) == 901

    def test_synchronous_inference_is_no_part_of_a_capture(self, captured, cudart, log):
        context, stream = captured[1], captured[4]
        addresses = [context.get_tensor_address(name) for name in ("images", "output0")]
        value(cudart.cudaStreamBeginCapture(stream, 2))
        assert not context.execute_v2(addresses)
        assert "would make the legacy stream depend on a capturing blocking stream" in log.errors
        assert int(cudart.cudaStreamEndCapture(stream)[0]) == 901

    def test_counters_and_timeline_see_one_call_and_one_inference(self, captured, cudart):
        stream, launchable = captured[4], captured[6]
        with record_timeline() as recording, count_work() as measured:
            for _ in range(2):
                value(cudart.cudaGraphLaunch(launchable, stream))
            value(cudart.cudaStreamSynchronize(stream))
        assert (measured.work.graph_launches, measured.work.enqueue_count) == (2, 2)
        timeline = modelled_timeline(recording.records)
        calls = [span for span in timeline.spans if span.kind == "call" and span.name == "launch graph"]
        assert [call.duration_us for call in calls] == [DEFAULT.graph_launch_us] * 2
        inferences = [span for span in timeline.spans if span.kind == "inference"]
        assert [span.cause for span in inferences] == [call.record for call in calls]
        assert all(
            record.measured_ms for record in recording.records if record.task and record.task.kind == "inference"
        )


def test_the_driver_has_them_too(trt10):
    driver = importlib.import_module("cuda.bindings.driver")
    value(driver.cuInit(0))
    value(driver.cuCtxSetCurrent(value(driver.cuDevicePrimaryCtxRetain(0))))
    stream = value(driver.cuStreamCreate(1))
    memory = value(driver.cuMemAlloc(4))
    value(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    value(driver.cuMemsetD8Async(memory, 3, 4, stream))
    assert value(driver.cuStreamIsCapturing(stream)).name == "CU_STREAM_CAPTURE_STATUS_ACTIVE"
    graph = value(driver.cuStreamEndCapture(stream))
    nodes, count = value_pair(driver.cuGraphGetNodes(graph, 1))
    assert (count, value(driver.cuGraphNodeGetType(nodes[0])).name) == (1, "CU_GRAPH_NODE_TYPE_MEMSET")
    launchable = value(driver.cuGraphInstantiate(graph, 0))
    value(driver.cuGraphUpload(launchable, stream))
    value(driver.cuGraphLaunch(launchable, stream))
    value(driver.cuStreamSynchronize(stream))
    back = np.zeros(4, np.uint8)
    value(driver.cuMemcpyDtoH(back, memory, 4))
    assert back.tolist() == [3] * 4
    value(driver.cuGraphExecDestroy(launchable))
    value(driver.cuGraphDestroy(graph))
    assert int(driver.cuGraphLaunch(launchable, stream)[0]) == 1
