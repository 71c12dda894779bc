"""Wrong and right answers to lab5.buffers."""

from __future__ import annotations

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate

trt = activate().trt
import pycuda.driver as cuda  # noqa: E402  # there is none before the platform is chosen

OUTPUTS = "test_outputs_are_those_of_onnx_runtime"
OWNERSHIP = "test_results_belong_to_the_caller"
ALLOCATION = "test_nothing_is_allocated_per_frame"
COPIES = "test_one_copy_each_way"
PINNED = "test_copies_are_pinned_and_on_an_own_stream"
WAITS = "test_submit_does_not_wait_and_wait_waits_once"


class Sound:
    """What the wrong answers differ from in one place each."""

    def __init__(self, engine, batch):
        self.engine, self.batch = engine, batch
        self.names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.inputs = [name for name in self.names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in self.names if name not in self.inputs]
        self.context = engine.create_execution_context()
        self.stream = cuda.Stream()
        self.allocate()

    def shape_of(self, name):
        return (self.batch, *tuple(self.engine.get_tensor_shape(name))[1:])

    def host_memory(self, shape):
        return cuda.pagelocked_empty(shape, np.float32)

    def allocate(self):
        self.host = {name: self.host_memory(self.shape_of(name)) for name in self.names}
        self.device = {name: cuda.mem_alloc(self.host[name].nbytes) for name in self.names}
        for name in self.names:
            self.context.set_tensor_address(name, int(self.device[name]))

    def part(self, name):
        return self.host[name][: self.size]

    def copy_in(self, name):
        cuda.memcpy_htod_async(self.device[name], self.part(name), self.stream)

    def copy_out(self, name):
        cuda.memcpy_dtoh_async(self.part(name), self.device[name], self.stream)

    def infer(self):
        self.context.execute_async_v3(self.stream.handle)

    def stage(self, feeds):
        for name in self.inputs:
            self.size = len(feeds[name])
            self.context.set_input_shape(name, feeds[name].shape)
            self.part(name)[...] = feeds[name]

    def submit(self, feeds):
        self.stage(feeds)
        for name in self.inputs:
            self.copy_in(name)
        self.infer()
        for name in self.outputs:
            self.copy_out(name)

    def wait(self):
        self.stream.synchronize()
        return {name: self.part(name).copy() for name in self.outputs}


@wrong(caught_by=OUTPUTS, says="before it had arrived")
class ForgetsToWait(Sound):
    """Believes that a call that returned has been done."""

    def wait(self):
        return {name: self.part(name).copy() for name in self.outputs}


@wrong(caught_by=OUTPUTS, says="nobody had written")
class ForgetsTheCopyIn(Sound):
    """Believes that page-locked memory is memory that the GPU reads."""

    def copy_in(self, name):
        pass


@wrong(caught_by=OUTPUTS, says="nobody had written")
class CopiesInAfterTheInference(Sound):
    """Believes that the order of asynchronous calls does not matter as long as one waits at the end."""

    def submit(self, feeds):
        self.stage(feeds)
        self.infer()
        for name in self.inputs:
            self.copy_in(name)
        for name in self.outputs:
            self.copy_out(name)


@wrong(caught_by=OUTPUTS, says="nothing new had arrived")
class FirstResultForEver(Sound):
    """Waits for the first frame only, and believes that the arrays follow the device's memory from then on."""

    first = None

    def wait(self):
        self.first = self.first or super().wait()
        return self.first


@wrong(caught_by=OUTPUTS, says="changed its array after submit")
class WorksInWait(Sound):
    """Only keeps a reference in submit, and does all the work in wait, when the camera has moved on."""

    def submit(self, feeds):
        self.feeds = feeds

    def wait(self):
        super().submit(self.feeds)
        return super().wait()


@wrong(caught_by=OUTPUTS, says="only what was computed for it")
class WholeBufferAsResult(Sound):
    """Hands back the memory as large as it is, whatever the batch."""

    def wait(self):
        self.stream.synchronize()
        return {name: self.host[name].copy() for name in self.outputs}


@wrong(caught_by=OWNERSHIP, says="a view of the memory")
class ReturnsItsOwnMemory(Sound):
    """Spares the copy that makes the result the caller's."""

    def wait(self):
        self.stream.synchronize()
        return {name: self.part(name) for name in self.outputs}


@wrong(caught_by=ALLOCATION, says="made in `__init__`")
class AllocatesPerFrame(Sound):
    """Allocates for the shape at hand, as NumPy code does."""

    def submit(self, feeds):
        self.allocate()
        super().submit(feeds)


@wrong(caught_by=ALLOCATION, says="an execution context")
class ContextPerFrame(Sound):
    """Believes that a context is as cheap as a cursor."""

    def submit(self, feeds):
        self.context = self.engine.create_execution_context()
        for name in self.names:
            self.context.set_tensor_address(name, int(self.device[name]))
        super().submit(feeds)


@wrong(caught_by=COPIES, says="the whole buffer")
class CopiesTheWholeBuffer(Sound):
    """Copies as much as there is memory, though the batch is smaller."""

    def copy_in(self, name):
        cuda.memcpy_htod_async(self.device[name], self.host[name], self.stream)


