"""Streams of faces over the network: addresses, senders, and a driver that listens.

    livelink://host:11111   Live Link Face (UDP)      in and out
    vmc://host:39539        VMC protocol (OSC, UDP)   in and out
    vts://host:8001         VTube Studio (WebSocket)  out

Without a host it is this machine. What is listened to reaches this machine alone, unless another address of it is
named.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Driver, Shot
from infinex.drivers.units import rest_face
from infinex.errors import InputError
from infinex.face.blendshapes import gaze
from infinex.face.pose import to_vector
from infinex.interchange import livelink, vmc
from infinex.interchange.take import moves, turned

Array = NDArray[np.float64]
Frame = tuple[Array, Array, Array]  # shapes (52,), head (3,), eyes (2, 2)
PORTS = {"livelink": 11111, "vmc": 39539, "vts": 8001}
HERE = "127.0.0.1"
LONGEST = 65536  # bytes of a packet
FIRST, SILENCE, PAUSE = (
    30.0,
    10.0,
    0.2,
)  # seconds: for the first packet, until a stream has ended, between looks at keys
FEW = 20  # packets of something else after which it is said
FPS = 60.0


@dataclass(frozen=True)
class Address:
    """Where a stream comes from or goes."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def is_stream(name: object) -> bool:
    """Whether a driver is named that is a stream."""
    return isinstance(name, str) and name.split("://", 1)[0] in PORTS and "://" in name


def parse(text: str, sending: bool = False) -> Address:
    """An address such as `livelink://0.0.0.0:11111`. Raises InputError."""
    m = re.fullmatch(r"([a-z]+)://(\[[0-9a-fA-F:.]+\]|[^:/\[\]@\s]*)(?::(\d{1,5}))?/?", text)
    known = [s for s in PORTS if sending or s != "vts"]
    if m is None or m[1] not in known:
        raise InputError(f"{text}: a stream is named {', '.join(f'{s}://host:{PORTS[s]}' for s in known)}")
    port = int(m[3]) if m[3] else PORTS[m[1]]
    if not 0 < port < 65536:
        raise InputError(f"{text}: a port goes from 1 to 65535")
    return Address(m[1], m[2].strip("[]") or HERE, port)


# -- out ------------------------------------------------------------------------------------------


class Sender(Protocol):
    """Where frames go."""

    def send(self, weights: Array, head: Array, eyes: Array, seconds: float, valid: bool = True) -> None:
        """One frame: shapes (52,), head (3,) and eyes (2, 2) as in `Take`, at a time in seconds."""

    def close(self) -> None:
        """No more."""


class UdpSender:
    """Sends packets to one address."""

    def __init__(self, address: Address) -> None:
        """Raises InputError where there is no such host."""
        self.address = address
        self.refused = 0
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise InputError(f"{address}: there is no such host") from error
        self._to = found[4]
        self._socket = socket.socket(found[0], socket.SOCK_DGRAM)

    def send(self, weights: Array, head: Array, eyes: Array, seconds: float, valid: bool = True) -> None:
        """See `Sender`. A face that is lost is sent as it was."""
        if self.address.scheme == "livelink":
            turns = livelink.turns_of(head[None], eyes[None])[0]
            packets = [livelink.packet(weights, turns, seconds)]
        else:
            packets = vmc.packets(weights, head, eyes, seconds)
        for p in packets:
            try:
                self._socket.sendto(p, self._to)
            except OSError:  # nobody listens there yet
                self.refused += 1

    def close(self) -> None:
        """See `Sender`."""
        self._socket.close()


def open_sender(text: str) -> Sender:
    """A sender to an address. Raises InputError and MissingDependencyError."""
    address = parse(text, True)
    if address.scheme == "vts":
        from infinex.interchange.vts import Sender as VtsSender

        return VtsSender(address.host, address.port)
    return UdpSender(address)


# -- in -------------------------------------------------------------------------------------------


