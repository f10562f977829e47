"""The page in a real browser, as a visitor uses it. Needs Debian's `chromium` and the `playwright` package."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

STATIC = Path(__file__).parents[2] / "infinex" / "studio" / "static"
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = os.environ.get("INFINEX_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed: apt-get install chromium", allow_module_level=True)
WAIT = 600_000  # milliseconds; the machine may be busy


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a face that moves, made by the product itself: it serves as driver and as camera."""
    import infinex
    from infinex.media.sink import open_sink
    from infinex.studio.examples import EXAMPLES

    path = tmp_path_factory.mktemp("clip") / "performance.mp4"
    sources = infinex.load_source(EXAMPLES[1].path, size=256)
    motion = infinex.load_motion("surprise").resample(12)
    with open_sink(path, (256, 256), 12) as sink:
        for frame in infinex.render(sources, motion):
            sink.write(frame)
    return path


@pytest.fixture(scope="module")
def camera(performance: Path) -> Path:
    """The clip as Chromium takes it for a camera."""
    import av

    from infinex.media.video import VideoReader

    path = performance.with_suffix(".mjpeg")
    with av.open(str(path), "w", format="mjpeg") as out, VideoReader(performance) as reader:
        stream = out.add_stream("mjpeg", rate=12)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuvj420p"
        for frame in reader:
            picture = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
            for packet in stream.encode(picture.reformat(format="yuvj420p")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio of its own, started by the command."""
    folder = str(tmp_path_factory.mktemp("studio"))
    command = [sys.executable, "-m", "infinex.cli", "studio", "--port", "0", "--no-browser", "--folder", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[2]
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-video-capture={camera}"]  # fmt: skip
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield one
        one.close()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """A page of a visitor of its own; errors of scripts and requests to elsewhere fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 820}, accept_downloads=True, locale="en-GB")
    page = opened(context, address)
    yield page
    assert page.faults == []
    context.close()


def opened(context: Any, address: str) -> Any:
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    here = address.rstrip("/")
    page.on("request", lambda r: None if r.url.startswith((here, "blob:", "data:", here.replace("http", "ws")))
            else page.faults.append(r.url))  # fmt: skip
    page.goto(address)
    page.locator("#examples button").first.wait_for()
    return page


def with_portrait(page: Any, path: Path | None = None) -> None:
    if path is None:
        page.get_by_role("button", name="Example: Grace Hopper").click()
    else:
        page.set_input_files("#file", path)
    page.wait_for_url("**#express")
    page.wait_for_function("() => infinex.latencies.length > 0")  # it was drawn once


def made(page: Any) -> Any:
    """Make the video; it plays on the stage."""
    page.get_by_role("button", name="Make the video").click()
    video = page.locator("#stage video.result-video:visible")
    video.wait_for()
    return video


