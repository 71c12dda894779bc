import errno

import pytest

from yolotrt_lab.data.staging import publish_folder, staging_folder
from yolotrt_lab.errors import InputError, OutputError


def test_a_finished_folder_moves_into_place(tmp_path):
    with staging_folder(tmp_path / "deep/set") as partial:
        assert partial == tmp_path / "deep/.set.partial"
        (partial / "a").write_text("x")
        publish_folder(partial, tmp_path / "deep/set")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set"]
    assert [path.name for path in (tmp_path / "deep/set").iterdir()] == ["a"]


def test_an_unfinished_one_is_kept_for_the_next_run(tmp_path):
    def interrupted():
        with staging_folder(tmp_path / "set") as partial:
            (partial / "a").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "set").exists()
    with staging_folder(tmp_path / "set") as partial:
        assert (partial / "a").read_text() == "x"


def test_only_one_at_a_time(tmp_path):
    with staging_folder(tmp_path / "set"):
        with pytest.raises(InputError, match="Another run"), staging_folder(tmp_path / "set"):
            pytest.fail("both got in")
        with staging_folder(tmp_path / "other"):
            pass
    with staging_folder(tmp_path / "set"):
        pass


@pytest.mark.parametrize(("code", "fix"), [(errno.ENOSPC, "Free some space"), (errno.EACCES, "permissions")])
def test_a_folder_that_cannot_be_written(tmp_path, code, fix):
    with pytest.raises(OutputError, match="Cannot write") as error, staging_folder(tmp_path / "set"):
        raise OSError(code, "no")
    assert fix in error.value.fix


def test_our_own_errors_pass_through(tmp_path):
    with pytest.raises(InputError, match="mine"), staging_folder(tmp_path / "set"):
        raise InputError("mine")
