"""What an import costs, beside the peers' importer and ffmpeg on the same clips in the same run.

    python benchmarks/import_cv.py [--clips 2000] [--peer "PYTHON import_cv2.py"] [--memory 1000 20000] [--rows 2000000]
    python benchmarks/import_cv.py --clips 0 --memory --rows 0 --rounds 8 --round_clips 2000

The clips are synthetic speech-like sound of 3 s: MP3, 48 kHz, mono. `--peer` is the command of DeepSpeech's or Coqui
STT's importer in an environment of its own (it needs sox); the folder of a release is appended. CPU seconds are those
of a command and of all its processes. One core means that the command may use one, so that its processes share it.
`--rounds` compares an import with the rules for transcripts and without, in turns, on one core: the median of the
rounds' ratios, and their quartiles.
"""

import argparse
import csv
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SECONDS, RATE = 3.0, 48_000
DIFFERENT_CLIPS = 40
SETS = ("train", "dev", "test")
COLUMNS = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes",
    "age", "gender", "accents", "variant", "locale", "segment",
)  # fmt: skip
WORDS = ("the", "turn", "open", "shut", "please", "light", "radio", "window", "door", "garden", "red", "green", "again")


@dataclass
class CommandCost:
    """What a command used."""

    name: str
    clips: int
    cpu_s: float
    wall_s: float

    def row(self, base: float) -> str:
        """A line of the table; `base` is the CPU time a clip that the last column compares with."""
        each = self.cpu_s / self.clips * 1000
        return (
            f"{self.name:44} {self.clips:7,} {self.cpu_s:9.2f} {self.wall_s:8.2f} {each:9.2f} "
            f"{self.clips / self.wall_s:9.0f} {each / base:8.1f}"
        )


def make_sound(seed: int) -> bytes:
    """One MP3: voiced tones with formants that move, noise, and pauses."""
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    random = np.random.default_rng(seed)
    pitch = 100 + 100 * random.random() + 15 * np.sin(2 * np.pi * random.uniform(0.5, 2) * time_s)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voiced = sum(
        np.sin(k * phase) * np.exp(-(((k * 150 - 700 - 300 * np.sin(3 * time_s)) / 900) ** 2)) for k in range(1, 25)
    )
    syllables = np.clip(np.sin(2 * np.pi * random.uniform(3, 5) * time_s) + 0.3, 0, 1)
    samples = 0.08 * voiced * syllables + 0.01 * random.standard_normal(len(time_s)) * syllables + 1e-4
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.astype(np.float32), RATE, format="MP3", compression_level=0.7)
    return buffer.getvalue()


def make_release(folder: Path, count: int, sounds: Sequence[bytes]) -> Path:
    """A clean release: a twentieth of the clips in dev and in test each."""
    (folder / "clips").mkdir(parents=True)
    random = np.random.default_rng(count)
    with_sets = ["dev" if n % 20 == 0 else "test" if n % 20 == 1 else "train" for n in range(count)]
    rows: dict[str, list[str]] = {name: ["\t".join(COLUMNS)] for name in SETS}
    for number, name in enumerate(with_sets):
        path = f"common_voice_xx_{number:08d}.mp3"
        (folder / "clips" / path).write_bytes(sounds[number % len(sounds)])
        rows[name].append(row(f"{name}{number // 50:0120d}", path, sentence(random)))
    for name, lines in rows.items():
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def sentence(random: np.random.Generator) -> str:
    """Eight words with a capital and a full stop."""
    return " ".join(random.choice(WORDS, 8)).capitalize() + "."


def row(client_id: str, path: str, text: str) -> str:
    """A line of a TSV with all columns of today's releases."""
    return "\t".join((client_id, path, "0" * 64, text, "", "2", "0", "thirties", "", "", "", "xx", ""))


def measure(name: str, clips: int, command: Sequence[str], cores: int) -> CommandCost:
    """Run a command on so many cores, and wait for all of its processes."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed: {errors.decode(errors='replace')[-2000:]}")
    return CommandCost(name, clips, used.ru_utime + used.ru_stime, wall)


def ours(release: Path, corpus: Path, workers: int, *flags: str) -> list[str]:
    """The command line of this project's import."""
    return [
        sys.executable, "-m", "components.import_cv", str(release), "--corpus_dir", str(corpus),
        "--workers", str(workers), *flags,
    ]  # fmt: skip


