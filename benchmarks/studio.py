"""How fast the studio answers, through its own server: sliders, a first draft, a class, a camera; what a page weighs.

    python benchmarks/studio.py [--seconds 10] [--clip talk.mp4] [--beside PYTHON FOLDER]

Starts `infinex studio`, opens a page's sockets from this process, and prints medians and worst twentieths, and at the
end which bars hold. A browser adds the decoding and painting of one JPEG, a few milliseconds. With `--beside`, the
processor time of one picture is measured, too, in turns with that of another checkout in FOLDER, run by its own
PYTHON: of a slider that moves, and of one that rests; with `--clip` also its first drafts, each in a new studio.
Some machines wake slowly from a rest. So the same picture is drawn in this process, too, without a studio, at once
and after the same rests, and of the slider that rests the bar counts what it takes beyond that waking.
Takes three to five minutes on an idle machine."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import connect

from infinex.studio.examples import EXAMPLES

SIDE = 1024  # pixels of a sharp screen that a page asks for; the portrait has fewer, so it is drawn at its own size
# What may be at most: milliseconds of so many % of pictures, seconds of a draft, bytes of a visit, of the other's time.
SLIDER, WORST, DRAFT, WEIGHT, SHARE = 60.0, 95, 4.0, 300_000, 0.5
REST = 1.1  # seconds between two changes of a slider that rests


def visit(address: str) -> tuple[str, dict[str, Any]]:
    """A session, and an example portrait in it: the cookie, the portrait."""
    with urllib.request.urlopen(address) as answer:
        cookie = answer.headers["set-cookie"].split(";")[0]
    request = urllib.request.Request(f"{address}studio/examples/hopper", method="POST", headers={"Cookie": cookie})
    with urllib.request.urlopen(request) as answer:
        return cookie, json.load(answer)


@contextmanager
def open_socket(
    address: str, path: str, cookie: str, portrait: dict[str, Any], side: int | None = SIDE
) -> Iterator[Any]:
    """A page's socket, ready to draw; without a `side` at the preview's least."""
    where = address.replace("http", "ws") + path
    with connect(where, additional_headers={"Cookie": cookie}, max_size=1 << 24) as line:
        line.send(json.dumps({"portrait": portrait["id"], "face": 1, **({"side": side} if side else {})}))
        while not json.loads(line.recv()).get("ready"):
            pass
        yield line


def timed(once: Callable[[int], None], seconds: float) -> np.ndarray:
    """Milliseconds of each call, one after the other; the first ones do not count."""
    out = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(out) < 4:
        begun = time.perf_counter()
        once(len(out) + 1)
        out.append(1e3 * (time.perf_counter() - begun))
    return np.array(out[3:])


def picture(line: Any, change: dict[str, Any]) -> None:
    """Ask for a change, and wait for its picture."""
    line.send(json.dumps(change))
    while not isinstance(answer := line.recv(), bytes) or int.from_bytes(answer[:4], "little") != change["seq"]:
        pass


def express(address: str, cookie: str, portrait: dict[str, Any], seconds: float, side: int | None = SIDE) -> np.ndarray:
    """Milliseconds from a slider's change to its picture, one change at a time."""
    with open_socket(address, "studio/express", cookie, portrait, side) as line:

        def once(i: int) -> None:
            a = 0.5 - 0.5 * np.cos(i / 7)
            picture(line, {"seq": i, "units": {"AU12": a, "AU6": a / 2, "AU25": a}, "yaw": 12 * a, "down": 5})

        return timed(once, seconds)


def rested(address: str, cookie: str, portrait: dict[str, Any], seconds: float, side: int | None = SIDE) -> np.ndarray:
    """The same of sliders that rest between their changes: pictures with all that the networks add."""
    with open_socket(address, "studio/express", cookie, portrait, side) as line:
        out, start, i = [], time.perf_counter(), 0
        while time.perf_counter() - start < seconds or len(out) < 2:
            i += 1
            time.sleep(REST)
            begun = time.perf_counter()
            picture(line, {"seq": i, "units": {"AU12": (i % 5) / 5, "AU25": 0.4}, "yaw": 2 * (i % 5), "down": 5})
            out.append(1e3 * (time.perf_counter() - begun))
        return np.array(out[1:])


