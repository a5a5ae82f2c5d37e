"""Running KenLM's programs: lmplz estimates, filter keeps the vocabulary's n-grams, build_binary makes the binary."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.build_scorer.settings import BuildScorerSettings
from components.build_scorer.text import PreparedText
from speech.errors import InputError

PROGRAMS = ("lmplz", "filter", "build_binary")
LOCAL_BUILD = Path(__file__).parents[2] / "build" / "kenlm" / "bin"
_NO_DISCOUNTS = "rerun with --discount_fallback"
_SMALLEST_MEMORY = 256 << 20
_UNITS = {"b": 1, "": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}  # lmplz: K is the default


@dataclass(frozen=True)
class Estimate:
    """The binary, and what was used to make it."""

    binary: Path
    ngrams: tuple[int, ...]  # of each order, after filtering
    discount_fallback: bool


def find_programs(kenlm_bins: str) -> dict[str, str]:
    """Where lmplz, filter and build_binary are; raises InputError if one is missing."""
    for folder in [kenlm_bins] if kenlm_bins else [*os.get_exec_path(), LOCAL_BUILD]:
        programs = {name: shutil.which(name, path=str(folder)) for name in PROGRAMS}
        if all(programs.values()):
            return {name: str(path) for name, path in programs.items()}
    raise InputError(
        f"{kenlm_bins or 'PATH and build/kenlm/bin'}: no lmplz, filter and build_binary in it: "
        "build them with `components/build_scorer/build_kenlm.sh build/kenlm` and give --kenlm_bins build/kenlm/bin"
    )


def estimate(settings: BuildScorerSettings, text: PreparedText, vocabulary: Sequence[str], scratch: Path) -> Estimate:
    """Estimate the language model of `text` and reduce it to `vocabulary`; files go to `scratch`."""
    programs = find_programs(settings.kenlm_bins)
    arpa, filtered, binary = scratch / "lm.arpa", scratch / "lm_filtered.arpa", scratch / "lm.binary"
    fallback = _lmplz(settings, programs["lmplz"], text.path, arpa, scratch)
    _run([programs["filter"], "single", f"model:{arpa}", str(filtered)], "\n".join(vocabulary).encode("utf-8"))
    arpa.unlink()
    options = ["-v", "-T", f"{scratch}/"]
    if settings.binary_type == "trie":
        options += ["-a", str(settings.binary_a_bits)] if settings.binary_a_bits else []
        options += ["-q", str(settings.binary_q_bits)] if settings.binary_q_bits else []
    _run([programs["build_binary"], *options, settings.binary_type, str(filtered), str(binary)])
    return Estimate(binary, read_counts(filtered), fallback)


def _lmplz(settings: BuildScorerSettings, program: str, text: Path, arpa: Path, scratch: Path) -> bool:
    """Write the ARPA file; whether fixed discounts were used."""
    memory = memory_bytes(settings.max_arpa_memory, text.stat().st_size)
    command = [program, "--order", str(settings.arpa_order), "--temp_prefix", f"{scratch}/", "--memory", f"{memory}b"]
    command += ["--text", str(text), "--arpa", str(arpa), "--skip_symbols"]
    thresholds = settings.arpa_prune.replace("|", " ").split()
    command += ["--prune", *thresholds] if thresholds else []
    if settings.discount_fallback:
        _run([*command, "--discount_fallback"])
        return True
    try:
        _run(command)
    except InputError as error:
        if _NO_DISCOUNTS not in str(error):
            raise
        print("note: the text is too small or regular for its own discounts: --discount_fallback is used", flush=True)
        _run([*command, "--discount_fallback"])
        return True
    return False


def memory_bytes(wanted: str, text_bytes: int) -> int:
    """What lmplz may use: `wanted` of the machine or container, and no more than a text of this size has use for."""
    number, unit = re.fullmatch(r"([\d.]+)(%|[bKMGT]?)", wanted).groups()  # type: ignore[union-attr]
    most = available_bytes() * float(number) / 100 if unit == "%" else float(number) * _UNITS[unit]
    return int(min(most, max(_SMALLEST_MEMORY, 100 * text_bytes)))


def available_bytes() -> int:
    """The memory of this machine, or of the container if that is limited."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def read_counts(arpa: Path) -> tuple[int, ...]:
    """The number of n-grams of each order, from the head of an ARPA file."""
    counts = []
    with arpa.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            match = re.fullmatch(r"ngram \d+=(\d+)\s*", line)
            if match:
                counts.append(int(match.group(1)))
            elif counts:
                break
    return tuple(counts)


def _run(command: Sequence[str], stdin: bytes = b"") -> None:
    """Run a program quietly; its last words become the error."""
    result = subprocess.run(command, input=stdin, capture_output=True)
    if result.returncode:
        lines = [line.strip() for line in result.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        words = " ".join(lines[-4:]) or f"exit code {result.returncode}"
        raise InputError(f"{Path(command[0]).name} failed: {words}")
