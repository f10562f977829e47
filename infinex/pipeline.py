"""The jobs under one roof, as this package has long offered them."""

from __future__ import annotations

from infinex.drivers.contract import Driver
from infinex.jobs.animate import animate, render
from infinex.jobs.file import Progress, provenance
from infinex.jobs.open import Driving, open_driver
from infinex.jobs.perform import Summary
from infinex.jobs.source import load_source
from infinex.jobs.track import track
from infinex.options import Options
from infinex.stage import Stage, make_stage

__all__ = ["Driver", "Driving", "Options", "Progress", "Stage", "Summary", "animate", "load_source", "make_stage",
           "open_driver", "provenance", "render", "track"]  # fmt: skip
