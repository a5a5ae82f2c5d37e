"""What `submit` and `schedule` refuse before a byte is sent."""

import re
from functools import cache
from typing import Any

import pytest
import yaml

from components import images
from pipelines.cluster import compiled, deployment, refusals
from pipelines.cluster.nightly import nightly
from pipelines.retrain import retrain
from speech.errors import InputError

CORPUS = {"corpus_uri": "s3://corpora/cy.tar.gz"}


@cache
def spec(pipeline: str) -> dict[str, Any]:
    text = compiled.to_yaml({"retrain": retrain, "nightly": nightly}[pipeline])
    return next(yaml.load_all(text, yaml.CSafeLoader))


def check(given: dict[str, Any], pipeline: str = "retrain", path: str = "") -> None:
    cluster = deployment.read(images.ROOT / "examples" / "deployments" / path) if path else deployment.unknown_cluster()
    refusals.check(spec(pipeline), refusals.without_limits(given), cluster)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"corpus_uri": ""}, "--corpus_uri is missing"),
        ({"corpus_uri": "examples/cy"}, "--corpus_uri examples/cy: a step on the cluster does not see this folder"),
        ({"corpus_uri": "/data/cy"}, "does not see this folder"),
        ({"checkpoint_uri": "/data/running"}, "--checkpoint_uri /data/running: expected an s3:// prefix"),
        ({"publish_uri": "models"}, "--publish_uri models: "),
        ({"scorer_text_uri": "s3://x/a.txt,b.txt"}, "--scorer_text_uri b.txt: "),
        ({"corpus_uri": "s3://corpora/cv-*.tar.gz"}, "--publish_uri is missing"),
        ({"train_workers": 2}, "--checkpoint_uri is missing: 2 machines"),
        ({"train_cpu": "two"}, "--train_cpu 'two' is not allowed: a Kubernetes quantity"),
        ({"train_memory": "16 GB"}, "--train_memory '16 GB' is not allowed"),
        ({"train_gpus": "one"}, "--train_gpus 'one' is not allowed: a number"),
        ({"train_batch_size": -1}, "--train_batch_size -1"),
        ({"dropout_rate": 1.5}, "--dropout_rate 1.5"),
        ({"train_flags": "--layer_nrom"}, "--train_flags: unknown flag --layer_nrom: did you mean --layer_norm?"),
        ({"train_flags": "--epochs many"}, "--train_flags: "),
        ({"train_flags": "--layer_norm 'x"}, '--train_flags "--layer_norm \'x": No closing quotation'),
        ({"evaluate_flags": "--beam_width none"}, "--evaluate_flags: "),
        ({"epoch": 3}, "--epoch: the pipeline has no such parameter"),
    ],
)
def test_what_would_fail_later_is_refused_now(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        check(CORPUS | given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "pipeline", "path"),
    [
        ({}, "retrain", ""),
        ({"train_cpu": "", "train_memory": "0", "train_gpus": ""}, "retrain", ""),
        ({"train_cpu": "500m", "train_memory": "1.5Gi", "n_hidden": 2048}, "retrain", ""),
        ({"train_flags": "--layer_norm --checkpoint_secs 300"}, "retrain", ""),
        ({"corpus_uri": "/scratch/cy"}, "retrain", "bare.toml"),  # a volume that is there
        ({"corpus_uri": "s3://corpora/cv-*.tar.gz", "publish_uri": "s3://models/cy"}, "nightly", ""),
    ],
)
def test_what_a_cluster_takes_is_let_through(given: dict[str, Any], pipeline: str, path: str) -> None:
    check(CORPUS | given, pipeline, path)


def test_no_limit_is_written_as_kubernetes_takes_it() -> None:
    """The driver fails on an empty quantity."""
    given = {"train_cpu": "", "train_memory": "", "train_gpus": "", "version": ""}
    assert refusals.without_limits(given) == {"train_cpu": "0", "train_memory": "0", "train_gpus": "0", "version": ""}


def test_any_other_pipeline_is_only_asked_for_what_it_declares() -> None:
    other = {"root": {"inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}}}}
    refusals.check(other, {"text": "x"}, None)
    with pytest.raises(InputError, match="--text is missing"):
        refusals.check(other, {}, None)


def test_a_training_in_a_train_job_needs_a_place_for_its_checkpoints() -> None:
    cluster = deployment.Deployment(steps={"train": deployment.StepPlacement(trainer=True)})
    refusals.check(spec("retrain"), {**CORPUS, "checkpoint_uri": "s3://work/running"}, cluster)
    with pytest.raises(InputError, match="--checkpoint_uri is missing: a training in a TrainJob"):
        refusals.check(spec("retrain"), CORPUS, cluster)


def test_a_message_needs_a_pipeline_that_sends_one() -> None:
    given = {"corpus_uri": "s3://corpora/cy.tar.gz", "notify_url": "https://hooks.example.org/x"}
    with pytest.raises(InputError, match="tells nobody"):
        check(given)