def pixels(page: Any) -> np.ndarray:
    data = page.evaluate("() => document.querySelector('#canvas').toDataURL().split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def changed(page: Any, before: np.ndarray, seconds: float = 600) -> np.ndarray:
    """Wait until the portrait has moved, and come to rest."""
    limit = time.monotonic() + seconds
    last = before
    while time.monotonic() < limit:
        now = pixels(page)
        if now.shape == before.shape and np.abs(now - before).max() > 60 and np.array_equal(now, last):
            return now
        last = now
        time.sleep(0.15)
    raise AssertionError("the portrait did not move")


def test_a_smile_without_reading_anything(tab: Any, small: Path) -> None:
    with_portrait(tab, small)
    before = pixels(tab)
    tab.get_by_role("button", name="Happy", exact=True).click()
    after = changed(tab, before)
    tab.get_by_text("Lips and smile").click()
    slider = tab.get_by_role("slider", name="Smile", exact=True)
    assert float(slider.input_value()) > 0.5
    slider.focus()
    for _ in range(3):
        tab.keyboard.press("Home")
    changed(tab, after)
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save picture").click()
    with Image.open(download.value.path()) as image:
        assert image.size == (210, 210) and "Made with Infinex" in image.text["Comment"]
    tab.get_by_role("button", name="Start over").click()
    assert float(slider.input_value()) == 0
    assert tab.get_by_role("button", name="Happy", exact=True).get_attribute("aria-pressed") == "false"


def test_moments_by_keyboard_kept_over_a_reload_undone_and_made(tab: Any, small: Path) -> None:
    with_portrait(tab, small)
    answers: list[Any] = []

    def unheard(route: Any) -> None:
        """The studio saves a new project, and its answer gets lost."""
        if route.request.method != "POST":
            route.continue_()
            return
        answers.append(route.fetch().json())
        route.abort()

    tab.route("**/v1/projects", unheard)
    before = pixels(tab)
    tab.get_by_text("Mix two feelings").click()
    pad = tab.get_by_role("slider", name="Mix of two feelings")
    pad.focus()
    for key in ["ArrowRight"] * 8 + ["ArrowUp"] * 6:
        tab.keyboard.press(key)
    assert pad.get_attribute("aria-valuetext") == "Happy 40%, Surprised 30%"
    changed(tab, before)
    tab.get_by_role("button", name="Keep this moment").click()
    block = tab.get_by_role("button", name="Expression, from 0.0 to 2.0 seconds")
    block.wait_for()
    drawn = tab.evaluate("() => infinex.latencies.length")
    tab.get_by_role("slider", name="Time", exact=True).press("ArrowLeft")
    tab.wait_for_function("drawn => infinex.latencies.length > drawn", arg=drawn)
    assert np.abs(pixels(tab) - before).max() > 60  # the scene is seen at the time that was gone to
    block.focus()
    tab.keyboard.press("Shift+ArrowRight")
    tab.get_by_role("button", name="Expression, from 1.0 to 3.0 seconds").wait_for()
    for _ in range(14):
        tab.keyboard.press("Alt+ArrowLeft")
    shorter = tab.get_by_role("button", name="Expression, from 1.0 to 1.6 seconds")
    shorter.wait_for()
    tab.keyboard.press("Delete")
    sync_api.expect(shorter).to_have_count(0)
    tab.keyboard.press("Control+z")
    shorter.wait_for()
    tab.get_by_role("textbox", name="Name of the project").fill("Two feelings")
    tab.get_by_role("textbox", name="Name of the project").blur()
    while not answers:  # the page leaves without having heard that it is saved
        tab.wait_for_timeout(50)
    tab.unroute("**/v1/projects")
    tab.reload()
    tab.wait_for_function("() => { const w = JSON.parse(localStorage.getItem('work')); return w.id && !w.dirty; }")
    kept = tab.evaluate("async () => (await (await fetch('/v1/projects')).json()).map((p) => p.id)")
    assert kept == [answers[0]["id"]]
    shorter.wait_for()
    video = made(tab)
    assert abs(video.evaluate("v => v.duration") - 1.6) < 0.15
    tab.get_by_role("group", name="The result").get_by_text("210 × 210").wait_for()
    tab.get_by_role("link", name="Portrait", exact=True).click()
    tab.locator("#projects").get_by_role("button", name=re.compile("^Two feelings")).wait_for()


def test_a_clip_and_a_voice_over_it(tab: Any, small: Path, performance: Path) -> None:
    with_portrait(tab, small)
    tab.get_by_role("link", name="Animate").click()
    tab.get_by_role("tab", name="A video").click()
    tab.set_input_files("#video-file", performance)
    tab.get_by_role("button", name="performance, from").wait_for()
    tab.get_by_label("Its part from (s)").fill("0.4")
    tab.get_by_label("Its part from (s)").blur()
    made(tab)
    assert tab.locator("#corner").evaluate("v => v.src").endswith("/file")
    tab.get_by_role("button", name="Before and after").click()
    knife = tab.get_by_role("slider", name="Border between before and after")
    tab.keyboard.press("ArrowRight")
    assert knife.get_attribute("aria-valuenow") == "52"
    tab.get_by_role("button", name="Zoom in").click()
    frame, before = tab.locator("#frame").bounding_box(), where(tab)
    x, y = frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 3
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 10, y - 5)
    tab.mouse.move(x - 20, y - 10)
    tab.mouse.up()
    assert where(tab) == pytest.approx(
        [before[0], before[1] - 20, before[2] - 10], abs=1
    )  # also over the picture of before
    heads = {"MP4": b"ftyp", "GIF": b"GIF89a", "Motion": b"PK"}
    for name, head in heads.items():
        with tab.expect_download() as download:
            tab.get_by_role("group", name="Download").get_by_role("link", name=name).click()
        assert head in Path(download.value.path()).read_bytes()[:12]
    tab.get_by_role("tab", name="Yours").click()
    tab.locator("#own").get_by_role("button", name=re.compile("^performance")).wait_for()


