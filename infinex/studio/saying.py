"""What is said, said once: a page asks for the same words again with every other slider."""

from __future__ import annotations

import threading
from collections import OrderedDict

from infinex.voices.say import Spoken, say

MOST = 24
_known: OrderedDict[tuple[str, str, float, float], Spoken] = OrderedDict()
_lock = threading.Lock()


def spoken(script: str, voice: str, speed: float, pitch: float) -> Spoken:
    """See `infinex.voices.say.say`. Raises InfinexError."""
    key = script, voice, speed, pitch
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    made = say(script, voice, speed, pitch)
    with _lock:
        _known[key] = made
        while len(_known) > MOST:
            _known.popitem(last=False)
    return made
