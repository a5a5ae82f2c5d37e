"""The publish step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components import images


@dsl.component(base_image=images.PUBLISH, install_kfp_package=False)
def publish(
    model: Input[Model],
    mapped: Input[Model],
    ir: Input[Model],
    evaluation: Input[Artifact],
    published: Output[Model],
    publish_uri: str = "",
    version: str = "",
) -> None:
    """Put a version of the model, with its scores and checksums, where clients fetch it.

    Args:
        model: The exported model.
        mapped: The memory-mapped graph.
        ir: The OpenVINO IR.
        evaluation: The scores of the exported model.
        published: The version; only its description if it went to `publish_uri`.
        publish_uri: Folder or s3:// prefix that takes the version; empty: the run's own artifact.
        version: Name of the version; empty: the date and a hash.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.publish import step
        from components.publish.settings import PublishSettings

        artifacts = {"model": model.path, "mapped": mapped.path, "ir": ir.path, "evaluation": evaluation.path}
        made = step.run_in_pipeline(
            PublishSettings(version=version),
            {name: Path(path) for name, path in artifacts.items()},
            publish_uri,
            Path(published.path),
        )
        published.metadata["version"] = made.name
        published.metadata["uri"] = made.uri if publish_uri else f"{published.uri}/{made.name}"
