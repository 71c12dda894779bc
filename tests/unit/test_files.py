import errno
import hashlib
import json
import math
import os
import stat
from pathlib import Path

import pytest

from yolotrt_lab.errors import InputError, OutputError
from yolotrt_lab.files import atomic_path, read_json, require_file, sha256_of, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomicPath:
    def test_the_file_appears_whole(self, tmp_path):
        target = tmp_path / "new" / "folder" / "a.onnx"
        with atomic_path(target) as temporary:
            temporary.write_text("whole")
            assert temporary.suffix == ".onnx"
            assert temporary.parent == target.parent
            assert not target.exists()
        assert target.read_text() == "whole"
        assert names(target.parent) == ["a.onnx"]

    @pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, SystemExit])
    def test_after_a_failure_the_old_file_stands(self, tmp_path, failure):
        target = tmp_path / "a.txt"
        target.write_text("old")

        def work() -> None:
            with atomic_path(target) as temporary:
                temporary.write_text("half of the n")
                raise failure

        with pytest.raises(failure):
            work()
        assert target.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.ENOSPC, "Free some space"),
            (errno.EDQUOT, "quota"),
            (errno.EROFS, "read-only"),
            (errno.EACCES, "permissions"),
            (errno.EPERM, "permissions"),
        ],
    )
    def test_what_the_system_refuses_is_explained(self, tmp_path, number, words):
        target = tmp_path / "a.txt"
        with pytest.raises(OutputError, match=r"Cannot write .*a\.txt") as caught, atomic_path(target):
            raise OSError(number, os.strerror(number))
        assert caught.value.got == os.strerror(number)
        assert words in (caught.value.fix or "")
        assert names(tmp_path) == []

    def test_other_system_errors_are_not_disguised(self, tmp_path):
        with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
            (tmp_path / "missing").read_text()

    def test_a_file_in_the_place_of_a_folder(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="Cannot write"):
            write_text(tmp_path / "file" / "below" / "a.txt", "x")

    def test_others_may_read_the_file(self, tmp_path):
        before = os.umask(0o022)
        try:
            write_text(tmp_path / "a.txt", "x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644

    @pytest.mark.parametrize("name", ["x" * 200 + ".json", "Teile für 数.json", "no suffix", ".hidden"])
    def test_unusual_names(self, tmp_path, name):
        write_text(tmp_path / name, "x")
        assert names(tmp_path) == [name]


class TestRequireFile:
    def test_there(self, tmp_path):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"x")
        assert require_file(path, kind="ONNX model") == path

    @pytest.mark.parametrize(
        ("make", "what", "expected"),
        [
            (lambda path: None, "No such file", "ONNX model"),
            (lambda path: path.mkdir(), "is a folder", "a file: ONNX model"),
            (lambda path: path.touch(), "is empty", "ONNX model"),
            (lambda path: path.symlink_to("nowhere"), "No such file", "ONNX model"),
            (lambda path: path.symlink_to(path.name), "Cannot read", "ONNX model"),
        ],
        ids=["missing", "folder", "empty", "dangling link", "link to itself"],
    )
    def test_not_there(self, tmp_path, make, what, expected):
        path = tmp_path / "model.onnx"
        make(path)
        with pytest.raises(InputError, match=what) as caught:
            require_file(path, kind="ONNX model")
        assert str(path) in str(caught.value)
        assert caught.value.expected == expected

    def test_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(InputError, match="Cannot read"):
            require_file(tmp_path / "file" / "model.onnx", kind="ONNX model")


class TestJson:
    @pytest.mark.parametrize("value", [{}, [], "ä\u2028", 1.5, None, {"a": [1, {"b": None}]}, True])
    def test_round_trip(self, tmp_path, value):
        path = tmp_path / "a.json"
        write_json(path, value)
        assert read_json(path) == value
        assert path.read_text(encoding="utf-8").endswith("\n")

    @pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
    def test_what_json_cannot_say_is_refused(self, tmp_path, value):
        path = tmp_path / "a.json"
        path.write_text("{}")
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(path, value)
        assert path.read_text() == "{}"

    @pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"{'a': 1}", b"\x00"])
    def test_broken(self, tmp_path, content):
        path = tmp_path / "a.json"
        path.write_bytes(content)
        with pytest.raises(InputError, match="not valid JSON"):
            read_json(path)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            read_json(tmp_path / "a.json")

    def test_written_for_people(self, tmp_path):
        write_json(tmp_path / "a.json", {"größe": 1})
        assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "größe": 1\n}\n'
        assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": 1}


@pytest.mark.parametrize("size", [1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_sha256(tmp_path, size):
    data = bytes(index % 251 for index in range(size % 5000)) * (size // 5000 + 1)
    write_bytes(tmp_path / "a", data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_sha256_of_nothing(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        sha256_of(tmp_path / "a")
