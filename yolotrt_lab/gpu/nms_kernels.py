"""Triton kernels from a network's raw output to the boxes that stay; imported only where Triton is, by `postprocess`.

    decode    every candidate's best class; those above the threshold are compacted, in any order
    rank      each survivor's place by score, ties by its place in the output: the order no longer depends on chance
    overlap   a bit for each pair: the better one suppresses the other
    select    greedy NMS as the only fixed point of "kept unless a better kept one suppresses it"; the result

All grids have a fixed size and end early where there are fewer candidates, so the four launches fit a CUDA graph and
the host need not know how many there are.
"""
# mypy: ignore-errors
# Triton's language only looks like Python: its tensors have no types that a checker of Python could follow.

import triton
import triton.language as tl

__all__ = ["decode_kernel", "overlap_kernel", "rank_kernel", "select_kernel"]

_LARGEST = tl.constexpr(3.4028234663852886e38)


@triton.jit
def _is_finite(value):
    return tl.abs(value) <= _LARGEST  # false for NaN too


@triton.jit
def _channel(row, channel, stride_channel, valid):
    return tl.load(row + channel * stride_channel, mask=valid, other=0.0).to(tl.float32)


@triton.jit
def _best_class(
    row, objectness, finite, probable, valid, num_classes, stride_channel, slack,
    OBJECTNESS: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return each candidate's best score and its class, the first of equal ones, and what is known of its values."""
    best = tl.full((BLOCK,), -_LARGEST, tl.float32)
    best_class = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, num_classes, CLASSES):
        class_id = start + tl.arange(0, CLASSES)
        wanted = (class_id < num_classes)[:, None] & valid[None, :]
        channel = class_id + (5 if OBJECTNESS else 4)
        score = tl.load(row[None, :] + channel[:, None] * stride_channel, mask=wanted, other=0.0).to(tl.float32)
        finite = finite & (tl.min(_is_finite(score).to(tl.int32), axis=0) == 1)
        if OBJECTNESS:
            probable = probable & (tl.min(score, axis=0) >= -slack) & (tl.max(score, axis=0) <= 1 + slack)
        score = tl.where(wanted, score * objectness[None, :], -_LARGEST)
        here = tl.max(score, axis=0)
        here_class = tl.min(tl.where(score == here[None, :], class_id[:, None], num_classes), axis=0)
        best_class = tl.where(here > best, here_class, best_class)
        best = tl.maximum(here, best)
    return best, best_class, finite, probable & (best >= -slack) & (best <= 1 + slack)


