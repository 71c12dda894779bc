import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.table import CalibrationTable, read_calibration_cache, write_calibration_cache

TABLE = CalibrationTable(
    amax={"images": 1.0, "/model.0/act/Mul_output_0": 8.73, "dead": 0.0},
    method="entropy",
    image_count=128,
    digest="ab" * 32,
    model_sha256="cd" * 32,
    saturation={"images": 0.25, "/model.0/act/Mul_output_0": 0.0, "dead": 0.0},
    warnings=("a warning",),
)


def test_the_text_is_tensorrts(tmp_path):
    write_calibration_cache(TABLE, tmp_path / "a.calibration")
    lines = (tmp_path / "a.calibration").read_text().splitlines()
    assert lines[0] == "TRT-101600-EntropyCalibration2"
    assert lines[1] == "images: 3c010204"  # 1 / 127 as big-endian float32
    assert lines[3] == "dead: 00000000"


def test_scales_are_steps():
    assert TABLE.scales["images"] == 1 / 127


def test_round_trip(tmp_path):
    write_calibration_cache(TABLE, tmp_path / "a.calibration")
    back = read_calibration_cache(tmp_path / "a.calibration")
    assert dict(back.amax) == pytest.approx(dict(TABLE.amax), rel=1e-6)
    assert dataclasses.replace(back, amax=TABLE.amax) == TABLE


@pytest.mark.parametrize(
    ("method", "header"),
    [("minmax", "MinMaxCalibration"), ("percentile", "LegacyCalibration"), ("mse", "EntropyCalibration2")],
)
def test_the_header_names_the_algorithm(tmp_path, method, header):
    path = tmp_path / "a.calibration"
    write_calibration_cache(dataclasses.replace(TABLE, method=method), path)
    assert path.read_text().startswith(f"TRT-101600-{header}\n")
    assert read_calibration_cache(path).method == method


def test_a_cache_of_tensorrt_itself(tmp_path):
    path = tmp_path / "calib.cache"
    path.write_text(
        "TRT-8601-EntropyCalibration2\nimages: 3c010a14\n(Unnamed Layer* 1) [Conv]_output: 3d8f1c2b\n366: 0\n"
    )
    table = read_calibration_cache(path)
    assert table.amax["366"] == 0.0  # it writes zero with one digit
    assert table.amax["images"] == pytest.approx(1.0005, abs=1e-3)
    assert table.amax["(Unnamed Layer* 1) [Conv]_output"] > 0
    assert (table.method, table.image_count) == ("entropy", 0)


@given(
    st.dictionaries(
        # Everything that UTF-8 can hold but the two ends of a line: other separators, controls, colons, spaces.
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1),
        st.floats(0, 1e6, width=32),
        max_size=5,
    )
)
def test_any_names_and_ranges(tmp_path_factory, amax):
    path = tmp_path_factory.mktemp("cache") / "c"
    write_calibration_cache(dataclasses.replace(TABLE, amax=amax), path)
    assert dict(read_calibration_cache(path).amax) == pytest.approx(amax, rel=1e-5, abs=1e-40)


AWKWARD = ["a: b", "a:", ": ", " ", "a: 3c010204", "(Unnamed Layer* 64) [Shuffle]_output", "a\u2028b", "a\x0bb",
           "a\x85", "\t", "/model.0/act/Mul:0", "Größe ±", "TRT-101600-X", "名前", "a\x00"]  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names(tmp_path, name):
    amax = {"first": 1.0, name: 2.0, "last": 3.0}
    write_calibration_cache(dataclasses.replace(TABLE, amax=amax), tmp_path / "c")
    assert dict(read_calibration_cache(tmp_path / "c").amax) == pytest.approx(amax)


