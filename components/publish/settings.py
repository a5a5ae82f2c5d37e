"""What can be set about publishing."""

import re
from dataclasses import dataclass

from speech.notification.message import BY_ADDRESS, FORMS
from speech.settings import setting, setting_error

RESERVED = ("champions", "releases")  # folders beside the versions
UNITS = ("clip", "speaker")


@dataclass(frozen=True)
class PublishInputs:
    """What the pipeline hands the step besides its settings."""

    card_flags: str = setting(
        "",
        "further flags of the model card, such as --export_author_id mill --export_contact_info mail@example",
        pipeline=True,
    )
    publish_uri: str = setting(
        "",
        "folder or s3:// prefix that takes the version and has the champion; empty: the run's own artifact",
        pipeline=True,
    )
    corpus_uri: str = setting("", "the release that the model was trained on, for the record", pipeline=True)
    corpus_revision: str = setting("", "its revision: a scheduled run trains on each revision once", pipeline=True)
    image_tags: str = setting("", "the steps' images, for the record: JSON, step -> reference", component=True)


@dataclass(frozen=True)
class PublishSettings:
    """How a version of the model is named, and when it becomes the champion."""

    version: str = setting(
        "",
        "name of the version's folder; empty: the date and a hash of the model, such as 2026-03-01-4f2a9c01d3b7",
        group="Version",
        pipeline=True,
    )
    force: bool = setting(
        False, "make the version the champion whatever the comparison says", group="Champion", pipeline=True
    )
    confidence: float = setting(
        0.95,
        "the champion moves if the interval of this coverage of the difference in WER lies below zero (in CER where "
        "the evaluation reads that)",
    )
    bootstrap_samples: int = setting(10_000, "paired resamples of the test clips behind that interval")
    bootstrap_unit: str = setting(
        "clip", "what is drawn: clips, or speakers with all their clips (more cautious)", choices=UNITS
    )
    min_common: float = setting(
        0.5, "share of the champion's test clips that the new evaluation must hold, too, for the two to be compared"
    )
    min_test_clips: int = setting(
        30,
        "a version measured on fewer test clips is published, but never becomes the champion",
        unit="clips",
        pipeline=True,
    )
    random_seed: int = setting(4568, "seed of the resampling")

    def __post_init__(self) -> None:
        if self.version and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.version):
            raise setting_error("version", self.version, "letters, digits and . _ + - and no slash, first no dot")
        if self.version in RESERVED:
            raise setting_error("version", self.version, f"{' and '.join(RESERVED)} are folders beside the versions")
        for name in ("confidence", "min_common"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise setting_error(name, getattr(self, name), "between 0 and 1")
        if self.bootstrap_samples < 100:
            raise setting_error("bootstrap_samples", self.bootstrap_samples, "100 or more")
        if self.min_test_clips < 1:
            raise setting_error("min_test_clips", self.min_test_clips, "1 or more")
        if self.random_seed < 0:
            raise setting_error("random_seed", self.random_seed, "0 or more")
        if self.bootstrap_unit not in UNITS:
            raise setting_error("bootstrap_unit", self.bootstrap_unit, f"one of {', '.join(UNITS)}")


@dataclass(frozen=True)
class NotifySettings:
    """Who is told how a run ended, and how the step that tells it finds out."""

    notify_url: str = setting(
        "",
        "webhook that is told how the run ended, whatever its end (Slack's, Microsoft Teams', or one that takes JSON); "
        "better in a secret: see docs/messages.md",
        group="Messages",
        pipeline=True,
    )
    notify_format: str = setting(
        BY_ADDRESS, "form of the message; auto: by the webhook's host, else JSON", choices=FORMS, pipeline=True
    )
    notify_place: str = setting("", "publish_uri of the run, where its version is", pipeline="publish_uri")
    run_id: str = setting("", "the run's id", component=True)
    run_name: str = setting("", "the run's name", component=True)
    kubeflow_api: str = setting("", "address of Kubeflow Pipelines' API, seen from a pod", component=True)
    kubeflow_page: str = setting("", "address of Kubeflow Pipelines' user interface, for the link", component=True)

    def __post_init__(self) -> None:
        if self.notify_format not in FORMS:
            raise setting_error("notify_format", self.notify_format, f"one of {', '.join(FORMS)}")
