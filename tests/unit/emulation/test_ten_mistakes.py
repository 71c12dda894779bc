"""The mistakes that people make when they first write TensorRT inference by hand.

One right program, and the same program with one mistake each: a line left out, or a line as beginners write it. Each
has the failure that the program's author sees, and none gives the right answer.
"""

import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

PYCUDA = """
    import numpy as np
    import pycuda.driver as cuda
    import pycuda.autoinit
    import tensorrt as trt

    photo = np.load("photo.npy")
    pixels = photo.astype(np.float32) / 255
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(open("model.plan", "rb").read())
    context = engine.create_execution_context()
    context.set_input_shape("images", batch.shape)

    host_in = cuda.pagelocked_empty(batch.shape, batch.dtype)
    host_out = cuda.pagelocked_empty((len(batch), 4, 8, 8), np.float32)
    d_in = cuda.mem_alloc(host_in.nbytes)
    d_out = cuda.mem_alloc(host_out.nbytes)
    context.set_tensor_address("images", int(d_in))
    context.set_tensor_address("output0", int(d_out))

    stream = cuda.Stream()
    np.copyto(host_in, batch)
    cuda.memcpy_htod_async(d_in, host_in, stream)
    ok = context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(host_out, d_out, stream)
    stream.synchronize()
    result = host_out
"""

CUDART = """
    import ctypes
    import numpy as np
    import tensorrt as trt
    from cuda.bindings import runtime as cudart

    photo = np.load("photo.npy")
    batch = np.ascontiguousarray(photo.transpose(2, 0, 1)[None].astype(np.float32) / 255)

    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(open("model.plan", "rb").read())
    context = engine.create_execution_context()
    context.set_input_shape("images", batch.shape)

    to_device = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
    to_host = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
    error, host = cudart.cudaMallocHost(1 * 4 * 8 * 8 * 4)
    result = np.ctypeslib.as_array(ctypes.cast(host, ctypes.POINTER(ctypes.c_float)), (1, 4, 8, 8))
    error, d_in = cudart.cudaMalloc(batch.nbytes)
    error, d_out = cudart.cudaMalloc(result.nbytes)
    error, stream = cudart.cudaStreamCreate()
    context.set_tensor_address("images", d_in)
    context.set_tensor_address("output0", d_out)

    cudart.cudaMemcpyAsync(d_in, batch, batch.nbytes, to_device, stream)
    ok = context.execute_async_v3(stream)
    cudart.cudaMemcpyAsync(result, d_out, result.nbytes, to_host, stream)
    error, = cudart.cudaStreamSynchronize(stream)
    result = result.copy()
    cudart.cudaFree(d_in)
    cudart.cudaFree(d_out)
"""


@dataclass(frozen=True)
class Seen:
    """What the author of a program sees.

    Attributes:
        error: Name of the exception that ends the program, None if it runs to its end.
        says: What the exception or the log says, in parts.
        result: "nan", "wrong" (finite, and not right) or None if there is no result.
        ok: What `execute_async_v3` returned.
        code: The code of the last checked CUDA call.
    """

    error: str | None = None
    says: tuple[str, ...] = ()
    result: str | None = None
    ok: bool = True
    code: str | None = None


FOUR_IMAGES = {"transpose(2, 0, 1)[None])": "transpose(2, 0, 1)[None].repeat(4, 0))"}
ILLEGAL = "an illegal memory access was encountered"

