"""Wrong and right answers to lab5.roofline."""

from fractions import Fraction

from tests_course_api import right, wrong

OPERATIONS = "test_operations"
BYTES = "test_bytes"
RATE = "test_intensity_and_attainable_rate"
BOUND = "test_bound_and_least_time"


class Sound:
    """The parts that each wrong answer replaces one of."""

    def out_hw(self, layer):
        return [(s + 2 * layer["padding"] - layer["kernel"]) // layer["stride"] + 1 for s in layer["in_hw"]]

    def macs(self, layer):
        height, width = self.out_hw(layer)
        seen = layer["in_channels"] // layer["groups"] * layer["kernel"] ** 2
        return layer["batch"] * layer["out_channels"] * height * width * seen

    def flops(self, layer):
        return 2 * self.macs(layer)

    def values(self, layer):
        height, width = self.out_hw(layer)
        inputs = layer["batch"] * layer["in_channels"] * layer["in_hw"][0] * layer["in_hw"][1]
        outputs = layer["batch"] * layer["out_channels"] * height * width
        return inputs, self.weights(layer), outputs

    def weights(self, layer):
        return layer["out_channels"] * layer["in_channels"] // layer["groups"] * layer["kernel"] ** 2

    def nbytes(self, layer):
        return layer["bytes_per_value"] * sum(self.values(layer))

    def attainable(self, intensity, peak, bandwidth):
        return min(peak, intensity * bandwidth)

    def bound(self, intensity, peak, bandwidth):
        return "memory" if intensity * bandwidth < peak else "compute"

    def least_ms(self, flops, nbytes, peak, bandwidth):
        return max(flops / peak, nbytes / bandwidth) / 1e6

    def intensity(self, flops, nbytes):
        return flops / nbytes

    def __call__(self, layer, *, peak_gflops, bandwidth_gb_s):
        flops, nbytes = self.flops(layer), self.nbytes(layer)
        intensity = self.intensity(flops, nbytes)
        machine = (peak_gflops, bandwidth_gb_s)
        return {
            "flops": flops,
            "bytes": nbytes,
            "intensity": intensity,
            "attainable_gflops": self.attainable(intensity, *machine),
            "bound": self.bound(intensity, *machine),
            "least_ms": self.least_ms(flops, nbytes, *machine),
        }


def _answer(kind):
    def roofline(layer, *, peak_gflops, bandwidth_gb_s):
        return kind()(layer, peak_gflops=peak_gflops, bandwidth_gb_s=bandwidth_gb_s)

    return roofline


class CountsMultiplications(Sound):
    """Reports multiply-accumulates, as many model tables do."""

    def flops(self, layer):
        return self.macs(layer)


class ForgetsTheStride(Sound):
    """An output for every input position."""

    def out_hw(self, layer):
        return layer["in_hw"]


class ForgetsGroups(Sound):
    """Lets every output see all channels, as in a usual convolution."""

    def macs(self, layer):
        return super().macs({**layer, "groups": 1})


class OneImage(Sound):
    """Forgets the batch."""

    def macs(self, layer):
        return super().macs({**layer, "batch": 1})


class ForgetsWeights(Sound):
    """Believes that weights are there already."""

    def weights(self, layer):
        return 0


class WeightsPerImage(Sound):
    """Reads the weights anew for every image."""

    def weights(self, layer):
        return layer["batch"] * super().weights(layer)


class FourBytes(Sound):
    """Every number is a float32."""

    def nbytes(self, layer):
        return 4 * sum(self.values(layer))


class BytesPerOperation(Sound):
    """Upside down."""

    def intensity(self, flops, nbytes):
        return nbytes / flops


class AlwaysThePeak(Sound):
    """Believes the data sheet."""

    def attainable(self, intensity, peak, bandwidth):
        return peak


class MemoryOnly(Sound):
    """A line without a roof."""

    def attainable(self, intensity, peak, bandwidth):
        return intensity * bandwidth


class BoundSwapped(Sound):
    """High intensity means much memory: a layer with many operations per byte is taken for memory bound."""

    def bound(self, intensity, peak, bandwidth):
        return "memory" if intensity > peak / bandwidth else "compute"


class OneAfterTheOther(Sound):
    """Reads first, computes then."""

    def least_ms(self, flops, nbytes, peak, bandwidth):
        return (flops / peak + nbytes / bandwidth) / 1e6


class AtPeak(Sound):
    """Divides by the peak, whatever the bound."""

    def least_ms(self, flops, nbytes, peak, bandwidth):
        return flops / peak / 1e6


counts_multiplications = wrong(caught_by=OPERATIONS, says="multiply-accumulates")(_answer(CountsMultiplications))
forgets_the_stride = wrong(caught_by=OPERATIONS, says="a stride skips")(_answer(ForgetsTheStride))
forgets_groups = wrong(caught_by=OPERATIONS, says="its group")(_answer(ForgetsGroups))
one_image = wrong(caught_by=OPERATIONS, says="one image")(_answer(OneImage))
forgets_weights = wrong(caught_by=BYTES, says="weights have to be read")(_answer(ForgetsWeights))
weights_per_image = wrong(caught_by=BYTES, says="read once")(_answer(WeightsPerImage))
four_bytes = wrong(caught_by=BYTES, says="four bytes")(_answer(FourBytes))
bytes_per_operation = wrong(caught_by=RATE, says="bytes per operation")(_answer(BytesPerOperation))
always_the_peak = wrong(caught_by=RATE, says="out of reach")(_answer(AlwaysThePeak))
memory_only = wrong(caught_by=RATE, says="no layer is faster than the peak")(_answer(MemoryOnly))
bound_swapped = wrong(caught_by=BOUND, says="lower one")(_answer(BoundSwapped))
one_after_the_other = wrong(caught_by=BOUND, says="not their sum")(_answer(OneAfterTheOther))
at_peak = wrong(caught_by=BOUND, says="does not get the operands")(_answer(AtPeak))


@right
def with_exact_fractions(layer, *, peak_gflops, bandwidth_gb_s):
    """Exact arithmetic, converted at the end; whole numbers as floats."""
    k, stride, pad = layer["kernel"], layer["stride"], layer["padding"]
    height, width = layer["in_hw"]
    out = ((height + 2 * pad - k + stride) // stride) * ((width + 2 * pad - k + stride) // stride)
    weights = layer["out_channels"] * (layer["in_channels"] // layer["groups"]) * k * k
    flops = Fraction(2 * layer["batch"] * weights * out)
    values = layer["batch"] * (layer["in_channels"] * height * width + layer["out_channels"] * out) + weights
    nbytes = Fraction(values * layer["bytes_per_value"])
    intensity, ridge = flops / nbytes, Fraction(peak_gflops) / Fraction(bandwidth_gb_s)
    attainable = Fraction(peak_gflops) * min(Fraction(1), intensity / ridge)
    return {
        "flops": float(flops),
        "bytes": float(nbytes),
        "intensity": float(intensity),
        "attainable_gflops": float(attainable),
        "bound": "Compute" if intensity >= ridge else "Memory",
        "least_ms": float(flops / attainable / 10**6),
    }


@right
def by_times(layer, *, peak_gflops, bandwidth_gb_s):
    """From the two times to everything else."""
    parts = Sound()
    flops, nbytes = parts.flops(layer), parts.nbytes(layer)
    compute_ms, transfer_ms = 1e3 * flops / (peak_gflops * 1e9), 1e3 * nbytes / (bandwidth_gb_s * 1e9)
    least_ms = max(compute_ms, transfer_ms)
    return {
        "flops": flops,
        "bytes": nbytes,
        "intensity": flops / nbytes,
        "attainable_gflops": flops / least_ms / 1e6,
        "bound": "compute" if compute_ms >= transfer_ms else "memory",
        "least_ms": least_ms,
    }
