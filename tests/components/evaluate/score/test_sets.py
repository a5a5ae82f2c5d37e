"""Test sets and what is known of their speakers."""

from pathlib import Path

import pytest

from components.evaluate.model.models import open_subject
from components.evaluate.score.sets import items, open_sets
from components.evaluate.settings import EvaluateSettings

SETTINGS = EvaluateSettings()


@pytest.mark.parametrize("accent", ["accents", "accent"])
def test_traits_come_from_the_columns_of_any_release(exported: Path, clips: Path, tmp_path: Path, accent: str) -> None:
    rows = (clips / "dev.csv").read_text(encoding="utf-8").splitlines()[1:3]
    lines = [f"gender,{accent},wav_filename,wav_filesize,transcript,client_id"]
    for row, (gender, speaker) in zip(rows, (("female", "s1"), ("", "s2")), strict=True):
        name, size, text, *_ = row.split(",")
        lines.append(f'{gender},"Wales, the north",{clips / name},{size},{text},{speaker}')
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    subject = open_subject(SETTINGS, exported)
    found = items(SETTINGS, open_sets(SETTINGS, [tmp_path / "t.csv"], subject), subject)
    assert [item.traits for item in found] == [
        {"gender": "female", "accent": "Wales, the north"},
        {"gender": "", "accent": "Wales, the north"},
    ]
    assert [item.clip.client_id for item in found] == ["s1", "s2"]
    assert found[0].about_samples == len(found[0].samples())


def test_sets_of_the_same_name_are_told_apart(exported: Path, clips: Path, tmp_path: Path) -> None:
    subject = open_subject(SETTINGS, exported)
    paths = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        header, *rows = (clips / "dev.csv").read_text(encoding="utf-8").splitlines()
        path = tmp_path / folder / "test.csv"
        path.write_text("\n".join([header, *(f"{clips}/{row}" for row in rows)]), encoding="utf-8")
        paths.append(path)
    names = [one.name for one in open_sets(SETTINGS, [*paths, clips / "dev.csv"], subject)]
    assert names == ["x/test", "y/test", "dev"]
