import subprocess
import sys

import pytest

from yolotrt_lab import __version__
from yolotrt_lab.cli import main as main_module
from yolotrt_lab.cli.main import main
from yolotrt_lab.errors import InputError, LabError, MissingDependencyError, VerificationError


@pytest.fixture
def failing(monkeypatch):
    """Replace the program by one that raises."""

    def install(error: BaseException) -> None:
        def app(_arguments: object) -> None:
            raise error

        monkeypatch.setattr(main_module, "app", app)

    return install


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"yolotrt {__version__}\n"


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert main_module._COMMANDS
    for name in main_module._COMMANDS:
        assert name in out


@pytest.mark.parametrize("command", main_module._COMMANDS)
def test_every_command_explains_itself_with_examples(command):
    """In a process of its own, as wide as a screen, as a user asks."""
    done = subprocess.run(
        [sys.executable, "-m", "yolotrt_lab.cli.main", command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Usage" in done.stdout
    assert f"yolotrt {command}" in done.stdout.replace("python -m yolotrt_lab.cli.main", "yolotrt")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["train", "--nonsense"], ["train"]])
def test_wrong_usage(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LabError("x"), 2),
        (InputError("Bad label.", got="4 fields"), 2),
        (VerificationError("No."), 1),
        (MissingDependencyError("No GPU."), 3),
    ],
)
def test_errors_for_users(failing, capsys, error, code):
    failing(error)
    assert main([]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {error.what}")
    assert "Traceback" not in err


def test_an_interrupt(failing, capsys):
    failing(KeyboardInterrupt())
    assert main([]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_bug_is_called_a_bug(failing, capsys, monkeypatch):
    monkeypatch.delenv("YOLOTRT_DEBUG", raising=False)
    failing(ZeroDivisionError("division by zero"))
    assert main([]) == 70
    err = " ".join(capsys.readouterr().err.split())
    assert "Internal error: ZeroDivisionError: division by zero" in err
    assert "YOLOTRT_DEBUG=1" in err


def test_a_bug_shows_its_traceback_on_request(failing, monkeypatch):
    monkeypatch.setenv("YOLOTRT_DEBUG", "1")
    failing(ZeroDivisionError("division by zero"))
    with pytest.raises(ZeroDivisionError):
        main([])


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (5, 5), (None, 0)])
def test_exit_codes_of_commands_pass(failing, code, expected):
    failing(SystemExit(code))
    assert main([]) == expected


def test_the_program_exits_with_the_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["yolotrt", "nonsense"])
    with pytest.raises(SystemExit) as caught:
        main_module.run()
    assert caught.value.code == 2
