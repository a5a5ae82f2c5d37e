"""The DAG: a Common Voice release in, a published version of the model out.

Its parameters are those that the steps' settings declare as such; see parameters.py.
"""

import json
from typing import Any

from kfp import dsl

from components import images
from components.build_scorer.component import build_scorer
from components.convert_openvino.component import convert_openvino
from components.evaluate.component import evaluate, evaluate_openvino
from components.export.component import convert_mmap, convert_tflite, freeze
from components.import_cv.component import import_cv
from components.publish.component import publish
from components.train.component import train
from pipelines.parameters import of, parametrized
from pipelines.shape import imported, of_training

IMAGE_TAGS = json.dumps({step: images.reference(step) for step in images.STEPS})  # for the record


@dsl.pipeline(name="retrain", display_name="Speechmill: retrain")
@parametrized
def retrain(**given: Any) -> None:
    """Train, measure, convert and publish a speech-to-text model on a Common Voice release."""
    made = imported(**of(import_cv, given))
    corpus, dev_clips, test_clips = (made[name] for name in ("corpus", "dev_clips", "test_clips"))
    trained = train(**of_training(made), **of(train, given))
    frozen = freeze(checkpoint=trained.outputs["checkpoint"], **of(freeze, given))
    model = frozen.outputs["model"]
    mapped = convert_mmap(model=model).outputs["mapped"]
    tflite = convert_tflite(model=model, **of(convert_tflite, given)).outputs["tflite"]
    ir = convert_openvino(model=model, dev_clips=dev_clips, **of(convert_openvino, given)).outputs["ir"]
    built = build_scorer(corpus=corpus, model=model, **of(build_scorer, given))
    measured = evaluate(
        model=model,
        test_clips=test_clips,
        dev_clips=dev_clips,
        scorer=built.outputs["scorer"],
        **of(evaluate, given),
    )
    scorer = measured.outputs["tuned_scorer"]
    evaluate_openvino(ir=ir, test_clips=test_clips, scorer=scorer, **of(evaluate_openvino, given))
    publish(
        model=model,
        mapped=mapped,
        tflite=tflite,
        ir=ir,
        evaluation=measured.outputs["evaluation"],
        scorer=scorer,
        checkpoint=trained.outputs["checkpoint"],
        corpus=corpus,
        image_tags=IMAGE_TAGS,
        **of(publish, given),
    )
