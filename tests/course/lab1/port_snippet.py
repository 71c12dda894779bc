"""Wrong and right answers to lab1.port_snippet."""

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate

activate()
# After activate(): these are the emulation's modules where there is no GPU.
import pycuda.driver as cuda  # noqa: E402
import tensorrt as trt  # noqa: E402


def names_of(engine):
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return inputs[0], [name for name in names if name not in inputs]


class Session:
    """The pieces of an inference, right; each wrong answer leaves one out or takes another."""

    def __init__(self, engine, images, *, shape=None):
        self.source, self.outputs = names_of(engine)
        self.context, self.stream = engine.create_execution_context(), cuda.Stream()
        self.host, self.device = {}, {}
        if not self.context.set_input_shape(self.source, shape or images.shape):
            raise ValueError(f"the engine takes no images of shape {images.shape}")
        for name in (self.source, *self.outputs):
            dtype = trt.nptype(engine.get_tensor_dtype(name))
            self.host[name] = cuda.pagelocked_empty(tuple(self.context.get_tensor_shape(name)), dtype)
            self.device[name] = cuda.mem_alloc(self.host[name].nbytes)
            self.context.set_tensor_address(name, int(self.device[name]))
        self.host[self.source][...] = images[: len(self.host[self.source])]

    def send(self):
        cuda.memcpy_htod_async(self.device[self.source], self.host[self.source], self.stream)

    def execute(self):
        if not self.context.execute_async_v3(self.stream.handle):
            raise RuntimeError("the inference was refused")

    def fetch(self):
        for name in self.outputs:
            cuda.memcpy_dtoh_async(self.host[name], self.device[name], self.stream)

    def results(self):
        return {name: self.host[name].copy() for name in self.outputs}


@wrong(caught_by="test_every_output_comes_under_its_name", says="name of TensorRT 7 or 8")
def the_old_names(engine, images):
    """Keeps the bindings of TensorRT 7."""
    for index in range(engine.num_bindings):
        engine.get_binding_shape(index)
    return {}


@wrong(caught_by="test_outputs_are_those_of_onnx_runtime", says="wait for the stream")
def result_read_too_early(engine, images):
    """Forgets the wait: the copies are only queued."""
    session = Session(engine, images)
    session.send()
    session.execute()
    session.fetch()
    results = session.results()
    session.stream.synchronize()
    return results


@wrong(caught_by="test_outputs_are_those_of_onnx_runtime", says="copied to the device")
def input_never_sent(engine, images):
    """Fills the host's memory and believes that the engine reads it."""
    session = Session(engine, images)
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return session.results()


@wrong(caught_by="test_outputs_are_those_of_onnx_runtime", says="in another order")
def bytes_of_a_view(engine, images):
    """Copies the image's memory as it lies there."""
    session = Session(engine, images)
    flat = np.ascontiguousarray(images.transpose(np.argsort(images.strides)[::-1])).ravel()
    session.host[session.source].ravel()[...] = flat
    session.send()
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return session.results()


@wrong(caught_by="test_images_that_the_engine_cannot_take_are_refused", says="TensorRT raises nothing")
def false_is_ignored(engine, images):
    """Ignores what set_input_shape returns, and goes on with the largest shape that is allowed."""
    source, _ = names_of(engine)
    shape = tuple(engine.get_tensor_shape(source))
    most = engine.get_tensor_profile_shape(source, 0)[2] if -1 in shape else shape
    session = Session(engine, images, shape=(min(len(images), most[0]), *images.shape[1:]))
    session.send()
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return session.results()


@wrong(caught_by="test_work_is_done_once_on_a_stream_of_its_own", says="left over from the old API")
def bindings_in_order(engine, images):
    """Keeps execute_v2 and its list of addresses."""
    session = Session(engine, images)
    cuda.memcpy_htod(session.device[session.source], session.host[session.source])
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    session.context.execute_v2([int(session.device[name]) for name in names])
    for name in session.outputs:
        cuda.memcpy_dtoh(session.host[name], session.device[name])
    return session.results()


