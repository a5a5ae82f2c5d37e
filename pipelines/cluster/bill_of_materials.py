"""`speechmill images sbom`: what is in each image, as CycloneDX 1.6 JSON, made of the locks and the Dockerfiles.

Nothing is asked for over the network and nothing has a time in it: the same checkout gives the same bytes. A lock holds
for every system, so its markers are read for the Python of the base image. The packages of Debian in that base are not
listed one by one; name a base with a digest (`--python`), and the digest says which they are.

Format: https://cyclonedx.org/docs/1.6/json/ (ECMA-424).
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from components import images
from pipelines.cluster.image_builds import CHOICES, reference
from speech.errors import InputError
from speech.settings import setting
from speech.storage.files import write_json

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
MACHINES = ("x86_64", "aarch64")
BASES = {"ds-ctcdecoder": "PYTHON39"}  # the base image of a lock, where it is another than PYTHON
KENLM = "build_kenlm.sh"
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[.*?\])?==(?P<version>[^ \\\n]+)(?: ; (?P<marker>[^\\\n]*?))? *\\\n"
    r"(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)(?P<via>(?:    # .*\n?)*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class BillFlags:
    """Of which images, and where the files go."""

    images: tuple[str, ...] = setting(
        (), f"some of {' '.join(CHOICES)}; none given: all of them", group="Images", metavar="IMAGE"
    )
    output: str = setting("build/sbom", "folder for IMAGE.cdx.json", metavar="FOLDER")
    registry: str = setting("", "registry in front of the images' names, such as ghcr.io/team")
    python: str = setting("", "base image that they are built on; empty: the Dockerfiles' own", metavar="IMAGE")
    python39: str = setting("", "that of the Python 3.9 in evaluate-ds-ctcdecoder", metavar="IMAGE")
    machine: str = setting("x86_64", "processor that they are built for", choices=MACHINES)

    def __post_init__(self) -> None:
        for name in self.images:
            if name not in CHOICES:
                raise InputError(f"--images {name} is not allowed: one of {', '.join(CHOICES)}")


@dataclass(frozen=True)
class _Package:
    """A line of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]  # of all files of it that may be installed
    via: tuple[str, ...]  # who asks for it; empty: the image itself

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def write(flags: BillFlags) -> None:
    """Write a file an image."""
    for name in flags.images or CHOICES:
        path = Path(flags.output, f"{name}.cdx.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        found = bill(name, flags)
        write_json(path, found)
        print(f"{name:22} {len(found['components']):4} components  {path}")


def bill(name: str, flags: BillFlags) -> dict[str, Any]:
    """The bill of materials of one image; raises InputError if its files are not here, or its Python is not known."""
    if not images.dockerfile(name).is_file():
        raise InputError(f"{images.ROOT} holds no Dockerfiles: run this in a checkout of the repository")
    image = reference(name, flags.registry)
    bases, packages = {}, {}
    for lock in (*images.locks(name), "kfp"):
        base = _base(name, BASES.get(lock, "PYTHON"), flags)
        bases[base] = _container(base)
        packages.update({package.purl: package for package in _locked(lock, _python_of(base), flags.machine)})
    parts = [*bases.values(), *_other_parts(name), *(_library(packages[purl]) for purl in sorted(packages))]
    repository, _, tag = image.rpartition(":")
    whole = {"type": "container", "bom-ref": image, "name": repository, "version": tag}
    found = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {**whole, "licenses": [{"license": {"id": "Apache-2.0"}}]},
            "properties": [{"name": "speechmill:machine", "value": flags.machine}],
        },
        "components": parts,
        "dependencies": list(_dependencies(image, packages, [part["bom-ref"] for part in parts])),
    }
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {**found, "serialNumber": f"urn:uuid:{uuid.UUID(hex=digest[:32], version=4)}"}


def _base(name: str, argument: str, flags: BillFlags) -> str:
    """The base image that a build argument of the Dockerfile names."""
    given = {"PYTHON": flags.python, "PYTHON39": flags.python39}[argument]
    text = images.dockerfile(name).read_text(encoding="utf-8")
    found = re.search(rf"^ARG {argument}=(\S+)$", text, re.MULTILINE)
    assert found is not None, f"{images.dockerfile(name)} has no ARG {argument}"
    return given or found[1]


def _python_of(base: str) -> str:
    """The version of Python in a base image, by its tag."""
    found = re.search(r":v?(3\.\d+)", base)
    if found is None:
        raise InputError(f"{base}: its name does not say which Python it holds: give one with a tag such as :3.11-slim")
    return found[1]


def _locked(lock: str, python: str, machine: str) -> Iterator[_Package]:
    """What is installed from a lock."""
    system = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for found in _PIN.finditer((images.ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")):
        if found["marker"] and not Marker(found["marker"]).evaluate(system):
            continue
        via = (line.removeprefix("    #").removeprefix(" via").strip() for line in found["via"].splitlines())
        asking = tuple(one for one in via if re.fullmatch(r"[A-Za-z0-9._-]+(\[.*\])?", one))
        hashes = tuple(sorted(re.findall(r"[0-9a-f]{64}", found["hashes"])))
        yield _Package(found["name"], found["version"], hashes, tuple(one.partition("[")[0] for one in asking))


def _container(base: str) -> dict[str, Any]:
    name, _, digest = base.partition("@")
    repository, _, tag = name.rpartition(":")
    part: dict[str, Any] = {"type": "container", "bom-ref": base, "name": repository, "version": tag}
    if digest:
        part["hashes"] = [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
    return part


def _library(package: _Package) -> dict[str, Any]:
    """A package; which of its files was installed is up to the machine, so all that the lock allows are named."""
    files = [{"alg": "SHA-256", "content": digest} for digest in package.hashes]
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "externalReferences": [{"type": "distribution", "url": package.purl, "hashes": files}],
    }


def _other_parts(name: str) -> Iterator[dict[str, Any]]:
    """What the Dockerfile compiles of others' sources: KenLM's programs."""
    for path in images.sources(name):
        if path.name == KENLM:
            found = re.search(r"^kenlm==(\S+) --hash=sha256:(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert found is not None, f"{path} pins no KenLM"
            programs = _library(_Package("kenlm", found[1], (found[2],), ()))
            yield {**programs, "type": "application", "licenses": [{"license": {"id": "LGPL-2.1-only"}}]}


def _dependencies(image: str, packages: dict[str, _Package], parts: list[str]) -> Iterator[dict[str, Any]]:
    """Who needs whom, as the locks say it."""
    by_name = {package.name: purl for purl, package in packages.items()}
    needs: dict[str, set[str]] = {purl: set() for purl in packages}
    direct = set(parts) - set(packages)
    for purl, package in packages.items():
        asking = [by_name[one] for one in package.via if one in by_name]
        for one in asking:
            needs[one].add(purl)
        if not asking:
            direct.add(purl)
    yield {"ref": image, "dependsOn": sorted(direct)}
    yield from ({"ref": purl, "dependsOn": sorted(needed)} for purl, needed in sorted(needs.items()))
