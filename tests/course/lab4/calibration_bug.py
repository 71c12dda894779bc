"""Wrong and right answers to lab4.calibration_bug."""

import random

import cv2
import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.detection.letterbox import letterbox, preprocess


@right
class Plain:
    """The parent of the wrong ones, which change one method each."""

    def choose(self, class_ids, count):
        classes = sorted({number for ids in class_ids for number in ids})
        chosen = []
        while len(chosen) < count:
            before = len(chosen)
            for number in classes:
                fresh = [i for i, ids in enumerate(class_ids) if number in ids and i not in chosen]
                if fresh and len(chosen) < count:
                    chosen.append(fresh[len(fresh) // 2])
            if len(chosen) == before:
                chosen += [i for i in range(len(class_ids)) if i not in chosen][: count - len(chosen)]
        return chosen

    def prepare(self, image_bgr, input_hw):
        return preprocess(image_bgr, input_hw=input_hw)[0]

    def diagnose(self, healthy, seen):
        bugs = set()
        ratio = seen["largest"] / healthy["largest"]
        scale = 255 if ratio > 16 else 1 / 255 if ratio < 1 / 16 else 1
        if scale != 1:
            bugs.add("scale")
        bugs |= self.channels(np.array(seen["channel_mean"]) / scale, np.array(healthy["channel_mean"]))
        bugs |= self.border(np.array(seen["border"]), np.array(healthy["border"]))
        return bugs | self.selection(seen, healthy)

    def channels(self, mean, expected):
        return {"channels"} if abs(mean[::-1] - expected).sum() < abs(mean - expected).sum() else set()

    def border(self, seen, expected):
        return {"letterbox"} if abs(seen - expected).max() > 0.4 * expected.max() else set()

    def selection(self, seen, healthy):
        shares = [np.array(part["images_per_class"]) / part["images"] for part in (seen, healthy)]
        return {"selection"} if (shares[0] < shares[1] / 3).any() else set()


@right
class Differently:
    """By hand and in lists: greedy choice by need, letterbox by hand, a diagnosis by the nearest explanation."""

    def choose(self, class_ids, count):
        shown, chosen, left = {}, [], list(range(len(class_ids)))
        frequency = {}
        for ids in class_ids:
            for number in ids:
                frequency[number] = frequency.get(number, 0) + 1
        while len(chosen) < count:
            goal = count // len(frequency)
            needed = [c for c in frequency if shown.get(c, 0) < min(goal, frequency[c])]
            needed.sort(key=frequency.get)
            best = next((i for i in left if needed and needed[0] in class_ids[i]), left[0])
            left.remove(best)
            chosen.append(np.int64(best))
            for number in class_ids[best]:
                shown[number] = shown.get(number, 0) + 1
        return tuple(chosen)

    def prepare(self, image_bgr, input_hw):
        canvas, _ = letterbox(image_bgr, input_hw=input_hw)
        return cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)

    def diagnose(self, healthy, seen):
        found = []
        mean = list(seen["channel_mean"])
        if not 0.3 < sum(mean) / sum(healthy["channel_mean"]) < 3:
            found.append("scale")
        if (mean[0] - mean[2]) * (healthy["channel_mean"][0] - healthy["channel_mean"][2]) < 0:
            found.append("channels")
        if any(abs(a - b) > 4 for a, b in zip(seen["border"], healthy["border"], strict=True)):
            found.append("letterbox")
        if max(seen["images_per_class"]) > 3 * sorted(seen["images_per_class"])[1]:
            found.append("selection")
        return found


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="not divided by 255")
class NotDivided(Plain):
    """Takes float32 for enough."""

    def prepare(self, image_bgr, input_hw):
        return super().prepare(image_bgr, input_hw) * np.float32(255)


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="trained on RGB")
class BlueFirst(Plain):
    """Forgets what OpenCV reads."""

    def prepare(self, image_bgr, input_hw):
        return np.ascontiguousarray(super().prepare(image_bgr, input_hw)[:, ::-1])


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="stretched")
class Stretched(Plain):
    """Resizes to the input's size, as one would for a classifier."""

    def prepare(self, image_bgr, input_hw):
        resized = cv2.resize(image_bgr, input_hw[::-1])[..., ::-1]
        return resized.transpose(2, 0, 1)[None].astype(np.float32) / 255


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="in the corner")
class InTheCorner(Plain):
    """Pads on the right and at the bottom only."""

    def prepare(self, image_bgr, input_hw):
        height, width = image_bgr.shape[:2]
        scale = min(input_hw[0] / height, input_hw[1] / width)
        resized = cv2.resize(image_bgr, (round(width * scale), round(height * scale)))
        below, beside = input_hw[0] - resized.shape[0], input_hw[1] - resized.shape[1]
        canvas = cv2.copyMakeBorder(resized, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        return canvas[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="border is black")
class BlackBorder(Plain):
    """Pads with zeros."""

    def prepare(self, image_bgr, input_hw):
        canvas, _ = letterbox(image_bgr, input_hw=input_hw, pad_value=0)
        return cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)


