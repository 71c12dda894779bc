"""lab2.stratified_split: divide images so that nothing is seen twice and every class is everywhere."""

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.stratified_split",
    title="A split without leaks",
    objective="Split a data set by groups of near-duplicates, balanced by class, repeatably.",
    answer="split_images",
    difficulty=4,
    minutes=40,
    cases=("sessions", "hashes", "chains"),
    hidden=("sessions", "hashes", "chains"),
    forbidden=("yolotrt_lab.data.split.split_images", "yolotrt_lab.data.split.group_near_duplicates"),
    reading="https://link.springer.com/chapter/10.1007/978-3-642-23808-6_10",
)

_FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
_DISTANCE = 6
_BITS = 64


def inputs(case, rng):
    """Counts of objects per image and class, capture sessions, perceptual hashes."""
    sizes = rng.permutation([1, 2, 3, 4] * 15)
    group = np.repeat(np.arange(len(sizes)), sizes)
    count = len(group)
    # What a group shows, it shows in each of its images; groups differ in what they show.
    favour = rng.dirichlet(np.full(4, 1.5), len(sizes)) * 8
    class_counts = rng.poisson(favour[group]) + 1
    class_counts[:, 3] = np.where(np.isin(group, rng.choice(np.flatnonzero(sizes == 2), 6, replace=False)), 2, 0)
    hashes = [_random_hash(rng) for _ in range(count)]
    sessions = [f"shot-{number:04}" for number in rng.permutation(count)]
    if case == "sessions":
        sessions = [f"2026-11-{1 + index // 4:02} {'ABCD'[index % 4]}" for index in group]
    elif case == "chains":
        _link_in_chains(group, hashes, sessions, rng)
    else:
        bases = [_random_hash(rng) for _ in sizes]
        hashes = [_flipped(bases[index], rng, int(rng.integers(0, 4))) for index in group]
    order = rng.permutation(count)
    return {
        "class_counts": class_counts[order].astype(np.int64),
        "sessions": [sessions[index] for index in order],
        "hashes": [hashes[index] for index in order],
        "fractions": dict(_FRACTIONS),
        "max_distance": _DISTANCE,
        "seed": int(rng.integers(1000)),
    }


