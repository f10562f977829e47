"""What a file says of how it was made: metadata in every kind of output, C2PA manifests, a visible mark."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from infinex._version import __version__
from infinex.errors import InputError, MissingDependencyError, OutputError
from infinex.media.files import readable_file
from infinex.media.video import open_container

RGB = NDArray[np.uint8]
MADE = "Made with Infinex"
PNG = b"\x89PNG\r\n\x1a\n"
SIGNABLE = (".mp4", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
# IPTC's word for a picture in which parts of a real one were moved or drawn anew by a program.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
LONGEST_TEXT = 1 << 16  # of one piece of metadata that is read


def statement(what: str, source: str = "", driver: str = "", engine: str = "") -> dict[str, str]:
    """Metadata of a file: what it is, and what it was made from (names of files, without their folders)."""
    parts = {"source": source, "driver": driver, "engine": engine}
    return {
        "comment": f"{MADE} {__version__}: {what}.",
        "description": "; ".join(f"{k}: {v}" for k, v in parts.items() if v),
    }


def one_line(metadata: dict[str, str]) -> str:
    """Metadata for formats that hold one comment only."""
    return " ".join(v for v in metadata.values() if v)


# -- metadata in formats whose encoders take none ---------------------------------------------------


def png_chunks(metadata: dict[str, str]) -> bytes:
    """Text chunks (iTXt, UTF-8) with the keys as PNG spells them: Comment, Description."""
    out = b""
    for key, value in metadata.items():
        body = b"iTXt" + key.capitalize().encode("latin-1") + b"\0\0\0\0\0" + value.encode()
        out += (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return out


def png_with_text(data: bytes, metadata: dict[str, str]) -> bytes:
    """An encoded PNG with text chunks after its header."""
    end = 8 + 25  # signature and IHDR
    return data[:end] + png_chunks(metadata) + data[end:]


def gif_comment(text: str) -> bytes:
    """A comment extension: blocks of at most 255 bytes."""
    data = text.encode()
    blocks = (data[i : i + 255] for i in range(0, len(data), 255))
    return b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0"


def add_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Write metadata into a finished GIF or (A)PNG in place, without reading it into memory."""
    with path.open("rb") as file:
        head = file.read(13)
        if head.startswith(PNG):
            at, extra = 8 + 25, png_chunks(metadata)
        elif head[:4] == b"GIF8":
            at = 13 + (3 << ((head[10] & 7) + 1) if head[10] & 0x80 else 0)
            extra = gif_comment(one_line(metadata))
        else:
            raise ValueError(f"{path.name} is neither GIF nor PNG")
        other = path.with_name(path.name + ".meta")
        try:
            with other.open("wb") as out:
                file.seek(0)
                out.write(file.read(at) + extra)
                shutil.copyfileobj(file, out, 1 << 20)
            other.replace(path)
        finally:
            other.unlink(missing_ok=True)


# -- reading back -----------------------------------------------------------------------------------


@dataclass
class Provenance:
    """What a file says of its making; `signature` is None where there is no C2PA manifest."""

    file: str
    made_with_infinex: bool
    metadata: dict[str, str] = field(default_factory=dict)
    signature: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def inspect(path: str | Path) -> Provenance:
    """Read back what a picture, video, motion file or folder of frames says of its making.

    Raises InputError where the file cannot be read as any of these."""
    path = Path(path)
    if path.is_dir():
        first = next(iter(sorted(path.glob("*.png"))), None)
        if first is None:
            raise InputError(f"{path} is a folder without PNG frames")
        return inspect(first)
    path = readable_file(path)
    metadata = _metadata(path)
    words = " ".join(metadata.values())
    signature = read_signature(path)
    signed = signature is not None and "infinex" in str(signature.get("generator", "")).lower()
    return Provenance(path.name, MADE in words or signed, metadata, signature)


def _metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(PNG):
            return dict(_png_texts(file))
        if head[:4] == b"GIF8":
            return _gif_comments(file)
    if head[:2] == b"PK" and path.suffix == ".npz":
        return _motion_text(path)
    if head[:3] == b"\xff\xd8\xff" or head[:4] in (b"II*\0", b"MM\0*") or head[8:12] == b"WEBP" or head[:2] == b"BM":
        return _pillow_text(path)
    try:
        with open_container(path) as container:
            # Bytes in no known encoding come as U+FFFD, or from PyAV 19 on as lone surrogates, which nobody can print.
            return {
                k.lower(): v.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                for k, v in container.metadata.items()
            }
    except (av.error.FFmpegError, OSError, ValueError):
        raise InputError(f"{path.name} is no picture, video or motion file that can be read") from None


