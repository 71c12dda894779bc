import json
import os
import subprocess
import sys
import threading

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.jobs.store import Store

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def result(tmp_path, text="two\n", name="result"):
    folder = tmp_path / name
    (folder / "recorded" / "lab0.double").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "recorded" / "lab0.double" / "x.npy").write_text(text)
    return folder


def text_of(store, key=KEY):
    folder = store.find(key)
    return None if folder is None else (folder / "recorded" / "lab0.double" / "x.npy").read_text()


def test_what_is_put_in_comes_out(store, tmp_path):
    assert not store.has(KEY)
    assert text_of(store) is None
    store.put(KEY, result(tmp_path))
    assert store.has(KEY)
    assert text_of(store) == "two\n"
    assert not (tmp_path / "result").exists()
    assert not list((store.folder / "tmp").iterdir())


def test_an_empty_result_is_a_result(store, tmp_path):
    (tmp_path / "nothing").mkdir()
    store.put(KEY, tmp_path / "nothing")
    with store.get(KEY) as folder:
        assert list(folder.iterdir()) == []


def test_the_first_stays(store, tmp_path):
    store.put(KEY, result(tmp_path, "first"))
    store.put(KEY, result(tmp_path, "second"))
    assert text_of(store) == "first"


@pytest.mark.parametrize("damage", ["changed", "longer", "missing", "more", "manifest", "no manifest", "other key"])
def test_what_is_damaged_is_dropped_and_can_be_put_in_again(store, tmp_path, damage):
    store.put(KEY, result(tmp_path))
    place = store.folder / KEY[:2] / KEY
    file = place / "content" / "recorded" / "lab0.double" / "x.npy"
    manifest = place / "manifest.json"
    match damage:
        case "changed":
            file.write_text("six\n")
        case "longer":
            file.write_text("two\n\n")
        case "missing":
            file.unlink()
        case "more":
            (place / "content" / "more").touch()
        case "manifest":
            manifest.write_text("{")
        case "no manifest":
            manifest.unlink()
        case "other key":
            manifest.write_text(manifest.read_text().replace(KEY, OTHER))
    assert text_of(store) is None
    assert not place.exists()
    store.put(KEY, result(tmp_path, "again"))
    assert text_of(store) == "again"


@pytest.mark.parametrize("kind", ["file", "folder", "fifo"])
def test_links_and_pipes_are_refused(store, tmp_path, kind):
    folder = result(tmp_path)
    if kind == "fifo":
        os.mkfifo(folder / "pipe")
    else:
        (folder / "link").symlink_to("/etc/passwd" if kind == "file" else "/etc")
    with pytest.raises(InputError, match="cannot be kept"):
        store.put(KEY, folder)
    assert not store.has(KEY)


@pytest.mark.parametrize("key", ["", "a", "../" + "a" * 61, "A" * 64, "a" * 65])
def test_a_key_is_64_hexadecimal_digits(store, key):
    with pytest.raises(InputError, match="not the key"):
        store.has(key)


def test_the_least_recently_used_go_first(store, tmp_path):
    keys = [digit * 64 for digit in "123"]
    for number, key in enumerate(keys):
        store.put(key, result(tmp_path, "x" * 1000))
        os.utime(store.folder / key[:2] / key / "manifest.json", (number, number))
    assert text_of(store, keys[0]) is not None  # now it is the youngest
    store.close()
    store.max_bytes = 3000
    assert store.trim() == 1
    assert [store.has(key) for key in keys] == [True, False, True]


def test_nothing_goes_that_is_being_read(store, tmp_path):
    store.put(KEY, result(tmp_path))
    store.max_bytes = 0
    reader = Store(store.folder)
    with reader.get(KEY) as folder:
        assert store.trim() == 0
        store.drop(KEY)
        assert (folder / "run.json").is_file()
    assert (reader.find(KEY) / "run.json").is_file()
    assert store.trim() == 0
    reader.close()
    assert store.trim() == 1
    assert text_of(store) is None


def test_few_of_many_entries_are_held(store, tmp_path, monkeypatch):
    monkeypatch.setattr("yolotrt_lab.grading.jobs.store._MOST_LEASES", 1)
    for key in (KEY, OTHER):
        store.put(key, result(tmp_path))
        assert text_of(store, key) is not None
        assert text_of(store, key) is not None
    store.max_bytes = 0
    assert store.trim() == 1
    assert store.has(OTHER)


def test_a_full_store_trims_itself(store, tmp_path, monkeypatch):
    monkeypatch.setattr("yolotrt_lab.grading.jobs.store._PUTS_BETWEEN_TRIMS", 2)
    store.max_bytes = 0
    store.put(KEY, result(tmp_path))
    assert store.has(KEY)
    store.put(OTHER, result(tmp_path))
    assert not store.has(KEY)
    assert not store.has(OTHER)


def test_what_a_dead_process_left_goes_after_a_day(store, tmp_path):
    store.put(KEY, result(tmp_path))
    left = store.folder / "tmp" / "job-left"
    (left / "entry").mkdir(parents=True)
    store.trim()
    assert left.is_dir()
    os.utime(left, (0, 0))
    store.trim()
    assert not left.exists()


def test_many_threads_and_processes_at_once(store, tmp_path):
    """All put in the same keys, read and remove them; whatever is read is whole."""
    program = """
import random, sys
from pathlib import Path
from yolotrt_lab.grading.jobs.store import Store

store, chance = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
seen = 0
for _ in range(60):
    key = chance.choice("0123") * 64
    folder = store.find(key)
    if folder is not None:
        assert (folder / "text").read_text() == key * 100
        seen += 1
    store.close()
    if chance.random() < 0.2:
        store.drop(key)
    else:
        with store.scratch() as scratch:
            made = scratch / "made"
            made.mkdir()
            (made / "text").write_text(key * 100)
            store.put(key, made)
print(seen)
"""
    seen = []

    def run(number):
        done = subprocess.run(
            [sys.executable, "-c", program, str(store.folder), str(number)], capture_output=True, text=True, check=False
        )
        seen.append((done.returncode, done.stderr, int(done.stdout or 0)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(code, text) for code, text, _ in seen] == [(0, "")] * 3
    assert sum(count for _, _, count in seen) > 0
    assert not list((store.folder / "tmp").iterdir())


def test_the_manifest_names_every_file(store, tmp_path):
    store.put(KEY, result(tmp_path))
    manifest = json.loads((store.folder / KEY[:2] / KEY / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["recorded/lab0.double/x.npy", "run.json"]
