"""VTube Studio: a frame as the parameters that its models follow, sent over its WebSocket (public API 1.0, port
8001)."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, MissingDependencyError
from infinex.face.blendshapes import AT

Array = NDArray[np.float64]
PLUGIN, DEVELOPER = "Infinex", "Infinex"
PATIENCE = 60.0  # seconds in which somebody may allow it in VTube Studio


def parameters(weights: Array, head: Array, eyes: Array) -> dict[str, float]:
    """VTube Studio's own tracking parameters of one frame: angles in degrees, the rest in the ranges that it states."""
    w = {n: float(weights[k]) for n, k in AT.items()}

    def both(stem: str) -> float:
        return (w[stem + "Left"] + w[stem + "Right"]) / 2

    def lid(side: str) -> float:
        return float(np.clip(1 - w["eyeBlink" + side] + 0.4 * w["eyeWide" + side] - 0.3 * w["eyeSquint" + side], 0, 1))

    def brow(side: str) -> float:
        up = max(w["browInnerUp"], w["browOuterUp" + side])
        return float(np.clip(0.5 + 0.5 * up - 0.5 * w["browDown" + side], 0, 1))

    yaw, pitch, roll = np.degrees(head)
    looks = np.clip(eyes / [0.5, 0.4], -1, 1)
    return {
        "FaceAngleX": float(np.clip(yaw, -30, 30)), "FaceAngleY": float(np.clip(-pitch, -30, 30)),
        "FaceAngleZ": float(np.clip(roll, -90, 90)), "EyeOpenLeft": lid("Left"), "EyeOpenRight": lid("Right"),
        "EyeLeftX": float(looks[0, 0]), "EyeLeftY": float(-looks[0, 1]),
        "EyeRightX": float(looks[1, 0]), "EyeRightY": float(-looks[1, 1]),
        "MouthOpen": float(np.clip(1.4 * (w["jawOpen"] - w["mouthClose"]), 0, 1)),
        "MouthSmile": float(np.clip(0.5 + 0.5 * both("mouthSmile") - 0.5 * both("mouthFrown"), 0, 1)),
        "MouthX": float(np.clip(w["mouthLeft"] - w["mouthRight"], -1, 1)), "BrowLeftY": brow("Left"),
        "BrowRightY": brow("Right"), "Brows": (brow("Left") + brow("Right")) / 2, "CheekPuff": w["cheekPuff"],
        "TongueOut": w["tongueOut"], "FaceAngry": float(np.clip(both("browDown") * (1 - both("mouthSmile")), 0, 1)),
    }  # fmt: skip


def request(kind: str, data: dict[str, Any] | None = None) -> str:
    """A request as JSON."""
    whole = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "requestID": uuid.uuid4().hex, "messageType": kind}
    return json.dumps(whole | ({} if data is None else {"data": data}))


class Sender:
    """A connection to VTube Studio, which asks its user once whether this program may send."""

    def __init__(self, host: str, port: int) -> None:
        """Raises MissingDependencyError, and InputError where nobody listens or it is not allowed."""
        try:
            from websockets.sync.client import connect
        except ImportError as error:
            raise MissingDependencyError("to reach VTube Studio run: pip install 'infinex[streams]'") from error
        self.name = f"vts://{host}:{port}"
        try:
            self._open = contextlib.ExitStack()
            self._socket = self._open.enter_context(connect(f"ws://{host}:{port}", open_timeout=5))
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(f"{self.name}: nobody answers; is VTube Studio running with its plugin API on?") from error
        except Exception as error:  # what answered is no WebSocket
            raise InputError(f"{self.name}: what answers is not VTube Studio ({type(error).__name__})") from error
        try:
            self._introduce()
        except InputError:
            self._open.close()
            raise

    def _introduce(self) -> None:
        about = {"pluginName": PLUGIN, "pluginDeveloper": DEVELOPER}
        token = self._ask("AuthenticationTokenRequest", about).get("authenticationToken")
        if not isinstance(token, str):
            raise InputError(f"{self.name} did not allow it; say yes in VTube Studio's window")
        if self._ask("AuthenticationRequest", about | {"authenticationToken": token}).get("authenticated") is not True:
            raise InputError(f"{self.name} did not accept what it allowed before; try again")

    def _ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        try:
            self._socket.send(request(kind, data))
            whole = json.loads(self._socket.recv(timeout=PATIENCE))
        except Exception as error:  # closed, late, or not JSON
            raise InputError(f"{self.name} stopped answering ({type(error).__name__})") from error
        answer = whole.get("data", {}) if isinstance(whole, dict) else {}
        if not isinstance(whole, dict) or whole.get("messageType") == "APIError":
            raise InputError(f"{self.name} refused: {str(answer.get('message', 'no reason given'))[:200]}")
        return answer if isinstance(answer, dict) else {}

    def send(self, weights: Array, head: Array, eyes: Array, seconds: float, valid: bool = True) -> None:
        """One frame."""
        values = [{"id": n, "value": round(v, 5)} for n, v in parameters(weights, head, eyes).items()]
        self._ask("InjectParameterDataRequest", {"faceFound": valid, "mode": "set", "parameterValues": values})

    def close(self) -> None:
        """Hang up."""
        self._open.close()
