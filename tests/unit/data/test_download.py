import hashlib
import socket
import tarfile

import pytest

from yolotrt_lab.data.download import FetchPolicy, fetch_archive, fetch_files, fetch_url, read_manifest
from yolotrt_lab.errors import InputError

QUICK = FetchPolicy(timeout_s=5, attempts=3, backoff_s=0.0, workers=2)


FILES = {"a.txt": b"alpha", "folder/b c.txt": b"beta" * 100, "folder/ü.txt": b"gamma"}
MANIFEST = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFetchUrl:
    def test_bytes(self, server):
        server.files["a"] = b"hello"
        assert fetch_url(f"{server.url}/a", policy=QUICK) == b"hello"

    def test_file_urls(self, tmp_path):
        (tmp_path / "a").write_bytes(b"hello")
        assert fetch_url((tmp_path / "a").as_uri(), policy=QUICK) == b"hello"

    @pytest.mark.parametrize("fault", [503, 429, 500, "cut", "reset"])
    def test_what_may_pass_is_tried_again(self, server, fault):
        server.files["a"] = b"hello" * 50
        server.faults["a"] = [fault, fault]
        assert fetch_url(f"{server.url}/a", policy=QUICK) == b"hello" * 50
        assert len(server.requests) == 3

    @pytest.mark.parametrize(("fault", "reason"), [(503, "503"), ("cut", "cut after 125 of 250 bytes"), ("reset", "")])
    def test_but_not_for_ever(self, server, fault, reason):
        server.files["a"] = b"hello" * 50
        server.faults["a"] = [fault] * 9
        with pytest.raises(InputError, match="Cannot fetch") as error:
            fetch_url(f"{server.url}/a", policy=QUICK)
        assert reason in error.value.got
        assert "YOLOTRT_DATA_MIRROR" in error.value.fix
        assert len(server.requests) == 3

    @pytest.mark.parametrize("status", [404, 403, 410])
    def test_what_will_not_pass_is_not(self, server, status):
        server.faults["a"] = [status] * 9
        with pytest.raises(InputError) as error:
            fetch_url(f"{server.url}/a", policy=QUICK)
        assert str(status) in error.value.got
        assert len(server.requests) == 1

    def test_silence_ends_after_the_time_limit(self, server):
        server.files["a"] = b"hello"
        server.faults["a"] = ["stall"] * 9
        with pytest.raises(InputError, match="Cannot fetch") as error:
            fetch_url(f"{server.url}/a", policy=FetchPolicy(timeout_s=0.2, attempts=2, backoff_s=0))
        assert "timed out" in error.value.got

    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
            with pytest.raises(InputError, match="Cannot fetch"):
                fetch_url(url, policy=QUICK)

    def test_an_endless_answer(self, server):
        server.files["a"] = b"x" * 1000
        with pytest.raises(InputError, match="too large"):
            fetch_url(f"{server.url}/a", policy=FetchPolicy(max_bytes=999))

    @pytest.mark.parametrize("url", ["ftp://example.org/a", "data:,hello", "/etc/passwd"])
    def test_other_schemes(self, url):
        with pytest.raises(InputError, match="Cannot fetch") as error:
            fetch_url(url, policy=QUICK)
        assert "http" in error.value.expected


