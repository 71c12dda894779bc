"""Wrong and right answers to lab1.benchmark_lies."""

from tests_course_api import right, wrong

FAIR = ("median", "p90", "p99")


def lies(
    steps,
    *,
    line_of=lambda index, step: step["line"],
    warms=lambda step, timing: step["model"],
    cools=True,
    waits_at=("start clock", "stop clock"),
    extra=lambda step, timing: timing,
    compared=lambda step, timing: timing,
    fair=FAIR,
    kinds=None,
):
    """A right reader, in which one idea at a time can be replaced by a wrong one."""
    told, warm, batch, timing, unfinished = [], set(), None, False, False
    for index, step in enumerate(steps):
        does = step["does"]

        def tell(kind, index=index, step=step):
            if kinds is None or kind in kinds:
                told.append((line_of(index, step), kind))

        if does in ("start clock", "stop clock"):
            if unfinished and does in waits_at:
                tell("no synchronisation")
            timing = does == "start clock"
        elif does == "synchronize":
            unfinished = False
        elif does == "call":
            if timing and step["model"] not in warm and "any" not in warm:
                tell("cold start")
            if compared(step, timing):
                batch = step["batch"] if batch is None else batch
                if batch != step["batch"]:
                    tell("unequal work")
            warm.add(warms(step, timing))
            unfinished = True
        elif extra(step, timing):
            tell("extra work")
        if does == "load" and cools:
            warm.discard(step["model"])
        if does == "report" and step["statistic"] not in fair:
            tell("picked number")
    return told


@wrong(caught_by="test_lies_come_as_lines_and_kinds", says="place of a step in the list")
def places_for_lines(steps):
    """Counts the steps instead of reading their line numbers."""
    return lies(steps, line_of=lambda index, step: index + 1)


@wrong(caught_by="test_lies_about_time_are_found", says="starts cold again")
def once_warm_always_warm(steps):
    """Forgets that a model is cold again when it was loaded again."""
    return lies(steps, cools=False)


@wrong(caught_by="test_lies_about_time_are_found", says="does not warm another")
def one_warm_up_for_all(steps):
    """Believes that the machine is warmed up, not the model."""
    return lies(steps, warms=lambda step, timing: "any")


@wrong(caught_by="test_lies_about_time_are_found", says="nor when it is stopped")
def waits_are_for_the_end(steps):
    """Looks for unfinished work only when the clock is stopped."""
    return lies(steps, waits_at=("stop clock",))


@wrong(caught_by="test_honest_lines_are_not_accused", says="costs nobody anything")
def all_preparation_is_extra(steps):
    """Accuses preparation wherever it is done."""
    return lies(steps, extra=lambda step, timing: step["does"] in ("read image", "resize", "print"))


@wrong(caught_by="test_honest_lines_are_not_accused", says="only timed calls are compared")
def warm_up_is_compared_too(steps):
    """Takes the first call of all for the measure of the others."""
    return lies(steps, compared=lambda step, timing: True)


@wrong(caught_by="test_lies_about_work_and_numbers_are_found", says="chosen, not measured")
def the_minimum_is_the_true_time(steps):
    """Believes that the fastest call is the one without disturbance, and so the honest one."""
    return lies(steps, fair=(*FAIR, "minimum"))


@wrong(caught_by="test_honest_lines_are_not_accused", says="fair ways to say")
def only_the_median_counts(steps):
    """Distrusts everything but the median."""
    return lies(steps, fair=("median",))


@wrong(caught_by="test_lies_about_work_and_numbers_are_found", says="eight images in one call")
def any_batch_is_one_call(steps):
    """Compares calls, whatever is in them."""
    return lies(steps, compared=lambda step, timing: False)


@wrong(caught_by="test_honest_lines_are_not_accused", says="finds nothing either")
def everything_is_honest(steps):
    """Trusts the article."""
    return []


@wrong(caught_by="test_lies_about_work_and_numbers_are_found", says="missed")
def the_article_by_heart(steps):
    """Knows the article's lines and no others."""
    known = {9: "cold start", 8: "extra work", 20: "no synchronisation", 19: "unequal work", 22: "picked number"}
    lines = {step["line"] for step in steps}
    if lines >= known.keys() and steps[0]["line"] == 1:
        return list(known.items())
    return lies(steps, kinds=("cold start", "no synchronisation"))


@right
def by_looking_back(steps):
    """For each line looks back over the script, without any state; returns a set."""
    told = set()

    def before(index, *names):
        return [step for step in steps[:index] if step["does"] in names]

    timed_calls = []
    for index, step in enumerate(steps):
        clocks, jobs = before(index, "start clock", "stop clock"), before(index, "call", "synchronize")
        running = bool(clocks) and clocks[-1]["does"] == "start clock"
        if "clock" in step["does"] and jobs and jobs[-1]["does"] == "call":
            told.add((step["line"], "no synchronisation"))
        if step["does"] == "call" and running:
            own = [other["does"] for other in before(index, "call", "load") if other["model"] == step["model"]]
            if not own or own[-1] == "load":
                told.add((step["line"], "cold start"))
            timed_calls.append(step)
            if step["batch"] != timed_calls[0]["batch"]:
                told.add((step["line"], "unequal work"))
        if running and step["does"] not in ("call", "synchronize", "stop clock"):
            told.add((step["line"], "extra work"))
        if step.get("statistic") in ("minimum", "first", "mean without the slowest"):
            told.add((step["line"], "picked number"))
    return told


@right
def as_lists(steps):
    """The same pairs as lists in a list, sorted from the end."""
    return [list(pair) for pair in sorted(lies(steps), reverse=True)]
