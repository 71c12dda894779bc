"""Wrong and right answers to lab2.stratified_split."""

import numpy as np
from scipy.sparse.csgraph import connected_components as components
from tests_course_api import right, wrong


def _groups(sessions, hashes, limit, *, transitive=True):
    """Number the groups by repeated merging, or by the first picture that fits."""
    group = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if sessions[i] == sessions[j] or (hashes[i] ^ hashes[j]).bit_count() <= limit:
                if transitive:
                    old = group[i]
                    group = [group[j] if value == old else value for value in group]
                else:
                    group[i] = group[j]
                    break
    return group


def _deal(group, class_counts, fractions, seed, *, by_class=True, by_size=True):
    """Deal groups out, the rarest class first, to the split that lacks most."""
    rng = np.random.default_rng(seed)
    names, numbers = list(fractions), sorted(set(group))
    content = {number: np.zeros(class_counts.shape[1] + 1) for number in numbers}
    for number, counts in zip(group, class_counts, strict=True):
        content[number] += [*counts, 1]
    total = sum(content.values())
    lacking = {name: total * fraction for name, fraction in fractions.items()}
    chosen = {}
    columns = [*np.argsort(total[:-1]), -1] if by_class else [-1]
    for column in columns:
        waiting = [number for number in rng.permutation(numbers) if number not in chosen and content[number][column]]
        for number in sorted(waiting, key=lambda each: -content[each][column]):
            size = content[number][-1] if by_size else 0
            open_ = [name for name in names if lacking[name][-1] >= size / 2] or names
            chosen[number] = max(open_, key=lambda name: (lacking[name][column], lacking[name][-1]))
            lacking[chosen[number]] = lacking[chosen[number]] - content[number]
    return [chosen[number] for number in group]


@wrong(caught_by="test_sessions_stay_together", says="deal out sessions, not images")
def every_image_for_itself(class_counts, sessions, hashes, fractions, max_distance, seed):
    """The usual shuffle of files."""
    return _deal(list(range(len(hashes))), class_counts, fractions, seed)


@wrong(caught_by="test_similar_pictures_stay_together", says="near is not equal")
def equal_hashes_only(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Groups what is equal to the last bit."""
    return _deal(_groups(sessions, hashes, 0), class_counts, fractions, seed)


@wrong(caught_by="test_sessions_stay_together", says="same things in the same light")
def hashes_without_sessions(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Trusts the hash alone."""
    return _deal(_groups(range(len(hashes)), hashes, max_distance), class_counts, fractions, seed)


@wrong(caught_by="test_chains_stay_together", says="shares a session")
def pairs_without_chains(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Puts each picture to the first earlier one that fits, and never joins two groups."""
    return _deal(_groups(sessions, hashes, max_distance, transitive=False), class_counts, fractions, seed)


@wrong(caught_by="test_classes_are_balanced", says="rarest class first")
def random_groups(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Groups are kept together, and dealt out by chance."""
    group = _groups(sessions, hashes, max_distance)
    rng, names = np.random.default_rng(seed), list(fractions)
    left = {name: fraction * len(group) for name, fraction in fractions.items()}
    chosen = {}
    for number in rng.permutation(sorted(set(group))):
        weights = np.maximum([left[name] for name in names], 0)
        chosen[number] = str(rng.choice(names, p=weights / weights.sum()))
        left[chosen[number]] -= group.count(number)
    return [chosen[number] for number in group]


@wrong(caught_by="test_splits_have_their_size", says="count images, not groups")
def half_for_validation(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Gives every split the same number of groups."""
    group = _groups(sessions, hashes, max_distance)
    numbers = np.random.default_rng(seed).permutation(sorted(set(group)))
    names = list(fractions)
    chosen = {number: names[place % len(names)] for place, number in enumerate(numbers)}
    return [chosen[number] for number in group]


@wrong(caught_by="test_the_same_seed_gives_the_same_split", says="nobody seeded")
def never_the_same(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Ignores the seed."""
    return _deal(_groups(sessions, hashes, max_distance), class_counts, fractions, None)


@wrong(caught_by="test_every_image_has_a_split", says="nothing can be measured")
def all_for_training(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Nothing leaks where nothing is held back."""
    return ["train"] * len(hashes)


@right
def connected_components(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Groups as components of a graph, by SciPy; an array of names."""
    bits = np.unpackbits(np.array(hashes, np.uint64).view(np.uint8).reshape(-1, 8), axis=1).astype(int)
    near = (bits[:, None] != bits[None]).sum(axis=2) <= max_distance
    same = np.array(sessions)[:, None] == np.array(sessions)[None]
    _, group = components(near | same, directed=False)
    return np.array(_deal(group.tolist(), class_counts, fractions, seed))


@right
def least_total_error(class_counts, sessions, hashes, fractions, max_distance, seed):
    """Places the largest groups first, each where the squared errors of all shares together become least."""
    group = np.unique(_groups(sessions, hashes, max_distance), return_inverse=True)[1]
    content = np.zeros((group.max() + 1, class_counts.shape[1] + 1))
    np.add.at(content, group, np.column_stack((class_counts, np.ones(len(group)))))
    content /= content.sum(axis=0)
    shares = np.array(list(fractions.values()))
    got, place = np.zeros((len(shares), content.shape[1])), {}
    for number in np.argsort(-content.max(axis=1), kind="stable"):
        after = [got + content[number] * (np.arange(len(shares)) == k)[:, None] for k in range(len(shares))]
        place[number] = int(np.argmin([(((each / shares[:, None]) - 1) ** 2).sum() for each in after]))
        got = after[place[number]]
    return [list(fractions)[place[number]] for number in group]