@wrong(caught_by=COPIES, says="piece by piece")
class CopiesImageByImage(Sound):
    """Copies every image of a batch on its own."""

    def copy_out(self, name):
        step = self.host[name][0].nbytes
        for index in range(self.size):
            cuda.memcpy_dtoh_async(self.host[name][index], int(self.device[name]) + index * step, self.stream)


@wrong(caught_by=PINNED, says="pageable")
class PageableMemory(Sound):
    """Believes that the name of the function makes a copy asynchronous."""

    def host_memory(self, shape):
        return np.empty(shape, np.float32)


@wrong(caught_by=PINNED, says="synchronous")
class SynchronousCopies(Sound):
    """Uses the short names."""

    def copy_in(self, name):
        cuda.memcpy_htod(self.device[name], self.part(name))


@wrong(caught_by=PINNED, says="default stream")
class ForgetsTheStreamArgument(Sound):
    """Makes a stream for the engine, and copies without naming it: right, because the default stream waits."""

    def copy_in(self, name):
        cuda.memcpy_htod_async(self.device[name], self.part(name))

    def copy_out(self, name):
        cuda.memcpy_dtoh_async(self.part(name), self.device[name])

    def wait(self):
        cuda.Context.synchronize()
        return {name: self.part(name).copy() for name in self.outputs}


@wrong(caught_by=WAITS, says="the order within a stream")
class WaitsAfterEveryCall(Sound):
    """Does not trust the stream to keep the order."""

    def copy_in(self, name):
        super().copy_in(name)
        self.stream.synchronize()

    def infer(self):
        super().infer()
        self.stream.synchronize()


@wrong(caught_by=WAITS, says="the whole device")
class WaitsForTheDevice(Sound):
    """Knows one way of waiting."""

    def wait(self):
        cuda.Context.synchronize()
        return {name: self.part(name).copy() for name in self.outputs}


@right
class TensorByTensor:
    """One object per tensor; waits for an event instead of the stream; asks the context for shapes."""

    class Tensor:
        def __init__(self, shape, dtype):
            self.host = cuda.pagelocked_zeros(int(np.prod(shape)), dtype)
            self.device = cuda.mem_alloc(self.host.nbytes)

        def view(self, shape):
            return self.host[: int(np.prod(shape))].reshape(shape)

    def __init__(self, engine, batch):
        self.context, self.stream = engine.create_execution_context(), cuda.Stream()
        self.arrived = cuda.Event(cuda.event_flags.DISABLE_TIMING)
        self.tensors, self.inputs = {}, set()
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = [batch, *list(engine.get_tensor_shape(name))[1:]]
            self.tensors[name] = self.Tensor(shape, trt.nptype(engine.get_tensor_dtype(name)))
            self.context.set_tensor_address(name, int(self.tensors[name].device))
            if engine.get_tensor_mode(name) is trt.TensorIOMode.INPUT:
                self.inputs.add(name)

    def submit(self, feeds):
        for name in self.inputs:
            self.context.set_input_shape(name, feeds[name].shape)
            view = self.tensors[name].view(feeds[name].shape)
            view[:] = feeds[name]
            cuda.memcpy_htod_async(self.tensors[name].device, view, self.stream)
        assert self.context.execute_async_v3(stream_handle=self.stream.handle)
        self.results = {}
        for name in self.tensors.keys() - self.inputs:
            self.results[name] = self.tensors[name].view(tuple(self.context.get_tensor_shape(name)))
            cuda.memcpy_dtoh_async(self.results[name], self.tensors[name].device, self.stream)
        self.arrived.record(self.stream)

    def wait(self):
        self.arrived.synchronize()
        return {name: view.astype(np.float64) for name, view in self.results.items()}


@right
class WithClosures:
    """No attributes but two functions; page-locked memory like an array that is there."""

    def __init__(self, engine, batch):
        context, stream = engine.create_execution_context(), cuda.Stream()
        modes = {}
        for index in range(engine.num_io_tensors):
            modes[engine.get_tensor_name(index)] = engine.get_tensor_mode(engine.get_tensor_name(index))
        inputs = [name for name, mode in modes.items() if mode == trt.TensorIOMode.INPUT]
        for name in inputs:
            assert context.set_input_shape(name, (batch, *list(engine.get_tensor_shape(name))[1:]))
        host, device = {}, {}
        for name in modes:
            like = np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
            host[name], device[name] = cuda.pagelocked_empty_like(like), cuda.mem_alloc(like.nbytes)
            context.set_tensor_address(name, int(device[name]))
        pending = []

        def submit(feeds):
            for name in inputs:
                count = feeds[name].shape[0]
                host[name][:count] = feeds[name]
                context.set_input_shape(name, (count, *host[name].shape[1:]))
                cuda.memcpy_htod_async(device[name], host[name][:count], stream)
            context.execute_async_v3(stream.handle)
            for name in modes:
                if name not in inputs:
                    cuda.memcpy_dtoh_async(host[name][:count], device[name], stream)
            pending.append(count)

        def wait():
            stream.synchronize()
            count = pending.pop()
            return {name: np.array(host[name][:count]) for name in modes if name not in inputs}

        self.submit, self.wait = submit, wait
