"""The skin of a face in its own coordinates: what moves on it that no landmark follows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import Pose

Array = NDArray[np.float64]

SIZE = 192  # pixels of the view's side
SPAN = 1.7  # inter-ocular distances it shows
CENTRE = (0.0, -0.05)  # its middle on the canonical face
SOFT = 1.5  # pixels: smoothing of the flow
LIGHT = 14.0  # pixels within which light is levelled out


def face_view(image: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """The face of a picture (H, W, 3) in head coordinates, from brows to chin: (SIZE, SIZE) lightness.

    `pose` is where the head is. Turns are undone as of a plane, so that a cheek turned away is stretched."""
    unit = SIZE / SPAN
    finer = int(np.clip(np.ceil(pose.scale / unit), 1, 8))  # small views of large faces must not alias
    side = SIZE * finer
    # From view pixels to the canonical plane, to the picture.
    step = pose.scale * pose.rotation[:2, :2] * (SPAN / side)
    corner = np.array([*CENTRE]) - SPAN / 2 * (1 - 1 / side)
    shift = pose.scale * pose.rotation[:2, :2] @ corner + pose.translation[:2]
    grey = cv2.warpAffine(
        image, np.column_stack([step, shift]), (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    grey = cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
    return grey if finer == 1 else cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


class Skin:
    """How a person's skin moves, by dense optical flow from a view at rest (Kroeger et al., ECCV 2016)."""

    def __init__(self, rest: NDArray[np.uint8], face: Array) -> None:
        """A `face_view` (SIZE, SIZE) at rest, and the face (478, 3) in head coordinates."""
        self._rest = _levelled(rest)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        at = (face[: top.SURFACE, :2] - CENTRE) / SPAN + 0.5
        self._at = (at * SIZE - 0.5).astype(np.float32)[None]

    def moved(self, view: NDArray[np.uint8]) -> Array:
        """Displacements (468, 2) in IOD of the skin at every landmark, within the head, in a `face_view`."""
        flow = self._flow.calc(self._rest, _levelled(view), None)  # type: ignore[call-overload]
        flow = cv2.GaussianBlur(flow, (0, 0), SOFT)
        seen = cv2.remap(flow, self._at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(seen[0] * (SPAN / SIZE), np.float64)


def _levelled(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view freed of light and contrast."""
    grey = view.astype(np.float32)
    out = grey - cv2.GaussianBlur(grey, (0, 0), LIGHT)
    spread = np.sqrt(cv2.GaussianBlur(out * out, (0, 0), 1.75 * LIGHT))
    return np.clip(128 + 40 * out / (spread + 3), 0, 255).astype(np.uint8)
