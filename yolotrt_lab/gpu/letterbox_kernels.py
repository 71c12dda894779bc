"""The Triton kernel that letterboxes; imported only where Triton is, by `gpu.letterbox`."""
# mypy: ignore-errors
# Triton's language only looks like Python: its tensors have no types that a checker of Python could follow.

import triton
import triton.language as tl

__all__ = ["letterbox_kernel"]


@triton.jit
def _mixed(image, above, below, weight_above, weight_below, left, right, weight_left, weight_right, channel, inside):
    """Return one channel of resized pixels, 0 to 255, as int32: the formula of `gpu.resampling`."""
    above_left = tl.load(image + above + left + channel, mask=inside, other=0).to(tl.int32)
    above_right = tl.load(image + above + right + channel, mask=inside, other=0).to(tl.int32)
    below_left = tl.load(image + below + left + channel, mask=inside, other=0).to(tl.int32)
    below_right = tl.load(image + below + right + channel, mask=inside, other=0).to(tl.int32)
    row_above = (above_left * weight_left + above_right * weight_right) >> 4
    row_below = (below_left * weight_left + below_right * weight_right) >> 4
    return (((weight_above * row_above) >> 16) + ((weight_below * row_below) >> 16) + 2) >> 2


# Sizes are not constants of the compilation: a new image size must not cost a second.
@triton.jit(
    do_not_specialize=[
        "image_height", "image_width", "left", "top", "resized_height", "resized_width", "input_width", "pad_value",
    ]
)  # fmt: skip
def letterbox_kernel(
    images,  # (batch, image height, image width, 3) uint8, BGR, contiguous
    columns,  # (4, resized width) int32
    rows,  # (4, resized height) int32
    out,  # (batch, 3, input height, input width) float16 or float32, any strides
    image_height,
    image_width,
    left,
    top,
    resized_height,
    resized_width,
    input_width,
    stride_batch,
    stride_channel,
    stride_row,
    stride_column,
    pad_value,
    BLOCK: tl.constexpr,
):
    """One program makes `BLOCK` pixels of one row of one image: red, green and blue, divided by 255."""
    x = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.program_id(1) + tl.zeros((BLOCK,), tl.int32)
    batch = tl.program_id(2).to(tl.int64)
    in_row = (y >= top) & (y < top + resized_height)
    inside = (x >= left) & (x < left + resized_width) & in_row
    column = columns + (x - left)
    left_byte = tl.load(column, mask=inside, other=0) * 3
    right_byte = tl.load(column + resized_width, mask=inside, other=0) * 3
    weight_left = tl.load(column + 2 * resized_width, mask=inside, other=0)
    weight_right = tl.load(column + 3 * resized_width, mask=inside, other=0)
    row = rows + (y - top)
    above = tl.load(row, mask=in_row, other=0).to(tl.int64) * image_width * 3
    below = tl.load(row + resized_height, mask=in_row, other=0).to(tl.int64) * image_width * 3
    weight_above = tl.load(row + 2 * resized_height, mask=in_row, other=0)
    weight_below = tl.load(row + 3 * resized_height, mask=in_row, other=0)
    image = images + batch * image_height * image_width * 3
    target = out + batch * stride_batch + y.to(tl.int64) * stride_row + x * stride_column
    within = x < input_width
    for channel in tl.static_range(3):
        mixed = _mixed(
            image,
            above,
            below,
            weight_above,
            weight_below,
            left_byte,
            right_byte,
            weight_left,
            weight_right,
            2 - channel,  # BGR to RGB
            inside,
        )
        # Correctly rounded division: the plain one may be off by two units in the last place.
        value = tl.div_rn(tl.where(inside, mixed, pad_value).to(tl.float32), 255.0)
        tl.store(target + channel * stride_channel, value.to(out.dtype.element_ty), mask=within)
