"""The API against its own specification, and under load. Slow: run by `make test-slow`."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infinex.studio.app import create_app
from infinex.studio.server import KEPT
from infinex.studio.settings import Settings

pytestmark = pytest.mark.slow
pytest.importorskip("schemathesis", reason="schemathesis is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the studio's packages are not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")


def serve(settings: Settings) -> Iterator[str]:
    """A studio on a free port, in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning", timeout_keep_alive=KEPT))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    limit = time.monotonic() + 300
    while not server.started and time.monotonic() < limit:
        time.sleep(0.05)
    yield address
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    yield from serve(Settings(workers=1, queue=10, rate=1_000_000, upload=8 << 20, duration=5))


def test_answers_are_what_the_specification_says(address: str) -> None:
    """No 5xx, no undocumented status, no answer of another shape, for valid and invalid requests."""
    assert httpx.get(f"{address}/openapi.json", timeout=600).status_code == 200  # made once; they wait for ten seconds
    # What is valid by the form need not be a picture, so that it is accepted is not checked.
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--max-examples", "60",
               "--exclude-checks", "positive_data_acceptance", "--request-timeout", "600", "--generation-deterministic",
               "--no-color", "-H", "X-Infinex-Session: " + "s" * 24, "--exclude-path", "/v1/events"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


CLIENTS, EACH = 50, 1


def _one_client(address: str, picture: bytes, counts: Counter[str]) -> list[str]:
    """Hand in jobs until each is taken, and wait for their ends; the states they ended in."""
    states = []
    with httpx.Client(base_url=address, timeout=900) as client:
        for _ in range(EACH):
            while True:
                answer = client.post("/v1/animations", files={"source": ("a.png", picture)},
                                     data={"keyframes": '[{"time": 0.2, "units": {"AU12": 1}}]'})  # fmt: skip
                counts[str(answer.status_code)] += 1
                if answer.status_code != 429:
                    break
                time.sleep(min(2.0, float(answer.headers["retry-after"])))
            assert answer.status_code == 202, answer.text
            name = answer.json()["id"]
            while True:
                state = client.get(f"/v1/animations/{name}")
                counts[str(state.status_code)] += 1
                if state.json()["state"] not in ("queued", "running"):
                    break
                time.sleep(0.5)
            states.append(state.json()["state"])
            result = client.get(f"/v1/animations/{name}/result")
            counts[str(result.status_code)] += 1
            client.delete(f"/v1/animations/{name}")
    return states


@pytest.fixture
def fresh() -> Iterator[str]:
    yield from serve(Settings(workers=1, queue=10, rate=1_000_000))


def test_fifty_clients(small: Path, fresh: str) -> None:
    """No 5xx, no lost job, the queue bounded, and this process' memory flat."""
    counts: Counter[str] = Counter()
    picture = small.read_bytes()
    _one_client(fresh, picture, counts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ThreadPoolExecutor(CLIENTS) as pool:
        ended = list(pool.map(lambda _: _one_client(fresh, picture, counts), range(CLIENTS)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    states = Counter(s for e in ended for s in e)
    assert states == {"done": CLIENTS * EACH}, states
    assert not [c for c in counts if c.startswith("5")], counts
    assert counts["429"] > 0, "the queue was never full"
    assert after - before < 150_000, f"memory grew by {(after - before) / 1000:.0f} MB"
