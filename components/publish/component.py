"""The publish step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components import images
from components.publish.settings import NotifySettings, PublishInputs, PublishSettings
from speech.model_card import CardSettings
from speech.settings.arguments import takes
from speech.tracking.tracking_settings import TrackingSettings


@dsl.component(base_image=images.PUBLISH, install_kfp_package=False)
@takes(CardSettings, PublishInputs, PublishSettings, TrackingSettings)
def publish(
    model: Input[Model],
    mapped: Input[Model],
    tflite: Input[Model],
    ir: Input[Model],
    evaluation: Input[Artifact],
    checkpoint: Input[Model],
    scorer: Input[Model],
    corpus: Input[Dataset],
    published: Output[Model],
    report: Output[Markdown],
    # made by `make tables` of settings.py
    export_author_id: str = "author",
    export_model_name: str = "model",
    export_model_version: str = "0.0.1",
    export_contact_info: str = "<to be filled in>",
    export_license: str = "<to be filled in>",
    export_data_license: str = "CC0-1.0",
    export_description: str = "",
    card_flags: str = "",
    publish_uri: str = "",
    corpus_uri: str = "",
    corpus_revision: str = "",
    image_tags: str = "",
    version: str = "",
    force: bool = False,
    min_test_clips: int = 30,
    tracking_uri: str = "",
    tracking_experiment: str = "speechmill",
    # end
) -> None:
    """Put a version of the model where clients fetch it, and make it the champion there if it is better.

    Args:
        model: The exported model.
        mapped: The memory-mapped graph.
        tflite: The TFLite model.
        ir: The OpenVINO IR.
        evaluation: The scores of the exported model.
        checkpoint: The checkpoint that it was made of; it goes into a version under `publish_uri`.
        scorer: The scorer that it was measured with, or the artifact of a run without one.
        corpus: What describes the corpus that the model was trained on.
        published: The version; only its description if it went to `publish_uri`.
        report: The decision, the scores, the files, and the model card.
    """
    import json
    import tempfile
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors(), tempfile.TemporaryDirectory() as scratch:
        from components.publish import registration, step
        from components.publish.settings import PublishSettings
        from speech import model_card
        from speech.artifacts import Corpus, Evaluation, ExportedModel
        from speech.settings.arguments import from_arguments
        from speech.tracking.tracking_settings import TrackingSettings

        card = from_arguments(model_card.CardSettings, locals(), "card_flags", "card_flags")
        models = [ExportedModel.open(one.path) for one in (model, mapped, tflite)]
        sources = model_card.CardSources(models, Evaluation.open(evaluation.path), Corpus.open(corpus.path))
        model_card.write(card, sources, Path(scratch))
        artifacts = {
            "model": model.path,
            "mapped": mapped.path,
            "tflite": tflite.path,
            "ir": ir.path,
            "card": scratch,
            "evaluation": evaluation.path,
            "checkpoint": checkpoint.path,
            "scorer": scorer.path,
        }
        made = step.run_in_pipeline(
            from_arguments(PublishSettings, locals()),
            {name: Path(path) for name, path in artifacts.items()},
            publish_uri,
            Path(published.path),
            step.Provenance(corpus_uri, corpus_revision, corpus.uri),
            published.uri,
        )
        tracking = from_arguments(TrackingSettings, locals())
        registration.in_pipeline(tracking, made, json.loads(image_tags or "{}"), publish_uri, published.uri)
        published.metadata["version"] = made.name
        published.metadata["uri"] = made.uri if publish_uri else f"{published.uri}/{made.name}"
        published.metadata.update(step.headline(made))
        Path(report.path).write_text(step.report(made, Path(scratch)), encoding="utf-8")


@dsl.component(base_image=images.PUBLISH, install_kfp_package=False)
def find_release(
    corpus_uri: str,
    publish_uri: str,
    base_checkpoint_uri: str,
    news: dsl.OutputPath(str),  # type: ignore[valid-type]
    release_uri: dsl.OutputPath(str),  # type: ignore[valid-type]
    release_revision: dsl.OutputPath(str),  # type: ignore[valid-type]
    previous: dsl.OutputPath(str),  # type: ignore[valid-type]
    start_from: dsl.OutputPath(str),  # type: ignore[valid-type]
    report: Output[Markdown],
) -> None:
    """Find the newest release that no version was trained on yet.

    Args:
        corpus_uri: Prefix that ends with `/`, or a name with wildcards such as s3://corpora/cv-corpus-*-cy.tar.gz.
        publish_uri: Where the versions are, and which releases they were trained on.
        base_checkpoint_uri: Checkpoint to start from; empty: the champion's.
        news: yes or no.
        release_uri: The release.
        release_revision: Its revision.
        previous: The corpus that unchanged clips are taken from; empty: none.
        start_from: The checkpoint to start from; empty: from scratch.
        report: What was found.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.publish import releases

        found = releases.look(corpus_uri, publish_uri, base_checkpoint_uri)
        print(found.message, flush=True)
        release = found.release
        for path, value in (
            (news, "yes" if release else "no"),
            (release_uri, release.uri if release else ""),
            (release_revision, release.revision if release else ""),
            (previous, found.previous),
            (start_from, found.base_checkpoint_uri),
        ):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(value, encoding="utf-8")
        Path(report.path).write_text(f"{found.message}\n", encoding="utf-8")


@dsl.component(base_image=images.PUBLISH, install_kfp_package=False)
@takes(NotifySettings)
def notify(
    # made by `make tables` of settings.py
    notify_url: str = "",
    notify_format: str = "auto",
    notify_place: str = "",
    run_id: str = "",
    run_name: str = "",
    kubeflow_api: str = "",
    kubeflow_page: str = "",
    # end
) -> None:
    """Say how the run ended, whatever its end, to the webhook that is set."""
    from speech.errors import one_line_errors

    with one_line_errors():
        from components.publish.notice import on_cluster
        from components.publish.settings import NotifySettings
        from speech.settings.arguments import from_arguments

        on_cluster.tell(from_arguments(NotifySettings, locals()))
