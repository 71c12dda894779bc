"""Datasets: images, YOLO labels, converters, validation, splits, statistics, and two ready data sets.

A data set is a folder in YOLO's layout: `images/<split>/*.jpg`, `labels/<split>/*.txt`, `data.yaml`.
"""
