"""A local https server that behaves, or misbehaves, as a test asks it to."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class Mirror:
    """Serves files over https on localhost; remembers what it was asked for."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []  # (path, Range header)
        self._replies: dict[str, dict] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": self}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def serve(self, path: str, body: bytes = b"", **behaviour: object) -> str:
        """Answer `path` with `body`; returns its URL.

        `status`: the HTTP status; `redirect`: where to send the client instead; `ranges`: whether Range requests
        are honoured; `compresses`: send gzip to a client that accepts it; `cut`: stop after so many bytes;
        `pause`: an Event to wait for when half of it is sent.
        """
        self._replies[path] = {"body": body, **behaviour}
        return self.url + path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        self.mirror.requests.append((self.path, self.headers["Range"]))
        reply = self.mirror._replies.get(self.path, {"status": 404, "body": b""})
        body, status, start = reply["body"], reply.get("status", 200), 0
        compressed = reply.get("compresses") and "gzip" in self.headers["Accept-Encoding"]
        if compressed:
            body = gzip.compress(body)  # a range counts the bytes of what is sent, compressed or not
        if self.headers["Range"] and reply.get("ranges", True) and status == 200:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
        self.send_response(status)
        if compressed:
            self.send_header("Content-Encoding", "gzip")
        if "redirect" in reply:
            self.send_header("Location", reply["redirect"])
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        sent = b"" if status == 416 else body[start:]
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        sent = sent[: reply.get("cut")]
        half = len(sent) // 2
        self.wfile.write(sent[:half])
        if "pause" in reply:
            reply["pause"].wait(30)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client may be gone: a test killed it
            self.wfile.write(sent[half:])

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""
