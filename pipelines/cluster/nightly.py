"""The scheduled pipeline: look for a new release, and retrain on it if there is one.

It has the parameters of `retrain`; `corpus_uri` names where releases appear instead of one of them.
"""

import functools
import inspect
from typing import Any

from kfp import dsl

from components.publish.component import find_release
from pipelines.retrain import retrain


def _nightly(*arguments: Any, **named: Any) -> None:
    signature = inspect.signature(retrain.pipeline_func)
    parameters = signature.bind(*arguments, **named).arguments
    lookup = find_release(
        corpus_uri=parameters["corpus_uri"],
        publish_uri=parameters["publish_uri"],
        base_checkpoint_uri=parameters["base_checkpoint_uri"],
    )
    lookup.set_caching_options(False)  # its inputs stay the same when a release appears
    with dsl.If(lookup.outputs["news"] == "yes", name="there-is-news"):
        new = {
            "corpus_uri": lookup.outputs["release_uri"],
            "corpus_revision": lookup.outputs["release_revision"],
            "previous": lookup.outputs["previous"],
            "base_checkpoint_uri": lookup.outputs["start_from"],
        }
        retrain.pipeline_func(**{**parameters, **new})


functools.update_wrapper(_nightly, retrain.pipeline_func)
nightly = dsl.pipeline(name="retrain-on-news", display_name="Speechmill: retrain on a new release")(_nightly)