def test_say_this(tab: Any, small: Path) -> None:
    from infinex.studio.offer import speaks, voices

    if not (speaks() and voices()):
        pytest.skip("no voice is installed: pip install 'infinex[say]'")
    with_portrait(tab, small)
    tab.get_by_role("link", name="Animate").click()
    tab.get_by_role("tab", name="Say this").click()
    text = tab.get_by_role("textbox", name="What should the portrait say?")
    text.press_sequentially("[frobs] Hello.")
    tab.locator("#say-problem", has_text="frobs").wait_for()  # told while typing
    text.fill("")
    tab.get_by_role("button", name="[smiles]").click()
    text.press_sequentially("Hello.")
    assert tab.locator("#say").input_value() == "[smiles] Hello."
    tab.get_by_role("button", name="Hello., from").wait_for()
    tab.locator("#say-problem:empty").wait_for(state="attached")
    video = made(tab)
    assert not video.evaluate("v => v.muted") and video.locator("track").count() == 1
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Captions").click()
    assert "Hello." in Path(download.value.path()).read_text()


def test_a_keyboard_keeps_its_place(tab: Any, small: Path) -> None:
    with_portrait(tab, small)
    tab.get_by_role("link", name="Animate").press("Enter")
    tab.get_by_role("button", name="Wink").press("Enter")
    make = tab.get_by_role("button", name="Make the video")
    tab.route("**/v1/animations", lambda route: None)  # the studio is slow to answer
    make.press("Enter")
    cancel = tab.get_by_role("group", name="The animation in the making").get_by_role("button", name="Cancel")
    cancel.wait_for()
    sync_api.expect(make).to_be_focused()
    sync_api.expect(make).to_be_disabled()
    make.press("Enter")  # once is enough
    cancel.press("Enter")
    sync_api.expect(make).to_be_focused()
    sync_api.expect(make).to_be_enabled()
    tab.get_by_role("status").get_by_text("Cancelled. Nothing was kept.").wait_for()
    tab.unroute("**/v1/animations")
    undo = tab.get_by_role("button", name="Undo", exact=True)
    undo.press("Enter")
    sync_api.expect(undo).to_be_focused()
    tab.keyboard.press("Tab")
    sync_api.expect(tab.get_by_role("button", name="Redo", exact=True)).to_be_focused()
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Wink, from").press("Delete")
    sync_api.expect(tab.get_by_role("button", name="Add another")).to_be_focused()


def test_the_tray_keeps_all_work(tab: Any, small: Path) -> None:
    with_portrait(tab, small)
    tab.get_by_role("link", name="Animate").click()
    tab.get_by_role("button", name="Look around").click()  # long enough to be cancelled
    make = tab.get_by_role("button", name="Make the video")
    make.click()
    cancel = tab.get_by_role("group", name="The animation in the making").get_by_role("button", name="Cancel")
    cancel.dispatch_event("click")  # a click waits for a button to rest, and work may be done then
    tab.get_by_text("Cancelled. Nothing was kept.").wait_for()
    tab.get_by_role("button", name="Wink").click()
    sync_api.expect(make).to_be_enabled(timeout=WAIT)
    made(tab)
    tab.reload()
    tab.get_by_role("button", name="All work").click()
    tray = tab.get_by_role("complementary", name="All work")
    item = tray.get_by_role("listitem")
    item.wait_for()
    picture = item.locator("img")
    assert picture.evaluate("async i => { await i.decode(); return i.naturalWidth; }") > 50
    item.get_by_role("button", name="Rename").click()
    tab.keyboard.type("For the class")
    tab.keyboard.press("Enter")
    item.get_by_role("button", name="Show For the class on the stage").wait_for()
    assert item.get_by_role("link", name="MP4").is_visible()
    item.get_by_role("button", name="Remove: For the class").click()
    tray.get_by_text("Nothing was made yet").wait_for()
    tab.keyboard.press("Escape")
    assert not tray.is_visible()


