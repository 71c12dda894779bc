import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yolotrt_lab.training.environment import import_ultralytics, silence


def test_a_fresh_process_leaves_no_trace(tmp_path):
    """In a process of its own, because Ultralytics reads its environment once."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "OMP_", "XDG_", "PYTEST"))}
    program = (
        "import os; from yolotrt_lab.training.environment import import_ultralytics as go; go(purpose='test')\n"
        "from ultralytics.utils import AUTOINSTALL, ONLINE; from ultralytics.utils.events import events\n"
        "print(AUTOINSTALL, ONLINE, events.enabled, os.environ.get('OMP_NUM_THREADS'), os.environ.get('YOLO_VERBOSE'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=kept | {"HOME": str(home), "TMPDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "mpl")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["False", "False", "False", "None", "None"]  # and no greeting
    assert list(home.rglob("*")) == []
    assert (next(tmp_path.glob("yolotrt-lab-*")) / "Ultralytics" / "settings.json").is_file()


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("YOLO_AUTOINSTALL", "True")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    import_ultralytics(purpose="test")
    assert os.environ["YOLO_AUTOINSTALL"] == "True"
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_silence_moves_output_to_the_log_and_puts_everything_back(tmp_path, capfd):
    import_ultralytics(purpose="test")
    from ultralytics.data import utils as data_utils
    from ultralytics.utils import LOGGER

    before = (LOGGER.handlers[:], LOGGER.level, data_utils.check_font, sys.stdout)
    log = tmp_path / "train.log"

    def work() -> None:
        print("printed")
        LOGGER.info("\x1b[34mlogged\x1b[0m")
        print("progress", file=sys.stderr)
        assert data_utils.check_font("Arial.ttf") is None
        raise KeyboardInterrupt

    with silence(log), pytest.raises(KeyboardInterrupt):
        work()
    with pytest.raises(KeyboardInterrupt), silence(log):
        raise KeyboardInterrupt
    assert log.read_text().split() == ["printed", "logged"]
    assert (LOGGER.handlers, LOGGER.level, data_utils.check_font, sys.stdout) == before
    out, err = capfd.readouterr()
    assert (out, err) == ("", "progress\n")
    assert logging.getLogger("ultralytics") is LOGGER


def test_a_user_without_a_name(monkeypatch):
    from yolotrt_lab.training import environment

    def nameless():
        raise KeyError("uid not found")

    monkeypatch.setattr(environment.getpass, "getuser", nameless)
    assert environment._private_folder().name == f"yolotrt-lab-{os.getuid()}"
    assert isinstance(environment._private_folder(), Path)
