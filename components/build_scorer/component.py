"""The build_scorer step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.BUILD_SCORER, install_kfp_package=False)
def build_scorer(
    corpus: Input[Dataset],
    model: Input[Model],
    scorer: Output[Model],
    build_scorer: bool = True,
    scorer_uri: str = "",
    scorer_text_uri: str = "",
    scorer_transcripts: bool = True,
    top_k: int = 500_000,
    arpa_order: int = 5,
    arpa_prune: str = "0|0|1",
    max_arpa_memory: str = "85%",
    default_alpha: float = 0.931289039105002,
    default_beta: float = 1.1834137581510284,
    extra_flags: str = "",
) -> None:
    """Build the language model and vocabulary that the decoder and the clients use beside the model.

    Args:
        corpus: What describes the imported corpus; the transcripts of its training set are text.
        model: The exported model, whose alphabet the scorer is for.
        scorer: The scorer, or the note that this run has none.
        build_scorer: Build one; otherwise take the one at `scorer_uri`, or none.
        scorer_uri: Scorer that is there already, a .scorer file or s3:// URI; empty: none.
        scorer_text_uri: Text files or s3:// URIs with one sentence a line (also .gz), with commas between; empty: none.
        scorer_transcripts: Use the training transcripts.
        top_k: Most frequent words that make the vocabulary.
        arpa_order: Longest n-gram.
        arpa_prune: N-grams seen this often or less are dropped, one count an order.
        max_arpa_memory: Memory for the estimation at most.
        default_alpha: Weight of the language model that the scorer suggests.
        default_beta: Bonus for each word that the scorer suggests.
        extra_flags: Further flags as on the command line, e.g. --binary_type probing --keep_case.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.build_scorer import step
        from components.build_scorer.settings import BuildScorerSettings
        from speech.artifacts import ExternalScorer
        from speech.settings import with_extra_flags

        given = BuildScorerSettings(
            top_k=top_k,
            arpa_order=arpa_order,
            arpa_prune=arpa_prune,
            max_arpa_memory=max_arpa_memory,
            default_alpha=default_alpha,
            default_beta=default_beta,
        )
        settings = with_extra_flags(given, extra_flags, "build_scorer")
        folder = Path(scorer.path)
        if build_scorer:
            step.run_in_pipeline(
                settings, Path(corpus.path), Path(model.path), scorer_text_uri, scorer_transcripts, folder
            )
        else:
            step.adopt(scorer_uri, Path(model.path), folder)
        scorer.metadata.update(step.headline(ExternalScorer.find(folder)))
