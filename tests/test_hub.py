"""Downloads from servers that fail in every way a server can."""

import errno
import hashlib
import io
import multiprocessing
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

import pytest
from https_mirror import Mirror

from tinygrad_mnist.hub import download_url_to_file

BODY = bytes(range(256)) * 4000  # several pieces
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "weights.bin"


def leftovers(dst: Path) -> list[str]:
    """What lies beside `dst` apart from the lock."""
    return sorted(path.name for path in dst.parent.iterdir() if path.suffix != ".lock")


def half_done(dst: Path, start: bytes) -> Path:
    dst.parent.mkdir(parents=True)
    part = dst.with_name("weights.bin.part")
    part.write_bytes(start)
    return part


@pytest.mark.parametrize("hash_prefix", [None, SHA256, SHA256[:8]], ids=["no hash", "full hash", "prefix"])
def test_downloads(mirror: Mirror, dst: Path, hash_prefix: str | None) -> None:
    assert download_url_to_file(mirror.serve("/a", BODY), dst, hash_prefix) == dst
    assert dst.read_bytes() == BODY
    assert leftovers(dst) == ["weights.bin"]


def test_an_empty_file_is_a_file(mirror: Mirror, dst: Path) -> None:
    download_url_to_file(mirror.serve("/a", b""), dst)
    assert dst.read_bytes() == b""


@pytest.mark.parametrize("hash_prefix", [None, SHA256])
def test_a_file_that_is_there_is_not_asked_for(mirror: Mirror, dst: Path, hash_prefix: str | None) -> None:
    dst.parent.mkdir(parents=True)
    dst.write_bytes(BODY)
    download_url_to_file(mirror.serve("/a", BODY), dst, hash_prefix)
    assert mirror.requests == []


def test_a_file_with_another_hash_is_replaced(mirror: Mirror, dst: Path) -> None:
    dst.parent.mkdir(parents=True)
    dst.write_bytes(b"old")
    download_url_to_file(mirror.serve("/a", BODY), dst, SHA256)
    assert dst.read_bytes() == BODY


@pytest.mark.parametrize(
    "first",
    [
        {"status": 404},
        {"status": 503},
        {"body": b"not what was asked for"},
        {"body": BODY, "cut": 1000},
        {"body": BODY, "cut": 0},
        {"redirect": "http://localhost/a", "status": 302},
    ],
    ids=["404", "503", "wrong checksum", "truncated", "nothing sent", "redirect to http"],
)
def test_the_next_mirror_is_used_when_one_fails(mirror: Mirror, dst: Path, first: dict) -> None:
    urls = [mirror.serve("/bad", **first), mirror.serve("/good", BODY), mirror.serve("/unused", BODY)]
    download_url_to_file(urls, dst, SHA256)
    assert dst.read_bytes() == BODY
    assert leftovers(dst) == ["weights.bin"]
    assert [path for path, _ in mirror.requests] == ["/bad", "/good"]


def test_the_error_lists_what_each_mirror_did_and_what_to_do(mirror: Mirror, dst: Path) -> None:
    urls = [
        mirror.serve("/missing", status=404),
        mirror.serve("/wrong", b"wrong"),
        mirror.serve("/short", BODY, cut=1000),
        "https://localhost:1/refused",
        mirror.serve("/redirect", redirect="http://localhost/a", status=302),
    ]
    with pytest.raises(RuntimeError) as raised:
        download_url_to_file(urls, dst, SHA256)
    lines = str(raised.value).splitlines()
    assert lines[0] == "could not download weights.bin:"
    assert lines[1] == f"  {urls[0]}: 404 Not Found"
    assert lines[2] == f"  {urls[1]}: SHA-256 is {hashlib.sha256(b'wrong').hexdigest()}, expected {SHA256}"
    assert lines[3].startswith(f"  {urls[2]}: ChunkedEncodingError")
    assert "1000 bytes read" in lines[3]
    assert lines[4].startswith(f"  {urls[3]}: ConnectionError")
    assert lines[5].startswith(
        f"  {urls[4]}: InvalidSchema: No connection adapters were found for 'http://localhost/a'"
    )
    assert lines[6] == f"Check the network and run it again, or put the file with SHA-256 {SHA256} at {dst} yourself."
    assert not dst.exists()


def test_without_a_hash_a_truncated_file_is_an_error_too(mirror: Mirror, dst: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"or put the file at {dst} yourself"):
        download_url_to_file(mirror.serve("/a", BODY, cut=1000), dst)
    assert not dst.exists()


def test_an_interrupted_download_goes_on(mirror: Mirror, dst: Path) -> None:
    half_done(dst, BODY[:700])
    download_url_to_file(mirror.serve("/a", BODY), dst, SHA256)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/a", "bytes=700-")]


def test_a_truncated_download_goes_on_at_the_next_mirror(mirror: Mirror, dst: Path) -> None:
    download_url_to_file([mirror.serve("/cut", BODY, cut=2**18), mirror.serve("/good", BODY)], dst, SHA256)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/cut", None), ("/good", f"bytes={2**18}-")]


def test_a_server_that_ignores_range_sends_it_all(mirror: Mirror, dst: Path) -> None:
    half_done(dst, b"x" * 700)
    download_url_to_file(mirror.serve("/a", BODY, ranges=False), dst, SHA256)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/a", "bytes=700-")]


