"""What files say of their making, and whether it can be read back."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infinex.drivers.motion import load_motion
from infinex.editing import edit
from infinex.errors import InputError, OutputError
from infinex.media.audio import has_audio, write_wav
from infinex.media.image import read_image, write_image
from infinex.media.provenance import MADE, Mark, Seal, inspect, statement
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.pipeline import Options, animate

WORDS = statement("an animated still portrait, not a recording", "Żółw é.jpg", "clip.mp4", "mesh")


def frames(n: int = 4) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    return [np.ascontiguousarray(np.stack([np.roll(np.tile(ramp, (80, 1)), 5 * i, 1)] * 3, -1)) for i in range(n)]


def write(path: Path, **options: object) -> Path:
    with open_sink(path, (96, 80), 10, metadata=WORDS, **options) as sink:  # type: ignore[arg-type]
        for frame in frames():
            sink.write(frame)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.gif", "a.apng", "frames"])
def test_every_output_says_how_it_was_made(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    found = inspect(path)
    assert found.made_with_infinex and found.signature is None
    said = " ".join(found.metadata.values())
    assert MADE in said and "source: Żółw é.jpg; driver: clip.mp4; engine: mesh" in said
    assert [p.name for p in tmp_path.iterdir()] == [name]
    file = next(iter(sorted(path.iterdir()))) if path.is_dir() else path
    if name != "frames":  # still whole, and played alike
        with VideoReader(file) as reader:
            assert len(list(reader)) == 4
    if name in ("a.gif", "a.apng"):
        with Image.open(file) as image:
            assert image.n_frames == 4
            for i in range(4):
                image.seek(i)
                image.load()
            assert MADE in str(image.info.get("comment", "")) + str(getattr(image, "text", {}))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_tags_in_another_encoding_are_no_hindrance(tmp_path: Path, name: str) -> None:
    voice = write_wav(tmp_path / "tone.wav", [np.sin(np.arange(16000) / 5) / 2], 16000)
    path = tmp_path / name
    with open_sink(path, (96, 80), 10, audio=voice, metadata={"title": "xxAlte Sprachexx"}) as sink:
        for frame in frames():
            sink.write(frame)
    written = path.read_bytes()
    assert written.count(b"xxAlte Sprachexx") == 1
    path.write_bytes(written.replace(b"xxAlte Sprachexx", "für Zoë, vöglein".encode("latin-1")))
    title = inspect(path).metadata["title"]
    assert title.encode().decode() == title and title.endswith("glein") and "\ufffd" in title
    with VideoReader(path) as reader:
        assert len(list(reader)) == 4
    again = tmp_path / f"again-{name}"
    with open_sink(again, (96, 80), 10, audio=path) as sink:
        sink.write(frames(1)[0])
    assert has_audio(again)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, frames(1)[0], statement("a face", "me.jpg"))
    assert inspect(path).made_with_infinex and "me.jpg" in str(inspect(path).metadata)


def test_motion_files(tmp_path: Path) -> None:
    from infinex.motion import Motion

    path = tmp_path / "a.motion.npz"
    load_motion("wink").save(path)
    assert inspect(path).made_with_infinex
    assert len(Motion.load(path)) == len(load_motion("wink"))


def test_strangers_say_nothing_and_rubbish_is_refused(tmp_path: Path, portrait: Path) -> None:
    assert not inspect(portrait).made_with_infinex
    bad = tmp_path / "a.mp4"
    bad.write_text("no video")
    with pytest.raises(InputError, match=r"a\.mp4"):
        inspect(bad)
    for cut in (13, 20, 60):
        for name in ("a.gif", "a.apng"):
            whole = write(tmp_path / name).read_bytes()
            (tmp_path / f"cut{name}").write_bytes(whole[:cut])
            inspect(tmp_path / f"cut{name}")  # says what little there is; never raises anything of Python's own
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without PNG frames"):
        inspect(tmp_path / "empty")


@pytest.mark.parametrize("size", [(640, 480), (64, 64), (1080, 1920)])
def test_mark_is_seen_and_stays_in_its_corner(size: tuple[int, int]) -> None:
    w, h = size
    mark = Mark(w, h)
    for grey in (0, 128, 255):
        frame = np.full((h, w, 3), grey, np.uint8)
        mark.draw(frame)
        x0, y0, x1, y1 = mark.box
        assert 0 <= x0 < x1 <= w and h // 2 < y0 < y1 <= h
        changed = (frame != grey).any(-1)
        assert changed[y0:y1, x0:x1].mean() > 0.05
        changed[y0:y1, x0:x1] = False
        assert not changed.any()


def test_marked_animation_keeps_one_steady_mark(portrait: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    write_image(small, np.ascontiguousarray(read_image(portrait)[:420, 60:480][::2, ::2]))
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    wink = load_motion("wink").trim(0.5, 1.0)
    animate(small, wink, plain)
    animate(small, wink, marked, Options(mark=True))
    with Image.open(small) as image:
        mark = Mark(*image.size)
    for a, b in zip(sorted(plain.iterdir()), sorted(marked.iterdir())):
        want = np.asarray(Image.open(a)).copy()
        mark.draw(want)
        assert np.array_equal(want, np.asarray(Image.open(b)))


# -- signing --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A signing certificate below a test authority, and its key."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed: pip install 'infinex[sign]'")
    pytest.importorskip("cryptography", reason="cryptography makes the certificate of this test")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    def usage(sign: bool) -> x509.KeyUsage:
        return x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)

    now = datetime.datetime.now(datetime.timezone.utc)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def made(subject: str, public: object, root: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Root"))
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(root, None), True)
            .add_extension(usage(root), True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)  # type: ignore[arg-type]
        )
        if not root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256())

    folder = tmp_path_factory.mktemp("certificate")
    pem = serialization.Encoding.PEM
    chain = made("Signer", key.public_key(), False).public_bytes(pem) + made(
        "Root", root_key.public_key(), True
    ).public_bytes(pem)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_signed_and_read_back(certificate: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, seal=Seal(*certificate))
    found = inspect(path)
    assert found.signature is not None and found.made_with_infinex
    assert found.signature["state"] in ("Valid", "Trusted") and found.signature["name"] == "Signer"
    assert found.signature["title"] == name and found.signature["actions"] == ["c2pa.created"]
    assert "Infinex" in found.signature["generator"] and "clip.mp4" in str(found.metadata)
    with VideoReader(path) as reader:
        assert len(list(reader)) == 4
    assert [p.name for p in tmp_path.iterdir()] == [name]
    damaged = tmp_path / f"b{name}"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    damaged.write_bytes(bytes(data))
    assert inspect(damaged).signature["state"] == "Invalid"  # type: ignore[index]


def test_an_edited_picture_is_signed(certificate: tuple[Path, Path], portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    edit(portrait, "AU12=0.5", out, sign=certificate)
    found = inspect(out)
    assert found.signature is not None and found.signature["title"] == "a.png"
    assert found.signature["state"] in ("Valid", "Trusted") and "AU12=0.5" in str(found.metadata)
    with pytest.raises(OutputError, match="C2PA"):
        edit(portrait, "AU12=0.5", tmp_path / "a.bmp", sign=certificate)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_signature_adds_little(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    small = np.asarray(frames(1)[0][:32, :32])
    plain, signed = tmp_path / "plain.png", tmp_path / "signed.png"
    write_image(plain, small)
    write_image(signed, small)
    Seal(*certificate).sign(signed, "signed.png", {})
    assert inspect(signed).signature["state"] in ("Valid", "Trusted")  # type: ignore[index]
    assert signed.stat().st_size - plain.stat().st_size < 16000  # the manifest with its certificates


def test_what_cannot_sign_is_refused_before_any_work(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = certificate
    with pytest.raises(InputError, match="no private key"):
        Seal(chain, chain)
    with pytest.raises(InputError, match="no certificate"):
        Seal(key, key)
    other = tmp_path / "other.pem"
    other.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InputError, match="cannot sign"):
        Seal(chain, other)
    for name in ("a.webm", "a.apng", "frames"):
        with pytest.raises(OutputError, match="C2PA"):
            write(tmp_path / name, seal=Seal(*certificate))
        assert not (tmp_path / name).exists()


def test_inspect_command(certificate: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from infinex.commands.inspect import inspect as command

    path = write(tmp_path / "a.mp4", seal=Seal(*certificate))
    command(path, as_json=False)
    said = capsys.readouterr().out
    assert "made with Infinex" in said and "C2PA manifest: Valid; signed by Signer" in said
    command(path, as_json=True)
    assert json.loads(capsys.readouterr().out)["made_with_infinex"] is True


def test_without_the_library_the_words_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    import sys

    from infinex.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingDependencyError, match=r"infinex\[sign\]"):
        Seal(tmp_path / "a.pem", tmp_path / "b.pem")
    assert inspect(write_clip(frames())).signature is None
