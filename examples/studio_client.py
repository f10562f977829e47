"""Animate a portrait through a running studio (`infinex studio`), with nothing but the standard library and httpx.

python examples/studio_client.py portrait.jpg --motion smile -o smile.mp4
python examples/studio_client.py portrait.jpg --driving clip.mp4 -o out.mp4 --address http://localhost:7860
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx


def animate(client: httpx.Client, portrait: Path, driving: Path | None, fields: dict[str, str]) -> bytes:
    """Hand a job in, wait for it, fetch its result."""
    with ExitStack() as stack:
        files = {"source": (portrait.name, stack.enter_context(portrait.open("rb")))}
        if driving is not None:
            files["driving"] = (driving.name, stack.enter_context(driving.open("rb")))
        answer = client.post("/v1/animations", files=files, data=fields)
    if answer.status_code != 202:
        sys.exit(answer.json()["detail"])
    job = answer.json()
    while job["state"] in ("queued", "running"):
        print(f"\r{job['state']} {100 * job['progress']:3.0f} %", end="", file=sys.stderr)
        time.sleep(0.5)
        job = client.get(f"/v1/animations/{job['id']}").raise_for_status().json()
    print(file=sys.stderr)
    if job["state"] != "done":
        sys.exit(job["message"])
    return client.get(f"/v1/animations/{job['id']}/result").raise_for_status().content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--address", default="http://localhost:7860")
    parser.add_argument("--driving", type=Path, help="a video, a picture or a .motion.npz file")
    for name in ("motion", "text", "units"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    fields = {k: v for k in ("motion", "text", "units") if (v := getattr(given, k))}
    fields["format"] = given.output.suffix.lstrip(".") or "mp4"
    token = os.environ.get("INFINEX_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=given.address, headers=headers, timeout=300) as client:
        given.output.write_bytes(animate(client, given.portrait, given.driving, fields))
    print(given.output)


if __name__ == "__main__":
    main()