def test_bad_files_are_answered_kindly(tab: Any, small: Path, tmp_path: Path) -> None:
    bad = tmp_path / "notes.png"
    bad.write_text("not a picture")
    tab.set_input_files("#file", bad)
    tab.locator(".toast", has_text="notes.png is not a picture that can be read").wait_for()
    grey = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), "grey").save(grey)
    tab.set_input_files("#file", grey)
    tab.locator(".toast", has_text="No face found in wall.png").wait_for()
    assert tab.locator(".toast").count() == 1  # they do not pile up
    tab.get_by_role("heading", name="Mark it yourself").wait_for()
    tab.get_by_role("button", name="Another picture").click()
    with_portrait(tab, small)
    tab.get_by_role("link", name="Animate").click()
    tab.get_by_role("tab", name="A video").click()
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"no video at all")
    tab.set_input_files("#video-file", clip)
    tab.get_by_role("alert").filter(has_text="clip.mp4 is not a video that can be read").wait_for()


def test_two_visitors_are_apart(browser: Any, address: str, small: Path) -> None:
    contexts = [browser.new_context(locale="en-GB") for _ in range(2)]
    one, other = (opened(c, address) for c in contexts)
    with_portrait(one, small)
    portrait = one.evaluate("async () => (await (await fetch('/v1/portraits')).json())[0].id")
    path = f"{address.rstrip('/')}/v1/portraits/{portrait}"
    assert one.request.get(path).status == 200 and other.request.get(path).status == 404
    assert other.request.get(f"{address}v1/projects").json() == []
    for context in contexts:
        context.close()


def test_live_by_a_camera_and_a_take_of_it(tab: Any) -> None:
    with_portrait(tab)
    before = pixels(tab)
    tab.get_by_role("link", name="Live").click()
    tab.get_by_role("button", name="Start the camera").click()
    tab.locator("#live-status", has_text="You are live.").wait_for()
    tab.locator("#live-meter", has_text="pictures a second").wait_for()
    limit = time.monotonic() + 600
    while np.abs(pixels(tab) - before).max() < 60:
        assert time.monotonic() < limit, "the portrait does not follow the camera"
    tab.get_by_role("button", name="Record a take").click()
    tab.get_by_role("button", name="This is my neutral face").click()
    tab.locator("#live-status", has_text="Look straight ahead").wait_for()
    time.sleep(1.5)  # of the take
    tab.get_by_role("button", name="End the take").click()
    tab.wait_for_url("**#drive")
    tab.locator(".block").filter(has_text="Take").wait_for()


def test_a_code_leads_where_it_says(tab: Any) -> None:
    import cv2

    for text in ("http://10.0.0.7:7860/", "http://192.168.1.20:7860/s/Hv7p1jeM7iS4FQ37MVRkzQ"):
        rows = tab.evaluate("async t => (await import('/static/js/qr.js')).modules(t).map(r => [...r])", text)
        code = np.pad(255 * (1 - np.array(rows, np.uint8)), 4, constant_values=255)
        large = cv2.resize(code, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
        assert cv2.QRCodeDetector().detectAndDecode(large)[0] == text


def test_every_language_has_the_same_words() -> None:
    files = {p.stem: json.loads(p.read_text("utf-8")) for p in (STATIC / "words").glob("*.json")}
    assert sorted(files) == ["de", "en", "es", "fr"]
    used = set()
    for path in (STATIC / "js").glob("*.js"):
        used |= set(re.findall(r'\bt\("([^"]+)"', path.read_text("utf-8")))
    used |= set(
        re.findall(
            r'data-t(?:-aria-label|-title|-placeholder|-alt)?="([^"]+)"', (STATIC / "index.html").read_text("utf-8")
        )
    )
    for language, words in files.items():
        assert words.keys() == files["en"].keys(), language
        assert {k for k in used if k not in words and f"{k}.other" not in words} == set(), language
        for key, text in words.items():
            assert text and set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", files["en"][key])), (
                language,
                key,
            )


