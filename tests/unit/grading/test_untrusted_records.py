"""Records of strangers: nothing is believed that a header says, and nothing larger is made than what is there."""

import itertools
import json
import os
import struct

import numpy as np
import pytest

from yolotrt_lab.grading.untrusted_records import load_array, load_bytes, load_record


def npy(header: str, data: bytes = b"", *, version: bytes = b"\x01\x00") -> bytes:
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header.encode("latin1") + data


def described(descr: str, shape: str, fortran: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


class TestArrays:
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(6, dtype=">f4"),
            np.arange(10)[::2],
            np.array(3.5),
            np.zeros((0, 4), np.float16),
            np.array(["a", "öß"]),
            np.array([np.nan, -0.0, np.inf]),
            np.array([True, False]),
        ],
        ids=repr,
    )
    def test_plain_ones_come_back(self, array, tmp_path):
        np.save(tmp_path / "a.npy", array)
        back = load_array(tmp_path / "a.npy")
        assert back.dtype == array.dtype.newbyteorder("=")
        assert back.dtype.isnative
        assert back.flags.c_contiguous
        assert back.flags.writeable
        np.testing.assert_array_equal(back, array)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x93NUMPY",
            npy(described("'<f8'", "(1000000000000000,)")),
            npy(described("'<f8'", "(-1,)"), bytes(8)),
            npy(described("'<f8'", "(-2, -2)"), bytes(32)),
            npy(described("'<f8'", "(2.0,)"), bytes(16)),
            npy(described("'<f8'", "2"), bytes(16)),
            npy(described("'<f8'", "(2,)"), bytes(24)),
            npy(described("'<f8'", f"({10**30},)"), bytes(8)),
            npy(described("'<f8'", "(" + "1," * 40 + ")"), bytes(8)),
            npy(described("'<f8'", f"(0, {10**30})")),
            npy(described("'|O'", "(1,)"), b"\x80\x04N."),
            npy(described("[('a', '<f8')]", "(1,)"), bytes(8)),
            npy(described("('<f8', (2,))", "(1,)"), bytes(16)),
            npy(described("'<M8[s]'", "(1,)"), bytes(8)),
            npy(described("'<c16'", "(1,)"), bytes(16)),
            npy(described("'|S3'", "(1,)"), bytes(3)),
            npy(described("'|V8'", "(1,)"), bytes(8)),
            npy(described("__import__('os')", "(1,)"), bytes(8)),
            npy("(" * 5000, bytes(8)),
            npy("{}", bytes(8)),
            npy("[1]", bytes(8)),
            npy("{'descr': '<f8', 'shape': (1,), 'fortran_order': 7}", bytes(8)),
            npy(described("'<f8'", "(1,)").ljust(60_000), bytes(8)),
            npy(described("'<f8'", "(1,)"), bytes(8), version=b"\x09\x00"),
        ],
        ids=itertools.count(),
    )
    def test_odd_ones_are_refused(self, content, tmp_path):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(ValueError):  # noqa: PT011 -- each has its own words; that it is refused counts
            load_array(tmp_path / "a.npy")


class TestRecords:
    def test_a_record(self, tmp_path):
        (tmp_path / "record.json").write_text('{"status": "returned", "output": NaN}')
        assert load_record(tmp_path / "record.json")["status"] == "returned"

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"a": ' * 50_000, b'{"a": ' + b"9" * 5000 + b"}"]
    )
    def test_nonsense(self, content, tmp_path):
        (tmp_path / "record.json").write_bytes(content)
        with pytest.raises(ValueError):  # noqa: PT011 -- JSON's own words
            load_record(tmp_path / "record.json")

    def test_only_regular_files_of_sane_size(self, tmp_path):
        path = tmp_path / "record.json"
        with path.open("wb") as stream:
            stream.truncate(1 << 40)  # a hole of a terabyte
        with pytest.raises(ValueError, match="bytes"):
            load_record(path)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ValueError, match="no regular file"):
            load_record(path)
        path.unlink()
        (tmp_path / "other").write_text(json.dumps({}))
        path.symlink_to(tmp_path / "other")
        with pytest.raises(OSError, match="symbolic links"):
            load_bytes(path)
        path.unlink()
        with pytest.raises(FileNotFoundError):
            load_record(path)
