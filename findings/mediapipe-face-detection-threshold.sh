#!/usr/bin/env bash
# mediapipe 0.10.21 (Python, solutions API): FaceDetection(min_detection_confidence=...) has no effect.
#
# Behaviour: whatever is asked for, from 0.05 to 1.0, the short-range detector goes on reporting faces from a score of
# 0.5 and the full-range one from 0.6, the numbers inside their graphs. A face of score 0.92 is still reported where 1.0
# is asked for, and nothing more is found where 0.05 is. FaceMesh's option of the same name does work, since it is handed
# to the graph in another way. Who tunes recall or precision by this number tunes nothing.
# Output seen (scores of the astronaut's face by asked-for confidence, then whether FaceMesh sees it):
#   short range {0.05: [0.922], 0.5: [0.922], 1.0: [0.922]}
#   full range  {0.05: [0.912], 0.5: [0.912], 1.0: [0.912]}
#   face mesh   {0.05: True, 1.0: False}
# Exits with 0 while that is so, with 1 once it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(for p in python3.12 python3.11 python3.10; do "$p" -c '' 2>/dev/null && echo "$p" && break; done)}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q mediapipe==0.10.21 scikit-image==0.25.2 'numpy<2' pillow==11.3.0
cd "$work"
GLOG_minloglevel=3 venv/bin/python 2>/dev/null - <<'PY'
from pathlib import Path

import numpy as np
import skimage
from mediapipe.python.solutions import face_detection, face_mesh
from PIL import Image

picture = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB"))


def scores(model: int, least: float) -> list[float]:
    with face_detection.FaceDetection(model_selection=model, min_detection_confidence=least) as detector:
        return [round(d.score[0], 3) for d in detector.process(picture).detections or []]


def mesh(least: float) -> bool:
    with face_mesh.FaceMesh(static_image_mode=True, min_detection_confidence=least) as network:
        return bool(network.process(picture).multi_face_landmarks)


near, far = ({c: scores(m, c) for c in (0.05, 0.5, 1.0)} for m in (0, 1))
meshes = {c: mesh(c) for c in (0.05, 1.0)}
print("short range", near, "\nfull range ", far, "\nface mesh  ", meshes)
same = all(len({str(v) for v in found.values()}) == 1 and found[1.0] for found in (near, far))
raise SystemExit(0 if same and meshes == {0.05: True, 1.0: False} else 1)
PY
