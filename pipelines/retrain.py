"""The DAG: a Common Voice release in, a published version of the model out."""

from kfp import dsl

from components.build_scorer.component import build_scorer as build_scorer_step
from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.component import convert_openvino
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.component import evaluate, evaluate_openvino
from components.evaluate.settings import USUAL_TRIALS, EvaluateSettings
from components.export.component import convert_mmap, convert_tflite, freeze
from components.export.settings import ExportSettings
from components.import_cv.settings import ImportSettings
from components.publish.component import publish
from components.publish.settings import PublishSettings
from components.train.component import train
from components.train.settings import IN_PIPELINE as TRAIN_IN_PIPELINE
from components.train.settings import TrainSettings
from pipelines.parameters import documented
from pipelines.shape import imported, of_training
from speech.model_card import CardSettings


@dsl.pipeline(name="retrain", display_name="Speechmill: retrain")
@documented
def retrain(
    corpus_uri: str = "",
    corpus_revision: str = "",
    filter_alphabet: str = ImportSettings.filter_alphabet,
    normalize: bool = ImportSettings.normalize,
    max_duration_s: float = ImportSettings.max_duration_s,
    previous: str = ImportSettings.previous,
    import_flags: str = "",
    base_checkpoint_uri: str = "",
    checkpoint_uri: str = "",
    drop_source_layers: str = TRAIN_IN_PIPELINE["drop_source_layers"],
    n_hidden: int = TrainSettings.n_hidden,
    epochs: int = TrainSettings.epochs,
    train_batch_size: int = TrainSettings.train_batch_size,
    learning_rate: float = TrainSettings.learning_rate,
    dropout_rate: float = TrainSettings.dropout_rate,
    early_stop: bool = TrainSettings.early_stop,
    es_epochs: int = TrainSettings.es_epochs,
    reduce_lr_on_plateau: bool = TrainSettings.reduce_lr_on_plateau,
    plateau_epochs: int = TrainSettings.plateau_epochs,
    random_seed: int = TrainSettings.random_seed,
    train_flags: str = "",
    train_workers: int = 1,
    train_gpu_type: str = "nvidia.com/gpu",
    train_gpus: str = "0",
    train_cpu: str = "2",
    train_memory: str = "8Gi",
    n_steps: int = ExportSettings.n_steps,
    export_beam_width: int = ExportSettings.export_beam_width,
    export_language: str = ExportSettings.export_language,
    export_quantize: bool = ExportSettings.export_quantize,
    openvino_precision: str = OpenVinoSettings.precision,
    build_scorer: bool = False,
    scorer_uri: str = "",
    scorer_text_uri: str = "",
    scorer_transcripts: bool = True,
    top_k: int = BuildScorerSettings.top_k,
    arpa_order: int = BuildScorerSettings.arpa_order,
    arpa_prune: str = BuildScorerSettings.arpa_prune,
    scorer_flags: str = "",
    n_trials: int = USUAL_TRIALS,
    test_sets: str = "test",
    text_normalization: str = EvaluateSettings.text_normalization,
    champion: str = EvaluateSettings.champion,
    evaluate_flags: str = "",
    export_model_name: str = CardSettings.export_model_name,
    export_license: str = CardSettings.export_license,
    card_flags: str = "",
    publish_uri: str = "",
    version: str = PublishSettings.version,
    force: bool = PublishSettings.force,
) -> None:
    """Train, measure, convert and publish a speech-to-text model on a Common Voice release."""
    made = imported(
        corpus_uri=corpus_uri,
        corpus_revision=corpus_revision,
        filter_alphabet=filter_alphabet,
        normalize=normalize,
        max_duration_s=max_duration_s,
        previous=previous,
        extra_flags=import_flags,
    )
    corpus, dev_clips, test_clips = (made[name] for name in ("corpus", "dev_clips", "test_clips"))
    trained = train(
        **of_training(made),
        base_checkpoint_uri=base_checkpoint_uri,
        checkpoint_uri=checkpoint_uri,
        drop_source_layers=drop_source_layers,
        n_hidden=n_hidden,
        epochs=epochs,
        train_batch_size=train_batch_size,
        learning_rate=learning_rate,
        dropout_rate=dropout_rate,
        early_stop=early_stop,
        es_epochs=es_epochs,
        reduce_lr_on_plateau=reduce_lr_on_plateau,
        plateau_epochs=plateau_epochs,
        random_seed=random_seed,
        extra_flags=train_flags,
        train_workers=train_workers,
        train_gpu_type=train_gpu_type,
        train_gpus=train_gpus,
        train_cpu=train_cpu,
        train_memory=train_memory,
    )
    frozen = freeze(
        checkpoint=trained.outputs["checkpoint"],
        n_steps=n_steps,
        export_beam_width=export_beam_width,
        export_language=export_language,
    )
    model = frozen.outputs["model"]
    mapped = convert_mmap(model=model).outputs["mapped"]
    tflite = convert_tflite(model=model, export_quantize=export_quantize).outputs["tflite"]
    representation = convert_openvino(model=model, dev_clips=dev_clips, precision=openvino_precision)
    ir = representation.outputs["ir"]
    built = build_scorer_step(
        corpus=corpus,
        model=model,
        build_scorer=build_scorer,
        scorer_uri=scorer_uri,
        scorer_text_uri=scorer_text_uri,
        scorer_transcripts=scorer_transcripts,
        top_k=top_k,
        arpa_order=arpa_order,
        arpa_prune=arpa_prune,
        extra_flags=scorer_flags,
    )
    measured = evaluate(
        model=model,
        test_clips=test_clips,
        dev_clips=dev_clips,
        scorer=built.outputs["scorer"],
        n_trials=n_trials,
        test_sets=test_sets,
        text_normalization=text_normalization,
        champion=champion,
        champion_of=publish_uri,
        extra_flags=evaluate_flags,
    )
    scorer = measured.outputs["tuned_scorer"]
    evaluate_openvino(
        ir=ir,
        test_clips=test_clips,
        scorer=scorer,
        test_sets=test_sets,
        text_normalization=text_normalization,
        extra_flags=evaluate_flags,
    )
    publish(
        model=model,
        mapped=mapped,
        tflite=tflite,
        ir=ir,
        evaluation=measured.outputs["evaluation"],
        scorer=scorer,
        checkpoint=trained.outputs["checkpoint"],
        corpus=corpus,
        publish_uri=publish_uri,
        version=version,
        force=force,
        corpus_uri=corpus_uri,
        corpus_revision=corpus_revision,
        export_model_name=export_model_name,
        export_license=export_license,
        card_flags=card_flags,
    )
