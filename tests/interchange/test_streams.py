"""Streams: packets byte by byte as the protocols say, and what comes from others."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from takes import take

from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.interchange import livelink, osc, streams, vmc, vts
from infinex.jobs.send import send
from infinex.motion import Move


def _port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_live_link_packet_byte_by_byte() -> None:
    weights = np.arange(52) / 100
    data = livelink.packet(weights, np.arange(9) / 10, 2.5, 60, "D" * 36, "me")
    assert data[:5] == b"\x06\x00\x00\x00\x24" and data[5:41] == b"D" * 36
    assert data[41:47] == b"\x00\x00\x00\x02me"
    frame, part, rate, below, count = struct.unpack_from(">ifiiB", data, 47)
    assert (frame, part, rate, below, count) == (150, 0.0, 60, 1, 61)
    values = struct.unpack_from(">61f", data, 64)
    assert len(data) == 64 + 61 * 4
    at = shapes.AT
    assert values[0] == pytest.approx(weights[at["eyeBlinkLeft"]]) and values[15] == pytest.approx(
        weights[at["jawLeft"]]
    )
    assert values[16] == pytest.approx(weights[at["jawRight"]]) and values[21] == pytest.approx(
        weights[at["mouthLeft"]]
    )
    assert values[52] == 0 and values[60] == pytest.approx(0.8)
    back = livelink.unpack(data)
    assert back is not None and np.allclose(back[0], weights, atol=1e-6) and back[2] == "me"


def test_a_packet_without_a_face_is_none() -> None:
    data = livelink.packet(np.zeros(52), np.zeros(9), 0.0)
    assert livelink.unpack(data[: 4 + 1 + 36 + 4 + 7]) is None


def test_osc_is_what_others_read() -> None:
    pythonosc = pytest.importorskip("pythonosc.osc_packet", reason="python-osc is not installed")
    t = take(1)
    found = []
    for p in vmc.packets(t.shapes[0], t.head[0], t.eyes[0], 1.5):
        assert len(p) <= vmc.ROOM
        found += [m.message for m in pythonosc.OscPacket(p).messages]
    values = {m.params[0]: m.params[1] for m in found if m.address == "/VMC/Ext/Blend/Val"}
    assert values["JawOpen"] == pytest.approx(t.shapes[0, shapes.AT["jawOpen"]], abs=1e-6) and len(values) == 52
    assert found[-1].address == "/VMC/Ext/Blend/Apply"
    bones = {m.params[0]: m.params[4:] for m in found if m.address == "/VMC/Ext/Bone/Pos"}
    assert set(bones) == {"Head", "LeftEye", "RightEye"} and np.linalg.norm(bones["Head"]) == pytest.approx(1, abs=1e-5)


def test_osc_byte_by_byte() -> None:
    assert osc.message("/a", "hey", 1.0) == b"/a\0\0,sf\0hey\0\x3f\x80\0\0"
    assert osc.message("/abc", "four", 3) == b"/abc\0\0\0\0,si\0four\0\0\0\0\0\0\0\x03"
    both = osc.bundle([osc.message("/a", 1), osc.message("/b", True)])
    assert both.startswith(b"#bundle\0\0\0\0\0\0\0\0\x01\0\0\0\x0c/a")
    assert osc.unpack(both) == [("/a", [1]), ("/b", [True])]


def test_vmc_comes_back_and_unity_turns_the_head_as_we_do() -> None:
    t, receiver = take(1), vmc.Receiver()
    frames = [receiver.feed(p) for p in vmc.packets(t.shapes[0], t.head[0], t.eyes[0], 1.0)]
    assert frames[:-1] == [None] * (len(frames) - 1) and frames[-1] is not None
    weights, head, eyes = frames[-1]
    assert np.allclose(weights, t.shapes[0], atol=1e-6) and np.allclose(head, t.head[0], atol=1e-5)
    assert np.allclose(eyes, t.eyes[0], atol=1e-5)
    # Unity is left-handed: to the subject's left, which is -x, is a negative turn about y.
    from infinex.interchange.take import turned

    assert vmc.quaternion(turned(np.array([0.3, 0, 0])))[1] < 0


def test_vmc_of_a_plain_model_is_understood() -> None:
    receiver = vmc.Receiver()
    receiver.feed(osc.message("/VMC/Ext/Blend/Val", "Blink_L", 1.0))
    receiver.feed(osc.message("/VMC/Ext/Blend/Val", "A", 0.5))
    frame = receiver.feed(osc.message("/VMC/Ext/Blend/Apply"))
    assert frame is not None and frame[0][shapes.AT["eyeBlinkLeft"]] == 1 and frame[0][shapes.AT["jawOpen"]] > 0.3


@pytest.mark.parametrize("scheme", ["livelink", "vmc"])
def test_a_stream_drives(scheme: str) -> None:
    name, t = f"{scheme}://127.0.0.1:{_port()}", take(60)
    driver = streams.StreamDriver(name)
    enough = threading.Event()

    def talk() -> None:
        sender = streams.open_sender(name)
        for k in itertools.cycle(range(60)):
            sender.send(t.shapes[k], t.head[k], t.eyes[k], k / 60)
            if enough.wait(0.02):
                break
        sender.close()

    thread = threading.Thread(target=talk)
    thread.start()
    got: list[Move] = []
    try:
        for drive in driver.look().settle():  # while nothing new comes the last one is told again
            assert not got or drive.move.time >= got[-1].time
            if not got or drive.move.time > got[-1].time:
                got.append(drive.move)
            if len(got) == 5:
                break
    finally:
        enough.set()
        thread.join()
        driver.close()
    assert len(got) == 5
    assert any(np.abs(m.offsets).max() > 0.01 for m in got)


def test_something_else_is_refused_in_one_line() -> None:
    name = f"livelink://127.0.0.1:{_port()}"
    driver = streams.StreamDriver(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(streams.FEW):
            s.sendto(b"GET / HTTP/1.1", ("127.0.0.1", driver.address.port))
    with pytest.raises(InputError, match="something else"):
        driver.look()
    driver.close()


def test_nobody_elses_door_is_taken() -> None:
    name = f"vmc://127.0.0.1:{_port()}"
    first = streams.StreamDriver(name)
    with pytest.raises(InputError, match="cannot be listened at"):
        streams.StreamDriver(name)
    first.close()


@pytest.mark.parametrize(
    "text", ["livelink://", "livelink", "vmc://h:0", "vmc://h:99999", "http://h:1", "vmc://a b:1", "vts://h"]
)
def test_addresses(text: str) -> None:
    if text == "livelink://":
        assert streams.parse(text) == streams.Address("livelink", "127.0.0.1", 11111)
    else:
        with pytest.raises(InputError):
            streams.parse(text)


@pytest.mark.parametrize("seed", range(3))
def test_packets_that_are_damaged_are_refused(seed: int) -> None:
    rng, t, receiver = np.random.default_rng(seed), take(1), vmc.Receiver()
    whole = [livelink.packet(t.shapes[0], np.zeros(9), 1.0), *vmc.packets(t.shapes[0], t.head[0], t.eyes[0], 1.0)]
    for k in range(400):
        data = bytearray(whole[k % len(whole)])
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        if rng.random() < 0.5:
            del data[int(rng.integers(len(data))) :]
        for read in (livelink.unpack, receiver.feed):
            try:
                found = read(bytes(data))
            except InputError as error:
                assert "\n" not in str(error)
            else:
                assert found is None or np.isfinite(np.asarray(found[0])).all()


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="no numbers"):
        livelink.unpack(livelink.packet(np.full(52, np.nan), np.zeros(9), 0.0))
    with pytest.raises(InputError, match="no number"):
        vmc.Receiver().feed(osc.message("/VMC/Ext/Blend/Val", "JawOpen", float("inf")))


def test_a_take_is_sent_in_its_own_time(tmp_path: Path) -> None:
    port = _port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        s.settimeout(10)
        livelink.write(take(8, 50.0), tmp_path / "a.csv")
        done = send(str(tmp_path / "a.csv"), f"livelink://127.0.0.1:{port}")
        packets = [s.recv(1000) for _ in range(8)]
    assert done.frames == 8 and done.seconds >= 7 / 50
    found = livelink.unpack(packets[5])
    assert found is not None and np.allclose(found[0], take(8, 50.0).shapes[5], atol=1e-5)


def test_vtube_studio_is_asked_and_told() -> None:
    serve = pytest.importorskip("websockets.sync.server", reason="websockets is not installed").serve
    heard: list[dict] = []
    answers = {
        "AuthenticationTokenRequest": {"authenticationToken": "key"},
        "AuthenticationRequest": {"authenticated": True},
    }

    def studio(ws) -> None:  # type: ignore[no-untyped-def]
        for text in ws:
            whole = json.loads(text)
            heard.append(whole)
            kind = whole["messageType"]
            head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "requestID": whole["requestID"]}
            ws.send(
                json.dumps({**head, "messageType": kind.replace("Request", "Response"), "data": answers.get(kind, {})})
            )

    port = _port(socket.SOCK_STREAM)
    with serve(studio, "127.0.0.1", port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        sender = vts.Sender("127.0.0.1", port)
        w = shapes.named({"jawOpen": 0.5, "eyeBlinkLeft": 1.0})
        sender.send(w, np.radians([10.0, -5, 3]), np.zeros((2, 2)), 0.0)
        sender.close()
        server.shutdown()
        thread.join()
    assert [h["messageType"] for h in heard] == [
        "AuthenticationTokenRequest",
        "AuthenticationRequest",
        "InjectParameterDataRequest",
    ]
    assert all(h["apiName"] == "VTubeStudioPublicAPI" and h["apiVersion"] == "1.0" for h in heard)
    values = {p["id"]: p["value"] for p in heard[-1]["data"]["parameterValues"]}
    assert values["FaceAngleX"] == 10 and values["FaceAngleY"] == 5 and values["EyeOpenLeft"] == 0
    assert values["EyeOpenRight"] == 1 and values["MouthOpen"] == pytest.approx(0.7)


def test_vtube_studio_that_is_not_there_is_said() -> None:
    pytest.importorskip("websockets", reason="websockets is not installed")
    with pytest.raises(InputError, match="nobody answers"):
        vts.Sender("127.0.0.1", _port(socket.SOCK_STREAM))


def test_a_stream_moves_a_portrait_into_a_file(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infinex.jobs.live import run_live
    from infinex.options import Options

    monkeypatch.setattr(streams, "SILENCE", 1.0)
    name, t = f"livelink://127.0.0.1:{_port()}", take(80)
    over, asked = threading.Event(), threading.Event()

    def talk() -> None:
        asked.wait(60)  # nobody sends yet when it begins to listen: what is recorded begins with the first packet
        sender = streams.open_sender(name)
        k = 0
        while not over.is_set() and k < 4000:
            sender.send(t.shapes[k % 80], 0.3 * t.head[k % 80], t.eyes[k % 80], k / 60)
            k += 1
            over.wait(0.02)
        sender.close()

    thread = threading.Thread(target=talk)
    thread.start()
    shown, began = 0, time.perf_counter()
    from infinex.jobs.live import Room

    plain, waiting = Room.show, Room.wait

    def wait(self, still):  # type: ignore[no-untyped-def]
        waiting(self, still)
        asked.set()

    monkeypatch.setattr(Room, "wait", wait)

    def show(self, picture, changed, drive):  # type: ignore[no-untyped-def]
        nonlocal shown
        shown += 1
        if shown == 12:
            over.set()
        return plain(self, picture, changed, drive)

    monkeypatch.setattr(Room, "show", show)
    try:
        summary = run_live(portrait, name, tmp_path / "out.mp4", Options(size=128, audio="none"))
    finally:
        over.set()
        thread.join()
    assert shown >= 12 and (tmp_path / "out.mp4").stat().st_size > 1000
    assert any("nothing more came" in w for w in summary.warnings)
    assert summary.frames / 60 < time.perf_counter() - began
