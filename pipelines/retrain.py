"""The DAG: a Common Voice release in, a published version of the model out."""

from kfp import dsl

from components.convert_openvino.component import convert_openvino
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.component import evaluate
from components.evaluate.settings import EvaluateSettings
from components.export.component import convert_mmap, freeze
from components.export.settings import ExportSettings
from components.import_cv.component import import_cv
from components.import_cv.settings import ImportSettings
from components.publish.component import publish
from components.publish.settings import PublishSettings
from components.train.component import train
from components.train.settings import TrainSettings
from pipelines.parameters import documented


@dsl.pipeline(name="retrain", display_name="Speechmill: retrain")
@documented
def retrain(
    corpus_uri: str = "",
    corpus_revision: str = "",
    filter_alphabet: str = ImportSettings.filter_alphabet,
    normalize: bool = ImportSettings.normalize,
    max_duration_s: float = ImportSettings.max_duration_s,
    import_flags: str = "",
    base_checkpoint_uri: str = "",
    checkpoint_uri: str = "",
    drop_source_layers: str = TrainSettings.drop_source_layers,
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
    n_steps: int = ExportSettings.n_steps,
    export_beam_width: int = ExportSettings.export_beam_width,
    export_language: str = ExportSettings.export_language,
    openvino_precision: str = OpenVinoSettings.precision,
    test_sets: str = "test",
    text_normalization: str = EvaluateSettings.text_normalization,
    publish_uri: str = "",
    version: str = PublishSettings.version,
) -> None:
    """Train, measure, convert and publish a speech-to-text model on a Common Voice release."""
    imported = import_cv(
        corpus_uri=corpus_uri,
        corpus_revision=corpus_revision,
        filter_alphabet=filter_alphabet,
        normalize=normalize,
        max_duration_s=max_duration_s,
        extra_flags=import_flags,
    )
    corpus = imported.outputs["corpus"]
    trained = train(
        corpus=corpus,
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
    )
    frozen = freeze(
        checkpoint=trained.outputs["checkpoint"],
        n_steps=n_steps,
        export_beam_width=export_beam_width,
        export_language=export_language,
    )
    model = frozen.outputs["model"]
    mapped = convert_mmap(model=model)
    representation = convert_openvino(model=model, corpus=corpus, precision=openvino_precision)
    ir = representation.outputs["ir"]
    measured = evaluate(model=model, corpus=corpus, test_sets=test_sets, text_normalization=text_normalization)
    evaluate(model=ir, corpus=corpus, test_sets=test_sets, text_normalization=text_normalization).set_display_name(
        "evaluate_openvino"
    )
    publish(
        model=model,
        mapped=mapped.outputs["mapped"],
        ir=ir,
        evaluation=measured.outputs["evaluation"],
        publish_uri=publish_uri,
        version=version,
    )
