"""What somebody who means no good, or who simply goes away, can do to a studio: nothing that lasts."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from studio_helpers import visitor

from infinex.drivers.motion import load_motion
from infinex.errors import InfinexError, InputError
from infinex.studio import checks, claims
from infinex.studio.app import create_app
from infinex.studio.checks import GoneError, TooSlowError, Watch
from infinex.studio.cost import Length, Pace, Work
from infinex.studio.jobs import LEFT, Queue
from infinex.studio.library import Library
from infinex.studio.preview import Live
from infinex.studio.settings import Settings


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def clip(path: Path, frames: int, fps: int, size: tuple[int, int] = (64, 64)) -> Path:
    """Grey pictures."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        picture = av.VideoFrame(*size, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        for _ in range(frames):
            picture.pts = None
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def never(*_: object, **__: object) -> Any:
    raise AssertionError("something was decoded")


def answered(answer: Any, *words: str) -> str:
    """The one sentence of a refusal, in which the words stand."""
    assert answer.status_code == 422, (answer.status_code, answer.text)
    text = str(answer.json()["detail"])
    assert all(w in text for w in words), text
    return text


# -- what files claim -----------------------------------------------------------------------------


def test_a_camera_frame_is_not_decoded_before_its_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live.__new__(Live)  # without its networks: none is asked
    monkeypatch.setattr(cv2, "imdecode", never)
    for data in (claiming(30000, 30000), claiming(8, 8), b"\x89PNG" + b"x" * 100, b"\xff\xd8\xff\xe0" + b"\0" * 100):
        with pytest.raises(InputError, match="camera frame"):
            live.frame(data)


def test_an_upload_is_not_decoded_before_its_size_is_known(
    client: Any, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "read_image", never)
    files = {"source": ("big.png", claiming(30000, 30000))}
    answered(client.post("/v1/animations", files=files, data={"motion": "wink"}), "big.png", "900 megapixels")
    monkeypatch.setattr(checks, "VideoReader", never)
    wide = clip(tmp_path / "wide.mp4", 2, 25, (512, 64))
    with pytest.raises(InputError, match="512x64"):
        checks.look_through(wide, Settings(side=256), Watch(60))
    many = clip(tmp_path / "many.mp4", 300, 100)
    with pytest.raises(InputError, match="300 frames"):
        checks.look_through(many, Settings(frames=200), Watch(60))
    with pytest.raises(InputError, match="3 s"):
        checks.look_through(many, Settings(duration=1, frames=900), Watch(60))


def test_a_motion_file_is_not_unpacked_before_its_arrays_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.motion.npz"
    load_motion("wink").save(good)
    settings = Settings()
    monkeypatch.setattr(claims, "ARRAY_BYTES", 2 << 20)
    assert checks.look_at_motion(good, settings).frames(None) == len(load_motion("wink"))
    with zipfile.ZipFile(good) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}

    def packed(**changed: bytes) -> Path:
        path = tmp_path / "bad.motion.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in (members | {f"{k}.npy": v for k, v in changed.items()}).items():
                archive.writestr(name, data)
        return path

    def array(value: Any, **head: Any) -> bytes:
        out = io.BytesIO()
        if head:
            np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (1,)} | head)
            out.write(b"\0" * 64)
        else:
            np.save(out, value)
        return out.getvalue()

    lies = {
        "more values than there are": {"offsets": array(None, shape=(10**9, 478, 3))},
        "a rate that is a list": {"fps": array(np.ones(3))},
        "a format that is a list": {"format": array(np.ones(2))},
        "records": {"scale": array(np.zeros(3, [("a", "f8")]))},
        "nothing": {"scale": b""},
        "too much": {"other": array(np.zeros(1 << 18))},
    }
    for what, changed in lies.items():
        with pytest.raises(InputError, match=r"readable|too large"):
            checks.look_at_motion(packed(**changed), settings)
            raise AssertionError(what)
    long = packed(fps=array(np.array(2.0)))
    with pytest.raises(InputError, match="32 s"):
        checks.look_at_motion(long, Settings(duration=20))
    with pytest.raises(InputError, match="64 frames"):
        checks.look_at_motion(good, Settings(frames=60))


