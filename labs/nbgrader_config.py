"""nbgrader's Assignment List looks for the configuration here, where the labs are: it is the course's."""

from pathlib import Path

get_config()  # noqa: F821 -- nbgrader provides it
load_subconfig(str(Path(__file__).resolve().parents[1] / "nbgrader_config.py"))  # noqa: F821 -- traitlets provides it