def where(page: Any) -> list[float]:
    """Scale and place of the picture on the stage."""
    script = (
        "() => { const m = new DOMMatrix(document.querySelector('#plate').style.transform); return [m.a, m.e, m.f]; }"
    )
    return page.evaluate(script)


def touch(context: Any, page: Any, steps: list[list[tuple[float, float]]]) -> None:
    """Fingers come down, move by steps, and leave."""
    session = context.new_cdp_session(page)
    for i, points in enumerate(steps):
        kind = "touchMove" if i else "touchStart"
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def test_a_screen_that_is_left_alone_begins_anew(browser: Any, address: str) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.clock.install()
    held: list[Any] = []
    page.route("**/studio/examples/*", lambda route: held.append(route))
    page.goto(f"{address}#kiosk")
    happy = page.get_by_role("button", name="Happy", exact=True)
    happy.click()  # before the portrait has come
    while not held:
        page.wait_for_timeout(50)
    with page.expect_response("**/studio/examples/*"):
        held[0].continue_()
    page.wait_for_timeout(500)
    sync_api.expect(happy).to_have_attribute("aria-pressed", "true")
    page.clock.fast_forward(70_000)
    page.keyboard.press("Shift")
    page.clock.fast_forward(70_000)
    assert happy.get_attribute("aria-pressed") == "true"
    page.clock.fast_forward(6_000)
    sync_api.expect(happy).to_have_attribute("aria-pressed", "false")
    context.close()


def seen(page: Any, whether: bool) -> None:
    """As if another tab were before this one, or no longer."""
    script = """hidden => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    page.evaluate(script, not whether)


def given_up(page: Any, socket: Any) -> None:
    """Wait until a page has closed a line to the server, or has lost it before."""
    until = time.monotonic() + WAIT / 1000
    while not socket.is_closed():
        assert time.monotonic() < until
        page.wait_for_timeout(100)


def test_a_page_that_nobody_sees_gives_up_its_seat(browser: Any, address: str) -> None:
    context = browser.new_context(locale="en-GB")
    sooner = "const set = setTimeout; setTimeout = (f, ms, ...a) => set(f, ms === 60000 ? 1500 : ms, ...a);"
    context.add_init_script(sooner)
    page = opened(context, address)
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    with_portrait(page)
    page.get_by_role("link", name="Animate").click()
    page.get_by_role("button", name="Look around").click()
    page.get_by_role("button", name="Pause").wait_for()  # it plays
    assert len(sockets) == 1
    seen(page, False)
    given_up(page, sockets[0])
    page.get_by_role("button", name="Play", exact=True).wait_for()
    with page.expect_event("websocket"):
        seen(page, True)
    page.get_by_role("link", name="Live").click()
    page.get_by_role("button", name="Start the camera").click()
    page.locator("#live-status", has_text="You are live.").wait_for()
    seen(page, False)
    given_up(page, sockets[-1])
    page.get_by_role("button", name="Start the camera").wait_for()
    context.close()


def test_every_control_has_a_name_and_a_size_on_a_phone(browser: Any, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 375, "height": 740}, color_scheme="dark", locale="de-DE", has_touch=True
    )
    page = opened(context, address)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("heading", name="Ein Porträt zum Leben erwecken").wait_for()
    page.get_by_role("combobox", name="Sprache").select_option("en")
    page.get_by_role("heading", name="Bring a portrait to life").wait_for()
    with_portrait(page)
    frame = page.locator("#frame").bounding_box()
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    touch(context, page, [[(x - a, y), (x + a, y)] for a in (30, 40, 50, 60)])
    assert where(page)[0] == pytest.approx(2, abs=0.05)  # two fingers
    before = where(page)
    touch(context, page, [[(x + a, y + a)] for a in (0, 10, 20)])
    placed = where(page)
    assert placed == pytest.approx([before[0], before[1] + 20, before[2] + 20], abs=1)  # one
    axe = os.environ.get("INFINEX_AXE")  # the file axe.min.js of npm's axe-core
    for name in ("Portrait", "Expression", "Animate", "Live", "Compare"):
        page.get_by_role("link", name=name, exact=True).click()
        closed = page.locator("details:not([open]):visible > summary")
        while closed.count():
            closed.first.press("Enter")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, a, video, [role=slider]")]
            .filter((n) => n.offsetParent && !(n.getAttribute("aria-label") || n.textContent.trim() || n.title
            || [...(n.labels ?? [])].some((l) => l.textContent.trim()))).map((n) => n.outerHTML)"""
        )
        assert nameless == []
        tiny = page.evaluate(
            """() => [...document.querySelectorAll("button, select, summary, input[type=range], input[type=text], a")]
            .filter((n) => n.offsetParent && !n.matches(".skip")).filter((n) => { const r = n.getBoundingClientRect();
            return r.width < 24 || r.height < 24; }).map((n) => n.outerHTML)"""
        )
        assert tiny == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 375, name
        if axe:
            page.evaluate(Path(axe).read_text("utf-8"))
            assert page.evaluate("async () => (await axe.run()).violations.map((v) => v.help)") == [], name
    page.get_by_role("link", name="Expression", exact=True).click()
    page.locator("#frame").wait_for()
    page.wait_for_timeout(100)
    assert where(page) == pytest.approx(placed, abs=1)  # as it was before the stage was out of sight
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.faults == []
    context.close()