def test_a_sound_of_odd_rates_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinex.media.audio.iter_audio", never)
    path = tmp_path / "slow.wav"  # a sample a second: four kilobytes last more than an hour
    data = b"\0" * 4096
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 1, 1, 1, 8, b"data",
                       len(data))  # fmt: skip
    path.write_bytes(head + data)
    with pytest.raises(InputError, match="samples a second"):
        checks.look_at_sound(path, Settings(), Watch(60))


# -- what cannot end ------------------------------------------------------------------------------


def test_frames_are_limited_not_only_seconds(client: Any, small: Path) -> None:
    """The studio of these tests takes 20 s, so 1200 frames."""

    def ask(**data: Any) -> Any:
        return client.post("/v1/animations", files={"source": ("a.png", small.read_bytes())}, data=data)

    keys = json.dumps([{"time": 0}, {"time": 15, "units": {"AU12": 1}}])
    answered(ask(keyframes=keys, fps=120), "1824 frames", "1200")
    answered(ask(units="0s: ; 15s: AU12=1", fps=120), "frames", "1200")
    answered(ask(text="she smiles for 15 seconds", fps=120), "frames", "1200")
    answered(ask(units="0s: ; 500s: AU12=1"), "500 s", "20 s")
    answered(ask(motion="wink", start=9), "Start 9")
    answered(ask(motion="wink", start=1, end=0.5), "after start")
    answered(ask(motion="talking", size=4096, fps=120, format="apng"), "APNG")
    short = ask(keyframes=keys, fps=120, start=14)  # a part of it is not too much
    assert short.status_code == 202, short.text
    client.delete(f"/v1/animations/{short.json()['id']}")


def test_what_takes_longer_than_a_job_may_is_not_begun(small: Path, endless: None) -> None:
    with TestClient(create_app(Settings(workers=1, job=0.4))) as client:
        files = {"source": ("a.png", small.read_bytes())}
        answered(client.post("/v1/animations", files=files, data={"motion": "talking"}), "minutes")
        assert not list((client.app.state.studio.folder / "jobs").iterdir())


def test_the_pace_is_that_of_the_fastest_job() -> None:
    pace, work = Pace(), Work("mesh", 10_000, 1000, 1000)
    settings = Settings(job=work.usual)
    pace.check(work, "mp4", settings)
    pace.learn(Work("mesh", 10, 100, 100), 60)  # so short that it tells nothing
    pace.learn(Work("fomm", 10_000, 1000, 1000), 9e9)
    pace.check(work, "mp4", settings)
    for factor in (9, 2, 3):
        pace.learn(work, factor * work.usual)
    assert np.isclose(pace.least(work), 2 * work.usual)
    with pytest.raises(InputError, match="minutes"):
        pace.check(work, "mp4", settings)
    assert Length(10, 30).cut(2, 5).frames(None) == 90 and Length(10, 30).cut(2, 50).frames(10) == 80


# -- who goes away --------------------------------------------------------------------------------


def asking(
    settings: Settings, body: bytes, kind: str, parts: int, then: Callable[[], Awaitable[Any]]
) -> tuple[Any, Any]:
    """Hand `body` in, in `parts` of which the last is kept back where there are several; `then` comes after.

    The status of the answer, if there was one, and what `leftover` finds in the studio afterwards."""
    app = create_app(settings)

    async def run() -> tuple[Any, Any]:
        async with app.router.lifespan_context(app):
            step = -(-len(body) // parts)
            cut = [body[i : i + step] for i in range(0, len(body), step)]
            messages = [{"type": "http.request", "body": part, "more_body": parts > 1} for part in cut]
            if parts > 1:
                messages = messages[:-1]
            status: list[int] = []

            async def receive() -> Any:
                return messages.pop(0) if messages else await then()

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    status.append(message["status"])

            headers = [(b"host", b"localhost"), (b"content-type", kind.encode())]
            scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
                     "path": "/v1/animations", "raw_path": b"/v1/animations", "query_string": b"", "root_path": "",
                     "scheme": "http", "headers": headers, "client": ("127.0.0.1", 9), "server": ("x", 80)}  # fmt: skip
            try:
                await app(scope, receive, send)
            except Exception as error:  # the server would only close the connection
                status.append(-1 if isinstance(error, InfinexError) else 0)
            studio = app.state.studio
            folder = studio.folder / "jobs"
            left = [j.state for j in studio.queue._jobs.values() if j.state in ("queued", "running", "done")]
            files = list(folder.iterdir()) if folder.exists() else []
            return status, (left, files)

    return asyncio.run(run())


