"""Grading as independent jobs: results kept by content, computed on all cores or many machines, resumed."""