class TestFetchFiles:
    @pytest.fixture(params=["http", "file", "folder"])
    def source(self, request, server, tmp_path):
        """The same files behind each kind of source."""
        server.files.update(FILES)
        for name, data in FILES.items():
            (tmp_path / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mirror" / name).write_bytes(data)
        folder = tmp_path / "mirror"
        return {"http": server.url, "file": folder.as_uri(), "folder": str(folder)}[request.param]

    def test_every_source_gives_the_same(self, source, tmp_path):
        seen = []
        fetch_files(source, tmp_path / "out", manifest=MANIFEST, policy=QUICK, on_progress=lambda *s: seen.append(s))
        assert contents(tmp_path / "out") == FILES
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_other_names_at_the_source(self, server, tmp_path):
        server.files = {f"deep/{name}": data for name, data in FILES.items()}
        fetch_files(server.url, tmp_path, manifest=MANIFEST, remote_name=lambda name: f"deep/{name}", policy=QUICK)
        assert contents(tmp_path) == FILES

    def test_only_what_is_missing_or_damaged_is_fetched_again(self, server, tmp_path):
        server.files.update(FILES)
        fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        server.requests.clear()
        fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert server.requests == []
        (tmp_path / "a.txt").write_bytes(b"alpfa")
        (tmp_path / "folder/b c.txt").write_bytes(b"")
        fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert sorted(server.requests) == ["a.txt", "folder/b c.txt"]
        assert contents(tmp_path) == FILES

    def test_a_changed_file_is_named_with_both_checksums(self, server, tmp_path):
        server.files.update(FILES | {"a.txt": b"alpfa"})
        with pytest.raises(InputError, match=r"a\.txt from .* is not the file it should be") as error:
            fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert MANIFEST["a.txt"] in error.value.expected
        assert hashlib.sha256(b"alpfa").hexdigest() in error.value.got
        assert not (tmp_path / "a.txt").exists()

    def test_a_missing_file_stops_it_and_the_next_run_goes_on(self, server, tmp_path):
        server.files.update(FILES)
        del server.files["folder/ü.txt"]
        with pytest.raises(InputError, match="Cannot fetch"):
            fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert "folder/ü.txt" not in contents(tmp_path)
        server.files.update(FILES)
        fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert contents(tmp_path) == FILES

    def test_a_missing_file_of_a_folder(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            fetch_files(str(tmp_path / "nope"), tmp_path / "out", manifest=MANIFEST, policy=QUICK)

    def test_connections_that_break(self, server, tmp_path):
        server.files.update(FILES)
        server.faults = {"a.txt": ["reset", 503], "folder/b c.txt": ["cut"]}
        fetch_files(server.url, tmp_path, manifest=MANIFEST, policy=QUICK)
        assert contents(tmp_path) == FILES


class TestFetchArchive:
    def test_it_takes_what_the_manifest_names(self, server, packed, tmp_path):
        server.files["x.tar.gz"] = packed(FILES | {"other.txt": b"no"})
        fetch_archive(f"{server.url}/x.tar.gz", tmp_path, manifest=MANIFEST, policy=QUICK)
        assert contents(tmp_path) == FILES

    def test_hostile_members_are_ignored(self, server, packed, tmp_path):
        """Nothing leaves the target, and no link is followed or made."""
        evil = tarfile.TarInfo("repo-abc/../../evil.txt")
        link = tarfile.TarInfo("repo-abc/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        server.files["x.tar.gz"] = packed(FILES, extra=(evil, link))
        (tmp_path / "out").mkdir()
        fetch_archive(f"{server.url}/x.tar.gz", tmp_path / "out", manifest=MANIFEST, policy=QUICK)
        assert contents(tmp_path) == {f"out/{name}": data for name, data in FILES.items()}

    def test_a_link_in_the_place_of_a_file(self, server, packed, tmp_path):
        link = tarfile.TarInfo("repo-abc/a.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        files = {name: data for name, data in FILES.items() if name != "a.txt"}
        server.files["x.tar.gz"] = packed(files, extra=(link,))
        with pytest.raises(InputError, match="incomplete") as error:
            fetch_archive(f"{server.url}/x.tar.gz", tmp_path, manifest=MANIFEST, policy=QUICK)
        assert "a.txt" in error.value.got

    def test_a_changed_file(self, server, packed, tmp_path):
        server.files["x.tar.gz"] = packed(FILES | {"a.txt": b"alpfa"})
        with pytest.raises(InputError, match="not the file it should be"):
            fetch_archive(f"{server.url}/x.tar.gz", tmp_path, manifest=MANIFEST, policy=QUICK)

    @pytest.mark.parametrize("data", [b"no archive", b"", None])
    def test_a_broken_archive(self, server, packed, tmp_path, data):
        server.files["x.tar.gz"] = packed(FILES)[:-60] if data is None else data
        with pytest.raises(InputError, match=r"tar archive|incomplete"):
            fetch_archive(f"{server.url}/x.tar.gz", tmp_path, manifest=MANIFEST, policy=QUICK)


class TestManifest:
    def test_lines(self, tmp_path):
        digest = "0" * 64
        (tmp_path / "m").write_text(f"{digest}  a b/c.jpg\n{digest}  d\n")
        assert read_manifest(tmp_path / "m") == {"a b/c.jpg": digest, "d": digest}

    @pytest.mark.parametrize("line", ["abc  a", "0" * 64 + " a", "0" * 64 + "  /etc/passwd", "0" * 64 + "  ../a"])
    def test_malformed(self, tmp_path, line):
        (tmp_path / "m").write_text(f"{'0' * 64}  a\n{line}\n")
        with pytest.raises(InputError, match="m:2 is malformed"):
            read_manifest(tmp_path / "m")