def _random_hash(rng):
    return int.from_bytes(rng.bytes(_BITS // 8), "little")


def _flipped(value, rng, bits):
    """Return a hash that differs in so many bits."""
    for bit in rng.choice(_BITS, bits, replace=False):
        value ^= 1 << int(bit)
    return value


def _link_in_chains(group, hashes, sessions, rng):
    """Link the images of a group one to the next, by hash or by session, never all to all."""
    for index in range(1, len(group)):
        if group[index] != group[index - 1]:
            continue
        if index % 3:
            hashes[index] = _flipped(hashes[index - 1], rng, 5)  # two steps are about 10 bits: too far
        else:
            sessions[index] = sessions[index - 1]


def run(answer, **given):
    """Call the answer twice: the same seed shall give the same split."""
    copy = {**given, "class_counts": given["class_counts"].copy(), "sessions": list(given["sessions"])}
    return {"split": answer(**given), "again": answer(**copy)}


def reference_groups(sessions, hashes, max_distance, *, transitive=True, by_hash=True, by_session=True):
    """Return a group number per image."""
    parent = list(range(len(hashes)))

    def root(index):
        while parent[index] != index:
            index = parent[index]
        return index

    for i in range(len(hashes)):
        for j in range(i):
            same_session = by_session and sessions[i] == sessions[j]
            near = by_hash and (hashes[i] ^ hashes[j]).bit_count() <= max_distance
            if (same_session or near) and (transitive or root(i) == i):
                parent[root(i)] = root(j)
    return [root(index) for index in range(len(hashes))]


def _split(answer):
    """Return the name of each image's split; every split must have images."""
    given = answer.inputs
    names = answer.item("split").list(length=len(given["hashes"]))
    unknown = sorted({str(name) for name in names} - set(given["fractions"]))
    if unknown or not all(isinstance(name, str) for name in names):
        raise Mismatch(
            expected=f"for every image one of {', '.join(given['fractions'])}",
            seen=f"{unknown or [type(name).__name__ for name in names][:1]}"[:120],
        )
    missing = [name for name in given["fractions"] if name not in names]
    if missing:
        raise Mismatch(
            expected="images in every split",
            seen=f"none in {', '.join(missing)}",
            misconception="Where everything is in one place nothing leaks, but nothing can be measured either.",
        )
    return [str(name) for name in names]


def _judge_pairs(answer, linked, idea):
    """Raise if two images that are linked lie in different splits."""
    names = _split(answer)
    torn = [(i, j) for i in range(len(names)) for j in range(i) if linked(i, j) and names[i] != names[j]]
    if not torn:
        return
    i, j = torn[0]
    raise Mismatch(
        expected="near-duplicates on the same side",
        seen=f"{len(torn)} pairs are torn apart, for example images {j} ({names[j]}) and {i} ({names[i]})",
        misconception=idea,
    )


@points(1)
def test_every_image_has_a_split(answer):
    """Every image gets a split, and every split gets images."""
    _split(answer)
    expect(not answer.changed_inputs, expected="the inputs as they were", seen=", ".join(answer.changed_inputs))


@points(2, cases=("sessions", "chains"))
def test_sessions_stay_together(answer):
    """A capture session is never divided."""
    sessions = answer.inputs["sessions"]
    _judge_pairs(
        answer,
        lambda i, j: sessions[i] == sessions[j],
        "Frames of one session show the same things in the same light. Deal out sessions, not images.",
    )


@points(2, cases=("hashes", "chains"))
def test_similar_pictures_stay_together(answer):
    """Pictures with nearly the same hash are never divided."""
    hashes, limit = answer.inputs["hashes"], answer.inputs["max_distance"]
    _judge_pairs(
        answer,
        lambda i, j: (hashes[i] ^ hashes[j]).bit_count() <= limit,
        "Near is not equal: two hashes belong together if at most `max_distance` of their bits differ.",
    )


@points(2, cases=("chains",))
def test_chains_stay_together(answer):
    """What is linked by way of a third picture stays together too."""
    given = answer.inputs
    groups = reference_groups(given["sessions"], given["hashes"], given["max_distance"])
    _judge_pairs(
        answer,
        lambda i, j: groups[i] == groups[j],
        "If A is near B and B shares a session with C, all three belong together, however little A looks like C.",
    )


@points(2)
def test_splits_have_their_size(answer):
    """Every split has about its share of the images."""
    names, fractions = _split(answer), answer.inputs["fractions"]
    for name, fraction in fractions.items():
        share = names.count(name) / len(names)
        expect(
            abs(share - fraction) <= 0.06,
            expected=f"{fraction:.0%} of the images in {name}, give or take 6 percent points",
            seen=f"{share:.0%}",
            misconception="Groups differ in size: count images, not groups, when you look which split has room.",
        )


@points(3)
def test_classes_are_balanced(answer):
    """Every split has between half and double its fair share of every class."""
    names, given = np.array(_split(answer)), answer.inputs
    counts = given["class_counts"]
    for class_id, total in enumerate(counts.sum(axis=0)):
        for name, fraction in given["fractions"].items():
            share = counts[names == name, class_id].sum() / total
            expect(
                fraction / 2 <= share <= fraction * 2,
                expected=f"{fraction / 2:.1%} to {min(fraction * 2, 1):.0%} of the {total} objects of class "
                f"{class_id} in {name}",
                seen=f"{share:.1%}",
                misconception="A random deal is fair on average and unfair to the rarest class. Deal out the groups "
                "with the rarest class first, each to the split that still lacks most of it.",
            )


@points(1)
def test_the_same_seed_gives_the_same_split(answer):
    """The same seed gives the same split."""
    again = answer.item("again").list(length=len(answer.inputs["hashes"]))
    differing = sum(str(a) != str(b) for a, b in zip(_split(answer), again, strict=True))
    expect(
        not differing,
        expected="the same split on every call with the same seed",
        seen=f"{differing} images lie elsewhere the second time",
        misconception="A generator that nobody seeded, or a loop over a set of texts: their order changes.",
    )
