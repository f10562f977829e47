"""Pictures of a training run: the loss curves (Figure 3 of the Infinite Expressions paper), the last sample panel
(Figure 4) and one HTML page. Needs no PyTorch."""

from __future__ import annotations

import csv
import html
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, MissingDependencyError
from infinex.media.files import atomic_path

NOT_TERMS = ("step", "epoch", "seconds", "rate")
# The order of Figure 3, then whatever else a system has.
ORDER = ("discriminator_gan", "generator_gan", "equivariance_jacobian", "equivariance_value", "feature_matching",
         "perceptual")  # fmt: skip
TITLES = {
    "discriminator_gan": "Discriminator", "generator_gan": "Generator",
    "equivariance_jacobian": "Equivariance, Jacobian", "equivariance_value": "Equivariance, value",
    "feature_matching": "Feature matching", "perceptual": "Perceptual",
}  # fmt: skip


def read_table(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of metrics.csv or held.csv; a row that a kill has cut is left out. Raises InputError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            values = [[float(v) if v else np.nan for v in row] for row in rows if len(row) == len(head)]
    except (OSError, ValueError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read or is damaged") from None
    table = np.array(values, float).reshape(-1, len(head))
    return {name: table[:, i] for i, name in enumerate(head)}


def smoothed(values: NDArray[np.float64], weight: float = 0.0) -> NDArray[np.float64]:
    """Exponential moving average, unbiased at its start; by default over a fiftieth of the curve."""
    keep = weight or 1 - 1 / max(2.0, len(values) / 50)
    out, total, share = np.empty_like(values), 0.0, 0.0
    for i, v in enumerate(values):
        if np.isfinite(v):
            total, share = keep * total + (1 - keep) * v, keep * share + (1 - keep)
        out[i] = total / share if share else np.nan
    return out


def flatness(values: NDArray[np.float64]) -> float:
    """Change of the mean from the last fifth but one to the last, over the first's; near 0 where a curve is flat."""
    part = max(1, len(values) // 5)
    before, after = (v[np.isfinite(v)] for v in (values[-2 * part : -part], values[-part:]))
    if not len(before) or not len(after):
        return float("nan")
    return float((after.mean() - before.mean()) / max(1e-12, abs(before.mean())))


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise MissingDependencyError("drawing curves needs matplotlib: pip install 'infinex[train]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def curves(path: Path, tables: dict[str, NDArray[np.float64]], title: str) -> list[str]:
    """Every term over the steps, raw and smoothed, as a PNG; the terms drawn."""
    plt = _matplotlib()
    names = [n for n in ORDER if n in tables] + [n for n in tables if n not in ORDER + NOT_TERMS]
    names = [n for n in names if np.isfinite(tables[n]).any()]  # a term may have been switched off midway
    rows = max(1, -(-len(names) // 3))
    figure, axes = plt.subplots(rows, 3, figsize=(12, 3.1 * rows), squeeze=False, constrained_layout=True)
    for axis in axes.ravel()[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.ravel(), names):
        values = tables[name]
        axis.plot(tables["step"], values, color="#9db8d9", linewidth=0.6)
        axis.plot(tables["step"], smoothed(values), color="#1f4e8c", linewidth=1.6)
        low, high = np.nanpercentile(values, [0, 99])
        if high > low:
            axis.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        axis.set_title(TITLES.get(name, name.replace("_", " ")), fontsize=10)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)
    return names


def report(run: str | Path) -> dict[str, Any]:
    """Draw a run: curves.png, held.png, panel.png and index.html in its folder `report`. Returns what the page says.

    Raises InputError where the folder is no run or has no step yet."""
    run = Path(run)
    described = run / "recipe.json"
    if not described.is_file():
        raise InputError(f"{run} holds no training run")
    try:
        about = json.loads(described.read_text(encoding="utf-8"))
        recipe, data = str(about["recipe"]), str(about["data"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{described} is damaged") from None
    if not (run / "metrics.csv").is_file():
        raise InputError(f"{run} has no metrics yet")
    metrics = read_table(run / "metrics.csv")
    if not len(metrics.get("step", [])):
        raise InputError(f"{run} has no metrics yet")
    out = run / "report"
    out.mkdir(exist_ok=True)
    steps = int(metrics["step"][-1])
    names = curves(out / "curves.png", metrics, f"{recipe}, {steps} steps: raw and smoothed")
    figures = [("curves.png", "Every term of the loss, raw and smoothed.")]
    last: dict[str, float] = {}
    if (run / "held.csv").is_file():
        held = read_table(run / "held.csv")
        if len(held.get("step", [])):
            curves(out / "held.png", held, "On people held back")
            figures.append(("held.png", "The task's own measures on people held back, with averaged weights."))
            last = {k: float(v[-1]) for k, v in held.items() if k != "step"}
    panels = sorted((run / "panels").glob("step-*.png"))
    if panels:
        shutil.copy(panels[-1], out / "panel.png")
        text = f"People held back after {int(panels[-1].stem[5:])} steps"
        figures.append(("panel.png", f"{text}: {about['panel']}." if about.get("panel") else f"{text}."))
    terms = {n: (float(smoothed(metrics[n])[-1]), flatness(metrics[n])) for n in names}
    summary: dict[str, Any] = {
        "run": str(run), "recipe": recipe, "steps": steps, "seconds": float(metrics["seconds"][-1]),
        "terms": {n: round(v[0], 6) for n, v in terms.items()}, "held": last, "page": str(out / "index.html"),
    }  # fmt: skip
    rows = "".join(
        f"<tr><td>{html.escape(n)}</td><td>{v:.4g}</td><td>{f:+.1%}</td></tr>" for n, (v, f) in terms.items()
    )
    rows += "".join(f"<tr><td>held back: {html.escape(n)}</td><td>{v:.4g}</td><td></td></tr>" for n, v in last.items())
    pictures = "".join(f'<h2>{html.escape(t)}</h2><img src="{p}" alt="">' for p, t in figures)
    settings = html.escape(json.dumps({"set": about.get("set"), **about.get("settings", {})}, indent=1))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Infinex: {html.escape(recipe)}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem}}img{{max-width:100%}}
td,th{{padding:.2rem .8rem;text-align:right}}td:first-child{{text-align:left}}pre{{font-size:12px}}</style>
<h1>{html.escape(recipe)}</h1>
<p>{steps} steps in {summary["seconds"] / 60:.1f} minutes on {html.escape(Path(data).name)}.</p>
<table><tr><th></th><th>smoothed, at the end</th><th>change over the last fifth</th></tr>{rows}</table>{pictures}
<h2>Recipe</h2><pre>{settings}</pre></html>"""
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return summary
