"""Wrong and right answers to lab3.bisect_divergence."""

import bisect

from tests_course_api import right, wrong


@wrong(caught_by="test_few_looks", says="one look after the other")
def one_by_one(tensors, relative_error, tolerance):
    """Looks at every tensor from the front."""
    return next((name for name in tensors if not relative_error(name) <= tolerance), None)


@wrong(caught_by="test_few_looks", says="more than once")
def forgets_what_it_saw(tensors, relative_error, tolerance):
    """Halves, but asks for the error again where it prints it."""
    low, high = 0, len(tensors)
    while low < high:
        middle = (low + high) // 2
        if relative_error(tensors[middle]) <= tolerance:
            low = middle + 1
        else:
            print(tensors[middle], relative_error(tensors[middle]))
            high = middle
    return tensors[low] if low < len(tensors) else None


@wrong(caught_by="test_the_first_that_differs", says="keep looking to its left")
def any_that_differs(tensors, relative_error, tolerance):
    """Stops at the first difference that it meets."""
    low, high = 0, len(tensors)
    while low < high:
        middle = (low + high) // 2
        if not relative_error(tensors[middle]) <= tolerance:
            return tensors[middle]
        low = middle + 1
    return None


@wrong(caught_by="test_the_first_that_differs", says="last tensor that agrees")
def off_by_one(tensors, relative_error, tolerance):
    """Returns the tensor at which the search came to a halt from below."""
    low, high = -1, len(tensors)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if relative_error(tensors[middle]) <= tolerance else (low, middle)
    return tensors[low] if 0 <= low < len(tensors) - 1 else None


@wrong(caught_by="test_nan_differs", says="every comparison with NaN is False")
def nan_is_fine(tensors, relative_error, tolerance):
    """Asks whether the error is too large, which NaN never is."""
    low, high = 0, len(tensors)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if relative_error(tensors[middle]) > tolerance else (middle + 1, high)
    return tensors[low] if low < len(tensors) else None


@wrong(caught_by="test_the_ends", says="agrees here")
def something_must_differ(tensors, relative_error, tolerance):
    """Searches as if something always differed, and returns the last tensor when nothing does."""
    if not tensors:
        return None
    low, high = 0, len(tensors) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if relative_error(tensors[middle]) <= tolerance else (low, middle)
    return tensors[low]


@wrong(caught_by="test_the_ends", says="at most")
def looks_at_both_ends_first(tensors, relative_error, tolerance):
    """Looks at the first and the last tensor before it starts to halve."""
    if not tensors or relative_error(tensors[-1]) <= tolerance:
        return None
    if not relative_error(tensors[0]) <= tolerance:
        return tensors[0]
    low, high = 0, len(tensors) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if relative_error(tensors[middle]) <= tolerance else (low, middle)
    return tensors[high]


@wrong(caught_by="test_the_first_that_differs", says="not its place")
def the_place(tensors, relative_error, tolerance):
    """Returns an index."""
    return bisect.bisect_left(tensors, True, key=lambda name: not relative_error(name) <= tolerance)


@right
def with_the_standard_library(tensors, relative_error, tolerance):
    """`bisect` with a key, on a predicate that is False before and True after."""
    place = bisect.bisect_left(tensors, True, key=lambda name: not relative_error(name) <= tolerance)
    return tensors[place] if place < len(tensors) else None


@right
def recursively(tensors, relative_error, tolerance):
    """Halves the list itself."""
    if not tensors:
        return None
    half = len(tensors) // 2
    if relative_error(tensors[half]) <= tolerance:
        return recursively(tensors[half + 1 :], relative_error, tolerance)
    return recursively(tensors[:half], relative_error, tolerance) or tensors[half]
