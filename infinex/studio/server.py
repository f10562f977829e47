"""The server below the application: how many connections there are, and how long a request may take to begin."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import OrderedDict
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

SPARE = 160  # file descriptors that are left to files, workers and the rest
SHARE = 0.5  # of all connections that one address may have
KEPT = 30  # seconds for which a connection stays that asks for nothing more: longer than clients keep theirs, so that
# none asks on one that is just being closed
YOUNG = 10.0  # seconds for which a body that is coming is left alone however full it is


class Guests:
    """Connections, the oldest first. Where there are too many, who has asked for nothing yet makes room."""

    def __init__(self, most: int, header: float) -> None:
        self.most, self.header = most, header
        self._here: OrderedDict[int, Patient | None] = OrderedDict()
        self._transports: dict[int, Any] = {}

    def come(self, one: Patient) -> bool:
        """A connection is made; whether there is room for it."""
        self._here = OrderedDict((k, g) for k, g in self._here.items() if not self._transports[k].is_closing())
        self._transports = {k: self._transports[k] for k in self._here}
        key = id(one.transport)
        mine = [k for k, t in self._transports.items() if _host(t) == _host(one.transport)]
        if len(mine) >= max(1, round(SHARE * self.most)) and not self._room(mine):
            return False
        if len(self._here) >= self.most and not self._room(list(self._here)):
            return False
        self._here[key], self._transports[key] = one, one.transport
        return True

    def _room(self, keys: list[int]) -> bool:
        """Close the connection that has waited longest for nothing; whether there was one."""
        for idle in (Patient.waits, Patient.dawdles):
            for key in keys:
                guest = self._here[key]
                if guest is not None and idle(guest):
                    guest.transport.abort()
                    del self._here[key], self._transports[key]
                    return True
        return False


def _host(transport: Any) -> str:
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else "?"


class Patient(H11Protocol):
    """A connection whose requests have to begin in time."""

    guests: Guests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody comes."""
        super().connection_made(transport)
        self._asked: Any = None  # the request that was begun last
        self._timer: asyncio.TimerHandle | None = None
        self._socket = False
        if not self.guests.come(self):
            transport.abort()
            return
        self._wait()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.guests.header, self._late)

    def _late(self) -> None:
        self._timer = None
        if self.waits() and not self.transport.is_closing():
            self.transport.abort()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """From now on it is a socket, which another protocol serves."""
        self._socket = True
        self._stop()
        super().handle_websocket_upgrade(event)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def waits(self) -> bool:
        """Whether no request of it is being answered or read."""
        return not self._socket and (self.cycle is None or bool(self.cycle.response_complete))

    def dawdles(self) -> bool:
        """Whether a request's body is coming, and has been for a while."""
        late = not self._socket and time.monotonic() - getattr(self, "_begun", time.monotonic()) > YOUNG
        return late and self.cycle is not None and bool(self.cycle.more_body)

    def data_received(self, data: bytes) -> None:
        """Something comes: a request, or part of one."""
        super().data_received(data)
        if self.cycle is not self._asked:  # its first lines are whole
            self._asked, self._begun = self.cycle, time.monotonic()
            self._stop()
        elif self.waits():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop()
        super().connection_lost(exc)


class Ending(logging.Filter):
    """Leaves out what the log would say of requests and sockets that were cut off because the studio ends."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is said."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, asyncio.CancelledError) and not str(record.msg).startswith("Cancel ")


def connections(most: int) -> int:
    """How many connections fit into what this process may open."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft > 0:
            return max(16, min(most, soft - SPARE))
    return most


def run(app: Any, listening: Any, most: int = 600, header: float = 20.0) -> None:
    """Serve an application on a socket that listens, until it is asked to end: Ctrl-C, SIGTERM or a closed terminal."""
    protocol = type("Protocol", (Patient,), {"guests": Guests(connections(most), header)})
    config = uvicorn.Config(
        app, http=protocol, log_level="warning", access_log=False,
        ws_max_size=2 << 20, timeout_keep_alive=KEPT, timeout_graceful_shutdown=3, server_header=False,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(Ending())
    server = uvicorn.Server(config)
    if hasattr(signal, "SIGHUP"):
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGHUP, lambda *_: server.handle_exit(signal.SIGTERM, None))
    server.run(sockets=[listening])
