"""The build_scorer step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images
from components.build_scorer.settings import BuildScorerSettings, ScorerInputs
from speech.settings.arguments import takes


@dsl.component(base_image=images.BUILD_SCORER, install_kfp_package=False)
@takes(ScorerInputs, BuildScorerSettings)
def build_scorer(
    corpus: Input[Dataset],
    model: Input[Model],
    scorer: Output[Model],
    # made by `make tables` of settings.py
    build_scorer: bool = False,
    scorer_uri: str = "",
    scorer_text_uri: str = "",
    scorer_transcripts: bool = True,
    top_k: int = 500000,
    arpa_order: int = 5,
    arpa_prune: str = "0|0|1",
    max_arpa_memory: str = "85%",
    default_alpha: float = 0.931289039105002,
    default_beta: float = 1.1834137581510284,
    extra_flags: str = "",
    # end
) -> None:
    """Build the language model and vocabulary that the decoder and the clients use beside the model.

    Args:
        corpus: What describes the imported corpus; the transcripts of its training set are text.
        model: The exported model, whose alphabet the scorer is for.
        scorer: The scorer, or the note that this run has none.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.build_scorer import step
        from components.build_scorer.settings import BuildScorerSettings
        from speech.artifacts import ExternalScorer
        from speech.settings.arguments import from_arguments

        settings = from_arguments(BuildScorerSettings, locals(), "build_scorer")
        folder = Path(scorer.path)
        if build_scorer:
            step.run_in_pipeline(
                settings, Path(corpus.path), Path(model.path), scorer_text_uri, scorer_transcripts, folder
            )
        else:
            step.adopt(scorer_uri, Path(model.path), folder)
        scorer.metadata.update(step.headline(ExternalScorer.find(folder)))
