"""The API: what it takes, what it answers, and what it keeps to itself."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from studio_helpers import ended, visitor

from infinex.motion import Motion
from infinex.studio.app import create_app
from infinex.studio.gate import Rate, own_name
from infinex.studio.hall import HOST
from infinex.studio.settings import Settings

BAD = ["audio-only.mp4", "bit-rot.mp4", "black.mp4", "corrupt.jpg", "empty.mp4", "empty.png", "no-face.mp4",
       "noise-no-face.png", "one-black-frame.mp4", "one-pixel.png", "text-not-image.jpg", "text-not-video.mp4",
       "truncated.mp4"]  # fmt: skip


@pytest.fixture
def page(client: Any) -> Iterator[Any]:
    """A visitor who has opened the page."""
    with visitor(client) as one:
        yield one


def send(client: Any, source: Path, **data: Any) -> Any:
    files = {"source": (source.name, source.read_bytes())}
    for role in ("driving", "speech"):
        if role in data:
            path = data.pop(role)
            files[role] = (path.name, path.read_bytes())
    return client.post("/v1/animations", files=files, data=data)


SHORT = {"end": 0.2, "size": 96}  # of a motion, where any animation will do


def done_with(client: Any, answer: Any) -> None:
    """Let an animation end and remove it: to stop it would cost a worker."""
    assert answer.status_code == 202, answer.text
    ended(client, answer.json()["id"])
    client.delete(f"/v1/animations/{answer.json()['id']}")


def friendly(answer: Any) -> str:
    """A 4xx whose body is one sentence without a path of this machine or an option of the command line."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    text = answer.json()["detail"]
    assert isinstance(text, str) and text and "--" not in text and "Traceback" not in text
    assert not re.search(r"/tmp|/work|/home|/usr|/var|infinex-studio-", text), text
    return text


def test_from_a_portrait_and_a_motion_to_a_file(client: Any, small: Path) -> None:
    answer = send(client, small, motion="wink")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["state"] in ("queued", "running") and job["progress"] == 0
    early = client.get(f"/v1/animations/{job['id']}/result")
    assert early.status_code == 409 and friendly(early)
    done = ended(client, job["id"])
    assert done["state"] == "done" and done["progress"] == 1, done
    made = done["result"]
    assert made["frames"] == 64 and made["engine"] == "mesh" and (made["width"], made["height"]) == (210, 210)
    result = client.get(f"/v1/animations/{job['id']}/result")
    assert result.headers["content-type"] == "video/mp4" and len(result.content) == made["bytes"]
    assert b"Made with Infinex" in result.content and b"infinex-studio-" not in result.content
    gif = client.get(f"/v1/animations/{job['id']}/result", params={"format": "gif"})
    assert Image.open(io.BytesIO(gif.content)).n_frames > 20 and b"Made with Infinex" in gif.content
    motion = client.get(f"/v1/animations/{job['id']}/result", params={"format": "motion"})
    assert ".motion.npz" in motion.headers["content-disposition"]
    assert client.delete(f"/v1/animations/{job['id']}").status_code == 200
    assert client.get(f"/v1/animations/{job['id']}").status_code == 404


def test_a_motion_that_was_fetched_drives_again(client: Any, small: Path, tmp_path: Path) -> None:
    frames = [{"time": 0, "units": {}}, {"time": 0.4, "units": {UNIT: 0.7}, "yaw": 8}]
    job = send(client, small, keyframes=json.dumps(frames), format="gif").json()
    assert ended(client, job["id"])["state"] == "done"
    path = tmp_path / "mine.motion.npz"
    path.write_bytes(client.get(f"/v1/animations/{job['id']}/result?format=motion").content)
    motion = Motion.load(path)
    assert motion.units is not None and 10 < len(motion) < 30
    assert np.isclose(motion.units[-1, motion.unit_names.index(UNIT)], 0.7, atol=0.01)
    again = send(client, small, driving=path)
    assert again.status_code == 202 and ended(client, again.json()["id"])["state"] == "done"


