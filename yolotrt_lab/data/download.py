"""Fetch files over HTTP(S) or from a folder, and believe none of them before its SHA-256 is right.

Requests have a time limit and are repeated after failures that may pass (cut connections, busy servers). What has
arrived whole stays, so a second run fetches only the rest.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab import __version__
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import require_file, sha256_of, write_bytes
from yolotrt_lab.types import ProgressCallback

__all__ = ["FetchPolicy", "fetch_archive", "fetch_files", "fetch_url", "read_manifest"]

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_MIRROR_FIX = "Check the network, or set YOLOTRT_DATA_MIRROR to a folder or URL that holds a copy."


@dataclass(frozen=True)
class FetchPolicy:
    """How patient to be.

    Attributes:
        timeout_s: Longest silence of a server.
        attempts: How often a request is made in all.
        backoff_s: Pause before the second attempt; doubled before each further one.
        max_bytes: Largest answer accepted.
        workers: Simultaneous requests.
    """

    timeout_s: float = 30.0
    attempts: int = 4
    backoff_s: float = 0.5
    max_bytes: int = 256 << 20
    workers: int = 8


def read_manifest(path: Path) -> Mapping[str, str]:
    """Return SHA-256 by relative path from a file in the format of `sha256sum`.

    Raises:
        InputError: The file is missing or a line is malformed.
    """
    require_file(path, kind="checksum list")
    entries: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator or name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"{path}:{number} is malformed.", expected="<sha256>  <relative path>", got=line)
        entries[name] = digest
    return entries


def fetch_url(url: str, *, policy: FetchPolicy) -> bytes:
    """Return what is at an http, https or file URL.

    Raises:
        InputError: It is not there, or the server could not be reached in all attempts.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in {"http", "https", "file"}:
        raise InputError(f"Cannot fetch {url}.", expected="an http, https or file URL", got=scheme or "no scheme")
    request = urllib.request.Request(url, headers={"User-Agent": f"yolotrt-lab/{__version__}"})
    reason: object = None
    for attempt in range(policy.attempts):
        if attempt:
            time.sleep(policy.backoff_s * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(request, timeout=policy.timeout_s) as answer:
                data: bytes = answer.read(policy.max_bytes + 1)
                stated = answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"HTTP status {error.code} {error.reason}"
            if error.code not in _PASSING_STATUS:
                break
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        else:
            if len(data) > policy.max_bytes:
                raise InputError(f"{url} is too large.", expected=f"at most {policy.max_bytes} bytes", got="more")
            if stated is None or not stated.isdecimal() or len(data) >= int(stated):
                return data
            reason = f"the connection was cut after {len(data)} of {stated} bytes"
    raise InputError(f"Cannot fetch {url}.", expected="the file", got=reason, fix=_MIRROR_FIX)


def _checked(data: bytes, *, name: str, source: str, digest: str) -> bytes:
    got = hashlib.sha256(data).hexdigest()
    if got != digest:
        raise InputError(
            f"{name} from {source} is not the file it should be.",
            expected=f"SHA-256 {digest}",
            got=f"SHA-256 {got} ({len(data)} bytes)",
            fix="Try again; if it stays, the copy is damaged or was changed: use another source.",
        )
    return data


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and path.stat().st_size > 0 and sha256_of(path) == digest


def _read_from(source: str, name: str, *, policy: FetchPolicy) -> bytes:
    """Return one file below a URL or a local folder."""
    if "://" in source:
        return fetch_url(f"{source.rstrip('/')}/{urllib.parse.quote(name)}", policy=policy)
    path = Path(source) / name
    return require_file(path, kind="file of the data set's copy").read_bytes()


def fetch_files(
    source: str,
    target: Path,
    *,
    manifest: Mapping[str, str],
    remote_name: Callable[[str], str] = str,
    policy: FetchPolicy | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Bring every file of a manifest below `target`; those that are there and whole are kept.

    Args:
        source: URL (http, https, file) or local folder.
        target: Where the files go.
        manifest: SHA-256 by relative path.
        remote_name: Gives a file's path below `source`.
        policy: How patient to be.
        on_progress: Called with (files done, files in all).

    Raises:
        InputError: A file is missing, unreachable, or not the one the manifest promises.
        OutputError: `target` cannot be written.
    """
    policy = policy or FetchPolicy()

    def fetch(name: str) -> None:
        if not _is_whole(target / name, manifest[name]):
            data = _read_from(source, remote_name(name), policy=policy)
            write_bytes(target / name, _checked(data, name=name, source=source, digest=manifest[name]))

    with ThreadPoolExecutor(policy.workers) as pool:
        tasks = [pool.submit(fetch, name) for name in manifest]
        try:
            for done, task in enumerate(as_completed(tasks), start=1):
                task.result()
                if on_progress:
                    on_progress(done, len(tasks))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def fetch_archive(
    url: str,
    target: Path,
    *,
    manifest: Mapping[str, str],
    remote_name: Callable[[str], str] = str,
    policy: FetchPolicy | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Bring every file of a manifest from a tar archive whose members lie in one top folder, as GitHub makes them.

    Args:
        url: The archive.
        target: Where the files go.
        manifest: SHA-256 by relative path; other members are ignored.
        remote_name: Gives a file's path below the archive's top folder.
        policy: How patient to be.
        on_progress: Called with (files done, files in all).

    Raises:
        InputError: The archive is unreachable or broken, or a file in it is missing or not the one promised.
        OutputError: `target` cannot be written.
    """
    data = fetch_url(url, policy=policy or FetchPolicy())
    wanted = {remote_name(name): name for name in manifest}
    done = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                name = wanted.get(member.name.partition("/")[2])
                stream = archive.extractfile(member) if name is not None and member.isreg() else None
                if name is None or stream is None:
                    continue
                write_bytes(target / name, _checked(stream.read(), name=name, source=url, digest=manifest[name]))
                del wanted[remote_name(name)]
                done += 1
                if on_progress:
                    on_progress(done, len(manifest))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"{url} is not a whole tar archive.", expected="a .tar.gz", got=error, fix=_MIRROR_FIX
        ) from error
    if wanted:
        raise InputError(
            f"The archive {url} is incomplete.", expected=f"{len(manifest)} files", got=f"no {next(iter(wanted))}"
        )
