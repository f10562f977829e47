"""Patterns in time of what people do with their faces: nods, winks, laughter, yawns."""

from __future__ import annotations

from dataclasses import dataclass

from infinex.drivers.timeline import Cue

Keys = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Strand:
    """Levels that follow one curve; `keys` in parts of a beat, or, where `whole`, held over all beats."""

    levels: dict[str, float]
    keys: Keys = ()
    whole: bool = False


@dataclass(frozen=True)
class Gesture:
    """`beats` times `period` seconds; "twice" means two beats where `countable`, else all of it twice."""

    period: float
    beats: int
    strands: tuple[Strand, ...]
    countable: bool = False
    face: bool = False  # takes the whole face, so that it ends an expression before it
    note: str = ""


def _s(keys: str, **levels: float) -> Strand:
    """A strand of "part:level" keys; "whole" for one that is held."""
    if keys == "whole":
        return Strand(levels, (), True)
    return Strand(levels, tuple((float(a), float(b)) for a, b in (k.split(":") for k in keys.split())))


ONCE = "0:0 .25:1 .6:1 1:0"
SOUNDS = "0:0 .1:.8 .22:.15 .34:.7 .46:.05 .6:1 .78:.3 .88:.55 1:0"

GESTURES: dict[str, Gesture] = {
    "nod": Gesture(0.62, 2, (_s("0:0 .36:1 .78:-.12 1:0", nod=11),), True),
    "shake": Gesture(0.66, 2, (_s("0:0 .25:1 .75:-1 1:0", turn=13),), True),
    "blink": Gesture(0.42, 1, (_s("0:0 .24:1 .36:1 .8:0 1:0", AU45=1),), True),
    "wink": Gesture(0.8, 1, (_s("0:0 .2:1 .5:1 .9:0 1:0", AU46L=1, AU6L=0.5, AU12L=0.4, AU4L=0.1),
                             _s(ONCE, tilt=3)), True),
    "yawn": Gesture(3.4, 1, (_s("0:0 .35:.9 .6:1 .85:0 1:0", AU25=0.6, AU26=1, AU27=0.85),
                             _s("0:0 .4:1 .7:1 .95:0 1:0", AU43=0.95, AU4=0.35, AU9=0.2, AU7=0.4),
                             _s("0:0 .45:1 .65:1 1:0", nod=-9)), face=True),
    "laugh": Gesture(0.34, 6, (_s("whole", AU6=0.8, AU12=0.95, AU25=0.6, AU26=0.25, AU43=0.3, AU7=0.3, nod=-6),
                               _s("0:.2 .4:1 1:.2", AU26=0.6), _s("0:0 .4:1 1:0", nod=3)), face=True),
    "chuckle": Gesture(0.3, 5, (_s("whole", AU6=0.55, AU12=0.7, AU25=0.35, nod=2),
                                _s("0:.1 .4:1 1:.1", AU26=0.25), _s("0:0 .4:1 1:0", nod=2)), face=True),
    "cry": Gesture(0.7, 4, (_s("whole", AU1=0.9, AU4=0.7, AU6=0.35, AU7=0.4, AU15=0.8, AU17=0.5, AU25=0.35, nod=6),
                            _s("0:.1 .45:1 1:.1", AU20=0.4, AU43=0.75, AU26=0.2), _s("0:0 .3:1 1:0", nod=-3)),
                   face=True),
    "talk": Gesture(1.1, 2, (_s(SOUNDS, AU26=0.42), _s("0:0 .08:1 .42:.7 .47:.1 .55:1 .9:.8 1:0", AU25=0.5),
                             _s("0:0 .26:0 .36:1 .46:0 .8:0 .9:.7 1:0", AU18=0.45),
                             _s("0:0 .42:0 .47:1 .52:0 1:0", AU24=0.4), _s("0:0 .5:1 1:0", nod=2))),
    "whisper": Gesture(1.0, 2, (_s(SOUNDS, AU26=0.18), _s("0:0 .1:1 .9:1 1:0", AU25=0.3, AU18=0.25),
                                _s("whole", nod=4, lean=0.25, AU43=0.15))),
    "shout": Gesture(1.7, 1, (_s("0:0 .15:1 .75:.95 1:0", AU25=0.75, AU26=1, AU27=0.7, AU20=0.35, AU4=0.6, AU7=0.4,
                                AU10=0.25), _s("0:0 .2:1 .8:1 1:0", nod=-5, lean=0.25)), face=True),
    "sing": Gesture(1.4, 2, (_s("0:0 .15:.9 .4:.6 .5:.15 .7:1 .9:.7 1:0", AU26=0.65),
                             _s("0:0 .1:1 .9:1 1:0", AU25=0.5), _s("0:0 .35:0 .5:1 .6:0 1:0", AU18=0.6),
                             _s("whole", AU1=0.45, AU2=0.3), _s("0:0 .25:1 .75:-1 1:0", tilt=4))),
    "chew": Gesture(0.62, 4, (_s("0:0 .4:1 .75:.1 1:0", AU26=0.35), _s("0:.4 .4:0 .8:1 1:.4", AU24=0.5, AU17=0.25),
                              _s("0:0 .5:1 1:0", AU14L=0.3))),
    "kiss": Gesture(1.5, 1, (_s("0:0 .3:1 .65:1 .8:.1 1:0", AU18=0.95, AU22=0.25), _s("0:0 .3:1 .6:1 1:0", AU43=0.5,
                             lean=0.3)), face=True),
    "gasp": Gesture(1.8, 1, (_s("0:0 .12:1 .55:.9 1:0", AU1=0.75, AU2=0.7, AU5=0.75, AU25=0.6, AU26=0.6),
                             _s("0:0 .15:1 .5:1 1:0", nod=-6)), face=True),
    "sigh": Gesture(2.4, 1, (_s("0:0 .25:-.5 .6:1 1:0", nod=6), _s("0:0 .3:.3 .55:1 .8:.6 1:0", AU43=0.45, AU25=0.4,
                             AU26=0.25, AU15=0.2, AU1=0.25), _s("0:0 .3:1 .7:-1 1:0", shift_y=-0.03))),
    "breathe": Gesture(3.2, 1, (_s("0:0 .4:1 .55:1 1:0", nod=-5, shift_y=-0.04, AU38=0.5),
                                _s("0:0 .5:0 .7:1 1:0", AU25=0.3))),
    "sneeze": Gesture(2.6, 1, (_s("0:0 .45:1 .55:1 .6:0 1:0", AU25=0.6, AU26=0.5, AU1=0.5, nod=-10),
                               _s("0:0 .25:.5 .55:.7 .62:1 .8:.8 1:0", AU43=1, AU9=0.8, AU6=0.5),
                               _s("0:0 .57:0 .64:1 .8:.6 1:0", nod=20, AU24=0.4, AU4=0.5)), face=True),
    "cough": Gesture(0.75, 2, (_s("0:0 .25:1 .5:.3 1:0", nod=9, AU25=0.5, AU26=0.4), _s(ONCE, AU4=0.4, AU43=0.7)),
                     True),
    "sniff": Gesture(0.6, 2, (_s("0:0 .3:1 1:0", AU9=0.55, AU38=0.4, nod=-2),), True),
    "swallow": Gesture(1.2, 1, (_s("0:0 .3:1 .6:1 1:0", AU24=0.6, AU17=0.35), _s("0:0 .4:1 1:0", nod=4)), True),
    "lick": Gesture(1.4, 1, (_s("0:0 .25:1 .7:1 1:0", AU25=0.4, AU26=0.2), _s("0:0 .5:0 .7:1 1:0", AU28=0.45)), True,
                    note="the tongue itself is not shown"),
    "tongue": Gesture(1.8, 1, (_s(ONCE, AU25=0.65, AU26=0.5),), note="the tongue itself is not shown"),
    "bite": Gesture(2.0, 1, (_s("0:0 .2:1 .75:1 1:0", AU28=0.7, AU25=0.2),)),
    "roll_eyes": Gesture(1.6, 1, (_s("0:0 .2:-.8 .5:0 .75:.9 1:0", look_x=20), _s("0:0 .25:.7 .5:1 .72:.5 1:0",
                                  look_y=-20, AU1=0.2, AU2=0.3), _s(ONCE, nod=-3, AU43=0.12)), True),
    "shiver": Gesture(0.17, 9, (_s("0:0 .25:1 .75:-1 1:0", turn=1.6), _s("0:.2 .5:1 1:.2", AU20=0.3),
                                _s("whole", AU17=0.35, AU4=0.25, AU25=0.15))),
    "shrug": Gesture(1.7, 1, (_s(ONCE, AU1=0.6, AU2=0.6, AU15=0.5, AU17=0.65, tilt=7, shift_y=0.03),), True),
    "whistle": Gesture(2.2, 1, (_s("0:0 .15:1 .85:1 1:0", AU18=0.95, AU25=0.25),)),
    "blow": Gesture(1.8, 1, (_s("0:0 .3:1 .4:.2 1:0", AU34=0.8), _s("0:0 .25:.7 .45:1 .85:1 1:0", AU18=0.8),
                             _s("0:0 .4:0 .5:1 .85:1 1:0", AU25=0.3)), True),
    "wiggle_brows": Gesture(0.42, 2, (_s("0:0 .45:1 1:0", AU1=0.75, AU2=0.85),), True),
    "look_around": Gesture(3.2, 1, (_s("0:0 .12:1 .36:1 .5:-1 .8:-1 1:0", look_x=20),
                                    _s("0:0 .2:1 .38:1 .58:-1 .8:-1 1:0", turn=10))),
    "hiccup": Gesture(1.0, 1, (_s("0:0 .12:1 .4:0 1:0", nod=-6, AU25=0.45, AU26=0.3, AU1=0.4, AU2=0.4),), True),
    "drink": Gesture(2.6, 1, (_s("0:0 .3:1 .75:1 1:0", nod=-9, AU18=0.5, AU25=0.3), _s(ONCE, AU43=0.4))),
    "headbang": Gesture(0.52, 4, (_s("0:0 .45:1 1:0", nod=18),)),
    "dance": Gesture(1.2, 3, (_s("0:0 .25:1 .75:-1 1:0", tilt=8), _s("0:0 .25:1 .5:0 .75:1 1:0", nod=4))),
    "double_take": Gesture(2.2, 1, (_s("0:0 .15:1 .3:0 .4:1 .55:1 1:0", turn=14, look_x=12),
                                    _s("0:0 .35:0 .45:1 .85:1 1:0", AU1=0.7, AU2=0.7, AU5=0.7, AU25=0.4))),
}  # fmt: skip