FLOOR = """
import sys, pathlib, soundfile, soxr
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    samples, rate = soundfile.read(path, dtype="float32")
    soxr.resample(samples, rate, 16000)
"""
FFMPEG = """
import sys, pathlib, subprocess
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", path, "-ac", "1", "-ar", "16000", sys.argv[2]]
    subprocess.run(command, check=True)
"""
PYDUB = """
import sys, pathlib, pydub
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    segment = pydub.AudioSegment.from_file(path)
    segment.set_frame_rate(16000).set_channels(1).export(sys.argv[2], format="wav")
"""


def speed(folder: Path, count: int, peer: str, sounds: Sequence[bytes]) -> None:
    """The table of CPU and wall time, and whether the peer took the same clips with the same transcripts."""
    release = make_release(folder / "release", count, sounds)
    few = make_release(folder / "few", 60, sounds)
    wav = str(folder / "out.wav")
    costs = [measure("decode + resample alone (soundfile, soxr)", count, python(FLOOR, release / "clips"), 1)]
    for cores in (1, 2):
        shutil.rmtree(folder / "corpus", ignore_errors=True)
        costs.append(measure(f"speechmill, {cores} worker(s)", count, ours(release, folder / "corpus", cores), cores))
    base = costs[-1].cpu_s / count * 1000
    shutil.rmtree(folder / "archive", ignore_errors=True)
    packed = folder / "release.tar.gz"
    subprocess.run(["tar", "-czf", packed, "-C", folder, "release"], check=True)
    costs.append(measure("speechmill, from the .tar.gz, 2 workers", count, ours(packed, folder / "archive", 2), 2))
    again = ours(release, folder / "next", 2, "--previous", str(folder / "corpus"))
    costs.append(measure("speechmill, nothing new since --previous", count, again, 2))
    if shutil.which("ffmpeg"):
        costs.append(measure("ffmpeg, a process a clip", 60, python(FFMPEG, few / "clips", wav), 1))
        costs.append(measure("pydub", 60, python(PYDUB, few / "clips", wav), 1))
    for cores in (1, 2) if peer else ():
        shutil.rmtree(folder / "peer", ignore_errors=True)
        make_release(folder / "peer", count, sounds)
        costs.append(
            measure(f"peer's importer, {cores} core(s)", count, [*shlex.split(peer), str(folder / "peer")], cores)
        )
    print(f"{'':44} {'clips':>7} {'CPU s':>9} {'wall s':>8} {'CPU ms':>9} {'clips/s':>9} {'x ours':>8}")
    for cost in costs:
        print(cost.row(base))
    if peer:
        for name in SETS:
            same = transcripts(folder / f"corpus/{name}.csv") == transcripts(folder / f"peer/clips/{name}.csv")
            print(f"{name}: {'the same' if same else 'OTHER'} clips and transcripts as the peer's importer")


MARKED = ("{}.", "“{}”, it’s {}!", "– {}; {}…", "‘{}’ «{}»?", "« {} » — d’{}")


def rules_cost(folder: Path, count: int, rounds: int, sounds: Sequence[bytes]) -> None:
    """CPU of an import with `--rules generic` over one with `none`; the marks are those that no importer refuses."""
    release = make_release(folder / "release", count, sounds)
    random = np.random.default_rng(1)
    for name in SETS:
        path = release / f"{name}.tsv"
        head, *rows = path.read_text(encoding="utf-8").splitlines()
        cells = [row.split("\t") for row in rows]
        for number, row in enumerate(cells):
            words = row[3].rstrip(".")
            row[3] = MARKED[number % len(MARKED)].format(words, random.choice(WORDS))
        path.write_text("\n".join([head, *map("\t".join, cells)]) + "\n", encoding="utf-8")
    used: dict[str, list[float]] = {"none": [], "generic": []}
    for number in range(rounds):
        for rules in ("none", "generic") if number % 2 else ("generic", "none"):
            shutil.rmtree(folder / "corpus", ignore_errors=True)
            cost = measure(rules, count, ours(release, folder / "corpus", 1, "--rules", rules), 1)
            used[rules].append(cost.cpu_s / count * 1000)
    ratios = 100 * (np.array(used["generic"]) / np.array(used["none"]) - 1)
    for rules, each in used.items():
        low, median, high = np.quantile(each, [0.25, 0.5, 0.75])
        print(f"--rules {rules:8} {median:.3f} CPU ms a clip ({low:.3f} to {high:.3f}), {rounds} rounds of {count:,}")
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(f"rules cost {median:+.2f} % ({low:+.2f} to {high:+.2f})")


def python(program: str, *arguments: object) -> list[str]:
    """A command line that runs a program text."""
    return [sys.executable, "-c", program, *map(str, arguments)]


def transcripts(path: Path) -> dict[str, str]:
    """File name -> transcript."""
    with path.open(encoding="utf-8", newline="") as file:
        return {Path(row["wav_filename"]).name: row["transcript"] for row in csv.DictReader(file)}


