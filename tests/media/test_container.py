"""Opening files with any version of PyAV that is allowed, and before anything large is decoded."""

import ast
import struct
import zlib
from pathlib import Path

import infinex
from infinex.media.container import open_container, picture_stream

ROOT = Path(infinex.__file__).parent
EVERYWHERE = {"mode", "format", "options", "container_options"}  # keywords that PyAV 14 to 19 know


def png(side: int) -> bytes:
    """A black picture of one bit a pixel: small, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_what_is_larger_than_is_read_is_not_decoded_to_learn_of_it(tmp_path: Path) -> None:
    for side, known in ((640, 640), (12000, 0)):
        (tmp_path / "a.png").write_bytes(png(side))
        with open_container(tmp_path / "a.png") as container:
            assert picture_stream(container).codec_context.width == known


def test_files_are_opened_with_words_that_every_version_knows() -> None:
    seen = 0
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "av.open":
                seen += 1
                words = {k.arg for k in node.keywords if k.arg is not None}
                assert words <= EVERYWHERE, f"{path.name}: {sorted(words - EVERYWHERE)}"
    assert seen
