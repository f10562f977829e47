"""The server below the studio: half-sent requests stop nobody, and what is asked in time is served for as long as it
takes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="not installed: pip install 'infinex[studio]'")
websockets = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.contextmanager
def served(most: int, header: float) -> Iterator[int]:
    from infinex.studio import server

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        port = listening.getsockname()[1]
        protocol = type("P", (server.Patient,), {"guests": server.Guests(most, header)})
        one = uvicorn.Server(uvicorn.Config(echo, http=protocol, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            one.should_exit = True
            thread.join(30)


def asked(port: int, path: str = "/", more: bytes = b"") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        one.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + more + b"\r\n")
        parts = []
        while part := one.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_half_sent_requests_stop_nobody() -> None:
    with served(40, 600.0) as port, contextlib.ExitStack() as stack:
        socket_ = stack.enter_context(websockets.connect(f"ws://127.0.0.1:{port}/"))
        for _ in range(100):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            with contextlib.suppress(OSError):  # room was made meanwhile
                one.sendall(b"GET / HTTP/1.1\r\nx-slow: ")
        assert asked(port).endswith(b"ok")
        socket_.send("still here")  # a socket is no half-sent request
        assert socket_.recv(30) == "still here"


def test_a_request_has_to_begin_in_time_and_may_take_its_time() -> None:
    with served(40, 0.3) as port, websockets.connect(f"ws://127.0.0.1:{port}/") as socket_:
        with socket.create_connection(("127.0.0.1", port), 30) as one:
            one.sendall(b"GET / HT")
            begun = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
            assert time.monotonic() - begun < 20
        assert asked(port, "/slow").endswith(b"ok")
        socket_.send("later")
        assert socket_.recv(30) == "later"