def waking(seconds: float) -> float:
    """Milliseconds by which a rest makes the same picture take longer where no studio is involved."""
    import infinex

    draw = infinex.Editor(infinex.load_source(EXAMPLES[0].path))
    pauses: dict[float, list[float]] = {0.0: [], REST: []}
    for pause, taken in pauses.items():
        start, i = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 2 or len(taken) < 4:
            i += 1
            time.sleep(pause)
            begun = time.perf_counter()
            draw({"AU12": (i % 5) / 5, "AU25": 0.4})
            taken.append(1e3 * (time.perf_counter() - begun))
    at_once, rests = (float(np.median(taken[1:])) for taken in pauses.values())
    print(f"a picture without a studio: {at_once:.0f} ms, after rests of {REST} s {rests:.0f} ms")
    return max(0.0, rests - at_once)


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


def posted(address: str, cookie: str, path: str, field: str, file: Path) -> dict[str, Any]:
    """Hand a file in."""
    mark = "----infinex"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n\r\n'
    body = head.encode() + file.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    request = urllib.request.Request(
        f"{address}{path}", body, {"Cookie": cookie, "Content-Type": f"multipart/form-data; boundary={mark}"}
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def draft(address: str, cookie: str, portrait: dict[str, Any], clip: Path) -> tuple[float, float, float, int]:
    """Seconds that handing a clip in takes, while a page is open; from a click on it then, as the first thing that is
    asked of it, to its first picture and to the last of its first two seconds; and how many those were."""
    with open_socket(address, "studio/express", cookie, portrait) as line:
        begun = time.perf_counter()
        asset = posted(address, cookie, "v1/performances", "file", clip)["id"]
        handed = time.perf_counter()
        line.send(json.dumps({"seq": 1, "layers": {"layers": [{"kind": "performance", "asset": asset}]}}))
        while "scene" not in json.loads(line.recv()):
            pass
        line.send(json.dumps({"seq": 2, "run": 0}))
        times: list[float] = []
        while not times or times[-1] - times[0] < 2:
            if not isinstance(line.recv(), bytes):
                break
            times.append(time.perf_counter())
    return handed - begun, times[0] - handed, times[-1] - handed, len(times)


def drafted(process: subprocess.Popen[str], address: str, cookie: str, portrait: dict[str, Any], clip: Path) -> float:
    """Make a first draft, print what it took, and return the seconds to the last of its first two seconds."""
    before = spent(process)
    handed, first, last, count = draft(address, cookie, portrait, clip)
    print(f"first draft of {clip.name}: handed in within {handed:.1f} s; from then on it begins after {first:.1f} s,"
          f" two seconds of it after {last:.1f} s, {count} pictures, {spent(process) - before:.1f} s of the server's"
          " processors", flush=True)  # fmt: skip
    return last


def crowd(address: str, cookie: str, portrait: dict[str, Any], pages: int, seconds: float) -> list[int]:
    """Pictures that each of so many pages gets which all move a slider; the last of them reads slowly."""
    counts = [0] * pages
    start = threading.Barrier(pages)

    def page(i: int) -> None:
        with open_socket(address, "studio/express", cookie, portrait) as line:
            start.wait()
            begun, n = time.perf_counter(), 0
            while time.perf_counter() - begun < seconds:
                n += 1
                picture(line, {"seq": n, "units": {"AU12": (n + i) % 9 / 9}, "yaw": i % 10})
                counts[i] += 1
                if i == pages - 1:
                    time.sleep(0.5)

    threads = [threading.Thread(target=page, args=(i,), daemon=True) for i in range(pages)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return counts


def weight(address: str, cookie: str) -> int:
    """Bytes that a first visit sends until the page stands there, compressed as a browser asks for it."""
    pictures = [f"static/examples/{e.path.name}" for e in EXAMPLES]
    wanted, seen, total = ["", "static/words/en.json", "studio/offer", *pictures], set(), 0
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        request = urllib.request.Request(address + path, headers={"Accept-Encoding": "gzip", "Cookie": cookie})
        with urllib.request.urlopen(request) as answer:
            data = answer.read()
            packed = answer.headers.get("Content-Encoding") == "gzip"
        total += len(data)
        if path == "" or path.endswith(".js"):
            text = (gzip.decompress(data) if packed else data).decode()
            wanted += re.findall(r'(?:src|href)="/(static/[^"#]+)', text)
            wanted += [f"static/js/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)]
    return total


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
        while time.perf_counter() - start < seconds or not delays:
            receive()
            delays.append(1e3 * (time.perf_counter() - sent.pop(0)))
            send()
        rate = len(delays) / (time.perf_counter() - start)
    return rate, np.array(delays)


def told(what: str, ms: np.ndarray) -> None:
    print(f"{what}: median {np.median(ms):.0f} ms, 95 % within {np.percentile(ms, 95):.0f} ms, of {len(ms)}")


@contextmanager
def studio(python: str = sys.executable, folder: str | None = None) -> Iterator[tuple[Any, str]]:
    """A studio that runs, and its address."""
    command = [python, "-m", "infinex.cli", "studio", "--port", "0", "--no-browser"]
    env = None if folder is None else {**os.environ, "PYTHONPATH": folder}
    command += [] if folder is not None else ["--folder", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=folder) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[2]
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def compared(python: str, folder: str, seconds: float) -> dict[str, float]:
    """Processor time of one picture here as a share of another checkout's, in turns, of a slider that moves and that
    rests; at the size that the other one draws, too."""
    shares = {}
    with studio() as (here, address), studio(python, folder) as (there, other):
        visits = ((here, address, *visit(address)), (there, other, *visit(other)))
        for _, where, cookie, portrait in visits:
            express(where, cookie, portrait, 3, None)  # made ready
        for what, measure in (("slider", express), ("slider that rests", rested)):
            used, count = [0.0, 0.0], [0, 0]
            for _ in range(4):
                for i, (process, where, cookie, portrait) in enumerate(visits):
                    before = spent(process)
                    first = 3 if measure is express else 1
                    count[i] += len(measure(where, cookie, portrait, seconds / 4, None)) + first
                    used[i] += 1e3 * (spent(process) - before)
            mine, theirs = (t / max(1, n) for t, n in zip(used, count))
            shares[what] = mine / theirs
            print(f"{what}, processor time each: {mine:.0f} ms here, {theirs:.0f} ms there, {mine / theirs:.2f}")
    return shares


def judged(bars: list[tuple[str, float, float, str]]) -> None:
    """Print what was measured beside what it may be at most."""
    print("\nbars")
    for what, value, most, unit in bars:
        print(f"  {'holds' if value <= most else 'FAILS'}  {what}: {value:.4g} {unit}, at most {most:g}")


def ended_by(*_: Any) -> None:
    """On a signal: end by an exception, which ends the studios, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pages", type=int, default=30, help="that preview at once")
    parser.add_argument("--clip", type=Path, help="a talking face, for the first draft")
    parser.add_argument("--beside", nargs=2, metavar=("PYTHON", "FOLDER"), help="another checkout, and what runs it")
    asked = parser.parse_args()
    seconds = asked.seconds
    bars: list[tuple[str, float, float, str]] = []
    signal.signal(signal.SIGTERM, ended_by)
    if asked.beside:
        for where in (("here", sys.executable, None), ("there", *asked.beside)) * 3 if asked.clip else ():
            with studio(*where[1:]) as (process, address):
                cookie, portrait = visit(address)
                with open_socket(address, "studio/express", cookie, portrait):
                    pass  # made ready
                print(end=f"{where[0]}: ")
                drafted(process, address, cookie, portrait, asked.clip)
        for what, share in compared(*asked.beside, seconds).items():
            bars.append((f"{what}, processor time beside the other checkout", share, SHARE, "of it"))
    with studio() as (process, address):
        cookie, portrait = visit(address)
        bars.append(("a first visit", weight(address, cookie), WEIGHT, "bytes"))
        ways = (("slider", express), ("slider that rests", rested), ("slider of a layer", scrub))
        for what, measure in ways:
            with open_socket(address, "studio/express", cookie, portrait):
                pass  # made ready
            before = spent(process)
            ms = measure(address, cookie, portrait, seconds)
            told(f"{what} to picture ({portrait['width']}x{portrait['height']} portrait)", ms)
            slow = waking(seconds) if measure is rested else 0.0
            beyond = " beyond the machine's waking" if measure is rested else ""
            bars.append((f"{what} to picture, {WORST} %{beyond}", float(np.percentile(ms, WORST)) - slow, SLIDER, "ms"))
            print(f"  {1e3 * (spent(process) - before) / (len(ms) + 3):.0f} ms of the server's processors each")
        if asked.clip:
            last = drafted(process, address, cookie, portrait, asked.clip)
            bars.append(("first two seconds of a clip", last, DRAFT, "s"))  # two of which it plays
        counts = crowd(address, cookie, portrait, asked.pages, seconds)
        print(f"{len(counts)} pages at once: {min(counts)} to {max(counts)} pictures each in {seconds:.0f} s,"
              f" {counts[-1]} for one that is slow")  # fmt: skip
        bars.append((f"of {len(counts)} pages at once, without a picture", counts.count(0), 0, "pages"))
        rate, ms = live(address, cookie, portrait, seconds)
        told("camera to picture", ms)
        print(f"live: {rate:.1f} pictures a second")
    judged(bars)


if __name__ == "__main__":
    main()
