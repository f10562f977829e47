"""How fast the studio answers: slider to picture, camera frame to picture, both through its own server.

    python benchmarks/studio.py [--seconds 10]

Starts `infinex studio`, opens a page's sockets from this process, and prints medians and worst twentieths. A
browser adds the decoding and painting of one JPEG, a few milliseconds."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import connect


def visit(address: str) -> tuple[str, dict[str, Any]]:
    """A session, and an example portrait in it: the cookie, the portrait."""
    with urllib.request.urlopen(address) as answer:
        cookie = answer.headers["set-cookie"].split(";")[0]
    request = urllib.request.Request(f"{address}studio/examples/hopper", method="POST", headers={"Cookie": cookie})
    with urllib.request.urlopen(request) as answer:
        return cookie, json.load(answer)


@contextmanager
def open_socket(address: str, path: str, cookie: str, portrait: dict[str, Any]) -> Iterator[Any]:
    """A page's socket, ready to draw."""
    where = address.replace("http", "ws") + path
    with connect(where, additional_headers={"Cookie": cookie}, max_size=1 << 24) as line:
        line.send(json.dumps({"portrait": portrait["id"], "face": 1}))
        while not json.loads(line.recv()).get("ready"):
            pass
        yield line


def timed(once: Callable[[int], None], seconds: float) -> np.ndarray:
    """Milliseconds of each call, one after the other; the first ones do not count."""
    out = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        begun = time.perf_counter()
        once(len(out) + 1)
        out.append(1e3 * (time.perf_counter() - begun))
    return np.array(out[3:])


def picture(line: Any, change: dict[str, Any]) -> None:
    """Ask for a change, and wait for its picture."""
    line.send(json.dumps(change))
    while not isinstance(line.recv(), bytes):
        pass


def express(address: str, cookie: str, portrait: dict[str, Any], seconds: float) -> np.ndarray:
    """Milliseconds from a slider's change to its picture, one change at a time."""
    with open_socket(address, "studio/express", cookie, portrait) as line:

        def once(i: int) -> None:
            a = 0.5 - 0.5 * np.cos(i / 7)
            picture(line, {"seq": i, "units": {"AU12": a, "AU6": a / 2, "AU25": a}, "yaw": 12 * a, "down": 5})

        return timed(once, seconds)


SCENE = {
    "layers": [
        {"kind": "performance", "motion": "talking", "loop": True},
        {"kind": "expression", "at": 0.5, "keyframes": [{"time": 0}, {"time": 1, "units": {"AU12": 0.8}, "yaw": 10}]},
    ],
    "duration": 6,
}


def scrub(address: str, cookie: str, portrait: dict[str, Any], seconds: float) -> np.ndarray:
    """Milliseconds from a slider of a layer to its picture: the scene is sent again each time, then a time of it."""
    with open_socket(address, "studio/express", cookie, portrait) as line:

        def once(i: int) -> None:
            scene = {**SCENE, "layers": [{**layer, "strength": 0.5 + (i % 20) / 20} for layer in SCENE["layers"]]}
            line.send(json.dumps({"seq": i, "layers": scene}))
            while "scene" not in json.loads(line.recv()):
                pass
            picture(line, {"seq": i, "at": i / 7 % 6})

        return timed(once, seconds)


def spent(process: subprocess.Popen[str]) -> float:
    """Seconds of processor time that the server has used; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def camera() -> list[bytes]:
    """A performer's frames as a browser sends them: 400 pixels, JPEG."""
    import infinex
    from infinex.studio.examples import EXAMPLES

    sources = infinex.load_source(EXAMPLES[1].path, size=400)
    frames = []
    for frame in infinex.render(sources, infinex.load_motion("surprise")):
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=85)
        frames.append(data.getvalue())
    return frames + frames[::-1]


def live(address: str, cookie: str, portrait: dict[str, Any], seconds: float) -> tuple[float, np.ndarray]:
    """Pictures a second, and milliseconds from a frame's sending to its picture, with two under way."""
    frames = camera()
    delays, sent = [], []
    with open_socket(address, "studio/live", cookie, portrait) as line:
        count = 0

        def send() -> None:
            nonlocal count
            sent.append(time.perf_counter())
            line.send(frames[count % len(frames)])
            count += 1

        def receive() -> bytes:
            while not isinstance(answer := line.recv(), bytes):
                pass
            return answer

        while True:  # until the performer's rest is known and the first pictures have come
            send()
            if receive() and len(sent) > 20:
                break
        sent.clear()
        send()
        send()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            receive()
            delays.append(1e3 * (time.perf_counter() - sent.pop(0)))
            send()
        rate = len(delays) / (time.perf_counter() - start)
    return rate, np.array(delays)


def told(what: str, ms: np.ndarray) -> None:
    print(f"{what}: median {np.median(ms):.0f} ms, 95 % within {np.percentile(ms, 95):.0f} ms, of {len(ms)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    command = [sys.executable, "-m", "infinex.cli", "studio", "--port", "0", "--no-browser", "--folder", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[2]
            cookie, portrait = visit(address)
            for what, measure in (("slider", express), ("slider of a layer", scrub)):
                with open_socket(address, "studio/express", cookie, portrait):
                    pass  # made ready
                before = spent(process)
                ms = measure(address, cookie, portrait, seconds)
                told(f"{what} to picture ({portrait['width']}x{portrait['height']} portrait)", ms)
                print(f"  {1e3 * (spent(process) - before) / (len(ms) + 3):.0f} ms of the server's processors each")
            rate, ms = live(address, cookie, portrait, seconds)
            told("camera to picture", ms)
            print(f"live: {rate:.1f} pictures a second")
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main()
