"""Download a file from the first mirror that gives it: over https only, resumed, checked, and never half-written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

_PIECE = 2**18  # bytes
_TIMEOUT = (10, 60)  # seconds: to connect, and between two pieces


class _MirrorError(Exception):
    """What one mirror did wrong; the next one is tried."""


def download_url_to_file(
    url: str | Sequence[str],
    dst: str | Path,
    hash_prefix: str | None = None,
    progress: bool = True,
    max_bytes: int = 2**32,
) -> Path:
    """Download `url`, or the first that works of several mirrors, to the file `dst`; returns its path.

    `hash_prefix` is the SHA-256 of the file in hexadecimal, or its first digits (as in PyTorch's
    `resnet18-f37072fd.pth`). A file that is at `dst` already and has it is kept. An interrupted download goes on
    where it stopped, if there is a hash to check the result against. `dst` appears only when it is complete and on
    disk; until then the data is in `dst.part`. Processes that want the same `dst` wait for each other.
    `progress` shows a bar where stderr is a terminal.

    Raises RuntimeError that says what went wrong with each mirror, ValueError for an address that is not https,
    OSError if `dst` cannot be written, ImportError without the packages of `tinygrad_mnist[download]`.

    Like https://docs.pytorch.org/docs/stable/hub.html#torch.hub.download_url_to_file, which knows no mirrors.
    """
    urls = [url] if isinstance(url, str) else list(url)
    dst = Path(dst)
    for address in urls:
        if not address.startswith("https://"):
            raise ValueError(f"download_url_to_file: expected an https:// address, got {address!r}")
    try:
        import filelock
        import requests
    except ImportError as error:
        raise ImportError(
            f"downloading {dst.name} needs {error.name}: pip install 'tinygrad_mnist[download]'"
        ) from error

    with _explained_disk_errors(dst):
        dst.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{dst}.lock"), requests.Session() as session:
            session.adapters.pop("http://")  # so that no redirect leaves https either
            if dst.exists() and _has_hash(dst, hash_prefix):
                return dst
            part = dst.with_name(f"{dst.name}.part")
            _fetch_from_any(session, urls, part, dst, hash_prefix, progress, max_bytes)
            part.replace(dst)
            _sync_folder(dst.parent)
    return dst


def _fetch_from_any(
    session: requests.Session,
    urls: list[str],
    part: Path,
    dst: Path,
    hash_prefix: str | None,
    progress: bool,
    max_bytes: int,
) -> None:
    """Leave the complete file, checked and on disk, at `part`, or raise with what each mirror did wrong."""
    failures, left = [], list(urls)
    while left:
        url = left.pop(0)
        if hash_prefix is None:
            part.unlink(missing_ok=True)  # nothing could tell whether it is the beginning of the same file
        resumes = part.exists()
        try:
            _fetch(session, url, part, dst.name if progress else None, max_bytes)
            if _has_hash(part, hash_prefix):
                return
            got = _sha256(part)
            part.unlink()
            raise _MirrorError(f"SHA-256 is {got}, expected {hash_prefix}")
        except _MirrorError as error:
            failures.append(f"{url}: {error}")
            if resumes and not part.exists():
                left.insert(0, url)  # what was there may have been the wrong beginning: once more from the start
    check = f" with SHA-256 {hash_prefix}" if hash_prefix else ""
    raise RuntimeError(
        "\n  ".join([f"could not download {dst.name}:", *failures])
        + f"\nCheck the network and run it again, or put the file{check} at {dst} yourself."
    )


def _fetch(session: requests.Session, url: str, part: Path, label: str | None, max_bytes: int) -> None:
    """Write the body of `url` to `part`, after what is there already if the server can go on from there."""
    import requests
    from tqdm import tqdm

    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if start and response.status_code == requests.codes.requested_range_not_satisfiable:
                part.unlink()
            if not response.ok:
                raise _MirrorError(f"{response.status_code} {response.reason}")
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0  # the server sends the whole file
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            disable = None if label else True  # None: tqdm looks whether it is a terminal
            with (
                part.open("ab" if start else "wb") as file,
                tqdm(desc=label, initial=start, total=total, unit="B", unit_scale=True, disable=disable) as bar,
            ):
                for piece in response.iter_content(_PIECE):
                    if file.tell() + len(piece) > max_bytes:
                        part.unlink()
                        raise _MirrorError(f"the file is larger than the {max_bytes:,} bytes expected")
                    file.write(piece)
                    bar.update(len(piece))
                file.flush()
                os.fsync(file.fileno())
    except requests.RequestException as error:
        raise _MirrorError(f"{type(error).__name__}: {error}") from error


def _has_hash(path: Path, prefix: str | None) -> bool:
    return prefix is None or _sha256(path).startswith(prefix)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _explained_disk_errors(dst: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {dst}: {error.strerror or error}; free some space there, or choose another folder",
        ) from error
