"""Programs with the peers' names: that they run, and that they take nobody's place."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.train.peers import stand_ins
from speech.alphabet import Alphabet
from speech.errors import InputError

REPOSITORY = Path(__file__).parents[4]


def test_the_stand_ins_are_programs(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "components.train.peers", "--folder", tmp_path / "in here"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [line for line in made.splitlines() if line.startswith("export ")]
    script = "\n".join(
        [*lines, "mo --help", "import_cv2.py --helpfull", "python3 -m coqui_stt_training.train --no_such"]
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "--freeze_placeholder_with_value" in done.stdout
    assert "--filter_alphabet" in done.stdout
    assert (done.returncode, done.stderr.splitlines()[-1][:32]) == (2, "error: unknown flag --no_such: `")


def test_stand_ins_overwrite_nothing_but_stand_ins(tmp_path: Path) -> None:
    (tmp_path / "mo").write_text("somebody's own")
    with pytest.raises(InputError, match="mo is not a stand-in"):
        stand_ins.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mo"]
    assert (tmp_path / "mo").read_text() == "somebody's own"
    (tmp_path / "mo").unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / stand_ins.DEFAULT_ALPHABET_PATH).write_text(" \n\u00e4\n", encoding="utf-8")
    assert stand_ins.write(tmp_path) == stand_ins.write(tmp_path)
    assert Alphabet.load(tmp_path / stand_ins.DEFAULT_ALPHABET_PATH).symbols == (" ", "\u00e4")