MISTAKES = {
    "forgotten copy to the device": (
        PYCUDA, {"cuda.memcpy_htod_async(d_in, host_in, stream)\n": "\n"}, Seen(result="nan"),
    ),
    "forgotten synchronisation": (PYCUDA, {"stream.synchronize()\n": "\n"}, Seen(result="nan")),
    "forgotten copy back": (PYCUDA, {"cuda.memcpy_dtoh_async(host_out, d_out, stream)\n": "\n"}, Seen(result="nan")),
    "float64 input": (
        PYCUDA, {"photo.astype(np.float32) / 255": "photo / 255"},
        Seen("LogicError", ("cuStreamSynchronize failed", ILLEGAL, "is float32, but float64 values were copied")),
    ),
    "NHWC shape": (
        PYCUDA, {".transpose(2, 0, 1)[None]": "[None]"},
        Seen(says=("Static dimension mismatch", "Set dimensions are [1,16,16,3]"), result="nan", ok=False),
    ),
    "NHWC bytes in an NCHW shape": (
        PYCUDA, {"pixels.transpose(2, 0, 1)[None]": "pixels.reshape(1, 3, 16, 16)"}, Seen(result="wrong"),
    ),
    "not divided by 255": (PYCUDA, {" / 255": ""}, Seen(result="wrong")),
    "a view with gaps is copied": (
        PYCUDA, {"memcpy_htod_async(d_in, host_in": "memcpy_htod_async(d_in, pixels.transpose(2, 0, 1)"},
        Seen("ValueError", ("ndarray is not contiguous",)),
    ),
    "input buffer of batch 1 for batch 4": (
        PYCUDA, {**FOUR_IMAGES, "(host_in.nbytes)": "(host_in[:1].nbytes)"},
        Seen("LogicError", ("cuMemcpyHtoDAsync failed: invalid argument", "only 3072 bytes are allocated")),
    ),
    "output buffer of batch 1 for batch 4": (
        PYCUDA, {**FOUR_IMAGES, "(host_out.nbytes)": "(host_out[:1].nbytes)"},
        Seen("LogicError", ("cuMemcpyDtoHAsync failed: invalid argument", "only 1024 bytes are allocated")),
    ),
    "freed buffer": (
        PYCUDA, {"ok = context": "d_in.free()\n    ok = context"},
        Seen("LogicError", ("cuStreamSynchronize failed", ILLEGAL, "this device memory was freed before")),
    ),
    "freed twice": (
        PYCUDA, {"    result = host_out": "    d_in.free()\n    d_in.free()\n    result = host_out"},
        Seen("LogicError", ("device_allocation::free failed: invalid resource handle",)),
    ),
    "buffer that nobody keeps": (
        PYCUDA, {'"output0", int(d_out))': '"output0", int(cuda.mem_alloc(host_out.nbytes)))'},
        Seen("LogicError", ("cuStreamSynchronize failed", ILLEGAL, "output tensor 'output0'", "was freed before")),
    ),
    "forgotten set_input_shape": (
        PYCUDA, {'context.set_input_shape("images", batch.shape)\n': "\n"},
        Seen(says=("the shape of this dynamic input was not set",), result="nan", ok=False),
    ),
    "shape outside the profile": (
        PYCUDA, {"transpose(2, 0, 1)[None])": "transpose(2, 0, 1)[None].repeat(5, 0))"},
        Seen(says=("does not satisfy any optimization profiles. Valid range for profile 0",), result="nan", ok=False),
    ),
    "wrong tensor name": (
        PYCUDA, {'set_tensor_address("images"': 'set_tensor_address("input"'},
        Seen(
            says=("Given invalid tensor name: input", "Address is not set for input tensor images"),
            result="nan", ok=False,
        ),
    ),
    "addresses swapped": (
        PYCUDA, {'"images", int(d_in)': '"images", int(d_out)', '"output0", int(d_out)': '"output0", int(d_in)'},
        Seen("LogicError", (ILLEGAL, "input tensor 'images' needs 3072 bytes", "only 1024 bytes are allocated")),
    ),
    "array instead of an address": (
        PYCUDA, {'"images", int(d_in)': '"images", batch.ctypes.data'},
        Seen("LogicError", (ILLEGAL, "input tensor 'images' uses", "this is not device memory")),
    ),
    "second thread without the context": (
        PYCUDA,
        {"stream = cuda.Stream()": "from concurrent.futures import ThreadPoolExecutor\n"
         "    stream = ThreadPoolExecutor(1).submit(cuda.Stream).result()"},
        Seen("LogicError", ("invalid device context - no currently active context?",)),
    ),
    "stream that nobody keeps": (
        PYCUDA, {"execute_async_v3(stream.handle)": "execute_async_v3(cuda.Stream().handle)"},
        Seen(says=("invalid resource handle", "is not a stream, or was destroyed"), result="nan", ok=False),
    ),
    "pinned buffer reused in flight": (
        PYCUDA, {"ok = context": "np.copyto(host_in, batch[:, ::-1])\n    ok = context"}, Seen(result="wrong"),
    ),
    "copy back in another stream": (
        PYCUDA,
        {"host_out, d_out, stream)\n    stream.sync": "host_out, d_out, cuda.Stream(1))\n    cuda.Context.sync"},
        Seen(result="nan"),
    ),
    "size in elements": (
        CUDART, {"(d_in, batch, batch.nbytes,": "(d_in, batch, batch.size,"}, Seen(result="nan", code="cudaSuccess"),
    ),
    "error code taken for the address": (
        CUDART, {"error, d_in = cudart": "d_in = cudart"},
        Seen("TypeError", ("set_tensor_address", "incompatible function arguments")),
    ),
    "directions swapped": (
        CUDART, {"batch, batch.nbytes, to_device": "batch, batch.nbytes, to_host"},
        Seen(result="nan", code="cudaSuccess"),
    ),
    "stream destroyed early": (
        CUDART, {"    error, = cudart.cudaStreamSynchronize": "    cudart.cudaStreamDestroy(stream)\n"
                 "    error, = cudart.cudaStreamSynchronize"},
        Seen(result="nan", code="cudaErrorInvalidResourceHandle"),
    ),
    "ignored error codes": (
        CUDART, {"cudart.cudaMalloc(result.nbytes)": "cudart.cudaMalloc(result.nbytes // 2)"},
        Seen(result="nan", code="cudaErrorIllegalAddress"),
    ),
}  # fmt: skip


