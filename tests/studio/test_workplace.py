"""The studio as a place to work: what lasts, layers, libraries, projects, batches, events, talks - with jobs that only
pretend."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from studio_helpers import visitor

import infinex
from infinex.drivers.expression import Expression
from infinex.drivers.layers import read_scene
from infinex.drivers.mixing import reader_at
from infinex.drivers.motion import MotionDriver
from infinex.face.tracker import Face
from infinex.jobs.layers import Opened
from infinex.jobs.open import largest
from infinex.jobs.source import shrunk
from infinex.media.audio import write_wav
from infinex.media.image import write_image
from infinex.media.sink import open_sink
from infinex.studio import jobs, scenes
from infinex.studio.app import create_app
from infinex.studio.checks import GoneError, Watch
from infinex.studio.examples import EXAMPLES
from infinex.studio.growing import Growing
from infinex.studio.library import Library, Portrait
from infinex.studio.routes.preview import BUSY
from infinex.studio.settings import Settings

KEY = {"Idempotency-Key": "wink"}
LAYERS = {
    "layers": [
        {"kind": "performance", "motion": "smile"},
        {"kind": "expression", "at": 0.5, "keyframes": [{"time": 0}, {"time": 0.5, "units": {"AU1": 1}, "yaw": 9}]},
    ]
}


class Maker:
    """A worker that writes a small file as soon as it is asked, or says nothing where the portrait is called so."""

    ready, dead, words = True, False, ()

    def __init__(self, cores: list[int], folder: Path) -> None:
        self.pipe = self

    def send(self, task: Any) -> None:
        if task.options["strength"] == 2.0:  # never ends
            return
        Path(task.output).write_bytes(b"made")
        Path(task.output).with_name("result.motion.npz").write_bytes(b"moves")
        summary = {
            "frames": 50,
            "duration": 2.0,
            "width": 10,
            "height": 10,
            "faces": 1,
            "engine": "mesh",
            "warnings": [],
        }
        self.words = ("done", summary)

    def poll(self, seconds: float) -> bool:
        time.sleep(0 if self.words else min(seconds, 0.02))
        return bool(self.words)

    def recv(self) -> Any:
        said, self.words = self.words, ()
        return said

    def alive(self) -> bool:
        return not self.dead

    def stop(self) -> None:
        self.dead = True

    def close(self) -> None:
        pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_Worker", Maker)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workers=1, folder=tmp_path / "work", rate=10_000, duration=20)


@pytest.fixture
def page(made: None, settings: Settings) -> Iterator[Any]:
    with TestClient(create_app(settings)) as client, visitor(client) as one:
        yield one


def said(answer: Any, status: int, *words: str) -> str:
    assert answer.status_code == status, answer.text
    detail = str(answer.json()["detail"])
    assert all(w in detail for w in words), detail
    return detail


def ask(page: Any, small: Path, **data: Any) -> Any:
    return page.post("/v1/animations", files={"source": ("Ada L.png", small.read_bytes())}, data=data)


def followed(page: Any, name: str) -> list[dict[str, Any]]:
    """All events of an animation, to its end."""
    with page.stream("GET", f"/v1/animations/{name}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in stream.iter_lines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


def test_layers_become_a_job_whose_progress_is_told(page: Any, small: Path, tmp_path: Path) -> None:
    answer = ask(page, small, layers=json.dumps(LAYERS), crop="1:1", background="green")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["kind"] == "layers" and job["name"] == "ada-l-smile-expression-1x1-green"
    assert followed(page, job["id"])[-1]["state"] == "done"
    fetched = page.get(f"/v1/animations/{job['id']}/result")
    assert (
        fetched.content == b"made" and "ada-l-smile-expression-1x1-green.mp4" in fetched.headers["content-disposition"]
    )
    assert [j["id"] for j in page.get("/v1/animations").json()] == [job["id"]]
    link = page.post(f"/v1/animations/{job['id']}/share").json()["path"]
    assert TestClient(page.app).get(link).content == b"made"
    bad = {"layers": [*LAYERS["layers"], {"kind": "head", "keyframes": [{"time": 0, "yaw": "left"}]}]}
    said(ask(page, small, layers=json.dumps(bad)), 422, "Layer 3 (head): yaw wants a number")
    for layer in ({"kind": "performance", "file": "/etc/passwd"}, {"kind": "performance", "motion": str(small)},
                  {"kind": "performance", "asset": "nobody's"}):  # fmt: skip
        assert str(small) not in said(ask(page, small, layers=json.dumps({"layers": [layer]})), 422, "Layer 1")
    said(ask(page, small, layers="{}", motion="smile"), 422, "One driver")
    said(ask(page, small, motion="smile", strenght="2"), 422, "strenght: there is no such field")
    said(page.post("/v1/animations", json={}), 415, "multipart/form-data")
    answer = page.post("/v1/layers", json={"layers": LAYERS}).json()
    assert [round(x["from"], 2) for x in answer["layers"]] == [0, 0.5] and answer["duration"] > 1


def test_the_same_key_is_the_same_animation(page: Any, small: Path) -> None:
    page.headers["Idempotency-Key"] = "one"
    first, second = ask(page, small, motion="nod"), ask(page, small, motion="nod")
    assert first.json()["id"] == second.json()["id"] and "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    said(ask(page, small, motion="wink"), 422, "another request")
    page.headers["Idempotency-Key"] = "two"
    said(ask(page, small, motion="none"), 422)  # what failed may be sent again, mended
    assert ask(page, small, motion="nod").json()["id"] != first.json()["id"]


def test_work_lasts_over_a_restart(made: None, settings: Settings, small: Path) -> None:
    with TestClient(create_app(settings)) as client, visitor(client) as page:
        portrait = page.post(
            "/v1/portraits", files={"picture": ("a.png", small.read_bytes())}, data={"name": "Ada"}
        ).json()
        done = page.post(
            "/v1/animations", data={"portrait": portrait["id"], "motion": "smile", "label": "first"}
        ).json()
        followed(page, done["id"])
        once = page.post("/v1/animations", data={"portrait": portrait["id"], "motion": "wink"}, headers=KEY).json()
        going = page.post("/v1/animations", data={"portrait": portrait["id"], "motion": "nod", "strength": "2"}).json()
        project = page.post(
            "/v1/projects", json={"name": "Lesson", "portrait": portrait["id"], "layers": LAYERS}
        ).json()
        smile = page.post(
            "/v1/expressions", json={"name": "Smile", "expression": {"units": {"AU12": 1, "AU1": 0}}}
        ).json()
        session = dict(page.cookies)
        time.sleep(0.2)
    with TestClient(create_app(settings)) as client:
        page = TestClient(client.app, cookies=session)
        again = {j["id"]: j for j in page.get("/v1/animations").json()}
        assert again[done["id"]]["state"] == "done" and again[done["id"]]["label"] == "first"
        assert again[going["id"]]["state"] == "interrupted" and "again" in again[going["id"]]["message"]
        assert page.get(f"/v1/animations/{done['id']}/result").content == b"made"
        said(page.post(f"/v1/animations/{done['id']}/again"), 409)
        replayed = page.post("/v1/animations", data={"portrait": portrait["id"], "motion": "wink"}, headers=KEY)
        assert replayed.json()["id"] == once["id"] and replayed.headers["idempotent-replayed"] == "true"
        assert page.post(f"/v1/animations/{going['id']}/again").json()["state"] in ("queued", "running")
        assert page.get(f"/v1/portraits/{portrait['id']}").json() == portrait
        assert page.get(f"/v1/portraits/{portrait['id']}/image?side=64").status_code == 200
        assert page.get(f"/v1/projects/{project['id']}").json() == project
        assert page.get("/v1/expressions").json() == [smile] and smile["expression"] == {"units": {"AU12": 1.0}}
        assert client.get("/v1/animations").status_code == 403  # nobody's
        assert client.get("/v1/projects", headers={"X-Infinex-Session": "s" * 24}).json() == []
        with pytest.raises(Exception, match="another studio"), TestClient(create_app(settings)):
            pass


def test_projects_are_saved_in_turn_and_travel_as_one_file(page: Any, small: Path, tmp_path: Path) -> None:
    portrait = page.post("/v1/portraits", files={"picture": ("a.png", small.read_bytes())}).json()
    moves = Path(jobs.__file__).parents[1] / "motions" / "nod.motion.npz"
    asset = page.post("/v1/performances", files={"file": ("my nod.motion.npz", moves.read_bytes())}).json()
    assert (asset["kind"], asset["name"], asset["sound"]) == ("motion", "my nod", False)
    layers = {"layers": [{"kind": "performance", "asset": asset["id"]}]}
    bare = {"name": "Lesson 1", "portrait": portrait["id"]}
    project = page.post("/v1/projects", json=bare, headers=KEY).json()
    new = {
        "name": "Lesson 1",
        "portrait": portrait["id"],
        "layers": layers,
        "export": {"crop": "1:1"},
        "page": {"x": 1},
    }
    saved = page.put(f"/v1/projects/{project['id']}", json=new | {"revision": 1})
    assert saved.json()["revision"] == 2
    late = page.put(f"/v1/projects/{project['id']}", json=new | {"revision": 1})
    assert late.status_code == 409 and late.json()["project"] == saved.json()
    said(page.put(f"/v1/projects/{project['id']}", json=new | {"revision": 2, "colour": 1}), 422, "'colour'")
    twice = page.post("/v1/projects", json=bare, headers=KEY)  # by a page that has not heard the answer
    assert twice.json() == saved.json() and twice.headers["idempotent-replayed"] == "true"
    said(page.post("/v1/projects", json=new, headers=KEY), 422, "another request")
    assert [p["id"] for p in page.get("/v1/projects").json()] == [project["id"]]
    file = page.get(f"/v1/projects/{project['id']}/file")
    assert "lesson-1.infinex.zip" in file.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(file.content)).namelist()
    assert names == ["project.json", "portrait/a.png", "performances/1-my nod.motion.npz"]
    assert page.delete(f"/v1/projects/{project['id']}").status_code == 204
    anew = page.post("/v1/projects", json=bare, headers=KEY).json()  # of one that was deleted
    assert anew["id"] != project["id"] and anew["revision"] == 1
    assert page.delete(f"/v1/performances/{asset['id']}").status_code == 204
    with visitor(page) as other:  # somebody else takes it in
        back = other.post("/v1/projects/file", files={"file": ("p.zip", file.content)})
        assert back.status_code == 201, back.text
        named = back.json()["layers"]["layers"][0]["asset"]
        assert [p["id"] for p in other.get("/v1/performances").json()] == [named]
        assert other.get(f"/v1/portraits/{back.json()['portrait']}").status_code == 200
        assert page.get(f"/v1/performances/{named}").status_code == 404
        nowhere = json.dumps({"infinex": 1, "name": "a", "portrait": {"file": "../a"}}).encode()
        for bad in (b"PK", _zipped({"x": b""}), _zipped({"project.json": b"[]"}),
                    _zipped({"project.json": nowhere}),
                    _zipped({f"{i}": b"" for i in range(99)} | {"project.json": b"{}"})):  # fmt: skip
            said(other.post("/v1/projects/file", files={"file": ("p.zip", bad)}), 422)
    assert not list((page.app.state.studio.folder / "incoming").iterdir())


def _zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_many_portraits_by_one_performance(page: Any, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = page.app.state.studio.queue
    monkeypatch.setattr(queue, "settings", replace(queue.settings, queue=1))  # of which a batch takes one place
    portrait = page.post("/v1/portraits", files={"picture": ("a.png", small.read_bytes())}, data={"name": "Ada"}).json()
    sent = [("sources", (f"{n}.png", small.read_bytes())) for n in ("Grace", "Ada")]
    answer = page.post(
        "/v1/batches", files=sent, data={"portraits": portrait["id"], "motion": "smile", "label": "Class"}
    )
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    for one in batch["animations"]:
        followed(page, one["id"])
    state = page.get(f"/v1/batches/{batch['id']}").json()
    assert state["state"] == "done" and state["progress"] == 1 and len(state["animations"]) == 3
    archive = zipfile.ZipFile(io.BytesIO(page.get(f"/v1/batches/{batch['id']}/result").content))
    assert archive.namelist() == ["ada-class.mp4", "grace-class.mp4", "ada-class-2.mp4"]
    assert not list((page.app.state.studio.folder / "zips").iterdir())
    bad = [("sources", ("no.png", b"none")), *sent]
    said(page.post("/v1/batches", files=bad, data={"motion": "smile"}), 422, "Portrait 1 (no.png)")
    assert len(page.get("/v1/animations").json()) == 3
    assert page.delete(f"/v1/batches/{batch['id']}").status_code == 204 and page.get("/v1/animations").json() == []


def test_talks_have_the_shape_that_clients_know(page: Any, small: Path, tmp_path: Path) -> None:
    voice = write_wav(tmp_path / "v.wav", [0.3 * np.sin(np.arange(16000) / 12)], 16000)
    picture = "data:image/png;base64," + base64.b64encode(small.read_bytes()).decode()
    heard = page.post("/audios", files={"audio": ("v.wav", voice.read_bytes())}).json()["url"]
    said(page.post("/audios", files={"audio": ("v.wav", b"false")}), 422, "v.wav is not a sound file")
    said(page.post("/images", files={"image": ("a.png", b"false")}), 422, "a.png is not a picture")
    assert page.post("/images", files={"image": ("a.png", small.read_bytes())}).status_code == 201
    assert len(list(page.app.state.studio.uploads.folder.iterdir())) == 2
    talk = {"source_url": picture, "script": {"type": "audio", "audio_url": heard}, "name": "hello"}
    answer = page.post("/talks", json=talk)
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] in ("created", "started", "done") and answer.json()["object"] == "talk"
    followed(page, answer.json()["id"])
    talk = page.get(f"/talks/{answer.json()['id']}").json()
    assert talk["status"] == "done" and page.get(talk["result_url"]).content == b"made"
    assert [t["id"] for t in page.get("/talks").json()["talks"]] == [talk["id"]]
    script = {"type": "text", "input": "Hi."}
    said(page.post("/talks", json={"source_url": "http://127.0.0.1:1/a.png", "script": script}), 422, "fetches nothing")
    said(page.post("/talks", json={"source_url": "file:///etc/passwd", "script": script}), 422, "is wanted")
    said(page.post("/talks", json={"source_url": picture, "script": script, "more": 1}), 422, "more")
    said(page.post("/talks", json={"source_url": picture, "script": script, "webhook": "http://h/x"}), 422, "allow")
    assert (
        page.delete(f"/talks/{talk['id']}").status_code == 200 and page.get(f"/talks/{talk['id']}").status_code == 404
    )


def test_a_scene_is_seen_at_any_time(page: Any, small: Path) -> None:
    portrait = page.post("/v1/portraits", files={"picture": ("a.png", small.read_bytes())}).json()
    with page.websocket_connect("/studio/express") as socket:
        socket.send_json({"portrait": portrait["id"], "face": 1})
        assert socket.receive_json()["ready"]
        socket.send_json({"seq": 1, "at": 0})
        assert "first" in socket.receive_json()["error"]
        socket.send_json({"seq": 2, "layers": {"layers": [{"kind": "performance", "file": "a.mp4"}]}})
        assert "Layer 1" in socket.receive_json()["error"]
        socket.send_json({"seq": 3, "layers": LAYERS})
        while "scene" not in (answer := socket.receive_json()):
            assert "working" in answer
        scene = answer["scene"]
        assert scene["seq"] == 3 and len(scene["layers"]) == 2
        pictures = []

        def seen(seq: int, at: float) -> bytes:
            socket.send_json({"seq": seq, "at": at})
            data = socket.receive_bytes()
            assert int.from_bytes(data[:4], "little") == seq
            return data[4:]

        for seq, at in ((4, 0.0), (5, 0.6), (6, 0.0)):  # in any order
            time.sleep(1.1 * BUSY)  # a slider that rests
            pictures.append(seen(seq, at))
        assert pictures[0] == pictures[2] != pictures[1]
        first = seen(61, 0.6)  # in haste, without the networks; the same picture follows with them
        data = socket.receive_bytes()
        assert data[4:] == pictures[1] != first and int.from_bytes(data[:4], "little") == 61
        socket.send_json({"seq": 7, "run": scene["duration"] - 0.2})
        while True:
            message = socket.receive()
            if message.get("text"):
                assert json.loads(message["text"]) == {"ended": 7}
                break
        socket.send_json({"seq": 8, "layers": {"layers": [{"kind": "performance", "motion": "smile", "face": 2}]}})
        while (message := socket.receive()).get("text") is None:
            pass  # what was owed
        assert "face 2: the portrait has 1 face" in message["text"]


def test_who_is_not_moved_stays_in_a_preview(small: Path, tmp_path: Path) -> None:
    face, image = largest(small)
    h, w = image.shape[:2]
    beside = Face(face.landmarks + np.array([w, 0, 0]))
    path = tmp_path / "two.png"
    write_image(path, np.hstack([image, image]))
    library = Library(Settings(), tmp_path)
    portrait = Portrait("two", "me", path, (2 * w, h), [face, beside])
    sources = library.sources(portrait, (1,))
    assert [s.others for s in sources] == [(beside,)]
    assert not any(s.others for s in library.sources(portrait, (1, 2)))
    (half,) = shrunk(sources, w)
    assert np.allclose(half.others[0].landmarks, beside.landmarks * [0.5, half.image.shape[0] / h, 0.5])
    preview = library.preview(portrait, (1,), 2 * w)
    picture = preview.draw(Expression({}, roll=12, yaw=12), fine=False).astype(int)
    x0, y0, x1, y1 = (round(v) for v in beside.box)
    changed = np.abs(picture - preview.image)
    assert changed[:, : w // 2].max() > 40 and changed[y0:y1, (x0 + x1) // 2 : x1].max() < 8


def test_a_clip_is_a_portrait(page: Any, tmp_path: Path) -> None:
    clip = tmp_path / "Ada talks.mp4"
    with open_sink(clip, (256, 256), 12) as sink:
        for frame in infinex.render(infinex.load_source(EXAMPLES[1].path, size=256), infinex.load_motion("wink")):
            sink.write(np.ascontiguousarray(frame[:256, :256]))
    portrait = page.post(
        "/v1/portraits", files={"picture": (clip.name, clip.read_bytes())}, data={"name": "Ada"}
    ).json()
    assert (
        portrait["seconds"] > 1
        and len(portrait["faces"]) == 1
        and (portrait["width"], portrait["height"]) == (256, 256)
    )
    assert page.get(f"/v1/portraits/{portrait['id']}/image").headers["content-type"] == "image/jpeg"
    asked = {"portrait": portrait["id"], "layers": json.dumps(LAYERS)}
    for wrong in ({"crop": "1:1"}, {"background": "green"}, {"panel": "true"}, {"loop": "true"}):
        said(page.post("/v1/animations", data=asked | wrong), 422, "still picture")
    single = json.dumps({"layers": [{"kind": "performance", "motion": "smile", "face": 1}]})
    said(page.post("/v1/animations", data=asked | {"layers": single}), 422, "still picture")
    job = page.post("/v1/animations", data=asked).json()
    assert followed(page, job["id"])[-1]["state"] == "done"
    project = page.post("/v1/projects", json={"name": "Ada", "portrait": portrait["id"], "layers": LAYERS}).json()
    file = page.get(f"/v1/projects/{project['id']}/file").content
    other = page.post("/v1/projects/file", files={"file": ("a.zip", file)}).json()
    assert page.get(f"/v1/portraits/{other['portrait']}").json()["seconds"] == portrait["seconds"]


def test_a_clip_is_played_while_it_is_read(tmp_path: Path) -> None:
    goes_on, forgotten = threading.Semaphore(3), []
    motion = infinex.load_motion("smile")

    class Slow(MotionDriver):
        def __iter__(self) -> Iterator[Any]:
            for drive in super().__iter__():
                goes_on.acquire()
                yield drive

    watch = Watch(60)
    growing = Growing(Slow(motion), len(motion), tmp_path / "a.mp4", lambda: forgotten.append(1))
    growing.join(watch)
    growing.start()
    read = reader_at(growing)()
    assert len(growing) == len(motion)
    assert np.allclose(read(1 / motion.fps).move.offsets, motion.at(1).offsets, atol=1e-6)  # of the three that are read
    later = threading.Timer(0.2, lambda: goes_on.release(len(motion)))
    later.start()
    assert np.allclose(read(motion.duration).move.offsets, motion.at(len(motion) - 1).offsets, atol=1e-6)
    assert len(growing.whole(watch)) == len(motion) and not forgotten
    goes_on = threading.Semaphore(0)
    part = Growing(Slow(motion), len(motion) - 10, tmp_path / "a.mp4", lambda: None, (growing, 10))
    part.join(watch)
    part.start()  # of another part, what is known is seen meanwhile
    assert np.allclose(part.at(5).offsets, motion.at(15).offsets, atol=0.01)
    goes_on.release(len(motion))
    assert len(part.whole(watch)) == len(motion)
    assert np.allclose(part.at(5).offsets, motion.at(5).offsets, atol=1e-6)
    goes_on = threading.Semaphore(1)
    left = Growing(Slow(motion), len(motion), tmp_path / "a.mp4", lambda: forgotten.append(1))
    left.join(watch)
    watch.gone.set()
    left.start()
    with pytest.raises(GoneError):
        left.at(5)
    assert forgotten == [1]


def test_a_clip_that_is_handed_in_is_read_once_for_all_who_ask(monkeypatch: Any, tmp_path: Path) -> None:
    class Filmed(MotionDriver):
        filmed = True

    def open_one(layer: Any, *_: Any) -> Opened:
        opened.append(1)
        assert goes_on.wait(60)
        return Opened(layer, Filmed(motion), motion.duration)

    opened: list[int] = []
    goes_on, motion, path = threading.Event(), infinex.load_motion("wink"), tmp_path / "a.mp4"
    path.write_bytes(b"a clip")
    monkeypatch.setattr(scenes, "open_layer", open_one)
    monkeypatch.setattr(scenes.claims, "check_video", lambda *_: None)
    scene = read_scene({"layers": [{"kind": "performance", "file": "1-a.mp4"}]})
    performances, watch = scenes.Performances(), Watch(60)

    def asked() -> Any:
        return performances.of(scene.layers[0], scene.names[0], scene, path, False, watch)

    with ThreadPoolExecutor(2) as pool:
        early = Watch(60)
        foreseen = pool.submit(performances.foresee, path, Settings(), early)
        while not opened:
            time.sleep(0.01)
        page = pool.submit(asked)  # while it is being opened
        goes_on.set()
        growing = page.result(60)
        foreseen.result(60)
        early.gone.set()  # the page waits still
    assert len(growing.whole(watch)) == len(motion)
    assert asked() is growing and opened == [1]
    path.write_bytes(b"another clip")
    early.gone.set()
    performances.foresee(path, Settings(), early)  # nobody keeps it, and it is read no further
    assert len(asked().whole(watch)) == len(motion)


def test_who_is_told_and_asked(made: None, tmp_path: Path, small: Path) -> None:
    settings = Settings(workers=1, token="secret", webhooks=("https://mine.example/hooks",))
    with TestClient(create_app(settings)) as client:
        asked = client.get("/", headers={"accept": "text/html"})
        assert asked.status_code == 401 and '<input id="token"' in asked.text
        assert client.get("/v1/events").json()["detail"].startswith("This studio asks")
        assert client.get("/openapi.json", auth=("secret", "")).status_code == 200
        entered = client.get("/?token=secret", follow_redirects=False)
        assert entered.status_code == 303 and "samesite=lax" in entered.headers["set-cookie"].lower()
        client.headers["Authorization"] = "Bearer secret"
        for address in ("https://mine.example/hooks2", "https://mine.example.evil/hooks/a", "http://mine.example/hooks",
                        "https://u:p@mine.example/hooks", "https://mine.example/hooks/%2e%2e/a"):  # fmt: skip
            said(ask(client, small, motion="nod", callback=address), 422, "allback")


def test_a_full_disk_and_faults_are_said(page: Any, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = page.app.state.studio
    monkeypatch.setattr(studio.place, "_space", 10)
    said(ask(page, small, motion="nod"), 507, "no room")
    assert not list((studio.folder / "jobs").iterdir())
    monkeypatch.setattr(studio.place, "_space", 1 << 40)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr("infinex.studio.shelf.write_record", full)
    assert "secret" not in said(page.post("/v1/projects", json={"name": "a"}), 507, "no room")
    monkeypatch.undo()

    def broken(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(studio.library, "of", broken)
    answer = TestClient(page.app, raise_server_exceptions=False, cookies=dict(page.cookies)).get("/v1/portraits")
    assert answer.status_code == 500 and "secret" not in answer.text and len(answer.json()["id"]) == 8


def test_others_are_told_and_fetched_from_where_the_owner_allows(made: None, small: Path, tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/away.png":
                self.send_response(302)
                self.send_header("Location", "/ada.png")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(small.read_bytes())

        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{other.server_port}"
        settings = Settings(workers=1, webhooks=(f"{base}/done",), fetch=("127.0.0.1",))
        voice = write_wav(tmp_path / "v.wav", [0.3 * np.sin(np.arange(16000) / 12)], 16000)
        script = {
            "type": "audio",
            "audio_url": "data:audio/wav;base64," + base64.b64encode(voice.read_bytes()).decode(),
        }
        with TestClient(create_app(settings)) as client:
            talk = {"source_url": f"{base}/ada.png", "script": script, "webhook": f"{base}/done/1"}
            answer = client.post("/talks", json=talk)
            assert answer.status_code == 201, answer.text
            limit = time.monotonic() + 60
            while not heard and time.monotonic() < limit:
                time.sleep(0.02)
            assert heard[0]["id"] == answer.json()["id"] and heard[0]["state"] == "done"
            said(client.post("/talks", json=talk | {"source_url": f"{base}/away.png"}), 422, "could not be fetched")
            assert not list((client.app.state.studio.folder / "incoming").iterdir())
        other.shutdown()
