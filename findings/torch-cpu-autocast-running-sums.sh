#!/bin/sh
# PyTorch 2.13.0 on a CPU, automatic mixed precision in bfloat16: a running sum (cumsum) stays in bfloat16, while the list of CUDA's
# autocast operators has cumsum among those that go up to float32. A warp that is the running sum of small steps, so that it never goes back
# (deforming autoencoders), is therefore right on a GPU and off by half a pixel of 256 on a CPU, and trains all the same. Nothing
# warns; prod goes up to float32 on a CPU as well, cumprod does not. Remedy: steps to float() before they are summed.
# Fails as soon as the sum comes out in float32, or within a tenth of a pixel.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3.11 -m venv "$here/env"
"$here/env/bin/pip" install -q 'torch==2.13.0' 'numpy==2.4.6'
"$here/env/bin/python" - <<'PY'
import torch

torch.manual_seed(0)
layer, seen = torch.nn.Linear(64, 256), torch.randn(32, 64)
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    steps = layer(seen).softmax(-1)  # 32 rows of steps that add up to the width of a picture
    warp = steps.cumsum(-1)
    others = {name: getattr(steps, name)(-1).dtype for name in ("prod", "cumprod")}
exact = steps.double().cumsum(-1)
off = float((warp.double() - exact).abs().max()) * 256
print(f"cumsum: {warp.dtype}, prod: {others['prod']}, cumprod: {others['cumprod']}; the warp is off by {off:.2f} pixels of 256")
assert warp.dtype == torch.bfloat16 and others == {"prod": torch.float32, "cumprod": torch.bfloat16}
assert off > 0.1
PY
