"""The tests that a change is likely to break, the likeliest first: python -m tests.affected --base main

`make check` runs them. A change is what differs from where the branch left its base, and what is not committed yet.
First come the tests that changed, then those that mirror a changed file, those that name it, those that import it, and
those that import what imports it. As a plugin of pytest (`-p tests.affected --start_within S`) this skips what would
begin after S seconds.
"""

import argparse
import ast
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("speech", "components", "pipelines")
ITSELF, MIRROR, NAMED, IMPORTED = 0, 1, 2, 3  # distances; a module further away adds one
FARTHEST = 4  # imports what imports it
MOST_FILES = 12
LEFT_OUT = ("tests/kubernetes/", "tests/kubeflow/", "tests/interop/", "tests/end_to_end/")  # minutes, or a cluster
ABOUT_PAGES = "tests/docs/test_pages.py"
BEGUN = pytest.StashKey[float]()  # when the first test began, in seconds of time.monotonic()


def changed(base: str) -> list[str]:
    """Paths that differ from the branch point of HEAD and `base`; deleted ones are left out."""
    point = _git("merge-base", "HEAD", base) or ["HEAD"]
    differing = _git("diff", "--name-only", "--diff-filter=d", point[0])
    return sorted({*differing, *_git("ls-files", "--others", "--exclude-standard")})


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def affected(paths: Iterable[str], root: Path = ROOT) -> dict[str, int]:
    """Test files and how near each is to the nearest of the changed `paths`, the nearest first."""
    tests = {path.relative_to(root).as_posix() for path in sorted((root / "tests").rglob("test_*.py"))}
    near: dict[str, int] = {}
    for path in paths:
        for test, distance in _near(path, tests, root):
            if not test.startswith(LEFT_OUT):
                near[test] = min(distance, near.get(test, distance))
    return dict(sorted(near.items(), key=lambda item: (item[1], item[0])))


def _near(path: str, tests: set[str], root: Path) -> Iterator[tuple[str, int]]:
    place = PurePosixPath(path)
    if path in tests:
        yield path, ITSELF
    elif place.name == "conftest.py":
        yield from ((test, ITSELF) for test in tests if place.parent in PurePosixPath(test).parents)
    elif place.suffix == ".py":
        yield from ((test, MIRROR) for test in _mirrors(place) & tests)
        yield from ((test, distance) for test, distance in _importers(path, tests, root) if distance <= FARTHEST)
    else:
        if place.parts[0] in PACKAGES and place.suffix != ".md":  # templates, C++
            yield from ((test, MIRROR) for test in _beside(PurePosixPath("tests") / place.parent, tests))
        yield from ((test, NAMED) for test in tests if place.name in _text(root / test))
    if place.suffix == ".md":
        yield ABOUT_PAGES, MIRROR


def _mirrors(place: PurePosixPath) -> set[str]:
    stem = "main" if place.stem == "__main__" else place.stem
    return {f"tests/{place.parent}/test_{stem}.py", f"tests/{place.parent}/{stem}/test_{stem}.py"}


def _beside(folder: PurePosixPath, tests: set[str]) -> list[str]:
    """The tests in a folder; if it has none, those in the folder around it."""
    inside = [test for test in tests if PurePosixPath(test).parent == folder]
    return inside or [test for test in tests if PurePosixPath(test).parent == folder.parent]


def _importers(path: str, tests: set[str], root: Path) -> Iterator[tuple[str, int]]:
    """The tests that import a module, with how many modules lie between."""
    module = _module(path)
    distances = {module: 0}
    graph, edge = _graph(), {module}
    while edge and max(distances.values()) + IMPORTED < FARTHEST and module in graph.modules:
        edge = {one for name in edge for one in graph.find_modules_that_directly_import(name)} - set(distances)
        distances |= dict.fromkeys(edge, max(distances.values()) + 1)
    for test in tests:
        if found := [distances[name] for name in _imports(root / test) if name in distances]:
            yield test, IMPORTED + min(found)


def _module(path: str) -> str:
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES)


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _imports(path: Path) -> frozenset[str]:
    """Every module that a test imports or may import: of `from a import b` both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--start_within` of pytest."""
    parser.addoption("--start_within", type=float, default=0.0, help="skip what would begin after so many seconds")


def pytest_collection_finish(session: pytest.Session) -> None:
    """The time is that of the tests, whatever the imports take; each worker of xdist has a clock of its own."""
    session.config.stash[BEGUN] = time.monotonic()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that begins too late."""
    limit_s = item.config.getoption("start_within")
    if limit_s and time.monotonic() - item.config.stash[BEGUN] > limit_s:
        pytest.skip(f"it would begin after {limit_s:g} s: `make test` runs it")


def main() -> None:
    """Print the test files, one a line, and on stderr what was left out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="main", help="the branch or commit to compare with [default: main]")
    chosen = affected(changed(parser.parse_args().base))
    print(*list(chosen)[:MOST_FILES], sep="\n")
    if len(chosen) > MOST_FILES:
        print(
            f"tests: {len(chosen) - MOST_FILES} more files import what changed: `make test` runs them", file=sys.stderr
        )


if __name__ == "__main__":
    main()
