"""The export steps as Kubeflow components."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.EXPORT, install_kfp_package=False)
def freeze(
    checkpoint: Input[Model],
    model: Output[Model],
    n_steps: int = 16,
    export_beam_width: int = 500,
    export_language: str = "",
) -> None:
    """Freeze the best checkpoint into the streaming graph that native clients run.

    Args:
        checkpoint: The trained checkpoint.
        model: The frozen graph, its alphabet and its sidecar.
        n_steps: Frames a call of the streaming graph.
        export_beam_width: Beam width that clients use by default.
        export_language: Language code stored in the graph.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step
        from components.export.settings import ExportSettings

        settings = ExportSettings(n_steps=n_steps, export_beam_width=export_beam_width, export_language=export_language)
        made = step.freeze(settings, Path(checkpoint.path), Path(model.path))
        model.metadata["bytes"] = made.sidecar["files"][made.FROZEN]["bytes"]
        model.metadata["selfcheck_max_difference"] = made.sidecar["selfcheck_max_difference"]


@dsl.component(base_image=images.CONVERT_MMAP, install_kfp_package=False)
def convert_mmap(model: Input[Model], mapped: Output[Model]) -> None:
    """Convert the frozen graph to the memory-mapped format.

    Args:
        model: The frozen graph.
        mapped: The memory-mapped graph, its alphabet and its sidecar.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step

        step.convert_mmap(Path(model.path), Path(mapped.path))


@dsl.component(base_image=images.EXPORT, install_kfp_package=False)
def convert_tflite(
    model: Input[Model],
    tflite: Output[Model],
    export_quantize: bool = True,
) -> None:
    """Convert the frozen graph to TFLite.

    Args:
        model: The frozen graph.
        tflite: The TFLite model, its alphabet and its sidecar.
        export_quantize: Store the weights as int8 rather than float32.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step

        made = step.convert_tflite(Path(model.path), Path(tflite.path), export_quantize)
        tflite.metadata["bytes"] = made.sidecar["files"][made.TFLITE]["bytes"]
        tflite.metadata["tflite_difference"] = made.sidecar["tflite_difference"]


@dsl.component(base_image=images.CONVERT_MMAP, install_kfp_package=False)
def model_card(
    model: Input[Model],
    mapped: Input[Model],
    tflite: Input[Model],
    evaluation: Input[Artifact],
    corpus: Input[Dataset],
    card: Output[Artifact],
    export_author_id: str = "author",
    export_model_name: str = "model",
    export_model_version: str = "0.0.1",
    export_contact_info: str = "<to be filled in>",
    export_license: str = "<to be filled in>",
    export_data_license: str = "CC0-1.0",
    export_description: str = "",
    extra_flags: str = "",
) -> None:
    """Describe the model: what it is, was made of and scores.

    Args:
        model: The frozen graph.
        mapped: The memory-mapped graph.
        tflite: The TFLite model.
        evaluation: The scores of the exported model.
        corpus: What describes the corpus that the model was trained on.
        card: The model card as Markdown, with the peers' front matter, and as JSON.
        export_author_id: Who made the model, as one word.
        export_model_name: Name of the model.
        export_model_version: Version of the model.
        export_contact_info: How to reach the author.
        export_license: Licence of the model, an SPDX identifier.
        export_data_license: Licence of the training data; Common Voice's by default.
        export_description: Description in Markdown.
        extra_flags: Further flags as on the command line, e.g. --export_min_ds_version 0.7.0.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import card as model_cards
        from components.export.settings import CardSettings
        from speech.artifacts import Corpus, Evaluation, ExportedModel
        from speech.settings import with_extra_flags

        given = CardSettings(
            export_author_id=export_author_id,
            export_model_name=export_model_name,
            export_model_version=export_model_version,
            export_contact_info=export_contact_info,
            export_license=export_license,
            export_data_license=export_data_license,
            export_description=export_description,
        )
        settings = with_extra_flags(given, extra_flags, "model_card")
        models = [ExportedModel.open(one.path) for one in (model, mapped, tflite)]
        sources = model_cards.Sources(models, Evaluation.open(evaluation.path), Corpus.open(corpus.path))
        model_cards.write(settings, sources, Path(card.path))