@wrong(caught_by="test_images_are_prepared_as_at_inference", says="channels are last")
class ChannelsLast(Plain):
    """Keeps OpenCV's order of the axes."""

    def prepare(self, image_bgr, input_hw):
        return np.ascontiguousarray(super().prepare(image_bgr, input_hw).transpose(0, 2, 3, 1))


@wrong(caught_by="test_every_class_is_chosen", says="tends to be sorted")
class FirstFiles(Plain):
    """Takes the first files."""

    def choose(self, class_ids, count):
        return list(range(count))


@wrong(caught_by="test_every_class_is_chosen", says="rare classes")
class ByChance(Plain):
    """Trusts a random sample, which is better than the first files and not enough."""

    def choose(self, class_ids, count):
        return random.Random(0).sample(range(len(class_ids)), count)


@wrong(caught_by="test_every_class_is_chosen", says="counts twice")
class WithRepetition(Plain):
    """Fills up by taking images of rare classes again."""

    def choose(self, class_ids, count):
        classes = sorted({number for ids in class_ids for number in ids})
        wanted = [[i for i, ids in enumerate(class_ids) if number in ids] for number in classes]
        return [wanted[n % len(classes)][n // len(classes) % len(wanted[n % len(classes)])] for n in range(count)]


@wrong(caught_by="test_single_bugs_are_told_apart", says="both directions")
class OnlyTooLarge(Plain):
    """Looks for 255 only."""

    def diagnose(self, healthy, seen):
        found = super().diagnose(healthy, seen)
        return found - {"scale"} if seen["largest"] <= 1.5 else found


@wrong(caught_by="test_several_bugs_and_none", says="divide first")
class ComparesMeansAsTheyAre(Plain):
    """Asks about channels before it undoes the scale."""

    def diagnose(self, healthy, seen):
        found = super().diagnose(healthy, seen) - {"channels"}
        close = np.allclose(np.array(seen["channel_mean"])[::-1], healthy["channel_mean"], atol=0.12)
        return found | {"channels"} if close else found


@wrong(caught_by="test_single_bugs_are_told_apart", says="compare shares")
class ComparesNumbers(Plain):
    """Takes a smaller calibration set for a wrong one."""

    def selection(self, seen, healthy):
        few = np.array(seen["images_per_class"]) < 0.8 * np.array(healthy["images_per_class"])
        return {"selection"} if few.any() else set()


@wrong(caught_by="test_several_bugs_and_none", says="no bug")
class WantsEquality(Plain):
    """Takes every difference for a bug."""

    def border(self, seen, expected):
        return {"letterbox"} if not np.array_equal(seen, expected) else set()


@wrong(caught_by="test_several_bugs_and_none", says="no reason to stop")
class StopsAtTheFirst(Plain):
    """Believes that bugs come alone."""

    def diagnose(self, healthy, seen):
        return set(sorted(super().diagnose(healthy, seen))[:1])
