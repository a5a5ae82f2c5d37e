"""Which release a scheduled run works on, and what it starts from."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from components.publish import step
from components.publish.component import find_release
from components.publish.releases import is_watched, look, newest
from pipelines.local.revision import revision
from speech.artifacts import ALPHABET, Corpus
from speech.errors import InputError
from speech.storage.objects import upload_file
from tests.components.publish.conftest import Settings, trained

NAMES = (
    "cv-corpus-9.0-2022-04-27-cy.tar.gz",
    "cv-corpus-17.0-2024-03-15-cy.tar.gz",
    "cv-corpus-17.0-delta-2024-03-15-cy.tar.gz",
    "cv-corpus-16.1-2023-12-06-cy.tar.gz",
    "cv-corpus-notes.txt",
)


@pytest.fixture(params=["local", "s3"])
def corpora(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place with releases, ending with a slash."""
    folder = tmp_path / "corpora"
    folder.mkdir()
    uri = f"{folder}/" if request.param == "local" else f"{request.getfixturevalue('s3_bucket')}/corpora/"
    for name in NAMES:
        add(uri, folder, name)
    return uri


def add(uri: str, folder: Path, name: str, text: str = "x") -> None:
    (folder / name).write_text(text)
    if uri.startswith("s3://"):
        upload_file(folder / name, f"{uri}{name}")


def test_the_highest_number_is_the_newest(corpora, tmp_path) -> None:
    assert newest(corpora).name == "cv-corpus-17.0-2024-03-15-cy"
    assert newest(f"{corpora}cv-corpus-*-cy.tar.gz").uri == f"{corpora}cv-corpus-17.0-2024-03-15-cy.tar.gz"
    assert newest(f"{corpora}cv-corpus-1[0-6].*.gz").name == "cv-corpus-16.1-2023-12-06-cy"
    before = newest(corpora)
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-cy.tar.gz")
    assert newest(corpora).name == "cv-corpus-18.0-2024-06-14-cy"
    assert newest(corpora).revision != before.revision
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-cy.tar.gz", "changed in place")
    assert newest(corpora).revision != newest(f"{corpora}cv-corpus-17*").revision


def test_deltas_since_the_newest_release_come_with_it(corpora, tmp_path) -> None:
    base = newest(corpora)
    assert base.uri == f"{corpora}cv-corpus-17.0-2024-03-15-cy.tar.gz"  # and not the delta of the same day
    folder = tmp_path / "corpora"
    for name in ("cv-corpus-19.0-delta-2024-09-13-cy.tar.gz", "cv-corpus-18.0-delta-2024-06-14-cy.tar.gz"):
        add(corpora, folder, name)
    found = newest(corpora)
    assert [uri.removeprefix(corpora)[:21] for uri in found.uri.split(",")] == [
        "cv-corpus-17.0-2024-0", "cv-corpus-18.0-delta-", "cv-corpus-19.0-delta-"
    ]  # fmt: skip
    assert found.revision == revision(found.uri) != base.revision
    assert found.size_bytes == 3 * base.size_bytes
    add(corpora, folder, "cv-corpus-19.0-2024-09-13-cy.tar.gz")
    assert newest(corpora).uri == f"{corpora}cv-corpus-19.0-2024-09-13-cy.tar.gz"


def test_a_named_base_and_a_place_for_deltas(corpora, tmp_path) -> None:
    base = f"{corpora}cv-corpus-16.1-2023-12-06-cy.tar.gz"
    watched = f"{base},{corpora}cv-corpus-*-delta-*-cy.tar.gz"
    assert is_watched(watched)
    found = newest(watched)
    assert found.uri == f"{base},{corpora}cv-corpus-17.0-delta-2024-03-15-cy.tar.gz"
    assert found.revision == revision(found.uri)
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-delta-2024-06-14-cy.tar.gz")
    assert newest(watched).uri.count(",") == 2


def test_a_new_delta_is_news(corpora, models, make_artifacts, tmp_path) -> None:
    publish(models, corpora, make_artifacts(), "")
    assert look(corpora, models).release is None
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-delta-2024-06-14-cy.tar.gz")
    news = look(corpora, models)
    assert news.message.startswith(f"new: {corpora}cv-corpus-17.0-2024-03-15-cy.tar.gz and {corpora}cv-corpus-18.0")


def test_several_languages_are_not_guessed_among(corpora, tmp_path) -> None:
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-ga-IE.tar.gz")
    with pytest.raises(
        InputError, match=r"several languages \(cy, ga-IE\): name one, such as .*cv-corpus-\*-cy\.tar\.gz"
    ):
        newest(corpora)
    assert newest(f"{corpora}cv-corpus-*-cy.tar.gz").name == "cv-corpus-17.0-2024-03-15-cy"


def test_a_place_without_releases_is_one_line(corpora) -> None:
    with pytest.raises(InputError, match="no release there: expected archives such as"):
        newest(f"{corpora}cv-corpus-*-xx.tar.gz")
    with pytest.raises(InputError, match="wildcards stand in the last part"):
        newest(f"{corpora}*/x")


def test_an_unpacked_release_stands_for_itself(corpora, tmp_path) -> None:
    add(corpora, tmp_path / "corpora", "train.tsv")
    found = newest(corpora)
    assert found.uri == corpora.rstrip("/")
    add(corpora, tmp_path / "corpora", "train.tsv", "changed")
    assert newest(corpora).revision != found.revision