def form(small: Path) -> tuple[bytes, str]:
    request = httpx.Request(
        "POST", "http://x/", files={"source": ("a.png", small.read_bytes())}, data={"motion": "talking"}
    )
    return request.read(), request.headers["content-type"]


async def disconnected() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def test_a_job_whose_client_never_heard_of_it_is_removed(small: Path, endless: None) -> None:
    _, left = asking(Settings(workers=1), *form(small), 1, disconnected)
    assert left == ([], [])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_gate_lets_through_that_a_client_has_gone(method: str) -> None:
    from starlette.requests import Request

    from infinex.studio.gate import Gate

    seen: list[bool] = []
    messages = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if method == "POST":
            assert await request.body() == b"x"
        seen.extend([await request.is_disconnected() for _ in range(3)])

    async def receive() -> Any:
        return messages.pop(0)

    scope = {"type": "http", "method": method, "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(Gate(app, Settings())(scope, receive, receive))
    assert seen == ([False, True, True] if method == "GET" else [True, True, True])


def test_an_upload_that_breaks_off_leaves_nothing(
    small: Path, tmp_path: Path, endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    status, left = asking(Settings(workers=1), *form(small), 2, disconnected)
    assert 202 not in status and left == ([], [])
    assert not list(tmp_path.iterdir())


def test_an_upload_of_which_nothing_comes_is_given_up(small: Path, endless: None) -> None:
    async def forever() -> Any:
        await asyncio.Event().wait()

    status, left = asking(Settings(workers=1, stall=0.2), *form(small), 2, forever)
    assert status == [408] and left == ([], [])


def test_looking_ends_when_nobody_waits(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 30, 25)
    watch = Watch(60)
    watch.gone.set()
    for look in (checks.look_through, checks.look_at_driving, checks.look_at_source):
        with pytest.raises(GoneError):
            look(path, Settings(), watch)
    verdicts = checks.Verdicts()
    for seconds, error in ((0.0, TooSlowError), (600.0, InfinexError)):  # lateness is not remembered, no face is
        with pytest.raises(error) as caught:
            verdicts.of(path, "driving", lambda p, s=seconds: checks.look_at_driving(p, Settings(), Watch(s)))
        assert isinstance(caught.value, TooSlowError) == (seconds == 0.0)


def test_jobs_that_no_page_asks_for_are_stopped(tmp_path: Path, endless: None) -> None:
    queue = Queue(Settings(workers=1, absent=1.0), tmp_path)
    try:
        running, waiting, asked, mine = (queue.new(o) for o in ("a", "b", "c", None))
        for job in (running, waiting, asked, mine):
            queue.submit(job)
        asked.seen = time.monotonic() + 1e6  # somebody asks all the time
        limit = time.monotonic() + 60
        while not (running.state == waiting.state == "cancelled") and time.monotonic() < limit:
            time.sleep(0.05)
        assert running.message == waiting.message == LEFT
        assert not running.folder.exists() and not waiting.folder.exists()
        assert asked.state in ("queued", "running") and mine.state == "queued" and mine.folder.exists()
        before = mine.seen
        assert queue.get(mine.id, None) is mine and mine.seen > before
        assert queue.get(asked.id, "somebody else") is None
    finally:
        queue.close()


def test_a_preview_that_nobody_moves_gives_up_its_place(
    small: Path, endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infinex.studio.routes.preview.IDLE_STEP", 0.1)
    monkeypatch.setattr(Library, "preview", lambda *_: SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8)))
    with TestClient(create_app(Settings(workers=1, idle=0.3))) as client:
        with visitor(client) as page:
            portrait = page.post("/studio/portraits", files={"picture": ("me.png", small.read_bytes())}).json()
            with page.websocket_connect("/studio/express") as socket:
                socket.send_json({"portrait": portrait["id"], "face": 1})
                assert socket.receive_json()["ready"]
                assert "closed" in socket.receive_json()["error"]
        assert client.app.state.studio.visits["previews"].taken == 0


# -- what the server keeps to itself --------------------------------------------------------------


def test_no_field_names_a_file_of_the_server(client: Any, small: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(small.read_bytes())

    def ask(**data: Any) -> Any:
        return client.post("/v1/animations", files={"source": ("a.png", small.read_bytes())},
                           data={"motion": "wink", **data})  # fmt: skip

    for path in (str(secret), "../secret.png", "secret.png", "/etc/passwd"):
        for field in ("background", "driver_face"):
            assert (
                str(tmp_path) not in answered(ask(**{field: path})) and field in answered(ask(**{field: path})).lower()
            )
    answered(ask(background="none", format="mp4"), "transparency")
    for wrong in ("0", "1,2,3", "-1", "all"):
        answered(ask(driver_face=wrong))
    assert ask(audio=str(secret)).status_code == 422


# -- memory ---------------------------------------------------------------------------------------


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc, which is not here")
def test_portraits_leave_no_threads_behind(client: Any, portrait: Path, small: Path) -> None:
    from infinex.face.tracker import FaceFinder
    from infinex.media.image import read_image

    image = read_image(small)
    with visitor(client) as page:

        def hand_in(shift: int) -> None:
            ok, data = cv2.imencode(".png", np.roll(image, shift, 0))
            assert ok
            assert page.post("/studio/portraits", files={"picture": ("a.png", data.tobytes())}).status_code == 200

        for shift in range(2):
            hand_in(shift)
        before = threads()
        for shift in range(2, 8):
            hand_in(shift)
        assert threads() <= before + 8  # of the pool, which may grow; a finder with threads of its own would make it 24
    before = threads()
    for _ in range(3):
        with FaceFinder() as finder:
            assert len(finder.find(image)) == 1
    assert threads() <= before + 1


def test_what_is_found_does_not_depend_on_the_pictures_before(small: Path, portrait: Path) -> None:
    from infinex.face.tracker import FaceFinder, shared_finder
    from infinex.media.image import read_image

    pictures = [read_image(small), read_image(portrait), np.ascontiguousarray(np.rot90(read_image(small)))]
    fresh = []
    for picture in pictures:
        with FaceFinder() as finder:
            fresh.append(finder.find(picture)[0].landmarks)
    for order in ((2, 0, 1), (0, 2)):
        for i in order:
            with shared_finder() as finder:
                assert np.array_equal(finder.find(pictures[i])[0].landmarks, fresh[i])


def test_threads_look_at_once_and_see_what_one_sees(small: Path, portrait: Path) -> None:
    from infinex.face.tracker import FaceFinder, shared_finder
    from infinex.media.image import read_image

    pictures = [read_image(small), read_image(portrait)]
    alone = [FaceFinder().find(picture)[0].landmarks for picture in pictures]
    inside, seen = threading.Barrier(2, timeout=60), {}

    def look(i: int) -> None:
        with shared_finder() as finder:
            inside.wait()  # nobody waits for the other to have done
            seen[i] = [finder.find(pictures[i])[0].landmarks for _ in range(2)]

    both = [threading.Thread(target=look, args=(i,)) for i in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(120)
    for i in range(2):
        assert all(np.array_equal(points, alone[i]) for points in seen[i])
