import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab.data import bccd
from yolotrt_lab.data.bccd import BCCD_COMMIT, MANIFEST_PATH, prepare_bccd
from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.download import FetchPolicy, read_manifest
from yolotrt_lab.errors import InputError

QUICK = FetchPolicy(timeout_s=5, attempts=2, backoff_s=0.0, workers=2)
LISTS = {"train": ["B_0", "B_3"], "val": ["B_1"], "test": ["B_2"]}


def voc(stem, *objects):
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>\n"
        for name, a, b, c, d in objects
    )
    head = f"<filename>{stem}.jpg</filename><size><width>64</width><height>48</height></size>"
    return f"<annotation>{head}\n{body}</annotation>"


@pytest.fixture
def mirror(tmp_path):
    """A folder like the real one with four small images, one broken box, and its own checksum list."""
    folder = tmp_path / "mirror" / "BCCD"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"JPEGImages/B_{index}.jpg"), pixels)
        objects = [("RBC", 4, 4, 20, 20), ("Platelets", 30, 30, 40, 40), ("WBC", 8, 8, 48, 40)]
        broken = [("RBC", 50, 33, 50, 33)] if index == 1 else []
        (folder / f"Annotations/B_{index}.xml").write_text(voc(f"B_{index}", *objects, *broken))
    for split, stems in LISTS.items():
        (folder / f"ImageSets/Main/{split}.txt").write_text("\n".join(stems) + "\n")
    (folder / "LICENSE").write_text("MIT")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (tmp_path / "manifest").write_text("".join(lines))
    return folder.parent


@pytest.fixture
def manifest(mirror):
    return mirror.parent / "manifest"


def serve(server, mirror, *, upstream=False):
    """Put the mirror's files on the server, in the mirror's layout or in the public repository's."""
    for path in mirror.rglob("*"):
        if path.is_file():
            name = path.relative_to(mirror).as_posix()
            server.files[name.removeprefix("BCCD/") if upstream and name == "BCCD/LICENSE" else name] = (
                path.read_bytes()
            )


def check(dataset):
    assert dataset.class_names == ("RBC", "WBC", "Platelets")
    assert {split: [path.stem for path in paths] for split, paths in dataset.splits.items()} == LISTS
    lines = dataset.labels_path(dataset.splits["test"][0]).read_text().split("\n")
    assert [line.split(" ")[0] for line in lines[:3]] == ["0", "2", "1"]
    assert lines[0] == "0 0.187500 0.250000 0.250000 0.333333"


class TestSources:
    def test_a_folder(self, mirror, manifest, tmp_path):
        seen = []
        dataset = prepare_bccd(
            tmp_path / "bccd", mirror=str(mirror), manifest_path=manifest, on_progress=lambda *s: seen.append(s)
        )
        check(dataset)
        assert seen[-1] == (12, 12)
        assert dataset.splits["train"][0].read_bytes() == (mirror / "BCCD/JPEGImages/B_0.jpg").read_bytes()
        assert (dataset.root / "voc/LICENSE").read_text() == "MIT"
        assert (dataset.root / "voc/Annotations/B_0.xml").is_file()

    def test_http(self, mirror, manifest, tmp_path, server):
        serve(server, mirror)
        check(prepare_bccd(tmp_path / "bccd", mirror=server.url + "/", manifest_path=manifest, policy=QUICK))

    def test_a_file_url(self, mirror, manifest, tmp_path):
        check(prepare_bccd(tmp_path / "bccd", mirror=mirror.as_uri(), manifest_path=manifest, policy=QUICK))

    def test_an_archive(self, mirror, manifest, tmp_path, server, packed):
        serve(server, mirror, upstream=True)
        server.files = {"x.tar.gz": packed(server.files)}
        url = f"{server.url}/x.tar.gz"
        check(prepare_bccd(tmp_path / "bccd", mirror=url, manifest_path=manifest, policy=QUICK))

    def test_the_environment_variable(self, mirror, manifest, tmp_path, monkeypatch):
        monkeypatch.setenv("YOLOTRT_DATA_MIRROR", str(mirror))
        monkeypatch.setattr(bccd, "_ARCHIVE_URL", "http://127.0.0.1:9/never")
        check(prepare_bccd(tmp_path / "bccd", manifest_path=manifest))

    @pytest.mark.parametrize("archive", [True, False])
    def test_the_public_repository(self, mirror, manifest, tmp_path, server, packed, monkeypatch, archive):
        """First its archive in one request, and single files if that fails."""
        serve(server, mirror, upstream=True)
        if archive:
            server.files = {"archive": packed(server.files)}
        monkeypatch.delenv("YOLOTRT_DATA_MIRROR", raising=False)
        monkeypatch.setattr(bccd, "_ARCHIVE_URL", f"{server.url}/archive")
        monkeypatch.setattr(bccd, "_FILES_URL", server.url)
        check(prepare_bccd(tmp_path / "bccd", manifest_path=manifest, policy=QUICK))
        assert len(server.requests) == (1 if archive else 1 + 12)

    def test_the_real_addresses_name_the_commit(self):
        assert len(BCCD_COMMIT) == 40
        for url in (bccd._ARCHIVE_URL, bccd._FILES_URL):
            assert url.startswith("https://")
            assert url.endswith(BCCD_COMMIT)


