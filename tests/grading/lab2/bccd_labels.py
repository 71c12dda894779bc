"""Real annotations: three images of BCCD with the kinds of errors that the data set has.

Pascal VOC edges from https://github.com/Shenggan/BCCD_Dataset at commit d272fb1, MIT licence, (c) 2017 Shenggan.
Two of its 4,888 boxes have no area, and eight cells are annotated twice, the second box shifted by two pixels.
"""

CLASS_NAMES = ("RBC", "WBC", "Platelets")
IMAGE_HW = (480, 640)

# fmt: off
_RED = {
    "BloodImage_00338": [
        (453, 81, 555, 182), (476, 171, 599, 307), (346, 212, 455, 316), (24, 113, 127, 207), (163, 31, 289, 131),
        (83, 303, 175, 382), (304, 64, 413, 174), (60, 61, 153, 157), (174, 321, 265, 406), (191, 164, 292, 245),
        (91, 181, 190, 276), (169, 202, 263, 278), (504, 337, 504, 337),
    ],
    "BloodImage_00343": [
        (484, 195, 613, 303), (525, 299, 637, 396), (96, 157, 227, 244), (181, 329, 181, 329), (256, 200, 376, 307),
        (523, 1, 640, 119), (32, 5, 133, 98), (132, 22, 201, 145), (338, 325, 429, 444),
    ],
    "BloodImage_00100": [
        (229, 238, 342, 330), (152, 146, 268, 257), (150, 144, 266, 255), (70, 197, 179, 300), (7, 1, 103, 82),
        (469, 28, 573, 121), (494, 137, 596, 237), (27, 305, 111, 395), (45, 105, 129, 195), (32, 191, 116, 281),
        (339, 262, 405, 367), (368, 59, 460, 146), (415, 140, 516, 226), (344, 412, 445, 479), (144, 250, 234, 348),
    ],
}
_OTHERS = {
    "BloodImage_00338": [(1, (244, 327, 509, 480))],
    "BloodImage_00343": [(2, (1, 361, 48, 410)), (2, (70, 206, 118, 255)), (1, (183, 1, 425, 153))],
    "BloodImage_00100": [(1, (398, 228, 590, 431)), (2, (306, 383, 347, 421))],
}
# fmt: on


def yolo_text(name: str) -> str:
    """Return the annotation of one image as the text of its YOLO label file."""
    height, width = IMAGE_HW
    lines = []
    for class_id, (left, top, right, bottom) in [(0, box) for box in _RED[name]] + _OTHERS[name]:
        center = (left + right) / 2 / width, (top + bottom) / 2 / height
        size = (right - left) / width, (bottom - top) / height
        lines.append(f"{class_id} {center[0]:.6f} {center[1]:.6f} {size[0]:.6f} {size[1]:.6f}")
    return "\n".join(lines) + "\n"
