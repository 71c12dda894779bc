"""Parcels on a worker: whole, of the digest they go by, and in a folder that nobody else can write."""

import io
import tarfile

import pytest

from yolotrt_lab.grading.jobs import remote
from yolotrt_lab.grading.jobs.packing import digest_of, pack


@pytest.fixture
def parcels(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOTRT_PARCELS", str(tmp_path / "parcels"))
    return tmp_path / "parcels"


@pytest.fixture
def packed(tmp_path):
    (tmp_path / "suite" / "lab0").mkdir(parents=True)
    (tmp_path / "suite" / "lab0" / "test_double.py").write_text("EXERCISE = 1\n")
    return pack(tmp_path / "suite")


def archive(kind, name="a"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        made.addfile(entry)
    return stream.getvalue()


def test_a_parcel_is_kept_under_its_digest(parcels, packed):
    assert remote.keep_parcel(digest_of(packed), packed)
    assert pack(parcels / digest_of(packed)) == packed
    assert remote.keep_parcel(digest_of(packed), packed)  # once more, by another worker of the machine
    assert len(list(parcels.iterdir())) == 1


def test_another_content_is_not(parcels, packed):
    assert not remote.keep_parcel("0" * 64, packed)
    assert not parcels.exists()


@pytest.mark.parametrize(
    "content",
    [
        archive(tarfile.SYMTYPE),
        archive(tarfile.LNKTYPE),
        archive(tarfile.REGTYPE, "../out"),
        archive(tarfile.REGTYPE, "/tmp/out"),
    ],
    ids=["link", "hard link", "above", "absolute"],
)
def test_what_leads_elsewhere_is_refused(parcels, content):
    assert not remote.keep_parcel(digest_of(content), content)
    assert list(parcels.iterdir()) == []


def test_a_folder_that_others_can_write_is_refused(parcels, packed):
    """Who can write there before the worker does could put code of the right name there."""
    parcels.mkdir()
    parcels.chmod(0o777)
    with pytest.raises(PermissionError, match="YOLOTRT_PARCELS"):
        remote.keep_parcel(digest_of(packed), packed)


def test_a_link_to_another_folder_is_refused(parcels, packed, tmp_path):
    (tmp_path / "others").mkdir()
    parcels.symlink_to(tmp_path / "others")
    with pytest.raises(PermissionError, match="YOLOTRT_PARCELS"):
        remote.keep_parcel(digest_of(packed), packed)
