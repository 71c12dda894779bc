"""FP16 and INT8 as ONNX graphs: conversion, calibration, and Q/DQ placement by TensorRT's rules."""