class TestTrouble:
    def test_a_changed_file(self, mirror, manifest, tmp_path):
        (mirror / "BCCD/JPEGImages/B_2.jpg").write_bytes(b"changed")
        with pytest.raises(InputError, match=r"JPEGImages/B_2\.jpg .* is not the file it should be") as error:
            prepare_bccd(tmp_path / "bccd", mirror=str(mirror), manifest_path=manifest)
        assert "SHA-256" in error.value.expected
        assert not (tmp_path / "bccd").exists()

    def test_a_missing_file_then_the_rest(self, mirror, manifest, tmp_path, server):
        serve(server, mirror)
        data = server.files.pop("BCCD/Annotations/B_3.xml")
        with pytest.raises(InputError, match=r"B_3\.xml"):
            prepare_bccd(tmp_path / "bccd", mirror=server.url, manifest_path=manifest, policy=QUICK)
        assert not (tmp_path / "bccd").exists()
        server.files["BCCD/Annotations/B_3.xml"] = data
        check(prepare_bccd(tmp_path / "bccd", mirror=server.url, manifest_path=manifest, policy=QUICK))
        counts = {name: server.requests.count(name) for name in server.requests}
        assert counts["BCCD/Annotations/B_0.xml"] == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bccd", "manifest", "mirror"]

    def test_a_cut_connection(self, mirror, manifest, tmp_path, server):
        serve(server, mirror)
        server.faults = {"BCCD/JPEGImages/B_0.jpg": ["cut"], "BCCD/LICENSE": ["reset"]}
        check(prepare_bccd(tmp_path / "bccd", mirror=server.url, manifest_path=manifest, policy=QUICK))

    def test_a_mirror_without_bccd(self, manifest, tmp_path):
        with pytest.raises(InputError, match="YOLOTRT_DATA_MIRROR leads to no copy") as error:
            prepare_bccd(tmp_path / "bccd", mirror=str(tmp_path / "nope"), manifest_path=manifest)
        assert "nope/BCCD" in error.value.expected
        assert "unset" in error.value.fix


class TestReuse:
    @pytest.fixture
    def made(self, mirror, manifest, tmp_path):
        return prepare_bccd(tmp_path / "bccd", mirror=str(mirror), manifest_path=manifest)

    def test_it_is_not_fetched_again(self, made, mirror, manifest):
        shutil.rmtree(mirror)
        assert prepare_bccd(made.root, mirror=str(mirror), manifest_path=manifest).splits == made.splits

    def test_the_broken_box_is_recorded(self, made):
        meta = json.loads((made.root / "dataset.json").read_text())
        assert meta["commit"] == BCCD_COMMIT
        assert meta["counts"] == {"train": 2, "val": 1, "test": 1}
        assert meta["problems"] == [
            "Annotations/B_1.xml:5: object 3: zero-size: the box 50 33 50 33 covers nothing; skipped"
        ]

    def test_other_files_are_never_overwritten(self, manifest, tmp_path):
        (tmp_path / "bccd").mkdir()
        (tmp_path / "bccd/mine").write_text("x")
        with pytest.raises(InputError, match="something else"):
            prepare_bccd(tmp_path / "bccd", mirror="unused", manifest_path=manifest)

    def test_another_version(self, made, manifest):
        meta = json.loads((made.root / "dataset.json").read_text())
        (made.root / "dataset.json").write_text(json.dumps(meta | {"commit": "0" * 40}))
        with pytest.raises(InputError, match="something else"):
            prepare_bccd(made.root, mirror="unused", manifest_path=manifest)

    def test_missing_images(self, made, manifest):
        made.splits["train"][0].unlink()
        with pytest.raises(InputError, match="incomplete"):
            prepare_bccd(made.root, mirror="unused", manifest_path=manifest)


class TestShippedManifest:
    def test_it_lists_the_whole_data_set(self):
        names = list(read_manifest(MANIFEST_PATH))
        assert len(names) == len(set(names)) == 733
        for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
            stems = {Path(name).stem for name in names if name.startswith(f"{folder}/")}
            assert len(stems) == 364
            assert all(name.endswith(suffix) for name in names if name.startswith(f"{folder}/"))
        rest = {name for name in names if not name.startswith(("JPEGImages/", "Annotations/"))}
        assert rest == {"LICENSE", *(f"ImageSets/Main/{split}.txt" for split in ("train", "val", "trainval", "test"))}


@pytest.mark.bccd
def test_the_real_data_set(tmp_path):
    mirror = os.environ.get("YOLOTRT_DATA_MIRROR", "")
    if not mirror or not (Path(mirror) / "BCCD").is_dir():
        pytest.skip("needs the real BCCD images: set YOLOTRT_DATA_MIRROR to a folder that holds BCCD/")
    dataset = prepare_dataset("bccd", root=tmp_path)
    assert {split: len(paths) for split, paths in dataset.splits.items()} == {"train": 205, "val": 87, "test": 72}
    meta = json.loads((dataset.root / "dataset.json").read_text())
    assert [problem.split(":")[0] for problem in sorted(meta["problems"])] == [
        "Annotations/BloodImage_00338.xml",
        "Annotations/BloodImage_00343.xml",
    ]
