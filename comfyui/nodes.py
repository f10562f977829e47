"""The nodes: pictures, masks and sound as ComfyUI hands them on, portraits and takes as Infinex does.

ComfyUI's types: IMAGE is a tensor (B, H, W, 3) of floats 0..1, MASK (B, H, W) with 1 where a picture is transparent,
AUDIO `{"waveform": (B, C, T) -1..1, "sample_rate": Hz}`. Nothing of ComfyUI is needed to import this.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from infinex.drivers.contract import Driver
from infinex.editing import EMOTIONS, Editor, expression
from infinex.engine import Source, engine_names, find_engine
from infinex.errors import InputError
from infinex.interchange import formats
from infinex.interchange import take as interchange
from infinex.jobs.animate import render
from infinex.jobs.export import captured, take_of
from infinex.jobs.open import open_driver, open_voice
from infinex.jobs.source import load_source
from infinex.motion import Motion
from infinex.options import Options

PORTRAIT, TAKE = "INFINEX_PORTRAIT", "INFINEX_TAKE"  # types of our own, by which nodes are joined
ENDINGS = (".csv", ".glb", ".vrma", ".bvh", ".tsv", ".json", ".vtt")
MOVING = {  # what every node that animates offers
    "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 3.0, "step": 0.05, "tooltip": "how much of the motion"}),
    "absolute": ("BOOLEAN", {"default": False, "tooltip": "the performer's pose and expression, not their change"}),
    "background": ("STRING", {"default": "keep", "tooltip": "keep, none (see the mask), or a colour such as #00ff00"}),
    "engine": (engine_names(), {"default": "mesh"}),
}
FPS = ("FLOAT", {"default": 25.0, "min": 1.0, "max": 120.0, "step": 0.001})


@dataclass(frozen=True)
class Take:
    """A performance: what `infinex.render` is driven by, and what is written of it for other tools."""

    driving: Motion | str  # a performance, or the path or name of one
    seen: interchange.Take | None = None  # with the shapes that were read from pictures


# -- what ComfyUI hands on ------------------------------------------------------------------------


def pictures(image: torch.Tensor) -> Iterator[np.ndarray]:
    """The pictures (H, W, 3) uint8 RGB of an IMAGE, one by one. Raises InputError for another shape."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4) or not image.shape[0]:
        raise InputError(f"an IMAGE has the shape (B, H, W, 3), not {tuple(image.shape)}")
    for one in image:
        yield (one[..., :3].detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


@contextmanager
def as_folder(image: torch.Tensor) -> Iterator[str]:
    """An IMAGE as a folder of pictures, which drivers read frame by frame."""
    with tempfile.TemporaryDirectory(prefix="infinex-comfyui-") as folder:
        for k, one in enumerate(pictures(image)):
            cv2.imwrite(f"{folder}/{k:06d}.png", one[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        yield folder


@contextmanager
def as_sound(audio: dict[str, Any]) -> Iterator[Path]:
    """An AUDIO as a sound file. Raises InputError for several at once, or for none."""
    waves, rate = audio["waveform"], int(audio["sample_rate"])
    if waves.ndim != 3 or len(waves) != 1 or not waves.shape[2]:
        raise InputError(f"one AUDIO of the shape (1, C, T) is wanted, not {tuple(waves.shape)}")
    samples = (waves[0].detach().cpu().float().clamp(-1, 1) * 32767).round().to(torch.int16).T.contiguous().numpy()
    with tempfile.TemporaryDirectory(prefix="infinex-comfyui-") as folder:
        path = Path(folder) / "voice.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
        yield path


def handed_on(frames: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """IMAGE and MASK of pictures (H, W, 3 or 4) uint8, which are taken out of the list on the way."""
    h, w, c = frames[0].shape
    image, mask = torch.empty(len(frames), h, w, 3), torch.zeros(len(frames), h, w)
    for k in reversed(range(len(frames))):
        one = torch.from_numpy(frames.pop())
        image[k] = one[..., :3] / 255.0
        if c == 4:
            mask[k] = 1 - one[..., 3] / 255.0
    return image, mask


def ticking(total: int | None) -> Callable[[int], None]:
    """Shows progress in ComfyUI, and ends a node that was cancelled there; elsewhere nothing."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted as stop
        from comfy.utils import ProgressBar
    except ImportError:
        return lambda done: None
    bar = ProgressBar(total) if total else None

    def tick(done: int) -> None:
        stop()
        if bar is not None:
            bar.update_absolute(done)

    return tick


def behind(portrait: list[Source], background: str, engine: str) -> str:
    """What stands behind the person: a cut-out stays one."""
    cut = portrait[0].cutout is not None and find_engine(engine).system.mattes
    return "none" if cut and background == "keep" else background


def animated(
    portrait: list[Source], driving: str | Motion | Driver, options: Options
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """IMAGE, MASK and frames a second of a portrait under a driver."""
    driver = open_driver(driving, options)
    tick, frames = ticking(driver.frames), []
    for frame in render(portrait, driver, options):
        frames.append(frame)
        tick(len(frames))
    if not frames:
        raise InputError("the driver has no frames")
    return *handed_on(frames), float(driver.fps)


# -- nodes ----------------------------------------------------------------------------------------


class Node:
    """What all nodes share."""

    CATEGORY = "Infinex"
    FUNCTION = "run"


class Animating(Node):
    """What the nodes share that animate."""

    RETURN_TYPES = ("IMAGE", "MASK", "FLOAT")
    RETURN_NAMES = ("frames", "transparent", "fps")

    @staticmethod
    def choices(portrait: list[Source], strength: float, absolute: bool, background: str, engine: str, **more: Any) -> Options:  # fmt: skip  # noqa: E501
        """The options of one animation."""
        background = behind(portrait, background, engine)
        return Options(strength=strength, absolute=absolute, background=background, engine=engine, **more)


class Portrait(Node):
    """A picture becomes a portrait."""

    DESCRIPTION = "Finds the face in one picture. With LoadImage's mask a cut-out stays one."
    RETURN_TYPES = (PORTRAIT,)
    RETURN_NAMES = ("portrait",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {"image": ("IMAGE",)},
            "optional": {
                "mask": ("MASK", {"tooltip": "1 where the picture is transparent"}),
                "face": ("STRING", {"default": "largest", "tooltip": "largest, all, or a number from the left"}),
                "size": ("INT", {"default": 0, "min": 0, "max": 8192, "tooltip": "longer side; 0: as it is"}),
                "open_eyes": ("BOOLEAN", {"default": False, "tooltip": "closed ones are drawn open"}),
            },
        }

    def run(self, image: torch.Tensor, mask: torch.Tensor | None = None, face: str = "largest", size: int = 0,
            open_eyes: bool = False) -> tuple[list[Source]]:  # fmt: skip
        """Find the face."""
        if len(image) != 1:
            raise InputError(f"a portrait is one picture, not {len(image)}")
        if 0 < size < 64:
            raise InputError(f"size {size}: it goes from 64 to 8192 pixels, or is 0")
        picture = next(pictures(image))
        # Without transparency LoadImage gives a mask of 64 x 64 zeros.
        if mask is not None and mask.any():
            if mask.shape[-2:] != picture.shape[:2]:
                raise InputError(f"a mask of {tuple(mask.shape[-2:])} for a picture of {picture.shape[:2]}")
            alpha = (1 - mask.reshape(-1, *mask.shape[-2:])[0].cpu().float().clamp(0, 1)) * 255
            picture = np.dstack([picture, alpha.round().to(torch.uint8).numpy()])
        with tempfile.TemporaryDirectory(prefix="infinex-comfyui-") as folder:
            path = f"{folder}/portrait.png"
            cv2.imwrite(path, picture[..., [2, 1, 0, 3][: picture.shape[2]]])
            return (load_source(path, face, None, size or None, open_eyes),)


class ByImages(Animating):
    """A portrait moves as the face in a row of pictures does."""

    DESCRIPTION = "Tracks the face in the frames and gives its motion to the portrait."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"portrait": (PORTRAIT,), "frames": ("IMAGE",), "fps": FPS}, "optional": dict(MOVING)}

    def run(self, portrait: list[Source], frames: torch.Tensor, fps: float, strength: float = 1.0,
            absolute: bool = False, background: str = "keep", engine: str = "mesh") -> tuple[Any, ...]:  # fmt: skip
        """Animate."""
        options = self.choices(portrait, strength, absolute, background, engine, fps=fps)
        with as_folder(frames) as folder:
            return animated(portrait, folder, options)


class ByVoice(Animating):
    """A portrait says what is heard."""

    DESCRIPTION = "Lips, blinks and sway from a voice; over a take, whose lips give way, where one is given."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {"portrait": (PORTRAIT,), "audio": ("AUDIO",), "fps": FPS},
            "optional": {"take": (TAKE,), **MOVING},
        }

    def run(self, portrait: list[Source], audio: dict[str, Any], fps: float, take: Take | None = None,
            strength: float = 1.0, absolute: bool = False, background: str = "keep", engine: str = "mesh",
            ) -> tuple[Any, ...]:  # fmt: skip
        """Animate."""
        options = self.choices(portrait, strength, absolute, background, engine, fps=fps)
        with as_sound(audio) as sound:
            return animated(portrait, open_voice(sound, None if take is None else take.driving, options), options)


class Retarget(Animating):
    """A portrait moves as a take does."""

    DESCRIPTION = "Gives a take to the portrait: one that was tracked, loaded, or comes with Infinex."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"portrait": (PORTRAIT,), "take": (TAKE,)}, "optional": dict(MOVING)}

    def run(self, portrait: list[Source], take: Take, strength: float = 1.0, absolute: bool = False,
            background: str = "keep", engine: str = "mesh") -> tuple[Any, ...]:  # fmt: skip
        """Animate."""
        return animated(portrait, take.driving, self.choices(portrait, strength, absolute, background, engine))


class Edit(Node):
    """A portrait under an expression, as one picture."""

    DESCRIPTION = "Action Units such as AU12=0.8,AU6=0.5, and an emotion on top."
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "transparent")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {"portrait": (PORTRAIT,), "units": ("STRING", {"default": "AU12=0.8,AU6=0.5"})},
            "optional": {
                "emotion": (["none", *EMOTIONS], {"default": "none"}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
                "background": MOVING["background"],
            },
        }

    def run(self, portrait: list[Source], units: str, emotion: str = "none", strength: float = 1.0,
            background: str = "keep") -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Draw it."""
        wanted = expression(units or None, None if emotion == "none" else emotion, strength)
        return handed_on([Editor(portrait, background=behind(portrait, background, "mesh"))(wanted)])


class Track(Node):
    """The performance in a row of pictures."""

    DESCRIPTION = "Captures head, gaze and expression of the face in the frames."
    RETURN_TYPES = (TAKE,)
    RETURN_NAMES = ("take",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {"frames": ("IMAGE",), "fps": FPS},
            "optional": {"smooth": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.05})},
        }

    def run(self, frames: torch.Tensor, fps: float, smooth: float = 0.5) -> tuple[Take]:
        """Capture it."""
        tick = ticking(len(frames))
        with as_folder(frames) as folder:
            return (Take(*captured(folder, Options(smooth=smooth, fps=fps), lambda done, _: tick(done), points=True)),)


class LoadTake(Node):
    """A take from a file of Infinex or of another tool."""

    DESCRIPTION = "A .motion.npz, a table of Live Link Face or OpenFace, .glb, .vrma, .bvh, or a bundled motion's name."
    RETURN_TYPES = (TAKE,)
    RETURN_NAMES = ("take",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"path": ("STRING", {"default": "smile"})}}

    @classmethod
    def IS_CHANGED(cls, path: str) -> float:  # noqa: N802
        """A file that was written again is read again."""
        return Path(path).stat().st_mtime if Path(path).is_file() else 0.0

    def run(self, path: str) -> tuple[Take]:
        """Open it, so that what is wrong is said here."""
        open_driver(path).close()
        return (Take(path),)


class SaveTake(Node):
    """A take into a file for another tool."""

    DESCRIPTION = "Writes into ComfyUI's folder of outputs, in the format of the ending; .csv is Live Link Face's."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("path",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"take": (TAKE,), "name": ("STRING", {"default": "take"}), "ending": (list(ENDINGS),)}}

    def run(self, take: Take, name: str, ending: str) -> tuple[str]:
        """Write it, beside whatever has that name already."""
        try:
            import folder_paths

            folder = Path(folder_paths.get_output_directory())
        except ImportError:
            folder = Path.cwd()
        if not name or Path(name).name != name or "\\" in name:
            raise InputError(f"{name!r} is not the plain name of a file")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name + ending)
        k = 1
        while path.exists():
            path, k = folder / f"{name}_{k:05}{ending}", k + 1
        found = formats.chosen("livelink" if ending == ".csv" else None, path)
        assert found is not None  # a .motion.npz is no ending of these
        found.write(take.seen or take_of(open_driver(take.driving)), path)
        return (str(path),)


NODE_CLASS_MAPPINGS = {
    "InfinexPortrait": Portrait, "InfinexByImages": ByImages, "InfinexByVoice": ByVoice, "InfinexEdit": Edit,
    "InfinexTrack": Track, "InfinexRetarget": Retarget, "InfinexLoadTake": LoadTake, "InfinexSaveTake": SaveTake,
}  # fmt: skip
NODE_DISPLAY_NAME_MAPPINGS = {
    "InfinexPortrait": "Portrait (Infinex)", "InfinexByImages": "Animate by images (Infinex)",
    "InfinexByVoice": "Animate by voice (Infinex)", "InfinexEdit": "Edit expression (Infinex)",
    "InfinexTrack": "Track performance (Infinex)", "InfinexRetarget": "Animate by take (Infinex)",
    "InfinexLoadTake": "Load take (Infinex)", "InfinexSaveTake": "Save take (Infinex)",
}  # fmt: skip