@pytest.mark.parametrize(
    ("version", "method", "header"),
    [
        ("10.0.1", "entropy", "TRT-100001-EntropyCalibration2"),
        ("10.0.1", "minmax", "TRT-100001-MinMaxCalibration"),
        ("10.16.1.11", "entropy", "TRT-101601-EntropyCalibration2"),
        ("10.16.1.11", "minmax", "TRT-101601-MinMaxCalibration"),
        ("8.6", "entropy", "TRT-8600-EntropyCalibration2"),
    ],
)
def test_the_header_names_the_version(tmp_path, version, method, header):
    table = dataclasses.replace(TABLE, method=method)
    sidecar = write_calibration_cache(table, tmp_path / "c", tensorrt_version=version)
    assert (tmp_path / "c").read_text().startswith(f"{header}\n")
    sidecar.unlink()
    assert read_calibration_cache(tmp_path / "c").method == method


@pytest.mark.parametrize("version", ["", "ten", "10.x", "-1.2.3"])
def test_no_versions(tmp_path, version):
    with pytest.raises(InputError, match="no version of TensorRT"):
        write_calibration_cache(TABLE, tmp_path / "c", tensorrt_version=version)


@pytest.mark.parametrize("amax", [1e40, 5e40, float("inf"), float("nan"), -1.0])
def test_scales_that_no_float32_holds(tmp_path, amax):
    with pytest.raises(InputError, match="'x' does not fit"):
        write_calibration_cache(dataclasses.replace(TABLE, amax={"x": amax * 127}), tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_every_cut_is_noticed(tmp_path):
    """With the file beside it, a cache may be cut anywhere; without, the end of a line looks like the end."""
    sidecar = write_calibration_cache(TABLE, tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()
    dead = whole.index(b"dead: 0") + len(b"dead: 0")  # TensorRT's own way to write zero
    for length in set(range(1, len(whole) - 1)) - {dead}:  # the last line break may be missing
        (tmp_path / "c").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_calibration_cache(tmp_path / "c")
    sidecar.unlink()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(1, len(whole) - 1):
        (tmp_path / "c").write_bytes(whole[:length])
        if length in ends or length - 1 in ends or length == dead:
            read_calibration_cache(tmp_path / "c")
        elif length > ends[0]:
            with pytest.raises(InputError):
                read_calibration_cache(tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("hello\n", "not a calibration cache"),
        ("{}\n", "not a calibration cache"),
        ("TRT-\nimages: 3c010a14\n", "not a calibration cache"),
        ("TRT-101600-\nimages: 3c010a14\n", "not a calibration cache"),
        ("1 2.5\n", "not a calibration cache"),
        ("TRT-101600-X\nimages: 3c010a14\n\nother: 3c010a14\n", "line 3"),
        ("TRT-101600-X\nimages: 3c 01 0a 14\n", "line 2"),
        ("TRT-101600-X\nimages: 7f800000\n", "line 2"),  # infinity
        ("TRT-101600-X\nimages: 3c010a14\nimages: 3c010a14\n", "line 3: a second scale"),
        ("TRT-101600-X\nimages 3c010a14\n", "line 2"),
        ("TRT-101600-X\nimages: 3c010a14\nother: xyz\n", "line 3"),
        ("TRT-101600-X\nimages: 3c01\n", "line 2"),
        ("TRT-101600-X\nimages: 7fc00000\n", "line 2"),  # NaN
        ("TRT-101600-X\nimages: bc010a14\n", "line 2"),  # negative
    ],
)
def test_broken_caches(tmp_path, content, what):
    (tmp_path / "c").write_text(content)
    with pytest.raises(InputError, match=what):
        read_calibration_cache(tmp_path / "c")


def test_binary_files_and_broken_sidecars(tmp_path):
    (tmp_path / "c").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        read_calibration_cache(tmp_path / "c")
    write_calibration_cache(TABLE, tmp_path / "d")
    for content in ("[]", '{"image_count": "many"}', '{"saturation": 3}'):
        (tmp_path / "d.json").write_text(content)
        with pytest.raises(InputError, match=r"d\.json does not describe"):
            read_calibration_cache(tmp_path / "d")


def test_names_with_line_breaks_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="line break"):
        write_calibration_cache(dataclasses.replace(TABLE, amax={"a\nb": 1.0}), tmp_path / "c")