class StreamDriver(Driver):
    """Listens to Live Link Face or VMC; yields drives as they come, of several that wait the newest.

    `taken` is when the newest frame came, by the clock; `stopped` says whether the stream has ended by itself."""

    fps = FPS

    def __init__(self, name: str) -> None:
        """Raises InputError for an address that is none, or that cannot be listened at."""
        self.address = parse(name)
        self.name, self.taken, self.stopped = str(self.address), 0.0, False
        self.rest = rest_face()
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.lost: list[tuple[float, float]] = []
        self._vmc = vmc.Receiver()
        self._bad = 0
        self._renewed = False
        self._reason = ""
        self._frame: Frame | None = None
        try:
            found = socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(found[0], socket.SOCK_DGRAM)
            self._socket.bind(found[4])
        except OSError as error:
            why = error.strerror or "no such address"
            raise InputError(
                f"{self.name} cannot be listened at ({why}); is another program listening there?"
            ) from error
        self._socket.settimeout(PAUSE)

    def _take(self, data: bytes) -> None:
        """Make a frame of a packet, if it completes one."""
        try:
            if self.address.scheme == "vmc":
                frame = self._vmc.feed(data)
            else:
                found = livelink.unpack(data)
                frame = None
                if found is not None:
                    weights, turns, _ = found
                    eyes = np.stack([turns[3:5], turns[6:8]])
                    eyes = eyes if np.abs(eyes).max() > 1e-3 else gaze(weights[None])[0]
                    frame = weights, livelink.head_of(turns[None])[0], np.clip(eyes, -1.2, 1.2)
        except InputError as error:
            self._bad += 1
            self._reason = str(error)
            return
        if frame is not None:
            self._frame = frame
            self.taken = time.perf_counter()

    def _wait(self) -> bool:
        """Wait a moment for packets and take all that are there; whether there is a new frame."""
        before = self.taken
        try:
            self._take(self._socket.recv(LONGEST))
            self._socket.setblocking(False)
            for _ in range(256):
                self._take(self._socket.recv(LONGEST))
        except (TimeoutError, BlockingIOError, ConnectionError):
            pass
        finally:
            self._socket.settimeout(PAUSE)
        return self.taken != before

    def look(self, seen: Callable[[], None] | None = None) -> StreamDriver:
        """Wait for the first frame, which is taken for rest of the head. `seen` is called while it waits; what it
        raises ends this. Raises InputError where nothing comes, or something else."""
        began = time.perf_counter()
        while not self._wait():
            if seen is not None:
                seen()
            if self._bad >= FEW:
                raise InputError(f"what comes at {self.name} is something else: {self._reason}")
            if time.perf_counter() - began > FIRST:
                more = f"; of what came nothing was understood: {self._reason}" if self._bad else ""
                raise InputError(f"nothing came at {self.name} in {FIRST:g} s{more}")
        self._settle()
        return self

    def _settle(self) -> None:
        assert self._frame is not None
        self.rest = replace(rest_face(), rotation=to_vector(turned(self._frame[1])), gaze=self._frame[2].mean(0))

    def renew(self) -> None:
        """Take the head as it is now for rest; the next drive says so, as after a cut."""
        self._renewed = True

    def frames_of(self) -> Iterator[tuple[Frame, float, bool]]:
        """Frames as they come, with when they came; while nothing comes the last one, a few times a second."""
        if self._frame is None:
            self.look()
        while True:
            fresh = self._wait()
            if not fresh and time.perf_counter() - self.taken > SILENCE:
                self.stopped = True
                break
            assert self._frame is not None
            yield self._frame, self.taken, fresh
        if self._bad:
            self.warnings.append(f"{self._bad} packets at {self.name} were something else: {self._reason}")

    def __iter__(self) -> Iterator[Drive]:
        began: float | None = None
        for (weights, head, eyes), at, fresh in self.frames_of():
            began = at if began is None else began
            valid = np.array([fresh or time.perf_counter() - at < 1.0])
            move = next(moves(weights[None], head[None], eyes[None], valid, 0, self.fps))
            shot = None
            if self._renewed:
                self._renewed = False
                self._settle()
                shot = Shot(self.rest)
            yield Drive(replace(move, time=at - began), begins=shot)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


__all__ = ["Address", "Sender", "StreamDriver", "UdpSender", "is_stream", "open_sender", "parse"]
