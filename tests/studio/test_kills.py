"""A studio of its own process, ended in every way while it takes in, queues and makes: what was kept is there again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")]
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
SESSION = {"X-Infinex-Session": "k" * 24}
WAIT = 600.0


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    command = [sys.executable, "-m", "infinex.cli", "studio", "--port", "0", "--no-browser", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        try:
            with httpx.Client(base_url=address, headers=SESSION, timeout=WAIT) as client:
                yield process, client
        finally:
            process.kill()


def until(what: Any) -> Any:
    limit = time.monotonic() + WAIT
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.1)
    return found


def children(process: subprocess.Popen[str]) -> list[int]:
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(p) for p in out.stdout.split()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_ended_while_it_works(how: signal.Signals, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with studio(folder) as (process, client):
        portrait = client.post("/v1/portraits", files={"picture": ("a.png", small.read_bytes())}).json()
        first = client.post("/v1/animations", data={"portrait": portrait["id"], "motion": "wink", "end": "0.3"}).json()
        until(lambda: client.get(f"/v1/animations/{first['id']}").json()["state"] == "done")
        data = {"portrait": portrait["id"], "motion": "talking", "size": "1024"}
        running, waiting = (client.post("/v1/animations", data=data).json()["id"] for _ in range(2))
        until(lambda: client.get(f"/v1/animations/{running}").json()["state"] == "running")
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port)) as half:  # an upload that is coming
            half.sendall(b"POST /v1/animations HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                         b"content-length: 99999\r\n\r\n--b")  # fmt: skip
            workers = children(process)
            process.send_signal(how)
            process.wait(WAIT)
        for pid in workers:
            until(lambda pid=pid: gone(pid))
    with studio(folder) as (_, client):
        states = {j["id"]: j["state"] for j in client.get("/v1/animations").json()}
        assert states == {first["id"]: "done", running: "interrupted", waiting: "interrupted"}
        assert len(client.get(f"/v1/animations/{first['id']}/result").content) > 1000
        assert client.post(f"/v1/animations/{waiting}/again").status_code == 202
        assert client.delete(f"/v1/animations/{waiting}").json()["state"] == "cancelled"
        assert client.get(f"/v1/portraits/{portrait['id']}").status_code == 200
        jobs = list((folder / "jobs").iterdir())
        assert len(jobs) == 2 and not list(folder.glob("**/.*part*"))