def _a_unit() -> str:
    from infinex.face.units import basis

    return next(n for n in basis().names if n in ("AU12", "AU12L"))


UNIT = _a_unit()


def test_units_in_words(client: Any, small: Path) -> None:
    job = send(client, small, units=f"{UNIT}=0.8").json()
    assert ended(client, job["id"])["state"] == "done"
    assert "AU999" in friendly(send(client, small, units="AU999=1"))
    assert "exaggeration" not in friendly(send(client, small, units=f"{UNIT}=7"))


def test_words(client: Any, small: Path) -> None:
    job = send(client, small, text="she smiles, then nods", **SHORT).json()
    assert ended(client, job["id"])["state"] == "done"
    friendly(send(client, small, text="qwrtz"))


@pytest.mark.data
def test_a_voice_alone_and_over_a_motion(client: Any, small: Path, data_dir: Path, tmp_path: Path) -> None:
    from infinex.media.audio import has_audio
    from infinex.studio.offer import speaks

    if not speaks():
        pytest.skip("driving by a voice needs onnxruntime: pip install 'infinex[onnx]'")
    voice = tmp_path / "voice.wav"
    _cut(next(iter(sorted((data_dir / "speech").glob("*.wav")))), voice, 1.0)
    for more in ({}, {"motion": "nod"}):
        job = send(client, small, speech=voice, size=96, **more).json()
        done = ended(client, job["id"])
        assert done["state"] == "done" and 0.7 < done["result"]["duration"] < 1.3, done
        (tmp_path / "out.mp4").write_bytes(client.get(f"/v1/animations/{job['id']}/result").content)
        assert has_audio(tmp_path / "out.mp4")
    friendly(send(client, small, speech=small))  # a picture is no voice


def test_a_text_that_is_said(client: Any, small: Path, tmp_path: Path) -> None:
    from infinex.media.audio import has_audio
    from infinex.studio.offer import speaks, voices

    if not (speaks() and voices()):
        pytest.skip("no voice is installed: pip install 'infinex[say]'")
    answer = send(client, small, say="[smiles] Good day.", voice="espeak:en", voice_speed=1.5, size=96)
    done = ended(client, answer.json()["id"])
    assert done["state"] == "done" and 1 < done["result"]["duration"] < 4 and done["result"]["captions"], done
    (tmp_path / "out.mp4").write_bytes(client.get(f"/v1/animations/{done['id']}/result").content)
    assert has_audio(tmp_path / "out.mp4")
    captions = client.get(f"/v1/animations/{done['id']}/result?format=vtt")
    assert captions.headers["content-type"].startswith("text/vtt") and "Good day." in captions.text
    for wrong in (
        {"say": "[flies] Hello."}, {"say": "[smiles]"}, {"say": "Hello", "voice": "zz"},
        {"say": "Hello", "motion": "no"},
        {"say": "[nods] Hello", "motion": "nod"}, {"say": "Hello", "voice": "voice.onnx"},
    ):  # fmt: skip
        friendly(send(client, small, **wrong))
    assert send(client, small, say="Hello", voice="../../x").status_code == 422
    silent = ended(client, send(client, small, motion="wink", **SHORT).json()["id"])
    assert client.get(f"/v1/animations/{silent['id']}/result?format=vtt").status_code == 404


def _cut(source: Path, target: Path, seconds: float) -> None:
    import wave

    with wave.open(str(source)) as a, wave.open(str(target), "wb") as b:
        b.setparams(a.getparams())
        b.writeframes(a.readframes(int(seconds * a.getframerate())))