@triton.jit
def decode_kernel(
    output,  # the network's, float16 or float32, by strides
    counters,  # (batch, 2) int32: candidates so far, faults found
    scores,  # (batch, rows) float32: of the candidates, as are the next three
    places,  # (batch, rows) int32: their rows in the output
    class_ids,  # (batch, rows) int32
    boxes,  # (batch, rows, 4) float32, xyxy in pixels of the input
    rows,
    num_classes,
    stride_batch,
    stride_row,
    stride_channel,
    conf_threshold,
    slack,
    OBJECTNESS: tl.constexpr,  # channel 4 is a factor of every score
    END_TO_END: tl.constexpr,  # x1 y1 x2 y2 score class
    CLASSES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program decodes `BLOCK` candidates of one image."""
    batch = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = place < rows
    row = output + batch * stride_batch + place.to(tl.int64) * stride_row
    first = _channel(row, 0, stride_channel, valid)
    second = _channel(row, 1, stride_channel, valid)
    third = _channel(row, 2, stride_channel, valid)
    fourth = _channel(row, 3, stride_channel, valid)
    finite = _is_finite(first) & _is_finite(second) & _is_finite(third) & _is_finite(fourth)
    if END_TO_END:
        best = _channel(row, 4, stride_channel, valid)
        named = _channel(row, 5, stride_channel, valid)
        finite = finite & _is_finite(best) & _is_finite(named)
        best_class = tl.floor(named + 0.5).to(tl.int32)
        probable = (best >= -slack) & (best <= 1 + slack)
        known = (tl.abs(named - best_class) <= slack) & (best_class >= 0) & (best_class < num_classes)
        known = known | (best <= conf_threshold)
    else:
        known = place >= 0
        objectness = tl.full((BLOCK,), 1.0, tl.float32)
        probable = place >= 0
        if OBJECTNESS:
            objectness = _channel(row, 4, stride_channel, valid)
            finite = finite & _is_finite(objectness)
            probable = (objectness >= -slack) & (objectness <= 1 + slack)
        best, best_class, finite, probable = _best_class(
            row, objectness, finite, probable, valid, num_classes, stride_channel, slack, OBJECTNESS, CLASSES, BLOCK
        )
    fault = tl.where(finite, 0, 1) | tl.where(probable, 0, 2) | tl.where(known, 0, 4)
    faults = tl.max(tl.where(valid, fault & 1, 0), axis=0)
    faults = faults | tl.max(tl.where(valid, fault & 2, 0), axis=0) | tl.max(tl.where(valid, fault & 4, 0), axis=0)
    if faults != 0:
        tl.atomic_or(counters + batch * 2 + 1, faults)
    above = valid & finite & (best > conf_threshold)
    found = tl.sum(above.to(tl.int32), axis=0)
    if found > 0:
        start = tl.atomic_add(counters + batch * 2, found)
        target = batch * rows + start + tl.cumsum(above.to(tl.int32), axis=0) - 1
        tl.store(scores + target, best, mask=above)
        tl.store(places + target, place, mask=above)
        tl.store(class_ids + target, best_class, mask=above)
        if END_TO_END:
            left, top, right, bottom = first, second, third, fourth
        else:
            left, top, right, bottom = (
                first - third * 0.5,
                second - fourth * 0.5,
                first + third * 0.5,
                second + fourth * 0.5,
            )
        tl.store(boxes + target * 4, left, mask=above)
        tl.store(boxes + target * 4 + 1, top, mask=above)
        tl.store(boxes + target * 4 + 2, right, mask=above)
        tl.store(boxes + target * 4 + 3, bottom, mask=above)


@triton.jit
def rank_kernel(
    counters,
    scores,
    places,
    class_ids,
    boxes,
    sorted_scores,  # (batch, most) float32: best first, as are the next two
    sorted_class_ids,  # (batch, most) int32
    sorted_boxes,  # (batch, most, 4) float32
    rows,
    MOST: tl.constexpr,
    BLOCK: tl.constexpr,
    OTHERS: tl.constexpr,
):
    """One program ranks `BLOCK` candidates by counting those before each, and puts the best `MOST` in their places."""
    batch = tl.program_id(1).to(tl.int64)
    count = tl.load(counters + batch * 2)
    start = tl.program_id(0) * BLOCK
    if start < count:
        source = batch * rows
        mine = start + tl.arange(0, BLOCK)
        valid = mine < count
        score = tl.load(scores + source + mine, mask=valid, other=0.0)
        place = tl.load(places + source + mine, mask=valid, other=0)
        rank = tl.zeros((BLOCK,), tl.int32)
        for other_start in range(0, count, OTHERS):
            other = other_start + tl.arange(0, OTHERS)
            there = other < count
            other_score = tl.load(scores + source + other, mask=there, other=-_LARGEST)
            other_place = tl.load(places + source + other, mask=there, other=0)
            earlier = (other_score[None, :] == score[:, None]) & (other_place[None, :] < place[:, None])
            before = there[None, :] & ((other_score[None, :] > score[:, None]) | earlier)
            rank += tl.sum(before.to(tl.int32), axis=1)
        kept = valid & (rank < MOST)
        target = batch * MOST + rank
        tl.store(sorted_scores + target, score, mask=kept)
        tl.store(sorted_class_ids + target, tl.load(class_ids + source + mine, mask=kept, other=0), mask=kept)
        side = tl.arange(0, 4)
        box = tl.load(boxes + (source + mine)[:, None] * 4 + side[None, :], mask=kept[:, None], other=0.0)
        tl.store(sorted_boxes + target[:, None] * 4 + side[None, :], box, mask=kept[:, None])


@triton.jit
def _sides(boxes, index, valid):
    left = tl.load(boxes + index * 4, mask=valid, other=0.0)
    top = tl.load(boxes + index * 4 + 1, mask=valid, other=0.0)
    right = tl.load(boxes + index * 4 + 2, mask=valid, other=0.0)
    bottom = tl.load(boxes + index * 4 + 3, mask=valid, other=0.0)
    return left, top, right, bottom, tl.maximum(right - left, 0.0) * tl.maximum(bottom - top, 0.0)


@triton.jit
def overlap_kernel(
    counters,
    sorted_class_ids,
    sorted_boxes,
    suppressors,  # (batch, most, most / 32) int32: bit b of word w of candidate i: 32 w + b suppresses i
    iou_threshold,
    MOST: tl.constexpr,
):
    """One program judges 32 candidates against 32 that come before them, or among themselves."""
    batch = tl.program_id(2).to(tl.int64)
    count = tl.minimum(tl.load(counters + batch * 2), MOST)
    word = tl.program_id(1)
    start = tl.program_id(0) * 32
    if (start < count) & (word <= tl.program_id(0)):
        bit = tl.arange(0, 32)
        mine, other = start + bit, word * 32 + bit
        boxes, class_ids = sorted_boxes + batch * MOST * 4, sorted_class_ids + batch * MOST
        left, top, right, bottom, area = _sides(boxes, mine, mine < count)
        other_left, other_top, other_right, other_bottom, other_area = _sides(boxes, other, other < count)
        width = tl.minimum(right[:, None], other_right[None, :]) - tl.maximum(left[:, None], other_left[None, :])
        height = tl.minimum(bottom[:, None], other_bottom[None, :]) - tl.maximum(top[:, None], other_top[None, :])
        intersection = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
        union = tl.maximum((area[:, None] + other_area[None, :]) - intersection, 1.1754943508222875e-38)
        class_id = tl.load(class_ids + mine, mask=mine < count, other=0)
        other_class = tl.load(class_ids + other, mask=other < count, other=0)
        hit = (tl.div_rn(intersection, union) > iou_threshold) & (class_id[:, None] == other_class[None, :])
        hit = hit & (other[None, :] < mine[:, None]) & (mine[:, None] < count)
        bits = tl.sum(hit.to(tl.uint32) << bit[None, :].to(tl.uint32), axis=1)  # of different bits: the same as or
        target = suppressors + (batch * MOST + mine) * (MOST // 32) + word
        tl.store(target, bits.to(tl.int32, bitcast=True), mask=mine < count)


@triton.jit
def _packed(keep, MOST: tl.constexpr):
    """Return (most / 32,) words with one bit for each of (most,) flags."""
    bit = tl.arange(0, 32).to(tl.uint32)
    words = tl.sum(tl.reshape(keep.to(tl.uint32), (MOST // 32, 32)) << bit[None, :], axis=1)
    return words.to(tl.int32, bitcast=True)


@triton.jit
def select_kernel(
    counters,
    sorted_scores,
    sorted_class_ids,
    sorted_boxes,
    suppressors,
    result,  # (batch, 1 + max detections, 6) float32: kept, candidates, faults; then x1 y1 x2 y2 score class
    max_detections,
    pad_x,
    pad_y,
    scale_x,
    scale_y,
    image_width,
    image_height,
    MOST: tl.constexpr,
):
    """One program finishes one image: the survivors in pixels of the image, best first; the counters back to zero.

    Whether a candidate stays depends only on better ones, so repeating "stays unless a staying one suppresses it" for
    all at once, from all staying, is right for the first k candidates of every chain of suppressions after k rounds,
    and ends where greedy NMS ends. A chain is rarely longer than five.
    """
    batch = tl.program_id(0).to(tl.int64)
    found = tl.load(counters + batch * 2)
    faults = tl.load(counters + batch * 2 + 1)
    count = tl.minimum(found, MOST)
    mine = tl.arange(0, MOST)
    word = tl.arange(0, MOST // 32)
    written = (mine < count)[:, None] & (word[None, :] <= (mine // 32)[:, None])
    address = suppressors + (batch * MOST + mine)[:, None] * (MOST // 32) + word[None, :]
    suppressed_by = tl.load(address, mask=written, other=0)
    keep = (mine < count).to(tl.int32)
    words = _packed(keep, MOST)
    changed = count > 0
    while changed:
        blocked = tl.max(((suppressed_by & words[None, :]) != 0).to(tl.int32), axis=1)
        keep = (mine < count).to(tl.int32) & (1 - blocked)
        renewed = _packed(keep, MOST)
        changed = tl.max((renewed != words).to(tl.int32), axis=0) > 0
        words = renewed
    rank = tl.cumsum(keep, axis=0)
    chosen = (keep > 0) & (rank <= max_detections)
    image = result + batch * (1 + max_detections) * 6
    tl.store(image, tl.minimum(tl.sum(keep, axis=0), max_detections).to(tl.float32))
    tl.store(image + 1, found.to(tl.float32))
    tl.store(image + 2, faults.to(tl.float32))
    left, top, right, bottom, _area = _sides(sorted_boxes + batch * MOST * 4, mine, chosen)
    target = image + rank * 6
    tl.store(target, tl.minimum(tl.maximum(tl.div_rn(left - pad_x, scale_x), 0.0), image_width), mask=chosen)
    tl.store(target + 1, tl.minimum(tl.maximum(tl.div_rn(top - pad_y, scale_y), 0.0), image_height), mask=chosen)
    tl.store(target + 2, tl.minimum(tl.maximum(tl.div_rn(right - pad_x, scale_x), 0.0), image_width), mask=chosen)
    tl.store(target + 3, tl.minimum(tl.maximum(tl.div_rn(bottom - pad_y, scale_y), 0.0), image_height), mask=chosen)
    tl.store(target + 4, tl.load(sorted_scores + batch * MOST + mine, mask=chosen, other=0.0), mask=chosen)
    class_id = tl.load(sorted_class_ids + batch * MOST + mine, mask=chosen, other=0)
    tl.store(target + 5, class_id.to(tl.float32), mask=chosen)
    # Ready for the next image; whatever comes next on the stream starts after this.
    tl.store(counters + batch * 2, 0)
    tl.store(counters + batch * 2 + 1, 0)