@pytest.mark.parametrize("start", [b"x" * 700, BODY + b"x"], ids=["wrong beginning", "longer than the file"])
def test_a_wrong_beginning_is_thrown_away(mirror: Mirror, dst: Path, start: bytes) -> None:
    half_done(dst, start)
    download_url_to_file(mirror.serve("/a", BODY), dst, SHA256)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/a", f"bytes={len(start)}-"), ("/a", None)]


def test_without_a_hash_nothing_is_resumed(mirror: Mirror, dst: Path) -> None:
    half_done(dst, b"x" * 700)
    download_url_to_file(mirror.serve("/a", BODY), dst)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/a", None)]


def test_the_bytes_of_the_file_are_asked_for_and_not_an_encoding_of_them(mirror: Mirror, dst: Path) -> None:
    half_done(dst, BODY[:700])
    download_url_to_file(mirror.serve("/a", BODY, compresses=True), dst, SHA256)
    assert len(mirror.requests) == 1


def test_a_file_that_is_too_large_is_not_kept(mirror: Mirror, dst: Path) -> None:
    url = mirror.serve("/a", BODY)
    with pytest.raises(RuntimeError, match=f"larger than the {len(BODY) - 1:,} bytes expected"):
        download_url_to_file(url, dst, SHA256, max_bytes=len(BODY) - 1)
    assert leftovers(dst) == []
    download_url_to_file(url, dst, SHA256, max_bytes=len(BODY))


@pytest.mark.parametrize("url", ["http://localhost/a", "ftp://localhost/a", "file:///etc/passwd", "/a"])
def test_only_https(dst: Path, url: str) -> None:
    with pytest.raises(ValueError, match="expected an https:// address"):
        download_url_to_file(url, dst)
    assert not dst.parent.exists()


def test_an_unknown_certificate_is_refused(mirror: Mirror, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RuntimeError, match="SSLError"):
        download_url_to_file(mirror.serve("/a", BODY), dst)


@pytest.mark.parametrize("package", ["requests", "filelock"])
def test_missing_packages_are_named(dst: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"weights.bin needs {package}: pip install 'tinygrad_mnist\[download\]'"):
        download_url_to_file("https://localhost/a", dst)


def test_a_file_where_a_folder_should_be(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(
        OSError, match=r"cannot write .*weights.bin: .*; free some space there, or choose another folder"
    ):
        download_url_to_file(mirror.serve("/a", BODY), tmp_path / "data" / "weights.bin")


def test_a_full_disk_is_an_error_of_the_disk_not_of_a_mirror(
    mirror: Mirror, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = Path.open

    def fake(self: Path, mode: str = "r") -> IO:
        return FullDisk() if self.suffix == ".part" else real(self, mode)

    monkeypatch.setattr(Path, "open", fake)
    urls = [mirror.serve("/a", BODY), mirror.serve("/b", BODY)]
    with pytest.raises(OSError, match=r"weights.bin: No space left on device") as raised:
        download_url_to_file(urls, dst)
    assert raised.value.errno == errno.ENOSPC
    assert [path for path, _ in mirror.requests] == ["/a"]
    assert not dst.exists()


def download_in_another_process(url: str, dst: Path) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=download_url_to_file, args=(url, dst, SHA256))
    process.start()
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_half_way_leaves_no_half_file_and_goes_on_later(mirror: Mirror, dst: Path) -> None:
    killed = threading.Event()
    process = download_in_another_process(mirror.serve("/a", BODY, pause=killed), dst)
    part = dst.with_name("weights.bin.part")
    wait_until(lambda: part.exists() and part.stat().st_size > 0)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    killed.set()
    assert not dst.exists()
    start = part.stat().st_size
    assert start < len(BODY)
    download_url_to_file(mirror.serve("/a", BODY), dst, SHA256)
    assert dst.read_bytes() == BODY
    assert mirror.requests == [("/a", None), ("/a", f"bytes={start}-")]


def test_a_second_process_waits_for_the_first(mirror: Mirror, dst: Path) -> None:
    waiting = threading.Event()
    url = mirror.serve("/a", BODY, pause=waiting)
    process = download_in_another_process(url, dst)
    wait_until(lambda: len(mirror.requests) == 1)
    mine = threading.Thread(target=download_url_to_file, args=(url, dst, SHA256))
    mine.start()
    mine.join(0.2)
    assert mine.is_alive()
    waiting.set()
    mine.join(60)
    process.join()
    assert process.exitcode == 0
    assert dst.read_bytes() == BODY
    assert len(mirror.requests) == 1


def test_the_data_is_on_disk_before_it_gets_its_name_and_the_name_after(
    mirror: Mirror, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (events.append("sync folder" if is_folder(fd) else "sync file"), sync(fd))
    )
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), replace(self, to)))
    download_url_to_file(mirror.serve("/a", BODY), dst)
    assert events == ["sync file", "rename", "sync folder"]


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def test_a_bar_only_in_a_terminal(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mirror.serve("/a", BODY)
    download_url_to_file(url, tmp_path / "quiet.bin")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    download_url_to_file(url, tmp_path / "off.bin", progress=False)
    assert capsys.readouterr() == ("", "")
    download_url_to_file(url, tmp_path / "shown.bin")
    out, err = capsys.readouterr()
    assert out == ""
    assert "shown.bin" in err
    assert "1.02M" in err