def test_what_names_a_place_and_what_a_release(tmp_path) -> None:
    (tmp_path / "train.tsv").write_text("")
    for uri in ("s3://b/cv/", "s3://b/cv-*-cy.tar.gz", "corpora/", "corpora/cv-?.tar"):
        assert is_watched(uri), uri
    for uri in ("", "s3://b/cv.tar.gz", "s3://b/cv/cy", str(tmp_path), f"{tmp_path}/", "cv.tar.gz"):
        assert not is_watched(uri), uri


@pytest.fixture
def models(request: pytest.FixtureRequest, tmp_path: Path, corpora: str) -> str:
    if corpora.startswith("s3://"):
        return f"{request.getfixturevalue('s3_bucket')}/models"
    return str(tmp_path / "models")


def publish(models: str, corpora: str, artifacts: dict[str, Path], imported: str, **settings) -> step.PublishedVersion:
    release = newest(corpora)
    source = step.Provenance(release.uri, release.revision, imported)
    return step.run(Settings(**settings), artifacts, models, source)


def test_the_first_run_starts_from_scratch(corpora, models) -> None:
    news = look(corpora, models)
    assert news.release == newest(corpora)
    assert (news.previous, news.base_checkpoint_uri) == ("", "")
    assert look(corpora, models, "s3://released/en").base_checkpoint_uri == "s3://released/en"


def test_a_new_release_starts_from_the_champion_and_its_corpus(corpora, models, make_artifacts, tmp_path) -> None:
    imported = tmp_path / "imported"
    imported.mkdir()
    (imported / Corpus.REPORT).write_text("{}")
    checkpoint = trained(tmp_path / "checkpoint")
    (checkpoint / ALPHABET).write_text("a\n")
    version = publish(models, corpora, make_artifacts() | {"checkpoint": checkpoint}, str(imported))
    again = look(corpora, models)
    assert again.release is None
    assert again.message.startswith(f"nothing to do: {newest(corpora).uri} is the newest release and has not changed")
    assert version.name in again.message

    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-cy.tar.gz")
    news = look(corpora, models)
    assert news.release is not None
    assert news.release.name == "cv-corpus-18.0-2024-06-14-cy"
    assert (news.previous, news.base_checkpoint_uri) == (str(imported), f"{version.uri}/checkpoint")
    assert look(corpora, models, "s3://released/en").base_checkpoint_uri == "s3://released/en"
    (imported / Corpus.REPORT).unlink()
    assert look(corpora, models).previous == ""


def test_a_release_whose_model_was_not_better_is_not_trained_on_again(
    corpora, models, make_artifacts, tmp_path
) -> None:
    publish(models, corpora, make_artifacts(b"1", [0, 0, 0, 0]), "")
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-cy.tar.gz")
    kept = publish(models, corpora, make_artifacts(b"2", [1, 1, 1, 1]), "")
    assert kept.decision["decision"] == "kept"
    assert look(corpora, models).release is None


def test_kubeflow_s_own_store_is_read_as_s3(corpora, models, make_artifacts, tmp_path, request) -> None:
    bucket = request.getfixturevalue("s3_bucket")
    (tmp_path / "report").write_text("{}")
    upload_file(tmp_path / "report", f"{bucket}/artifacts/corpus/{Corpus.REPORT}")
    publish(models, corpora, make_artifacts(), f"minio://{bucket[5:]}/artifacts/corpus")
    add(corpora, tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-cy.tar.gz")
    assert look(corpora, models).previous == f"{bucket}/artifacts/corpus"


def test_without_a_place_for_versions_nothing_is_known(corpora) -> None:
    with pytest.raises(InputError, match="--publish_uri is missing"):
        look(corpora, "")


def found_by_the_step(folder: Path, corpora: str, models: str) -> dict[str, str]:
    """The outputs of the step that a scheduled pipeline begins with."""
    names = ("news", "release_uri", "release_revision", "previous", "start_from")
    paths = {name: str(folder / "outputs" / name) for name in names}
    report = SimpleNamespace(path=str(folder / "report"))
    find_release.python_func(corpus_uri=corpora, publish_uri=models, base_checkpoint_uri="", report=report, **paths)
    return {name: Path(path).read_text() for name, path in paths.items()}


def test_the_step_says_whether_there_is_news(corpora, models, make_artifacts, tmp_path, capsys) -> None:
    release = newest(corpora)
    found = found_by_the_step(tmp_path, corpora, models)
    assert found == {
        "news": "yes", "release_uri": release.uri, "release_revision": release.revision,
        "previous": "", "start_from": "",
    }  # fmt: skip
    publish(models, corpora, make_artifacts(), "")
    found = found_by_the_step(tmp_path, corpora, models)
    assert set(found.values()) == {"no", ""}
    assert (tmp_path / "report").read_text().startswith("nothing to do: ")
    assert capsys.readouterr().out.splitlines()[-1].startswith("nothing to do: ")
    with pytest.raises(SystemExit) as stopped:
        found_by_the_step(tmp_path, f"{corpora}none-*", models)
    assert stopped.value.code == 2
