"""The pipeline's parameters, which its steps' components take, and the flags of `speechmill run` that set them.

What a parameter is called, means and defaults to is said at the setting in the step's `settings.py` (see
speech/settings/arguments.py); here they become one signature.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from components.build_scorer.component import build_scorer
from components.build_scorer.settings import ScorerInputs
from components.convert_openvino.component import convert_openvino
from components.evaluate.component import evaluate, evaluate_openvino
from components.evaluate.settings import EvaluateInputs
from components.export.component import convert_tflite, freeze
from components.export.settings import ExportSettings
from components.import_cv.component import import_cv
from components.import_cv.settings import ImportInputs
from components.publish.component import notify, publish
from components.publish.settings import NotifySettings
from components.train.component import train
from components.train.settings import TrainInputs, TrainMachines
from speech.model_card import CardSettings
from speech.settings import setting
from speech.settings.arguments import Argument, described
from speech.settings.flag_help import groups
from speech.tracking.tracking_settings import TrackingSettings

# The components that have parameters, in the order of the form.
COMPONENTS = (
    import_cv, train, freeze, convert_tflite, convert_openvino, build_scorer, evaluate, evaluate_openvino, publish,
    notify,
)  # fmt: skip
# The headings of the help and of the table, each with the class whose parameters begin its group.
GROUPS = {
    ImportInputs: "Corpus",
    TrainInputs: "Training",
    TrainMachines: "Training on a cluster",
    ExportSettings: "Export",
    ScorerInputs: "Scorer",
    EvaluateInputs: "Evaluation",
    CardSettings: "Publishing",
    TrackingSettings: "Tracking",
    NotifySettings: "Messages",
}


@functools.cache
def parameters() -> dict[str, Argument]:
    """Name -> what describes it: the argument of that name, or else the first that takes the parameter."""
    found: dict[str, Argument] = {}
    for argument in (argument for component in COMPONENTS for argument in component.python_func.arguments):
        name = argument.parameter
        if name and (name not in found or (argument.name == name and found[name].name != name)):
            found.pop(name, None)  # its place in the form is that of its own name
            found[name] = argument
    return {name: dataclasses.replace(argument, name=name) for name, argument in found.items()}


def of(component: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a component, out of the pipeline's parameters."""
    return {
        argument.name: given[argument.parameter] for argument in component.python_func.arguments if argument.parameter
    }


def parametrized(function: Callable[..., None]) -> Callable[..., None]:
    """Give a pipeline function the parameters as its signature and as the `Args:` of its docstring; kfp reads both."""
    signature = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=one.default, annotation=one.type)
            for name, one in parameters().items()
        ]
    )

    @functools.wraps(function)
    def pipeline(*arguments: Any, **named: Any) -> None:
        function(**signature.bind(*arguments, **named).arguments)

    pipeline.__signature__ = signature  # type: ignore[attr-defined]
    return described(pipeline, list(parameters().values()))


def flags_class(base: type) -> type:
    """The dataclass of `base`'s flags and one flag for each parameter of the pipeline."""
    fields = []
    headings = dict(GROUPS)
    for name, one in parameters().items():
        group = headings.pop(one.settings, "")
        fields.append((name, one.type, setting(one.default, one.help, unit=one.unit, choices=one.choices, group=group)))
    order = {"GROUPS": (*groups(base), *GROUPS.values())}  # the base's come first
    return dataclasses.make_dataclass("RunFlags", fields, bases=(base,), frozen=True, namespace=order)
