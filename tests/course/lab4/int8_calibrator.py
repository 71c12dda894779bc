"""Wrong and right answers to lab4.int8_calibrator."""

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate

activate()
import tensorrt as trt  # noqa: E402  # the platform decides which one this is
from cuda.bindings import runtime as cudart  # noqa: E402

TO_DEVICE = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice


@right
class Plain(trt.IInt8EntropyCalibrator2):
    """The parent of most wrong ones: an index, memory on the first call, freed after the last."""

    def __init__(self, images, batch_size, cache):
        trt.IInt8EntropyCalibrator2.__init__(self)
        self.images, self.batch_size, self.cache = np.ascontiguousarray(images), batch_size, cache
        self.next, self.memory = 0, None

    def get_batch_size(self):
        return self.batch_size

    def batch(self):
        found = self.images[self.next : self.next + self.batch_size]
        self.next += self.batch_size
        return found if len(found) == self.batch_size else None

    def get_batch(self, names):
        batch = self.batch()
        if batch is None:
            cudart.cudaFree(self.memory)
            return None
        if self.memory is None:
            _, self.memory = cudart.cudaMalloc(batch.nbytes)
        cudart.cudaMemcpy(self.memory, batch.ctypes.data, batch.nbytes, TO_DEVICE)
        return [self.memory]

    def read_calibration_cache(self):
        return self.cache.read_bytes() if self.cache.exists() else None

    def write_calibration_cache(self, cache):
        self.cache.write_bytes(cache)


@right
class WithPyCuda(trt.IInt8EntropyCalibrator2):
    """PyCUDA's memory, a generator of batches, the cache through open()."""

    def __init__(self, images, batch_size, cache):
        super().__init__()
        self.size, self.path = batch_size, str(cache)
        self.addresses = self.feed(images)

    def feed(self, images):
        import pycuda.driver as cuda

        cuda.init()
        context = cuda.Device(0).retain_primary_context()
        context.push()
        memory = cuda.mem_alloc(images[: self.size].nbytes)
        for start in range(0, len(images) // self.size * self.size, self.size):
            cuda.memcpy_htod(memory, np.array(images[start : start + self.size], order="C"))
            yield [int(memory)]
        memory.free()
        context.pop()

    def get_batch_size(self):
        return self.size

    def get_batch(self, names):
        return next(self.addresses, [])

    def read_calibration_cache(self):
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write_calibration_cache(self, cache):
        with open(self.path, "wb") as file:
            file.write(cache)


@wrong(caught_by="test_batches_arrive_on_the_device", says="NumPy array means nothing there")
class HandsOutHostMemory(Plain):
    """Believes that an address is an address."""

    def get_batch(self, names):
        batch = self.batch()
        return None if batch is None else [batch.ctypes.data]


@wrong(caught_by="test_batches_arrive_on_the_device", says="first batch again")
class CopiesOnce(Plain):
    """Copies when it allocates, and never again."""

    def get_batch(self, names):
        batch = self.batch()
        if batch is None:
            cudart.cudaFree(self.memory)
            return None
        if self.memory is None:
            _, self.memory = cudart.cudaMalloc(batch.nbytes)
            cudart.cudaMemcpy(self.memory, batch.ctypes.data, batch.nbytes, TO_DEVICE)
        return [self.memory]


@wrong(caught_by="test_batches_arrive_on_the_device", says="fill no batch")
class HandsOutTheRest(Plain):
    """Fills the last batch with what is left."""

    def batch(self):
        found = self.images[self.next : self.next + self.batch_size]
        self.next += self.batch_size
        return np.resize(found, (self.batch_size, *found.shape[1:])) if len(found) else None


@wrong(caught_by="test_batches_arrive_on_the_device", says="strided view")
class TrustsTheLayout(Plain):
    """Copies from where a view starts, as if it were contiguous."""

    def __init__(self, images, batch_size, cache):
        super().__init__(images, batch_size, cache)
        self.images = images if images.flags.c_contiguous else images[:, ::-1]


@wrong(caught_by="test_batches_arrive_on_the_device", says="part of the batch")
class CountsElementsInsteadOfBytes(Plain):
    """Copies as many bytes as the batch has elements."""

    def get_batch(self, names):
        batch = self.batch()
        if batch is None:
            cudart.cudaFree(self.memory)
            return None
        if self.memory is None:
            _, self.memory = cudart.cudaMalloc(batch.nbytes)
            cudart.cudaMemset(self.memory, 0, batch.nbytes)
        cudart.cudaMemcpy(self.memory, batch.ctypes.data, batch.size, TO_DEVICE)
        return [self.memory]


@wrong(caught_by="test_engine_from_the_cache_is_int8_and_follows_fp32", says="no cache file")
class KeepsTheCacheInMind(Plain):
    """Keeps the cache in an attribute, which is gone with the object."""

    def write_calibration_cache(self, cache):
        self.kept = bytes(cache)


@wrong(caught_by="test_second_build_reads_the_cache", says="skips calibration")
class NeverReads(Plain):
    """Writes a cache that nobody reads."""

    def read_calibration_cache(self):
        return None


@wrong(caught_by="test_second_build_reads_the_cache", says="other content")
class WritesTextOfTheBytes(Plain):
    """Writes what print would show."""

    def write_calibration_cache(self, cache):
        self.cache.write_text(str(bytes(cache)))


@wrong(caught_by="test_device_memory", says="reused for every batch")
class AllocatesEachTime(Plain):
    """Takes new memory for each batch and forgets the old one."""

    def get_batch(self, names):
        batch = self.batch()
        if batch is None:
            return None
        _, memory = cudart.cudaMalloc(batch.nbytes)
        cudart.cudaMemcpy(memory, batch.ctypes.data, batch.nbytes, TO_DEVICE)
        return [memory]


@wrong(caught_by="test_device_memory", says="freed 0 times")
class NeverFrees(Plain):
    """Leaves the memory to Python."""

    def get_batch(self, names):
        batch = self.batch()
        if batch is None:
            return None
        if self.memory is None:
            _, self.memory = cudart.cudaMalloc(batch.nbytes)
        cudart.cudaMemcpy(self.memory, batch.ctypes.data, batch.nbytes, TO_DEVICE)
        return [self.memory]


@wrong(caught_by="test_device_memory", says="in the second build")
class AllocatesInAdvance(Plain):
    """Takes its memory when it is made, whether it will be needed or not."""

    def __init__(self, images, batch_size, cache):
        super().__init__(images, batch_size, cache)
        _, self.memory = cudart.cudaMalloc(self.images[:batch_size].nbytes)


@wrong(caught_by="test_engine_from_the_cache_is_int8_and_follows_fp32", says="__init__() must be called")
class ForgetsTheBase(trt.IInt8EntropyCalibrator2):
    """Overrides __init__ without calling the base's, which the bindings refuse."""

    def __init__(self, images, batch_size, cache):
        self.plain = Plain(images, batch_size, cache)

    def get_batch_size(self):
        return self.plain.get_batch_size()

    def get_batch(self, names):
        return self.plain.get_batch(names)

    def read_calibration_cache(self):
        return self.plain.read_calibration_cache()

    def write_calibration_cache(self, cache):
        self.plain.write_calibration_cache(cache)
