"""A studio on a disk of its own that runs full, while it takes in and while it makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
MOUNT = 'mount -t tmpfs -o size=90m tmpfs "$0" && exec "$@"'


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A client, and the folder as the studio sees it: a tmpfs in a namespace of its own."""
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    command = [
        sys.executable,
        "-m",
        "infinex.cli",
        "studio",
        "--port",
        "0",
        "--no-browser",
        "--folder",
        str(tmp_path / "f"),
    ]
    with subprocess.Popen([*own, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        try:
            with httpx.Client(base_url=address, headers={"X-Infinex-Session": "d" * 24}, timeout=600) as client:
                yield client, Path(f"/proc/{process.pid}/root{tmp_path}")
        finally:
            process.terminate()


def fill(disk: Path) -> Path:
    """Take what the disk has left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while out.write(b"\0" * 65536):
                pass
        except OSError:
            return ballast


def test_a_disk_runs_full(studio: tuple[Any, Path], small: Path) -> None:
    client, disk = studio
    picture = {"picture": ("a.png", small.read_bytes())}
    portrait = client.post("/v1/portraits", files=picture).json()["id"]
    project = client.post("/v1/projects", json={"name": "kept", "portrait": portrait}).json()
    job = client.post("/v1/animations", data={"portrait": portrait, "motion": "talking", "size": "1024"}).json()["id"]
    limit = time.monotonic() + 600
    while client.get(f"/v1/animations/{job}").json()["state"] == "queued":
        assert time.monotonic() < limit
        time.sleep(0.05)
    ballast = fill(disk)
    before = {p.relative_to(disk) for p in disk.rglob("*") if "jobs" not in p.parts}
    change = {"name": "other", "portrait": portrait, "revision": project["revision"]}
    for answer in (
        client.post("/v1/portraits", files=picture),
        client.post("/v1/performances", files={"file": ("a.png", small.read_bytes())}),
        client.post("/v1/animations", data={"portrait": portrait, "motion": "nod"}),
        client.post("/v1/projects", json={"name": "new", "portrait": portrait}),
        client.put(f"/v1/projects/{project['id']}", json=change),
    ):
        assert answer.status_code == 507 and "no room" in answer.json()["detail"], answer.text
    while (made := client.get(f"/v1/animations/{job}").json())["state"] == "running":
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert made["state"] == "failed" and made["message"].startswith("The disk is full; "), made
    assert {p.relative_to(disk) for p in disk.rglob("*") if "jobs" not in p.parts} == before
    assert [p["name"] for p in client.get("/v1/projects").json()] == ["kept"]
    ballast.unlink()
    assert client.put(f"/v1/projects/{project['id']}", json=change).status_code == 200
    assert client.post("/v1/portraits", files=picture).status_code == 201
