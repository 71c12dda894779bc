"""Wrong and right answers to lab3.fuse_conv_bn."""

import numpy as np
import torch
from tests_course_api import right, wrong


def gain_of(gamma, variance, epsilon):
    """Return the factor per channel."""
    return gamma / np.sqrt(variance + epsilon)


def column(values):
    """Return a vector that scales output channels."""
    return values.reshape(-1, 1, 1, 1)


@wrong(caught_by="test_bias", says="had a bias already")
def old_bias_dropped(weight, bias, gamma, beta, mean, variance, epsilon):
    """Believes that convolutions before a norm never have a bias."""
    gain = gain_of(gamma, variance, np.float32(epsilon))
    return weight * column(gain), beta - gain * mean


@wrong(caught_by="test_bias", says="scaled like the rest")
def old_bias_added_at_the_end(weight, bias, gamma, beta, mean, variance, epsilon):
    """Believes that a bias is simply added."""
    gain = gain_of(gamma, variance, np.float32(epsilon))
    return weight * column(gain), beta - gain * mean + (0 if bias is None else bias)


@wrong(caught_by="test_weight", says="not by the variance")
def variance_for_deviation(weight, bias, gamma, beta, mean, variance, epsilon):
    """Divides by the variance."""
    gain = gamma / (variance + np.float32(epsilon))
    return weight * column(gain), beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_weight", says="YOLO uses another one")
def default_epsilon(weight, bias, gamma, beta, mean, variance, epsilon):
    """Uses PyTorch's default epsilon."""
    gain = gain_of(gamma, variance, np.float32(1e-5))
    return weight * column(gain), beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_form", says="variance may be zero")
def no_epsilon(weight, bias, gamma, beta, mean, variance, epsilon):
    """Takes epsilon for a detail of training."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = gamma / np.sqrt(variance)
        return weight * column(gain), beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_form", says="float64")
def double_precision_kept(weight, bias, gamma, beta, mean, variance, epsilon):
    """Computes in float64 and leaves it at that."""
    gain = gain_of(gamma.astype(np.float64), variance, epsilon)
    return weight * column(gain), beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_inputs_stay_as_they_are", says="damaged")
def in_place(weight, bias, gamma, beta, mean, variance, epsilon):
    """Scales the given weight."""
    gain = gain_of(gamma, variance, np.float32(epsilon))
    weight *= column(gain)
    return weight, beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_weight", says="first axis")
def last_axis(weight, bias, gamma, beta, mean, variance, epsilon):
    """Scales along the kernel's width, to which NumPy would broadcast a vector of that length."""
    gain = gain_of(gamma, variance, np.float32(epsilon))
    return weight * gain[: weight.shape[-1]], beta + gain * ((0 if bias is None else bias) - mean)


@wrong(caught_by="test_same_outputs", says="collect what multiplies x")
def plus_mean(weight, bias, gamma, beta, mean, variance, epsilon):
    """Adds the mean."""
    gain = gain_of(gamma, variance, np.float32(epsilon))
    return weight * column(gain), beta + gain * ((0 if bias is None else bias) + mean)


@right
def by_probing(weight, bias, gamma, beta, mean, variance, epsilon):
    """Finds the affine map by its values at 0 and 1, in torch's own batch norm."""
    tensors = [torch.from_numpy(value.astype(np.float64)) for value in (mean, variance, gamma, beta)]
    probes = torch.stack([torch.zeros(len(gamma)), torch.ones(len(gamma))]).double()[:, :, None]
    at_zero, at_one = torch.nn.functional.batch_norm(probes, *tensors, eps=epsilon)[:, :, 0].numpy()
    slope = at_one - at_zero
    old = np.zeros(len(gamma)) if bias is None else bias
    return [np.einsum("o,oikl->oikl", slope, weight).astype(np.float32), (at_zero + slope * old).astype(np.float32)]


@right
def as_matrices(weight, bias, gamma, beta, mean, variance, epsilon):
    """Multiplies the flattened kernels by a diagonal matrix."""
    slope = np.diag(np.divide(gamma, np.sqrt(np.add(variance, epsilon, dtype=np.float64))))
    flat = (slope @ weight.reshape(len(weight), -1)).reshape(weight.shape)
    old = np.zeros_like(mean) if bias is None else bias
    return np.float32(flat), np.float32(slope @ (old - mean) + beta)
