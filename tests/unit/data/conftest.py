"""Tiny data sets that tests may break, and a web server that breaks itself."""

import contextlib
import http.server
import io
import socket
import tarfile
import threading
import urllib.parse
from pathlib import Path

import cv2
import numpy as np
import pytest


def draw_image(path: Path, *, seed: int = 0, image_hw: tuple[int, int] = (48, 64)) -> Path:
    """Write a blotchy picture that differs clearly between seeds."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = cv2.resize(cells, image_hw[::-1], interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def draw():
    return draw_image


@pytest.fixture
def dataset_root(tmp_path):
    """Four training and two validation images with sound labels for two classes."""
    root = tmp_path / "set"
    seed = 0
    for split, count in (("train", 4), ("val", 2)):
        for index in range(count):
            draw_image(root / "images" / split / f"{split}{index}.png", seed=(seed := seed + 1))
            labels = root / "labels" / split / f"{split}{index}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text(f"{index % 2} 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.125 0.125\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [nut, bolt]\n")
    return root


class Server:
    """A web server on this machine that can misbehave.

    `files` maps paths to bytes; `faults` maps a path to what its next answers do: a status, "cut" (half the bytes, then
    the connection ends), "reset" (no answer at all) or "stall" (headers, then silence).
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[str] = []
        self._release = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = urllib.parse.unquote(self.path).lstrip("/")
                owner.requests.append(path)
                waiting = owner.faults.get(path)
                fault = waiting.pop(0) if waiting else None
                data = owner.files.get(path)
                if isinstance(fault, int) or data is None:
                    self.send_error(fault if isinstance(fault, int) else 404)
                    return
                if fault == "reset":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if fault == "stall":
                    owner._release.wait(20)
                    return
                self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

            def log_message(self, *arguments):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self._release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


@pytest.fixture
def server():
    with contextlib.closing(Server()) as running:
        yield running


def pack_like_github(files, *, top="repo-abc", extra=()):
    """Return a .tar.gz like GitHub's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in extra:
            archive.addfile(member)
    return stream.getvalue()


@pytest.fixture
def packed():
    return pack_like_github
