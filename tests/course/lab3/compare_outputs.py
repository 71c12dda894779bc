"""Wrong and right answers to lab3.compare_outputs."""

import math

import numpy as np
from tests_course_api import right, wrong


class Correct:
    """The right thing, for the wrong answers to differ from in one place."""

    def __init__(self, actual, expected):
        self.actual, self.expected = actual, expected

    def arrays(self):
        """Return both as vectors, checked."""
        if self.actual.shape != self.expected.shape or not np.isfinite(self.actual).all():
            raise ValueError("cannot be compared")
        return self.actual.astype(np.float64).ravel(), self.expected.astype(np.float64).ravel()

    def relative_l2(self, a, e):
        """Return the relative L2 error."""
        off, size = np.linalg.norm(a - e), np.linalg.norm(e)
        return float(off / size) if size else (math.inf if off else 0.0)

    def cosine(self, a, e):
        """Return the cosine."""
        sizes = np.linalg.norm(a), np.linalg.norm(e)
        return float(a @ e / (sizes[0] * sizes[1])) if all(sizes) else float(sizes[0] == sizes[1])

    def max_abs(self, a, e):
        """Return the greatest difference."""
        return float(np.abs(a - e).max())

    def measures(self):
        """Return all three."""
        a, e = self.arrays()
        return {"max_abs": self.max_abs(a, e), "relative_l2": self.relative_l2(a, e), "cosine": self.cosine(a, e)}

    def keeps(self, limits):
        """Return which measures keep their limits."""
        found = self.measures()
        return {
            name: found[name] >= limits[name] if name == "cosine" else found[name] <= limits[name] for name in found
        }

    def blind(self, limits):
        """Return the blind measures."""
        keeps = self.keeps(limits)
        return [] if all(keeps.values()) else sorted(name for name, kept in keeps.items() if kept)

    @staticmethod
    def forge(expected, fooled, limits):
        """Return an output that fools one measure."""
        forged = expected.copy()
        if fooled == "cosine":
            forged *= 3
        elif fooled == "relative_l2":
            forged[0] += 3 * limits["max_abs"]
        else:
            forged[:] = 0
        return forged


@wrong(caught_by="test_the_measures", says="hides a single wrong value")
class MeanDifference(Correct):
    """Averages the differences: believes that this is fairer."""

    def max_abs(self, a, e):
        """Return the mean difference."""
        return float(np.abs(a - e).mean())


@wrong(caught_by="test_the_measures", says="grows with the size of the tensor")
class NotRelative(Correct):
    """Forgets to relate the error to the values."""

    def relative_l2(self, a, e):
        """Return the norm of the difference."""
        return float(np.linalg.norm(a - e))


@wrong(caught_by="test_the_measures", says="relative to what is expected")
class RelativeToTheWrongOne(Correct):
    """Divides by the norm of what came."""

    def relative_l2(self, a, e):
        """Return the error relative to the actual output."""
        size = np.linalg.norm(a)
        return float(np.linalg.norm(a - e) / size) if size else super().relative_l2(a, e)


@wrong(caught_by="test_the_measures", says="cosine distance")
class CosineDistance(Correct):
    """Takes SciPy's `cosine` for the cosine."""

    def cosine(self, a, e):
        """Return the distance."""
        return 1 - super().cosine(a, e)


@wrong(caught_by="test_the_arithmetic", says="65504")
class InTheGivenPrecision(Correct):
    """Computes in the arrays' own type, which overflows in half precision and wraps around in bytes."""

    def arrays(self):
        """Return both as vectors in their own type."""
        super().arrays()
        return self.actual.ravel(), self.expected.ravel()

    def relative_l2(self, a, e):
        """Return the error from sums of squares in the given type."""
        with np.errstate(all="ignore"):
            return float(np.sqrt(((a - e) ** 2).sum()) / np.sqrt((e**2).sum()))


@wrong(caught_by="test_the_arithmetic", says="wrap around")
class BytesInBytes(Correct):
    """Handles half precision, and forgets that bytes have no sign."""

    def max_abs(self, a, e):
        """Return the greatest difference of the arrays as they came."""
        with np.errstate(all="ignore"):
            return float(np.abs(self.actual - self.expected).max())


@wrong(caught_by="test_what_cannot_be_measured", says="broadcasts")
class BroadcastingWelcome(Correct):
    """Lets NumPy find a common shape."""

    def arrays(self):
        """Return both as vectors of a common shape."""
        if not np.isfinite(self.actual).all():
            raise ValueError("not finite")
        return tuple(np.float64(part).ravel() for part in np.broadcast_arrays(self.actual, self.expected))


@wrong(caught_by="test_what_cannot_be_measured", says="every comparison with NaN is False")
class NanIsANumber(Correct):
    """Measures NaN like any other value."""

    def arrays(self):
        """Return both as vectors, NaN included."""
        if self.actual.shape != self.expected.shape:
            raise ValueError("shapes differ")
        return self.actual.astype(np.float64).ravel(), self.expected.astype(np.float64).ravel()