def test_cancel_stops_the_work_at_once(client: Any, small: Path, data_dir: Path) -> None:
    driving = next(iter(sorted((data_dir / "clips" / "train").glob("*.mp4"))))
    job = send(client, small, driving=driving, size=512).json()
    begun = time.monotonic()
    limit = begun + 600
    while client.get(f"/v1/animations/{job['id']}").json()["progress"] == 0 and time.monotonic() < limit:
        time.sleep(0.05)
    started = time.monotonic()
    answer = client.delete(f"/v1/animations/{job['id']}").json()
    assert answer["state"] == "cancelled", answer
    # At once, as far as this machine goes: within the time that it took to begin.
    assert time.monotonic() - started < max(5, started - begun)
    assert client.get(f"/v1/animations/{job['id']}").json()["state"] == "cancelled"
    assert client.get(f"/v1/animations/{job['id']}/result").status_code == 409
    assert not list((client.app.state.studio.folder / "jobs").glob("*/driving")), "files of a cancelled job are left"
    after = ended(client, send(client, small, motion="wink", **SHORT).json()["id"])  # the queue goes on
    assert after["state"] == "done", after


def test_the_queue_is_bounded_and_says_positions(client: Any, small: Path) -> None:
    answers = [send(client, small, motion="talking", size=1024) for _ in range(8)]
    taken = [a.json() for a in answers if a.status_code == 202]
    refused = [a for a in answers if a.status_code == 429]
    assert 4 <= len(taken) <= 6 and len(taken) + len(refused) == 8
    assert all(int(a.headers["retry-after"]) > 0 and friendly(a) for a in refused)
    positions = [client.get(f"/v1/animations/{j['id']}").json()["position"] for j in taken]
    assert positions[-1] > positions[0] and max(positions) <= 4
    for job in reversed(taken):
        assert client.delete(f"/v1/animations/{job['id']}").json()["state"] == "cancelled"


@pytest.mark.data
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_words(client: Any, small: Path, data_dir: Path, name: str) -> None:
    bad = data_dir / "bad" / name
    assert name in friendly(send(client, bad, motion="wink"))
    if not name.startswith("one-pixel"):
        assert name in friendly(send(client, small, driving=bad))


@pytest.mark.data
def test_odd_files_are_taken(client: Any, data_dir: Path) -> None:
    for name in ("exif-rotated.jpg", "cmyk.jpg", "palette.png", "photo.webp"):
        done_with(client, send(client, data_dir / "odd" / name, motion="wink", **SHORT))


def test_what_is_missing_or_contradictory(client: Any, small: Path) -> None:
    assert "driver" in friendly(send(client, small))
    assert "there are 2" in friendly(send(client, small, motion="wink", units=f"{UNIT}=1"))
    assert "portrait" in friendly(client.post("/v1/animations", data={"motion": "wink"}))
    for wrong in ({"motion": "dance"}, {"engine": "magic"}, {"parts": "ears"}, {"strength": "9"}, {"face": "7"},
                  {"strength": "nan"}, {"size": "3"}, {"keyframes": "{"}, {"keyframes": "[]"}, {"format": "exe"},
                  {"keyframes": '[{"time": 1e9}]'}, {"keyframes": "[" * 5000}):  # fmt: skip
        data = wrong if set(wrong) & {"motion", "keyframes"} else {"motion": "wink", **wrong}
        friendly(send(client, small, **data))
    for path in ("/v1/animations/nothing", "/v1/animations/nothing/result"):
        assert client.get(path).status_code == 404
    assert client.delete("/v1/animations/..%2f..%2fetc").status_code == 404


def test_a_face_marked_by_hand(client: Any, page: Any, small: Path) -> None:
    picture = {"picture": ("me.png", small.read_bytes())}
    portrait = page.post("/studio/portraits", files=picture, data={"box": "50,40,100,130"}).json()
    assert len(portrait["faces"]) == 1
    assert page.get(f"/studio/portraits/{portrait['id']}").json() == portrait
    job = page.post("/v1/animations", data={"portrait": portrait["id"], "motion": "wink", **SHORT}).json()
    assert ended(page, job["id"])["state"] == "done"
    done_with(client, send(client, small, motion="wink", box="50,40,100,130", **SHORT))
    for wrong in ("1,2,3", "a,b,c,d", "900,900,50,50", "0,0,1,1", "nan,0,50,50"):
        assert "box" in friendly(send(client, small, motion="wink", box=wrong)).lower()


