"""HTTP as the local Hub speaks it: requests that are answered, streamed to, or made to fail."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to the next `times` requests of one kind."""

    times: int
    status: int = 0
    message: str = ""
    cut: bool = False  # the connection, half-way through the request's body
    lose_reply: bool = False  # the request is carried out, but nobody learns of it
    delay_seconds: float = 0.0


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, code: str = "", **fields: Any) -> None:
        self.reply = as_json({"error": message, **fields}, status)
        self.reply.headers |= {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


def as_json(answer: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})


class Connection(BaseHTTPRequestHandler):
    """One connection. What comes over it is a kind of request by its method and path."""

    protocol_version = "HTTP/1.1"
    routes: ClassVar[dict[str, tuple[str, str]]]  # kind: method, pattern of the path

    def fault(self, kind: str) -> Fault | None:
        """What is to go wrong with a request of this kind."""
        raise NotImplementedError

    def reply_to(self, kind: str, names: dict[str, str | None]) -> Reply | Iterator[dict[str, str]]:
        """The answer, or events, to a request with these `names` in its path. Raises: Refused."""
        raise NotImplementedError

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        matches = (
            (kind, re.fullmatch(pattern, path)) for kind, (method, pattern) in self.routes.items() if self.is_a(method)
        )
        kind, match = next(((kind, match) for kind, match in matches if match), ("unknown", None))
        fault = self.fault(kind) or Fault(0)
        time.sleep(fault.delay_seconds)
        if fault.cut:
            self.rfile.read(int(self.headers.get("content-length") or 0) // 2)
            return self.cut()
        self.content = self.read_content()
        try:
            if fault.status:
                raise Refused(fault.status, fault.message or "ordered by the test")
            reply = self.reply_to(kind, match.groupdict() if match else {})
        except Refused as refused:
            reply = refused.reply
        if fault.lose_reply:
            return self.cut()
        if not isinstance(reply, Reply):
            return self.stream(reply)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def is_a(self, method: str) -> bool:
        return self.command == method or (method == "GET" and self.command == "HEAD")

    def stream(self, events: Iterator[dict[str, str]]) -> None:
        """Server-sent events, each sent when it comes, to the end of the connection."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody listens any more
            for event in events:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        """Not to standard error."""

    def cut(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no end
        with contextlib.suppress(OSError):
            self.connection.close()
        self.close_connection = True

    def read_content(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