@wrong(caught_by="test_work_is_done_once_on_a_stream_of_its_own", says="what batches are for")
def one_image_after_the_other(engine, images):
    """Runs a batch as so many single images."""
    parts = []
    for image in images:
        session = Session(engine, image[None])
        session.send()
        session.execute()
        session.fetch()
        session.stream.synchronize()
        parts.append(session.results())
    if len(images) > 4 or (len(images) == 2 and -1 not in tuple(engine.get_tensor_shape(names_of(engine)[0]))):
        raise ValueError("too many images")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@wrong(caught_by="test_every_output_comes_under_its_name", says="callers had to know the shape")
def flat_memory(engine, images):
    """Returns the memory as the old samples did."""
    session = Session(engine, images)
    session.send()
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return {name: values.ravel() for name, values in session.results().items()}


@wrong(caught_by="test_every_output_comes_under_its_name", says="which tensors are outputs")
def one_output_is_enough(engine, images):
    """Takes the last tensor for the output."""
    session = Session(engine, images)
    session.send()
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return dict([session.results().popitem()])


@right
def in_pieces(engine, images):
    """The pieces of the class above, in order."""
    session = Session(engine, images)
    session.send()
    session.execute()
    session.fetch()
    session.stream.synchronize()
    return session.results()


@right
def by_cuda_bindings(engine, images):
    """NVIDIA's own bindings instead of PyCUDA; memory freed by hand; images made contiguous."""
    from cuda.bindings import runtime as cudart

    def ok(result):
        code, *values = result
        if int(code):
            raise RuntimeError(code)
        return values[0] if values else None

    source, outputs = names_of(engine)
    context = engine.create_execution_context()
    if not context.set_input_shape(source, tuple(images.shape)):
        raise RuntimeError("outside of the profile")
    sent = np.ascontiguousarray(images, dtype=trt.nptype(engine.get_tensor_dtype(source)))
    fetched = {
        name: np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
        for name in outputs
    }
    stream = ok(cudart.cudaStreamCreate())
    memory = {name: ok(cudart.cudaMalloc(array.nbytes)) for name, array in {source: sent, **fetched}.items()}
    try:
        assert all(context.set_tensor_address(name, address) for name, address in memory.items())
        kind = cudart.cudaMemcpyKind
        ok(cudart.cudaMemcpyAsync(memory[source], sent, sent.nbytes, kind.cudaMemcpyHostToDevice, stream))
        if not context.execute_async_v3(int(stream)):
            raise RuntimeError("not executed")
        for name, array in fetched.items():
            ok(cudart.cudaMemcpyAsync(array, memory[name], array.nbytes, kind.cudaMemcpyDeviceToHost, stream))
        ok(cudart.cudaStreamSynchronize(stream))
    finally:
        for address in memory.values():
            ok(cudart.cudaFree(address))
        ok(cudart.cudaStreamDestroy(stream))
    return fetched


@right
def with_an_event(engine, images):
    """Waits for an event at the end of the stream; synchronous copy in, on the same memory."""
    source, outputs = names_of(engine)
    context, stream, done = engine.create_execution_context(), cuda.Stream(), cuda.Event()
    shapes_known = context.set_input_shape(source, images.shape) and not context.infer_shapes()
    if not shapes_known:
        raise ValueError(images.shape)
    sent = np.ascontiguousarray(images)
    results, memory = {}, {source: cuda.mem_alloc(sent.nbytes)}
    cuda.memcpy_htod(memory[source], sent)
    for name in outputs:
        results[name] = np.zeros(tuple(context.get_tensor_shape(name)), np.float32)
        memory[name] = cuda.mem_alloc(results[name].nbytes)
    for name, allocation in memory.items():
        context.set_tensor_address(name, int(allocation))
    if context.execute_async_v3(stream_handle=stream.handle):
        for name, array in results.items():
            cuda.memcpy_dtoh_async(array, memory[name], stream)
        done.record(stream)
        done.synchronize()
        return results
    raise RuntimeError("execute_async_v3 returned False")
