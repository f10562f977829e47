"""Blind studies: order, sides, several raters, resuming, intervals."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from studio_helpers import ended, visitor

from infinex.commands.studio import address_of
from infinex.commands.study import study as command
from infinex.errors import InputError
from infinex.evaluation.study import Pair, Study, pairs_of, sign_test, table, wilson
from infinex.studio.settings import Settings
from infinex.studio.study_app import create_study_app


@pytest.fixture
def folders(tmp_path: Path, write_clip: Callable[..., Path]) -> tuple[Path, Path]:
    """Two folders of the same four names; red ones are A's, blue ones B's."""
    for folder, colour in (("ours", (200, 30, 30)), ("theirs", (30, 30, 200))):
        (tmp_path / folder).mkdir()
        for i in range(4):
            frame = np.full((32, 32, 3), colour, np.uint8)
            write_clip([frame] * 3, f"{folder}/clip{i}.mp4")
    (tmp_path / "ours" / "clip0.txt").write_text("She smiles")
    (tmp_path / "ours" / "alone.mp4").write_bytes(b"x")
    return tmp_path / "ours", tmp_path / "theirs"


def judge(study: Study, rater: str, prefer: str, most: int = 99) -> list[str]:
    """A rater who always prefers one; the sides on which A was shown."""
    sides = []
    while most and (item := study.next(rater)) is not None:
        left = "ours" if "ours" in item.video("left").parts else "theirs"
        assert {p.parent.name for p in (item.video("left"), item.video("right"))} == {"ours", "theirs"}
        sides.append("left" if left == "ours" else "right")
        said = "left" if left == prefer else "right"
        study.answer(rater, item.token, {"quality": said, "consistency": said, "match": said})
        most -= 1
    return sides


def test_a_preference_is_found_whatever_the_sides(folders: tuple[Path, Path], tmp_path: Path) -> None:
    study = Study(pairs_of(*folders), tmp_path / "a.csv")
    sides = Counter(s for r in ("Ada", "Bob", "Cyd") for s in judge(study, r, "ours"))
    assert sides["left"] == sides["right"] == 6
    rows = {r.question: r for r in study.results()}
    assert rows["quality"].answers == rows["quality"].preferred_a == 12 and rows["match"].answers == 3
    assert 0.75 < rows["quality"].low < 1 and rows["quality"].high == 1 and rows["quality"].p < 0.001
    judge(study, "Dora", "theirs")
    judge(study, "Eve", "theirs")
    judge(study, "Flo", "theirs")
    fair = study.results()[0]
    assert fair.share == 0.5 and fair.low < 0.5 < fair.high and fair.p == 1
    assert "ours" in table(study.results())


def test_orders_differ_between_raters_and_stay_for_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    study = Study(pairs_of(*folders), tmp_path / "a.csv")
    orders = {r: [i.pair.name for i in study._items(r)] for r in "abcdefgh"}
    assert len({tuple(o) for o in orders.values()}) > 3
    again = Study(pairs_of(*folders), tmp_path / "b.csv")
    assert {r: [i.pair.name for i in again._items(r)] for r in orders} == orders


def test_broken_off_and_taken_up(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    judge(Study(pairs_of(*folders), path), "Ada", "ours", most=2)
    study = Study(pairs_of(*folders), path)
    assert len(judge(study, "Ada", "ours")) == 2 and study.next("Ada") is None and study.next("Bob") is not None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and {r["answer"] for r in rows} == {"a"}
    item = study._items("Ada")[0]
    study.answer("Ada", item.token, {"quality": "left", "consistency": "left", "match": "left"})  # a second time
    assert len(study.results()) == 3 and study.results()[0].answers == 4


def test_what_is_wrong_is_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for a, b, words in ((folders[0], folders[0], "itself"), (folders[0], tmp_path / "none", "no such folder"),
                        (folders[0], tmp_path, "same name")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            pairs_of(a, b)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="answers"):
        Study(pairs_of(*folders), other)
    study = Study(pairs_of(*folders), tmp_path / "a.csv")
    token = study._items("Ada")[0].token
    with pytest.raises(InputError, match="every question"):
        study.answer("Ada", token, {"quality": "left"})
    with pytest.raises(InputError, match="not part"):
        study.answer("Bob", token, {"quality": "left"})
    with pytest.raises(InputError, match="name"):
        study.next("  \n")


def test_intervals_agree_with_known_values() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20 and 1 of 29, by Wilson's method.
    for count, total, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert wilson(count, total) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) == (0, 1) and sign_test(0, 0) == 1
    assert sign_test(8, 10) == pytest.approx(0.109375) and sign_test(5, 10) == 1


def test_study_page(folders: tuple[Path, Path], tmp_path: Path) -> None:
    study = Study(pairs_of(*folders), tmp_path / "a.csv")
    app, place = create_study_app(study, Settings())
    with TestClient(app) as client:
        assert client.get("/").status_code == 200
        name = place.rsplit("/", 1)[1]
        assert client.get("/studio/offer").json() == {"only": name}
        base = f"/studio/studies/{name}"
        while not (item := client.get(f"{base}/next", params={"rater": "Ada"}).json())["done"]:
            assert set(item) == {"done", "token", "number", "pairs", "text"}  # nothing that tells A from B
            left = client.get(f"{base}/video/{item['token']}/left", params={"rater": "Ada"})
            assert left.headers["content-type"] == "video/mp4" and "ours" not in str(left.headers)
            answers = {"quality": "left", "consistency": "right", "match": "left"}
            told = {"rater": "Ada", "token": item["token"], "answers": answers}
            assert client.post(f"{base}/answers", json=told).json() == {"kept": True}
        assert client.get(f"{base}/results").json()["rows"][0]["answers"] == 4
        lines = list(csv.DictReader(io.StringIO(client.get(f"{base}/results.csv").text)))
        assert [r["question"] for r in lines] == ["quality", "consistency", "match"]
        assert len(client.get(f"{base}/answers.csv").text.splitlines()) == 10
        assert client.get(f"{base}/video/{'0' * 24}/left", params={"rater": "Ada"}).status_code == 422
        assert client.get("/studio/studies/nothing").status_code == 404
        assert client.post(f"{base}/answers", json={"rater": "", "token": "x", "answers": {}}).status_code == 422


def test_the_printed_address_lets_raters_in(folders: tuple[Path, Path], tmp_path: Path) -> None:
    token = "a b&c#d"
    app, place = create_study_app(Study(pairs_of(*folders), tmp_path / "a.csv"), Settings(token=token))
    address, said = address_of("127.0.0.1", 7861, token, place).split("#")
    assert said == place
    with TestClient(app) as client:
        assert client.get("/").status_code == 401
        assert client.get(address.removeprefix("http://localhost:7861")).status_code == 200
        assert client.get("/studio/offer").status_code == 200
    assert address_of("::1", 80, None) == "http://[::1]:80/"


def test_results_of_no_answers_make_no_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    answers = tmp_path / "a.csv"
    with pytest.raises(InputError, match="nobody has answered"):
        command(*folders, output=answers, show=True)
    assert not answers.exists()


def test_a_study_of_finished_animations(client: Any, small: Path) -> None:
    with visitor(client) as one, visitor(client) as other:
        ids = []
        for strength in ("1", "0.5"):
            files = {"source": ("me.png", small.read_bytes())}
            answer = one.post(
                "/v1/animations", files=files, data={"motion": "wink", "strength": strength, "size": "96", "end": "0.5"}
            )
            ids.append(answer.json()["id"])
        assert all(ended(one, i)["state"] == "done" for i in ids)
        pairs = [{"a": ids[0], "b": ids[1], "name_a": "full", "name_b": "half"}]
        assert other.post("/studio/studies", json={"pairs": pairs}).status_code == 404
        made = one.post("/studio/studies", json={"pairs": pairs}).json()
        assert [s["id"] for s in one.get("/studio/studies").json()] == [made["id"]]
        item = other.get(f"/studio/studies/{made['id']}/next", params={"rater": "Bob"}).json()  # a rater with the link
        video = other.get(f"/studio/studies/{made['id']}/video/{item['token']}/left", params={"rater": "Bob"})
        assert video.status_code == 200 and len(video.content) > 1000
        assert one.get(f"/studio/studies/{made['id']}/results").status_code == 200
        for name in ("results", "results.csv", "answers.csv"):  # with the raters' names: the owner's alone
            assert other.get(f"/studio/studies/{made['id']}/{name}").status_code == 403
        assert one.post("/studio/studies", json={"pairs": []}).status_code == 422


def test_pairs_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        Study([], tmp_path / "a.csv")
    study = Study([Pair("x", tmp_path / "a.mp4", tmp_path / "b.mp4")], tmp_path / "a.csv")
    assert study.next("Ada") is not None
