"""ReenactGAN with and without its shape loss, a few people side by side, as the paper argues.

python benchmarks/own_boundaries.py HELD OTHERS PERSON=DECODER,TRANSFORMER[,WITHOUT] ... [--every 6] [--drivers 3]
                                    [--frames N] [--out FOLDER] [--json]

HELD holds clips of the people, parts that their runs have not seen, named PERSON_*.mp4; OTHERS is a prepared folder
whose test split drives them. DECODER, TRANSFORMER and WITHOUT are runs of the stages, the last without the shape loss.
Tables as those of benchmarks/ablations.py, 95 % intervals by bootstrap over people:

own      each person by the held part of their own clips, through the decoder alone
others   the first picture of that part by other people's clips: boundaries as they are, through the transformer, and
         through that which learned without the shape loss. opening and closing of lips and lids, Action Units and
         the head's turn say whether the expression arrives, identity and `shape` whether it is the person's own:
         `shape` is the distance of the result's landmarks, without place and size, from the nearest ones in the held part,
         in hundredths of their mean distance from their middle"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ablations import OTHERS, OWN, driven, features, first_face, printed, thinned
from numpy.typing import NDArray

from infinex.engine import Engine, load_engine
from infinex.evaluation.inception import Judges, frechet_distance
from infinex.evaluation.reenact import Take, interval, self_reenactment, takes
from infinex.face.tracker import FaceFinder
from infinex.options import Options

NAMES = ("as they are", "transformer", "without shape")