def _png_texts(file: BinaryIO) -> Iterator[tuple[str, str]]:
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"tEXt", b"iTXt") and size <= LONGEST_TEXT:
            key, _, text = file.read(size).partition(b"\0")
            if kind == b"iTXt":
                if text[:1] == b"\1":  # compressed: not ours
                    file.seek(4, 1)
                    continue
                text = text[2:].split(b"\0", 2)[-1]
                yield key.decode("latin-1").lower(), text.decode("utf-8", "replace")
            else:
                yield key.decode("latin-1").lower(), text.decode("latin-1")
            file.seek(4, 1)
        elif kind == b"IEND":
            return
        else:
            file.seek(size + 4, 1)


def _gif_comments(file: BinaryIO) -> dict[str, str]:
    """Comments of a GIF, walked block by block."""
    file.seek(0)
    head = file.read(13)
    if head[10] & 0x80:
        file.seek(3 << ((head[10] & 7) + 1), 1)
    texts = []

    def blocks(keep: bool) -> bytes:
        out = b""
        while (size := file.read(1)) not in (b"", b"\0"):
            data = file.read(size[0])
            out += data if keep and len(out) < LONGEST_TEXT else b""
        return out

    while (mark := file.read(1)) in (b"\x21", b"\x2c"):
        if mark == b"\x21":
            label = file.read(1)
            text = blocks(label == b"\xfe")
            if label == b"\xfe":
                texts.append(text.decode("utf-8", "replace"))
        else:
            place = file.read(9)
            if len(place) < 9:
                break
            if place[8] & 0x80:
                file.seek(3 << ((place[8] & 7) + 1), 1)
            file.seek(1, 1)
            blocks(False)
    return {"comment": " ".join(texts)} if texts else {}


def _pillow_text(path: Path) -> dict[str, str]:
    from PIL import Image

    Image.init()
    known = [name for name in ("JPEG", "MPO", "WEBP", "TIFF", "BMP") if name in Image.OPEN]
    out = {}
    try:
        with Image.open(path, formats=tuple(known)) as image:
            comment = image.info.get("comment")
            if comment:
                out["comment"] = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
            description = image.getexif().get(0x010E)
            if description:
                out["description"] = str(description)
    except Exception:  # decoders report damage in every way there is
        raise InputError(f"{path.name} is damaged and cannot be read as a picture") from None
    return out


def _motion_text(path: Path) -> dict[str, str]:
    import zipfile

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {"comment": str(data["made_with"])} if "made_with" in data.files else {}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        raise InputError(f"{path.name} is not a readable .motion.npz file") from None


# -- signing ----------------------------------------------------------------------------------------


def _c2pa() -> Any:
    try:
        import c2pa
    except (ImportError, OSError):
        raise MissingDependencyError(
            "signing needs the C2PA library: pip install 'infinex[sign]' (or pip install c2pa-python)"
        ) from None
    return c2pa


def signature_readable() -> bool:
    """Whether the library that reads C2PA manifests is installed."""
    try:
        _c2pa()
    except MissingDependencyError:
        return False
    return True


def read_signature(path: Path) -> dict[str, Any] | None:
    """The active C2PA manifest of a file: who signed, with what, when, and whether it holds; None without one."""
    if path.suffix.lower() not in SIGNABLE or not signature_readable():
        return None
    c2pa = _c2pa()
    try:
        reader = c2pa.Reader.try_create(str(path))
    except c2pa.C2paError as error:
        return {"state": "unreadable", "reason": str(error)}
    if reader is None:
        return None
    with reader:
        store = json.loads(reader.json())
        state = str(reader.get_validation_state())
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    info = manifest.get("claim_generator_info") or [{}]
    signed = manifest.get("signature_info", {})
    actions = [
        a.get("action")
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for a in assertion.get("data", {}).get("actions", [])
    ]
    return {
        "state": state,
        "generator": " ".join(str(info[0].get(k, "")) for k in ("name", "version")).strip(),
        "title": manifest.get("title"),
        "issuer": signed.get("issuer"),
        "name": signed.get("common_name"),
        "algorithm": signed.get("alg"),
        "time": signed.get("time"),
        "actions": actions,
    }