@wrong(caught_by="test_what_cannot_be_measured", says="divides by zero")
class SmallNumberAdded(Correct):
    """Adds 1e-12 to the denominator, so that zeros are out of the way."""

    def relative_l2(self, a, e):
        """Return a finite number whatever comes."""
        return float(np.linalg.norm(a - e) / (np.linalg.norm(e) + 1e-12))

    def cosine(self, a, e):
        """Return 0 for two zero vectors, although they agree."""
        return float(a @ e / (np.linalg.norm(a) * np.linalg.norm(e) + 1e-12))


@wrong(caught_by="test_which_measure_is_blind", says="larger")
class CosineUpsideDown(Correct):
    """Holds the cosine against its limit as if it were an error."""

    def keeps(self, limits):
        """Return which measures are at most their limit."""
        return {name: value <= limits[name] for name, value in self.measures().items()}


@wrong(caught_by="test_which_measure_is_blind", says="nothing is hidden")
class ContentIsBlind(Correct):
    """Calls every measure blind that keeps its limit, even if all do."""

    def blind(self, limits):
        """Return what keeps its limit."""
        return sorted(name for name, kept in self.keeps(limits).items() if kept)


@wrong(caught_by="test_which_measure_is_blind", says="see the error")
class TheOthers(Correct):
    """Names the measures that catch the error."""

    def blind(self, limits):
        """Return what breaks its limit."""
        return sorted(name for name, kept in self.keeps(limits).items() if not kept)


@wrong(caught_by="test_forged_outputs", says="without turning it")
class NoiseFoolsAll(Correct):
    """Forges with noise: believes that any error looks alike to all measures."""

    @staticmethod
    def forge(expected, fooled, limits):
        """Return noise of the size of the values."""
        return (expected + np.random.default_rng(0).normal(0, np.abs(expected).max(), expected.shape)).astype(
            np.float32
        )


@wrong(caught_by="test_forged_outputs", says="be bolder")
class TooTimid(Correct):
    """Forges so little that no measure minds."""

    @staticmethod
    def forge(expected, fooled, limits):
        """Return almost the expected output."""
        return expected * np.float32(1.0001)


@right
class WithLoopsOfPython:
    """Plain Python arithmetic, exact sums, results as NumPy scalars."""

    def __init__(self, actual, expected):
        self.pair = actual, expected

    def measures(self):
        """Return all three."""
        actual, expected = self.pair
        if np.shape(actual) != np.shape(expected):
            raise ValueError("shapes")
        a, e = [float(v) for v in actual.ravel()], [float(v) for v in expected.ravel()]
        if not all(map(math.isfinite, a)):
            raise ValueError("NaN")
        size_a, size_e = (math.sqrt(math.fsum(v * v for v in values)) for values in (a, e))
        off = math.dist(a, e)
        cosine = (
            np.float32(math.fsum(x * y for x, y in zip(a, e, strict=True)) / size_a / size_e)
            if size_a and size_e
            else int(size_a == size_e)
        )
        relative = off / size_e if size_e else [0, math.inf][off > 0]
        return {
            "cosine": cosine,
            "relative_l2": relative,
            "max_abs": max(abs(x - y) for x, y in zip(a, e, strict=True)),
        }

    def blind(self, limits):
        """Return the blind measures as a set."""
        found = self.measures()
        broken = {name for name in ("max_abs", "relative_l2") if found[name] > limits[name]}
        broken |= {"cosine"} if found["cosine"] < limits["cosine"] else set()
        return set(found) - broken if broken else set()

    @classmethod
    def forge(cls, expected, fooled, limits):
        """Return a list for the cosine, other forgeries for the rest."""
        if fooled == "cosine":
            return (expected * 0.5).tolist()
        if fooled == "relative_l2":
            forged = expected.astype(np.float64)
            forged[-1] -= 0.009 * np.linalg.norm(expected)
            return forged
        return expected + 0.009 * np.resize([1, -1], expected.shape)


@right
class InLongDouble(Correct):
    """Another type and einsum; forges by swapping and flipping instead."""

    def arrays(self):
        """Return long doubles."""
        a, e = super().arrays()
        return a.astype(np.longdouble), e.astype(np.longdouble)

    def cosine(self, a, e):
        """Return the cosine by normalised vectors."""
        sizes = [np.sqrt(np.einsum("i,i", v, v)) for v in (a, e)]
        if not sizes[0] or not sizes[1]:
            return 1.0 if sizes[0] == sizes[1] else 0.0
        return float(np.einsum("i,i", a / sizes[0], e / sizes[1]))

    @staticmethod
    def forge(expected, fooled, limits):
        """Return forgeries of another kind."""
        if fooled == "max_abs":
            return -expected
        if fooled == "cosine":
            return expected * np.float32(1e3)
        forged = expected.copy()
        forged[[0, 1]] = forged[[0, 1]] + np.float32([0.05, -0.05])
        return forged