def memory(folder: Path, counts: Sequence[int], sounds: Sequence[bytes]) -> None:
    """The peak resident memory of the largest process, by size of the corpus."""
    peaks = []
    for count in counts:
        release = make_release(folder / f"release{count}", count, sounds)
        process = subprocess.Popen(ours(release, folder / f"corpus{count}", 2), cwd=ROOT, stderr=subprocess.DEVNULL)
        highest: dict[int, int] = {}
        watcher = threading.Thread(target=watch, args=(process, highest))
        watcher.start()
        process.wait()
        watcher.join()
        peaks.append(max(highest.values()) / 1000)
        each = ", ".join(f"{peak / 1000:.0f}" for peak in sorted(highest.values(), reverse=True))
        print(f"{count:,} clips: peak resident MB of each process: {each}")
        shutil.rmtree(folder / f"release{count}")
        shutil.rmtree(folder / f"corpus{count}")
    print(f"growth from {counts[0]:,} to {counts[-1]:,} clips: {100 * (peaks[-1] / peaks[0] - 1):+.1f} %")


def watch(process: "subprocess.Popen[bytes]", highest: dict[int, int]) -> None:
    """Note the peak resident memory in kB of a process and its children as long as it runs."""
    while process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            pids = [process.pid, *map(int, children.read_text().split())]
        except OSError:
            pids = [process.pid]
        for pid in pids:
            for line in status_lines(pid):
                if line.startswith("VmHWM:"):
                    highest[pid] = max(highest.get(pid, 0), int(line.split()[1]))
        time.sleep(0.02)


def status_lines(pid: int) -> list[str]:
    """What the kernel says of a process, which may have ended."""
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []


def plan(folder: Path, count: int) -> None:
    """Time and memory of planning a release of so many rows."""
    random = np.random.default_rng(0)
    texts = [sentence(random) for _ in range(5000)]

    def lines(name: str, numbers: range) -> Iterator[str]:
        yield "\t".join(COLUMNS) + "\n"
        for n in numbers:
            text = f"{texts[n % 5000][:-1]} {texts[n % 4999]}"
            yield row(f"{name}{n % 90_000:0120d}", f"common_voice_xx_{n}.mp3", text) + "\n"

    ends = (0, count, count + 16_000, count + 32_000)
    for name, first, end in zip(SETS, ends, ends[1:], strict=False):
        with (folder / f"{name}.tsv").open("w", encoding="utf-8") as file:
            file.writelines(lines(name, range(first, end)))
    process = subprocess.run(python(PLAN, folder, *SETS), cwd=ROOT, capture_output=True, text=True, check=True)
    print(process.stdout, end="")


PLAN = """
import sys, time, resource, pathlib
from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.planning import Planner
from speech.alphabet import Alphabet
folder, sets = pathlib.Path(sys.argv[1]), tuple(sys.argv[2:])
started, used = time.perf_counter(), time.process_time()
made = Planner(sets, LabelRules(alphabet=Alphabet.collect(["abcdefghijklmnopqrstuvwxyz"]))).build(
    {name: folder / f"{name}.tsv" for name in sets}, None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{len(made):,} rows, {made.clip_count:,} clips planned in {time.perf_counter() - started:.1f} s "
      f"({time.process_time() - used:.1f} CPU s), peak {peak:.2f} GB")
"""


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000, help="clips of the comparison; 0: none")
    parser.add_argument("--peer", default="", help="command of the peers' importer")
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 20_000], help="corpus sizes to compare")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the TSV to plan; 0: none")
    parser.add_argument("--rounds", type=int, default=0, help="rounds with and without transcript rules; 0: none")
    parser.add_argument("--round_clips", type=int, default=2000, help="clips of such a round")
    parser.add_argument("--scratch", default=None, help="folder for the clips (several GB with the defaults)")
    options = parser.parse_args()
    sounds = [make_sound(seed) for seed in range(DIFFERENT_CLIPS)]
    parts: list[Callable[[Path], None]] = []
    if options.clips:
        parts.append(lambda folder: speed(folder, options.clips, options.peer, sounds))
    if options.memory:
        parts.append(lambda folder: memory(folder, options.memory, sounds))
    if options.rows:
        parts.append(lambda folder: plan(folder, options.rows))
    if options.rounds:
        parts.append(lambda folder: rules_cost(folder, options.round_clips, options.rounds, sounds))
    print(f"clips of {SECONDS:g} s, {np.mean([len(sound) for sound in sounds]) / 1000:.0f} kB; {os.cpu_count()} cores")
    for part in parts:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            part(Path(folder))


if __name__ == "__main__":
    main()