def perform(
    name: str,
    start: float,
    words: str,
    degree: float = 1.0,
    speed: float = 1.0,
    count: int | None = None,
    duration: float | None = None,
    side: str = "",
    note: str = "",
) -> list[Cue]:
    """A gesture as cues from `start`; `speed` multiplies its time, `count` and `duration` set its length."""
    g = GESTURES[name]
    period, beats, rounds = g.period * speed, g.beats, 1
    if count is not None:
        beats, rounds = (count, 1) if g.countable else (beats, count)
    if duration is not None:
        if g.beats > 1 or g.countable:
            beats = max(1, round(duration / period / rounds))
        else:
            period = duration / rounds
    total = period * beats
    fade = min(0.3, total / 4)
    out = []
    for k in range(rounds):
        begin = start + k * (total + 0.25)
        for strand in g.strands:
            keys = tuple((p * period + b * period, v) for b in range(beats) for p, v in strand.keys)
            if strand.whole:
                keys = ((0.0, 0.0), (fade, 1.0), (total - fade, 1.0), (total + 0.25, 0.0))
            elif keys[0][1] or keys[-1][1]:  # a rhythm that does not begin and end at rest
                keys = ((0.0, 0.0), *keys[1:-1], (total + 0.15, 0.0))
            levels = {_sided(c, side): scaled(c, v, degree) for c, v in strand.levels.items()}
            out.append(Cue(begin, _distinct(keys), levels, words, note or g.note))
    return out


def scaled(channel: str, level: float, degree: float) -> float:
    """A level by a degree word; units end at full intensity."""
    return min(1.0, level * degree) if channel.startswith("AU") else level * min(degree, 1.6)


def _sided(channel: str, side: str) -> str:
    if side and channel.startswith("AU") and channel[-1] in "LR":
        return channel[:-1] + side
    return channel


def _distinct(keys: Keys) -> Keys:
    """Keys whose times rise; of two at one time the later stands."""
    out: list[tuple[float, float]] = []
    for t, v in keys:
        if out and t - out[-1][0] < 1e-6:
            out[-1] = (out[-1][0], v)
        else:
            out.append((t, v))
    return tuple(out)