@pytest.fixture
def folder(lab, model, tmp_path, monkeypatch):
    """A folder with an engine for batches of 1 to 4, and a photo."""
    low, high = (1, 3, 16, 16), (4, 3, 16, 16)
    lab.profile(low, low, high)
    (tmp_path / "model.plan").write_bytes(lab.plan(model(batch="n")))
    photo = np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)
    np.save(tmp_path / "photo.npy", photo)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def right(folder, model, reference):
    """What the right program's result has to be."""
    photo = np.load("photo.npy")
    return reference(model(batch="n"), np.ascontiguousarray(photo.transpose(2, 0, 1)[None].astype(np.float32) / 255))


def run(program: str) -> dict:
    """Run a program and return its variables; an exception that ends it is among them."""
    variables: dict = {"__name__": "__main__"}
    try:
        exec(compile(textwrap.dedent(program), "inference.py", "exec"), variables)
    except Exception as error:
        variables["raised"] = error
    return variables


def mistaken(program: str, changes: dict[str, str]) -> str:
    for right_line, wrong_line in changes.items():
        assert program.count(right_line) == 1, right_line
        program = program.replace(right_line, wrong_line)
    return program


@pytest.mark.parametrize("program", [PYCUDA, CUDART], ids=["pycuda", "cudart"])
def test_the_right_program_is_right(folder, right, distance, program):
    variables = run(program)
    assert "raised" not in variables, variables["raised"]
    assert variables["ok"]
    assert distance(variables["result"], right) < 1e-4


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake(folder, right, distance, capfd, caplog, name):
    program, changes, seen = MISTAKES[name]
    variables = run(mistaken(program, changes))
    raised = variables.get("raised")
    assert type(raised).__name__ == (seen.error or "NoneType"), raised
    printed = "".join([*capfd.readouterr(), caplog.text, str(raised)])
    assert [part for part in seen.says if part not in printed] == [], printed
    assert bool(variables.get("ok", seen.ok)) == seen.ok
    if seen.code is not None:
        assert variables["error"].name == seen.code
    if seen.error is not None:
        return  # the program ended there, without an answer
    result = variables["result"]
    assert np.isnan(result).all() if seen.result == "nan" else np.isfinite(result).all()
    assert result.shape != right.shape or not distance(result, right) < 1e-2


def test_there_are_at_least_ten():
    assert len(MISTAKES) >= 10
