"""Two versions of the same pictures before one viewer, who is not told which is which.

    python benchmarks/side_by_side.py deal OLD_REPORT NEW_REPORT FOLDER [--seed 0]
    python benchmarks/side_by_side.py count FOLDER

`deal` takes two reports of `looks.py` about the same pairs and lays their sheets into FOLDER as NAME__A.png and
NAME__B.png, which is which by chance; the key goes beside FOLDER, into FOLDER.key.csv. A viewer writes one line a pair
into FOLDER/verdicts.txt: `NAME | A: ACCEPT | B: MINOR | better: A | eyes: SAME | mouth: B | why`. `count` reads both
and prints how often either version was better, with the sign test over pairs that were told apart.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections import Counter
from pathlib import Path

import cv2

from infinex.evaluation.study import sign_test

WIDEST = 1150  # pixels of a sheet
ASKED = ("better", "eyes", "mouth")
SIDES = ("A", "B")


def sheets(report: Path) -> dict[str, Path]:
    """The sheets of pairs in a report, by name."""
    return {p.stem: p for p in sorted(report.rglob("*--*.png"))}


def key_of(folder: Path) -> Path:
    """Where it stands which side is the new one."""
    return folder.parent / f"{folder.name}.key.csv"


def deal(old: Path, new: Path, folder: Path, seed: int = 0) -> int:
    """Lay out the pairs that both reports have; how many they are. Raises ValueError where there is none."""
    before, after = sheets(old), sheets(new)
    names = [n for n in after if n in before]
    if not names:
        raise ValueError(f"{old} and {new} have no sheet of the same pair; make both by benchmarks/looks.py")
    chance = random.Random(seed)
    sides = [SIDES[k % 2] for k in range(len(names))]  # as often on one side as on the other
    chance.shuffle(sides)
    folder.mkdir(parents=True, exist_ok=True)
    for name, side in zip(names, sides):
        for letter in SIDES:
            sheet = cv2.imread(str((after if letter == side else before)[name]))
            k = min(1.0, WIDEST / sheet.shape[1])
            sheet = cv2.resize(sheet, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{name}__{letter}.png"), sheet)
    with key_of(folder).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "new"), *zip(names, sides)])
    return len(names)


def counted(folder: Path) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Of each of `ASKED` how often `new`, `old` or `same` was said; and how often either got each verdict.

    Raises ValueError for a line that cannot be read."""
    with key_of(folder).open(encoding="utf-8") as file:
        key = {row["name"]: row["new"] for row in csv.DictReader(file)}
    said: Counter[tuple[str, str]] = Counter()
    verdicts: Counter[tuple[str, str]] = Counter()
    for line in (folder / "verdicts.txt").read_text(encoding="utf-8").splitlines():
        name, *parts = (part.strip() for part in line.split("|"))
        fields = {k.strip(): v.strip() for k, _, v in (part.partition(":") for part in parts)}
        if name not in key or not {*SIDES, *ASKED} <= fields.keys():
            raise ValueError(
                f"cannot read {line!r}; lines are NAME | A: ... | B: ... | better: ... | eyes: ... | mouth: ..."
            )
        for side in SIDES:
            verdicts["new" if side == key[name] else "old", fields[side]] += 1
        for what in ASKED:
            same = fields[what] not in SIDES
            said[what, "same" if same else "new" if fields[what] == key[name] else "old"] += 1
    return said, verdicts


def main() -> int:
    """Deal or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    dealing = commands.add_parser("deal")
    for name in ("old", "new", "folder"):
        dealing.add_argument(name, type=Path)
    dealing.add_argument("--seed", type=int, default=0)
    commands.add_parser("count").add_argument("folder", type=Path)
    o = parser.parse_args()
    try:
        if o.command == "deal":
            print(f"{deal(o.old, o.new, o.folder, o.seed)} pairs in {o.folder}; the key is {key_of(o.folder)}")
            return 0
        said, verdicts = counted(o.folder)
    except (OSError, ValueError) as error:
        print(f"side_by_side: {error}", file=sys.stderr)
        return 2
    print(f"{'':8}{'new':>6}{'old':>6}{'same':>6}  sign test")
    for what in ASKED:
        new, old, same = (said[what, k] for k in ("new", "old", "same"))
        print(f"{what:8}{new:6}{old:6}{same:6}  p = {sign_test(new, new + old):.2f}")
    for side in ("new", "old"):
        print(f"{side}: " + ", ".join(f"{n} {verdict}" for (s, verdict), n in sorted(verdicts.items()) if s == side))
    return 0


if __name__ == "__main__":
    sys.exit(main())
