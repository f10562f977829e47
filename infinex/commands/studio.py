"""`infinex studio`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Optional
from urllib.parse import quote, urlsplit

import typer

from infinex.commands.choices import Browser, Port
from infinex.errors import InputError, MissingDependencyError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def studio(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine can come in where it is not loopback.")
    ] = "127.0.0.1",
    port: Port = 7860,
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Ask every visitor for this token; `new` makes one.", envvar="INFINEX_TOKEN"),
    ] = None,
    browser: Browser = True,
    upload: Annotated[int, typer.Option(help="Largest upload, MB.", min=1, max=4096)] = 200,
    duration: Annotated[float, typer.Option(help="Longest driver, seconds.", min=1, max=36000)] = 300,
    queue: Annotated[int, typer.Option(help="Jobs that may wait; a batch is one.", min=1, max=1000)] = 24,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Jobs at a time; else one for every four cores.", min=1, max=64),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(help="Minutes for which work is kept that nobody uses; else a week.", min=0.1, max=5_256_000),
    ] = 10080,
    folder: Annotated[
        str,
        typer.Option(help="Where work is kept; else a folder of this user's, or none: nothing outlasts the studio."),
    ] = "",
    space: Annotated[int, typer.Option(help="Most that is kept there, MB.", min=100, max=10_000_000)] = 20_000,
    previews: Annotated[int, typer.Option(help="Pages that may preview at once.", min=1, max=500)] = 40,
    lives: Annotated[int, typer.Option(help="Pages that may drive live at once.", min=1, max=100)] = 30,
    fetch: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A host from which pictures and voices of talks may be fetched; repeatable."),
    ] = None,
    webhook: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="An address, or its beginning, that may be told of a job's end; repeatable."),
    ] = None,
) -> None:
    """Open the studio, a page to play with portraits: infinex studio"""
    check_installed()
    from infinex.studio.app import create_app
    from infinex.studio.place import usual_folder
    from infinex.studio.preview import warm
    from infinex.studio.settings import Settings

    # Whoever takes a portrait out of the studio takes out what was made of it.
    os.environ.setdefault("INFINEX_CACHE", "none")
    token = asked_token(token, host)
    given: dict[str, Any] = {} if workers is None else {"workers": workers}
    settings = Settings(
        token=token, loopback=host in LOOPBACK, upload=upload << 20, duration=duration, queue=queue,
        keep=keep * 60, space=space << 20, previews=previews, lives=lives, fetch=tuple(h.lower() for h in fetch or ()),
        webhooks=checked_webhooks(webhook or []), address=joining(host, port, token),
        folder=None if folder == "none" else Path(folder).expanduser() if folder else usual_folder(), **given,
    )  # fmt: skip
    app = create_app(settings)
    threading.Thread(target=warm, name="infinex-warm", daemon=True).start()
    serve(app, host, port, token, browser)


def joining(host: str, port: int, token: str | None) -> str | None:
    """The address by which other machines reach the studio; None where they cannot, or it is not known."""
    if host in LOOPBACK or port == 0:
        return None
    if host in ("0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing: the way there says which address is ours
                host = probe.getsockname()[0]
            except OSError:
                return None
    return address_of(host, port, token)


def checked_webhooks(addresses: list[str]) -> tuple[str, ...]:
    """Addresses that may be told of a job's end. Raises InputError for what is none."""
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"--webhook {address}: an address such as https://example.com/done is wanted")
    return tuple(addresses)


def asked_token(token: str | None, host: str) -> str | None:
    """The token visitors are asked for: `new` makes one. Says so where others can come in without one."""
    if token == "new":
        import secrets

        token = secrets.token_urlsafe(16)
    if host not in LOOPBACK and not token:
        print("infinex: note: anybody who reaches this address can come in; --token new asks for a token",
              file=sys.stderr)  # fmt: skip
    return token or None


def address_of(host: str, port: int, token: str | None, place: str = "") -> str:
    """What to open in a browser; the token comes before the `place` on the page, which no server hears of."""
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    words = f"?token={quote(token, safe='')}" if token else ""
    return f"http://{shown}:{port}/{words}" + (f"#{place}" if place else "")


def check_installed() -> None:
    """Raise MissingDependencyError where the studio's packages are not installed."""
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"the studio needs packages that are not here ({error.name}); run: pip install 'infinex[studio]'"
        ) from None


def serve(app: Any, host: str, port: int, token: str | None, browser: bool, place: str = "") -> None:
    """Run an application until Ctrl-C. Raises InputError where the address cannot be had."""
    from infinex.studio.server import run

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(128)  # whoever reads the address below may come at once, and waits a moment
        except (OSError, OverflowError) as error:
            raise InputError(f"--host {host} --port {port} cannot be listened on: {error}") from None
        port = listening.getsockname()[1]
        address = address_of(host, port, token, place)
        print(f"Infinex studio: {address}  (Ctrl-C ends it)", flush=True)
        if browser:
            timer = threading.Timer(1.0, webbrowser.open, [address])
            timer.daemon = True
            timer.start()
        run(app, listening)