class Seal:
    """A certificate and its key, checked and ready to sign files with a C2PA manifest (C2PA 2.1)."""

    def __init__(self, certificate: str | Path, key: str | Path) -> None:
        """`certificate`: a PEM chain, the signer's first; `key`: its private key, PEM, unencrypted.

        Raises MissingDependencyError without the library, InputError for files that are no such thing."""
        self._c2pa = _c2pa()
        texts = []
        for path, what, word in ((certificate, "certificate", "CERTIFICATE"), (key, "private key", "PRIVATE KEY")):
            text = readable_file(path).read_bytes()
            if b"-----BEGIN" not in text or word.encode() not in text:
                raise InputError(f"{Path(path).name} is no {what} in PEM form")
            if b"ENCRYPTED" in text:
                raise InputError(f"{Path(path).name} is encrypted; give the key without a passphrase")
            texts.append(text)
        self._texts = texts
        self._algorithm = self._find_algorithm()

    def _signer(self, algorithm: str) -> Any:
        info = self._c2pa.C2paSignerInfo(algorithm, self._texts[0], self._texts[1], None)
        return self._c2pa.Signer.from_info(info)

    def _find_algorithm(self) -> str:
        """The algorithm of the key: the one with which a small picture can be signed."""
        import io

        ok, tiny = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
        assert ok
        reason = ""
        for name in ("es256", "ps256", "ed25519", "es384", "es512", "ps384", "ps512"):
            try:
                with self._signer(name) as signer, self._builder({"title": "test"}) as builder:
                    builder.sign(signer, "image/png", io.BytesIO(tiny.tobytes()), io.BytesIO())
                return name
            except self._c2pa.C2paError as error:
                reason = reason or " ".join(str(error).split())
        raise InputError(f"the certificate and key cannot sign: {reason}")

    def _builder(self, words: dict[str, str]) -> Any:
        action = {
            "action": "c2pa.created",
            "digitalSourceType": SOURCE_TYPE,
            "description": one_line({k: v for k, v in words.items() if k != "title"}),
        }
        manifest = {
            "claim_generator_info": [{"name": "Infinex", "version": __version__}],
            "title": words.get("title", ""),
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
        }
        # Without settings the library adds a thumbnail, an enlarged one where the picture is small.
        settings = json.dumps({"builder": {"thumbnail": {"enabled": False}}})
        if hasattr(self._c2pa, "Context"):
            return self._c2pa.Builder(json.dumps(manifest), self._c2pa.Context.from_json(settings))
        self._c2pa.load_settings(settings)  # older versions keep settings for the whole thread
        return self._c2pa.Builder(json.dumps(manifest))

    def check(self, path: Path) -> None:
        """Raise OutputError for a kind of file that cannot be signed."""
        if path.suffix.lower() not in SIGNABLE:
            kind = path.suffix or "a folder of frames"
            raise OutputError(f"{kind} cannot carry a C2PA manifest; sign .mp4, .gif or a picture")

    def sign(self, path: Path, title: str, metadata: dict[str, str]) -> None:
        """Add a manifest to a finished file, in place. Raises OutputError where that fails."""
        other = path.with_name(f"{path.stem}.signed{path.suffix}")
        try:
            with self._signer(self._algorithm) as signer, self._builder(metadata | {"title": title}) as builder:
                builder.sign_file(str(path), str(other), signer)
            other.replace(path)
        except self._c2pa.C2paError as error:
            raise OutputError(f"{title} could not be signed: {' '.join(str(error).split())}") from None
        finally:
            other.unlink(missing_ok=True)


# -- the visible mark -------------------------------------------------------------------------------


class Mark:
    """A small visible mark in the lower right corner of every frame of `width` by `height` pixels."""

    def __init__(self, width: int, height: int, text: str = "made with Infinex") -> None:
        scale = max(0.35, min(width, height) / 900)
        font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.4 * scale))
        (w, h), base = cv2.getTextSize(text, font, scale, thick)
        pad = max(3, round(0.45 * h))
        if w + 4 * pad > width:
            scale *= max(0.2, (width - 4 * pad) / (w + 1))
            (w, h), base = cv2.getTextSize(text, font, scale, thick)
        x1, y1 = width - pad, height - pad
        x0, y0 = max(0, x1 - w - 2 * pad), max(0, y1 - h - base - pad)
        self.box = x0, y0, x1, y1
        alpha = np.full((y1 - y0, x1 - x0), 0.45, np.float32)
        white = np.zeros((y1 - y0, x1 - x0), np.float32)
        cv2.putText(white, text, (pad, h + pad // 2), font, scale, 1.0, thick, cv2.LINE_AA)
        self._keep = (1 - alpha * (1 - white) - 0.92 * white)[..., None]
        self._add = (235 * white)[..., None]

    def draw(self, frame: RGB) -> None:
        """Blend the mark into (H, W, 3) uint8, or (H, W, 4) with alpha, in place."""
        x0, y0, x1, y1 = self.box
        view = frame[y0:y1, x0:x1]
        if frame.shape[2] == 4:
            under = view[..., 3:].astype(np.float32) * self._keep
            alpha = 255 * (1 - self._keep) + under
            colour = (view[..., :3] * under + 255 * self._add) / np.maximum(alpha, 1)
            view[:] = np.clip(np.round(np.dstack([colour, alpha])), 0, 255).astype(np.uint8)
            return
        view[:] = np.clip(np.round(view * self._keep + self._add), 0, 255).astype(np.uint8)


__all__ = [
    "MADE", "Mark", "Provenance", "Seal", "add_metadata", "gif_comment", "inspect", "one_line",
    "png_chunks", "png_with_text", "read_signature", "signature_readable", "statement",
]  # fmt: skip
