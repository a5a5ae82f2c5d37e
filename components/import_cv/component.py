"""The import as Kubeflow components: one that imports all, or one that imports a part and one that merges parts."""

from typing import List  # noqa: UP035 - kfp knows List[...] artifacts only under this name

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from components import images
from components.import_cv.settings import ImportInputs, ImportSettings
from speech.settings.arguments import takes
from speech.tracking.tracking_settings import TrackingSettings


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
@takes(ImportInputs, ImportSettings, TrackingSettings)
def import_cv(
    corpus: Output[Dataset],
    train_clips: Output[Dataset],
    dev_clips: Output[Dataset],
    test_clips: Output[Dataset],
    report: Output[HTML],
    # made by `make tables` of settings.py
    corpus_uri: str = "",
    corpus_revision: str = "",
    sets: str = "train dev test",
    splits: str = "auto",
    train_sets: str = "train",
    filter_alphabet: str = "",
    alphabet: str = "",
    rules: str = "generic",
    locale: str = "",
    normalize: bool = False,
    validate_label_locale: str = "",
    space_after_every_character: bool = False,
    max_chars_per_s: float = 50.0,
    audio_sample_rate: int = 16000,
    max_duration_s: float = 10.0,
    previous: str = "",
    extra_flags: str = "",
    tracking_uri: str = "",
    tracking_experiment: str = "speechmill",
    # end
) -> None:
    """Turn a Common Voice release into a corpus: 16 kHz clips in tar shards, CSVs, an alphabet, a report.

    Args:
        corpus: What describes the corpus: CSVs, alphabet, reports, and where the clips are.
        train_clips: The clips of the training set, and their CSV.
        dev_clips: The clips of the dev set, and their CSV.
        test_clips: The clips of the test set and of further sets, and their CSVs.
        report: What was imported and refused, and why.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.plan.split import split
        from components.import_cv.settings import ImportSettings
        from speech.settings.arguments import from_arguments
        from speech.tracking.tracking_settings import TrackingSettings

        settings = from_arguments(ImportSettings, locals(), "extra_flags of import_cv")
        made = step.run(settings, corpus_uri, Path(corpus.path))
        Path(report.path).write_text(step.read_report(made), encoding="utf-8")
        corpus.metadata.update(step.headline(made))
        source = {"corpus_uri": corpus_uri, "corpus_revision": corpus_revision}
        step.track(from_arguments(TrackingSettings, locals()), settings, made, source, corpus.uri)
        clips = {"train": train_clips, "dev": dev_clips, "test": test_clips}
        split(made, {name: Path(one.path) for name, one in clips.items()}, {n: one.uri for n, one in clips.items()})


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
@takes(ImportInputs, ImportSettings)
def import_part(
    part: Output[Dataset],
    partition: str = "1/1",
    # made by `make tables` of settings.py
    corpus_uri: str = "",
    corpus_revision: str = "",
    sets: str = "train dev test",
    splits: str = "auto",
    train_sets: str = "train",
    filter_alphabet: str = "",
    alphabet: str = "",
    rules: str = "generic",
    locale: str = "",
    normalize: bool = False,
    validate_label_locale: str = "",
    space_after_every_character: bool = False,
    max_chars_per_s: float = 50.0,
    audio_sample_rate: int = 16000,
    max_duration_s: float = 10.0,
    previous: str = "",
    extra_flags: str = "",
    # end
) -> None:
    """Import one part of a Common Voice release, for merge_corpus.

    Args:
        part: Some of the corpus' shards, and what is known of their clips.
        partition: i/n imports the i-th of n parts.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.settings import ImportSettings
        from speech.settings.arguments import from_arguments

        settings = from_arguments(ImportSettings, locals(), "extra_flags of import_part")
        step.run(settings, corpus_uri, Path(part.path))


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
def merge_corpus(
    parts: Input[List[Dataset]],  # noqa: UP006
    corpus: Output[Dataset],
    train_clips: Output[Dataset],
    dev_clips: Output[Dataset],
    test_clips: Output[Dataset],
    report: Output[HTML],
) -> None:
    """Make one corpus of the parts that import_part made with the partitions 1/n to n/n.

    Args:
        parts: The parts, in any order.
        corpus: What describes the corpus: CSVs, alphabet, reports, and where the clips are.
        train_clips: The clips of the training set, and their CSV.
        dev_clips: The clips of the dev set, and their CSV.
        test_clips: The clips of the test set and of further sets, and their CSVs.
        report: What was imported and refused, and why.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.plan.split import split
        from components.import_cv.write.parts import merge

        made = merge([part.path for part in parts], Path(corpus.path))
        Path(report.path).write_text(step.read_report(made), encoding="utf-8")
        corpus.metadata.update(step.headline(made))
        clips = {"train": train_clips, "dev": dev_clips, "test": test_clips}
        split(made, {name: Path(one.path) for name, one in clips.items()}, {n: one.uri for n, one in clips.items()})
