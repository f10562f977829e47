"""The choices of one preparation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infinex.errors import InputError, option


@dataclass(frozen=True)
class PrepareOptions:
    """Choices of one preparation; see `infinex prepare --help`."""

    size: int = 256
    shortest: float = 1.0  # seconds
    longest: float = 60.0  # seconds; longer shots become several clips
    enlarge: float = 1.55  # of the union of the face boxes
    smallest: float = 0.2  # of a face's box, of the clip's size, in source pixels
    quality: int = 17  # the encoder's constant rate factor
    held_out: float = 0.2  # share of the identities in the test split
    identities: str = "auto"  # folder, cluster, or a CSV file; auto: folder where there are folders, else cluster
    layout: str = "plain"  # or voxceleb
    workers: int = 0  # 0: one per core
    ray: str = ""  # address of a Ray cluster; "local" starts one here

    def check(self) -> None:
        """Raise InputError for a choice that does not exist."""
        if not 32 <= self.size <= 2048 or self.size % 2:
            raise InputError(f"{option('size')} {self.size}: an even number from 32 to 2048")
        if not 0 < self.shortest <= self.longest:
            raise InputError(
                f"{option('shortest')} {self.shortest}: it is above 0 and at most {option('longest')} {self.longest}"
            )
        if not 0 <= self.held_out < 1:
            raise InputError(f"{option('held_out')} {self.held_out}: it goes from 0 to below 1")
        if self.layout not in ("plain", "voxceleb"):
            raise InputError(f"{option('layout')} {self.layout}: it is plain or voxceleb")
        if self.identities not in ("auto", "folder", "cluster") and not Path(self.identities).is_file():
            raise InputError(
                f"{option('identities')} {self.identities}: folder, cluster, or a CSV file with path and identity"
            )
