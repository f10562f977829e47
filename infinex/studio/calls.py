"""What goes out to other machines, only to those that the owner names: words of a job's end, fetches of files."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from infinex.errors import InputError, option
from infinex.studio.settings import Settings

TRIES = (0.0, 2.0, 10.0)  # seconds before each try to tell somebody
PATIENCE = 20.0  # seconds that another machine may be silent
FETCH = 120.0  # longest time of a whole fetch
log = logging.getLogger("infinex.studio")


class _Straight(urllib.request.HTTPRedirectHandler):
    """Nobody is sent on: where to was not allowed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Straight)


def _place(address: str) -> tuple[str, str, str]:
    """Scheme, host with its port, and path of an address. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError(address)
    if any(c.isspace() or ord(c) < 32 for c in address) or ".." in unquote(parts.path).split("/"):
        raise ValueError(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, f"{parts.hostname.lower()}:{port}", parts.path or "/"


def check_callback(address: str | None, settings: Settings) -> None:
    """Raise InputError for an address that the owner does not let be told."""
    if address is None:
        return
    try:
        scheme, host, path = _place(address)
        for allowed in settings.webhooks:
            mine = _place(allowed)
            if mine[:2] == (scheme, host) and (path == mine[2] or path.startswith(mine[2].rstrip("/") + "/")):
                return
    except ValueError:
        raise InputError("callback: an address such as https://example.com/done is wanted") from None
    raise InputError(
        f"callback: the studio's owner does not allow this address; {option('webhook')} names those that may be told"
    )


def tell(address: str, data: dict[str, Any]) -> None:
    """Post JSON to an address, in a thread of its own, a few times where it does not answer."""
    threading.Thread(target=_tell, args=(address, json.dumps(data).encode()), daemon=True, name="infinex-tell").start()


def _tell(address: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "infinex-studio"}
    for wait in TRIES:
        time.sleep(wait)
        try:
            with _OPENER.open(urllib.request.Request(address, body, headers), timeout=PATIENCE):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                log.warning("a webhook answered %s", error.code)
                return
        except (OSError, ValueError, http.client.HTTPException) as error:
            log.warning("a webhook could not be told: %s", error)


def fetch(address: str, path: Path, settings: Settings, what: str) -> None:
    """Fetch a file that a request names. Raises InputError where its host is not allowed, or it is too large."""
    try:
        _, host, _ = _place(address)
    except ValueError:
        raise InputError(f"{what}: a data: address, one of an upload here or https://... is wanted") from None
    if host.rsplit(":", 1)[0] not in settings.fetch and host not in settings.fetch:
        raise InputError(f"{what}: this studio fetches nothing from there; upload the file (or its owner allows it)")
    end, size = time.monotonic() + FETCH, 0
    try:
        asked = urllib.request.Request(address, headers={"User-Agent": "infinex-studio"})
        with _OPENER.open(asked, timeout=PATIENCE) as answer, path.open("wb") as out:
            while block := answer.read(1 << 16):
                size += len(block)
                if size > settings.upload or time.monotonic() > end:
                    raise InputError(f"{what}: it is too large, or comes too slowly")
                out.write(block)
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException):
        raise InputError(f"{what}: it could not be fetched") from None
