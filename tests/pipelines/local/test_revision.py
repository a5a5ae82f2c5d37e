"""A revision changes when what it stands for changes, and only then."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from components.publish.releases import newest
from pipelines.local import revision as revision_module
from pipelines.local.revision import revision
from speech.errors import InputError
from speech.storage.listings import Listed
from speech.storage.objects import client, split_uri, upload_file


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "en" / "clips").mkdir(parents=True)
    (tmp_path / "en" / "train.tsv").write_text("path\tsentence\n")
    (tmp_path / "en" / "clips" / "a.mp3").write_bytes(b"mp3")
    return tmp_path / "en"


def test_it_stays_while_nothing_changes(corpus: Path) -> None:
    assert revision(str(corpus)) == revision(str(corpus))
    assert len(revision(str(corpus))) == 16


def test_it_sees_changed_added_removed_and_renamed_files(corpus: Path) -> None:
    clip = corpus / "clips" / "a.mp3"
    seen = [revision(str(corpus))]
    clip.write_bytes(b"other")
    seen.append(revision(str(corpus)))
    (corpus / "clips" / "b.mp3").write_bytes(b"b")
    seen.append(revision(str(corpus)))
    clip.rename(corpus / "clips" / "c.mp3")
    seen.append(revision(str(corpus)))
    (corpus / "clips" / "b.mp3").unlink()
    seen.append(revision(str(corpus)))
    assert len(set(seen)) == len(seen)


def test_it_sees_a_change_that_keeps_the_size(corpus: Path) -> None:
    table = corpus / "train.tsv"
    before, changed_ns = revision(str(corpus)), table.stat().st_mtime_ns + 1_000_000
    table.write_text("PATH\tsentence\n")
    os.utime(table, ns=(changed_ns, changed_ns))
    assert revision(str(corpus)) != before


def test_it_follows_links_once(corpus: Path) -> None:
    elsewhere = corpus.parent / "elsewhere"
    (corpus / "clips").rename(elsewhere)
    (corpus / "clips").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(corpus)
    before = revision(str(corpus))
    (elsewhere / "a.mp3").write_bytes(b"longer than before")
    assert revision(str(corpus)) != before


def test_it_is_empty_where_nothing_is(tmp_path: Path) -> None:
    assert revision("") == ""
    assert revision(str(tmp_path / "missing")) == ""
    assert revision(str(tmp_path)) == ""


def test_of_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "en.tar.gz"
    archive.write_bytes(b"1")
    before = revision(str(archive))
    archive.write_bytes(b"12")
    assert revision(str(archive)) != before


def test_of_several_each_counts(corpus: Path, tmp_path: Path) -> None:
    delta = tmp_path / "delta.tar.gz"
    delta.write_bytes(b"1")
    before = revision(f"{corpus},{delta}#license=CC0-1.0")
    assert len(before) == 16
    assert before not in (revision(str(corpus)), revision(str(delta)))
    delta.write_bytes(b"12")
    assert revision(f"{corpus},{delta}#license=CC0-1.0") != before
    assert revision(f"{corpus},{tmp_path}/missing") == ""


def test_of_an_object_store(s3_bucket: str) -> None:
    bucket, _ = split_uri(f"{s3_bucket}/en")
    client().put_object(Bucket=bucket, Key="en/train.tsv", Body=b"one")
    before = revision(f"{s3_bucket}/en")
    assert before == revision(f"{s3_bucket}/en")
    client().put_object(Bucket=bucket, Key="en/train.tsv", Body=b"two")
    assert revision(f"{s3_bucket}/en") != before
    with pytest.raises(InputError, match="no such bucket"):
        revision(f"{s3_bucket}-missing/en")


def test_an_archive_has_the_revision_that_scheduled_runs_know_it_by(tmp_path, s3_bucket) -> None:
    path = tmp_path / "cv-corpus-17.0-2024-03-15-cy.tar.gz"
    path.write_bytes(b"x")
    assert revision(str(path)) == newest(f"{tmp_path}/").revision
    upload_file(path, f"{s3_bucket}/corpora/{path.name}")
    assert revision(f"{s3_bucket}/corpora/{path.name}") == newest(f"{s3_bucket}/corpora/").revision


def test_neighbours_of_an_archive_do_not_count(s3_bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"archive")
    upload_file(tmp_path / "x", f"{s3_bucket}/cy.tar.gz")
    before = revision(f"{s3_bucket}/cy.tar.gz")
    upload_file(tmp_path / "x", f"{s3_bucket}/cy.tar.gz.sha256")
    upload_file(tmp_path / "x", f"{s3_bucket}/cy-old/clip")
    assert revision(f"{s3_bucket}/cy.tar.gz") == before
    assert revision(f"{s3_bucket}/cy") == ""
    assert revision(f"{s3_bucket}/cy-old") == revision(f"{s3_bucket}/cy-old/") != ""


def test_the_same_bytes_at_another_time_are_another_object(s3_bucket: str, monkeypatch) -> None:
    dates = iter((datetime(2026, 1, 1), datetime(2026, 1, 2)))
    monkeypatch.setattr(revision_module, "list_objects", lambda uri: {"cy.tar.gz": Listed(7, '"0"', next(dates))})
    assert revision(f"{s3_bucket}/cy.tar.gz") != revision(f"{s3_bucket}/cy.tar.gz")
