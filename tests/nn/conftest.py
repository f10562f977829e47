"""One thread per test process: small tensors gain nothing from more, and on a busy machine threads wait."""

from __future__ import annotations

try:
    import torch
except ImportError:  # the tests that need it skip themselves
    pass
else:
    torch.set_num_threads(1)
