"""What an installation takes: versions that were tried, written down for every Python."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")
from packaging.markers import default_environment  # noqa: E402
from packaging.requirements import Requirement  # noqa: E402
from packaging.utils import canonicalize_name  # noqa: E402

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
BY_MACHINE = {"torch"}  # its builds differ, see the Makefile


def wanted() -> list[Requirement]:
    """The requirements in pyproject.toml, those of extras too."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    return [Requirement(line) for part in (project["project"]["dependencies"], *extras) for line in part]


def locked(python: str) -> dict[str, str]:
    """Name and version of what constraints.txt says for one Python on Linux."""
    here = default_environment() | {
        "python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux",
        "platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix",
    }  # fmt: skip
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(here):
                name = canonicalize_name(requirement.name)
                assert name not in found, f"{name} twice for Python {python}"
                found[name] = str(requirement.specifier).removeprefix("==")
    return found


def test_every_requirement_is_bounded_by_what_was_tried() -> None:
    for requirement in wanted():
        operators = {s.operator for s in requirement.specifier}
        assert operators & {"<", "<=", "=="}, f"{requirement}: no upper bound"
        assert operators & {">=", "=="}, f"{requirement}: no lower bound"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_its_version_written_down(python: str) -> None:
    versions = locked(python)
    for requirement in wanted():
        name = canonicalize_name(requirement.name)
        there = requirement.marker is None or requirement.marker.evaluate({"python_version": python})
        if there and name not in BY_MACHINE:
            assert name in versions, f"{name}: run make lock"
            assert requirement.specifier.contains(versions[name]), f"{requirement} and {versions[name]}: run make lock"


def test_the_lock_names_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"//|@|--(index|find)", text)


def test_what_is_installed_is_allowed() -> None:
    for requirement in wanted():
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not here, or OpenCV's build without windows
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}, but {version} is installed"


def test_help_is_quick() -> None:
    """In time of the processor, which a busy machine does not stretch much; the best of three runs."""
    import resource

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "infinex.cli", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(spent() for _ in range(3)) < 1.2  # 0.4 on an idle machine