CUT = """(() => [...document.querySelectorAll(
  "button, a, select, textarea, summary, input:not([type=radio], .hidden-input)")]
  .filter((n) => n.offsetParent && !n.closest(".skip, .lane")).flatMap((n) => {
    const r = n.getBoundingClientRect();
    for (let box = n.parentElement; box && box !== document.body; box = box.parentElement) {
      const b = box.getBoundingClientRect();
      if (getComputedStyle(box).overflowX === "visible" && !box.matches(".card, .timeline")) continue;
      if (r.left < b.left - 1 || r.right > b.right + 1) return [n.outerHTML.slice(0, 120)];
    }
    const words = n.matches("button, a, summary") && getComputedStyle(n).display !== "inline";
    const out = (words && n.scrollWidth > n.clientWidth + 1) || r.left < -1 || r.right > innerWidth + 1;
    return out ? [n.outerHTML.slice(0, 120)] : [];
  }))()"""


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
@pytest.mark.parametrize("size", [(390, 844), (844, 390)])
def test_nothing_is_cut_off_on_a_phone(browser: Any, address: str, language: str, size: tuple[int, int]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale=language, has_touch=True)
    page = opened(context, address)
    page.locator("#examples button").first.click()
    page.wait_for_url("**#express")
    for name in ("portrait", "express", "drive", "live", "compare"):
        page.locator(f"[data-tab={name}]").click()
        page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")
        assert page.evaluate(CUT) == [], name
    page.locator("[data-tab=drive]").click()
    for tab in page.locator("#drivers [role=tab]:visible").all():
        tab.click()
        assert page.evaluate(CUT) == [], tab.get_attribute("id")
    page.locator("#export-open").click()
    assert page.evaluate(CUT) == []
    page.locator("#batch-open").click()
    page.locator("#batch-files").wait_for(state="attached")
    assert page.evaluate(CUT) == []
    page.keyboard.press("Escape")
    page.locator("[data-tab=drive]").click()
    frame = page.locator("#frame").bounding_box()
    assert frame["y"] >= 0 and frame["y"] + frame["height"] <= size[1]  # whatever is set, the face is seen
    assert page.faults == []
    context.close()