def test_a_pickle_is_not_unpickled(client: Any, small: Path, tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    trap = tmp_path / "trap.motion.npz"
    trap.write_bytes(pickle.dumps(Trap()))
    friendly(send(client, small, driving=trap))
    np.savez(tmp_path / "array.motion.npz", offsets=np.array([Trap()], dtype=object))
    friendly(send(client, small, driving=tmp_path / "array.motion.npz"))
    assert not (tmp_path / "sprung").exists()


def test_names_of_files_do_no_harm(client: Any, small: Path) -> None:
    for name in (
        "../../../etc/passwd.png",
        "..",
        "a\x00b.png",
        "C:\\x\\y.png",
        "-rf.png",
        "ä" * 300 + ".png",
        "con|?.png",
    ):
        files = {"source": (name, small.read_bytes())}
        answer = client.post("/v1/animations", files=files, data={"motion": "wink", **SHORT})
        assert answer.status_code in (202, 422), answer.text
        if answer.status_code == 202:
            done_with(client, answer)
    folder = client.app.state.studio.folder
    kinds = {"jobs", "portraits", "performances", "expressions", "projects", "uploads"}
    assert {p.name for p in folder.iterdir()} <= kinds | {"studio.lock"}


def test_too_large_uploads_are_refused_before_they_are_read(small: Path, endless: None) -> None:
    with TestClient(create_app(Settings(workers=1, upload=100_000))) as client:
        answer = client.post("/v1/animations", files={"source": ("a.png", b"x" * 200_000)}, data={"motion": "wink"})
        assert answer.status_code == 413 and friendly(answer)

        def unending() -> Iterator[bytes]:  # without a Content-Length
            yield b'--b\r\nContent-Disposition: form-data; name="source"; filename="a.png"\r\n\r\n'
            for _ in range(50):
                yield b"x" * 10_000

        answer = client.post(
            "/v1/animations", content=unending(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code == 413 and friendly(answer)


def test_visitors_do_not_see_each_other(client: Any, small: Path) -> None:
    with visitor(client) as one, visitor(client) as other:
        portrait = one.post("/studio/portraits", files={"picture": ("me.png", small.read_bytes())}).json()
        assert len(portrait["faces"]) == 1 and portrait["width"] == 210
        assert one.get(f"/studio/portraits/{portrait['id']}/image").headers["content-type"] == "image/jpeg"
        assert other.get(f"/studio/portraits/{portrait['id']}/image").status_code == 404
        data = {"portrait": portrait["id"], "motion": "wink", **SHORT}
        friendly(other.post("/v1/animations", data=data))
        job = one.post("/v1/animations", data=data).json()
        assert other.get(f"/v1/animations/{job['id']}").status_code == 404
        assert other.delete(f"/v1/animations/{job['id']}").status_code == 404
        assert client.get(f"/v1/animations/{job['id']}").status_code == 404
        assert [j["id"] for j in one.get("/studio/jobs").json()] == [job["id"]] and other.get(
            "/studio/jobs"
        ).json() == []
        assert ended(one, job["id"])["state"] == "done"
        assert other.get(f"/v1/animations/{job['id']}/result").status_code == 404
        one.delete(f"/v1/animations/{job['id']}")


def test_the_tray_is_its_visitors_own(page: Any, client: Any, small: Path) -> None:
    job = send(page, small, motion="wink", label="first", end=0.2).json()
    early = page.get(f"/studio/jobs/{job['id']}/thumb")
    assert early.status_code in (200, 409)
    ended(page, job["id"])
    picture = page.get(f"/studio/jobs/{job['id']}/thumb")
    with Image.open(io.BytesIO(picture.content)) as image:
        assert image.format == "JPEG" and max(image.size) == 160
    assert page.patch(f"/studio/jobs/{job['id']}", json={"label": "  second  name "}).json()["label"] == "second name"
    assert page.get("/studio/jobs").json()[0]["label"] == "second name"
    assert page.patch(f"/studio/jobs/{job['id']}", json={"label": "x" * 81}).status_code == 422
    with visitor(client) as other:
        assert other.get(f"/studio/jobs/{job['id']}/thumb").status_code == 404
        assert other.patch(f"/studio/jobs/{job['id']}", json={"label": "mine"}).status_code == 404


def test_token(small: Path, endless: None) -> None:
    with TestClient(create_app(Settings(workers=1, token="sesame"))) as client:
        for path in ("/", "/v1/animations/x", "/openapi.json", "/static/app.css"):
            assert client.get(path).status_code == 401
        assert client.get("/v1/animations/x", headers={"Authorization": "Bearer sesame"}).status_code == 404
        assert (
            client.get("/v1/animations/x", headers={"Authorization": "Bearer s\xe9same".encode("latin-1")}).status_code
            == 401
        )
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/?token=sesame").status_code == 200  # redirected, with the token as a cookie
        assert client.get("/v1/animations/x").status_code == 404


def test_other_sites_are_kept_out(client: Any, small: Path) -> None:
    evil = {"Origin": "http://evil.example"}
    assert client.post("/v1/animations", headers=evil).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    with pytest.raises(Exception), client.websocket_connect("/studio/express", headers=evil):  # noqa: B017
        pass
    for name in ("localhost", "127.0.0.1:7860", "[::1]:80", "testserver", "x.localhost"):
        assert own_name(name)
    for name in ("evil.example", "127.0.0.1.evil.example:80", "", "a b"):
        assert not own_name(name)
    policy = client.get("/openapi.json").headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy


def test_rate() -> None:
    rate = Rate(2)
    assert rate.wait("a") == rate.wait("a") == rate.wait("b") == 0 < rate.wait("a") <= 60


def test_made_up_sessions_do_not_outrun_the_rate(endless: None) -> None:
    with TestClient(create_app(Settings(workers=1, rate=1))) as client:
        codes = [
            client.post("/studio/examples/nobody", headers={"Cookie": f"infinex_session={i:024d}"}).status_code
            for i in range(HOST + 2)
        ]
    assert codes == [404] * HOST + [429] * 2


def test_results_go_after_their_time(small: Path) -> None:
    with TestClient(create_app(Settings(workers=1, keep=1.0))) as client:
        job = send(client, small, motion="wink", **SHORT).json()
        folder = client.app.state.studio.folder
        limit, states = time.monotonic() + 600, set()
        while (answer := client.get(f"/v1/animations/{job['id']}")).status_code == 200 and time.monotonic() < limit:
            states.add(answer.json()["state"])
            time.sleep(0.1)
        assert states <= {"queued", "running", "done"}
        while list((folder / "jobs").iterdir()) and time.monotonic() < limit:
            time.sleep(0.1)
        assert client.get(f"/v1/animations/{job['id']}").status_code == 404 and not list((folder / "jobs").iterdir())
    assert not folder.exists()


def test_specification(client: Any) -> None:
    spec = client.get("/openapi.json").json()
    assert set(spec["paths"]["/v1/animations/{id}"]) == {"get", "delete", "patch"}
    assert all(p.startswith(("/v1/", "/talks", "/images", "/audios")) for p in spec["paths"])


# -- what the page asks for -----------------------------------------------------------------------


def test_express_follows_the_sliders(page: Any, small: Path) -> None:
    portrait = page.post("/studio/portraits", files={"picture": ("me.png", small.read_bytes())}).json()
    with page.websocket_connect("/studio/express") as socket:
        socket.send_json({"portrait": portrait["id"], "face": 1})
        assert socket.receive_json() == {"ready": True, "width": 210, "height": 210}
        pictures = []
        for seq, value in enumerate((0.0, 1.0)):
            socket.send_json({"seq": seq, "units": {UNIT: value}})
            data = socket.receive_bytes()
            assert int.from_bytes(data[:4], "little") == seq
            pictures.append(np.asarray(Image.open(io.BytesIO(data[4:]))).astype(int))
        assert pictures[0].shape == (210, 210, 3)
        assert np.abs(pictures[0] - pictures[1])[110:180].max() > 40
        for wrong in ("x", "[]", '{"units": 3}', '{"units": {"AU999": 1}}', '{"yaw": "left"}', '{"seq": "z"}',
                      '{"play": "dance"}', '{"yaw": 1e999}'):  # fmt: skip
            socket.send_text(wrong)
            assert "error" in socket.receive_json()
        socket.send_json({"seq": 9, "play": "wink"})
        assert all(int.from_bytes(socket.receive_bytes()[:4], "little") == 9 for _ in range(3))


def test_a_still_keeps_the_portraits_size_and_says_what_it_is(page: Any, small: Path) -> None:
    portrait = page.post("/studio/portraits", files={"picture": ("me.png", small.read_bytes())}).json()
    image = np.asarray(Image.open(small))
    answer = page.post(f"/studio/portraits/{portrait['id']}/still", json={"units": {}})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), image)  # nothing asked, nothing changed
    answer = page.post(f"/studio/portraits/{portrait['id']}/still", json={"units": {UNIT: 0.8}, "yaw": 5})
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (210, 210) and "Made with Infinex" in picture.text["Comment"]
    assert not np.array_equal(np.asarray(picture), image)
    friendly(page.post(f"/studio/portraits/{portrait['id']}/still?face=4", json={}))


def test_live_follows_a_face(page: Any, small: Path, portrait: Path) -> None:
    mine = page.post("/studio/examples/collins").json()
    with page.websocket_connect("/studio/live") as socket:
        socket.send_json({"portrait": mine["id"], "face": 1})
        assert socket.receive_json()["ready"]
        socket.send_bytes(b"no picture")
        assert "error" in socket.receive_json()
        with Image.open(portrait) as image:
            out = io.BytesIO()
            image.convert("RGB").save(out, "JPEG")
        states, pictures = [], []
        for _ in range(16):
            socket.send_bytes(out.getvalue())
            while "text" in (message := socket.receive()):
                states.append(json.loads(message["text"])["state"])
            pictures.append(message["bytes"])
        assert states == ["settling", "live"]
        assert not any(pictures[:12]) and all(p.startswith(b"\xff\xd8") for p in pictures[12:])


@pytest.mark.parametrize(("path", "kind"), [("/studio/express", "previews"), ("/studio/live", "lives")])
def test_a_full_studio_says_so_and_places_come_back(page: Any, small: Path, path: str, kind: str) -> None:
    portrait = page.post("/studio/portraits", files={"picture": ("me.png", small.read_bytes())}).json()
    places = page.app.state.studio.visits[kind]

    def begin() -> dict[str, Any]:
        with page.websocket_connect(path) as socket:
            socket.send_json({"portrait": portrait["id"], "face": 1})
            return socket.receive_json()

    places.taken = places.most
    assert "come back" in begin()["error"] and places.taken == places.most
    places.taken = 0
    assert begin()["ready"] and places.taken == 0


def test_pictures_without_faces_and_strangers(page: Any, client: Any, data_dir: Path) -> None:
    bad = data_dir / "bad" / "noise-no-face.png"
    assert (
        "no face" in friendly(page.post("/studio/portraits", files={"picture": (bad.name, bad.read_bytes())})).lower()
    )
    assert client.get("/studio/jobs").status_code == 403  # who has not opened the page has no session
    assert page.post("/studio/examples/nobody").status_code == 404


def test_offer(page: Any) -> None:
    told = page.get("/studio/offer").json()
    assert UNIT in [u["name"] for g in told["units"] for u in g["units"]]
    assert {"happy", "sad"} <= set(told["emotions"]) and told["engines"][0]["name"] == "mesh"
    assert all(set(e) <= {u["name"] for g in told["units"] for u in g["units"]} for e in told["emotions"].values())
