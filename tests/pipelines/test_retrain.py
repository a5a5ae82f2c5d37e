"""The pipeline's interface: signatures agree with the settings, and the compiled file with the code."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components import images
from components.import_cv.component import import_cv, import_part
from components.publish.settings import PublishSettings
from components.train.recipes.recipe import Recipe
from components.train.settings import OF_RECIPES, TrainSettings
from pipelines import __main__ as speechmill
from pipelines import parameters, tables
from pipelines.cluster import compiled
from pipelines.retrain import retrain
from speech.errors import InputError
from speech.settings.flag_help import table
from tests.fixtures import compiled_pipeline
from tests.pipelines import graph

COMPONENTS = [import_cv, import_part, *parameters.COMPONENTS[1:]]
LITERALS = {str, int, float, bool, type(None)}


def literals(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a component function, without its artifacts."""
    given = inspect.signature(function).parameters
    return {name: one for name, one in given.items() if set(get_args(one.annotation) or [one.annotation]) <= LITERALS}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_component_signatures_repeat_the_settings(component: Any) -> None:
    found = literals(component.python_func)
    found.pop("partition", None)  # of import_part: what the fan-out draws from, in the place of a setting
    taken = {argument.name: argument for argument in component.python_func.arguments}
    assert list(found) == list(taken), "run `make tables`"
    for name, given in found.items():
        field = {field.name: field for field in dataclasses.fields(taken[name].settings)}[name]
        own = field.metadata["in_pipeline"]
        expected = field.default if own is None else own
        if isinstance(expected, tuple):  # kfp parameters are flat: a list is written as one string
            expected = " ".join(expected)
        assert given.default == expected, name
        assert type(given.default) in (get_args(given.annotation) or [given.annotation]), name


def test_what_is_made_of_the_settings_is_up_to_date() -> None:
    for path, text in tables.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(images.ROOT)}: run `make tables`"


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_component_inputs_are_described(component: Any) -> None:
    assert all(given.description for given in component.component_spec.inputs.values())


def test_every_argument_of_the_pipeline_is_a_parameter_with_one_default() -> None:
    signature = inspect.signature(retrain.pipeline_func).parameters
    for component in parameters.COMPONENTS:
        for argument in (argument for argument in component.python_func.arguments if argument.parameter):
            given = signature[argument.parameter]
            assert (given.default, given.annotation) == (argument.default, argument.type), argument.parameter
            assert type(given.default) in (get_args(given.annotation) or [given.annotation])


def test_every_parameter_reaches_the_file_with_a_default_and_a_description() -> None:
    spec = next(yaml.safe_load_all(compiled_pipeline.text()))
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs.keys() == inspect.signature(retrain.pipeline_func).parameters.keys()
    for name, described in inputs.items():
        assert described["isOptional"], name
        assert ("defaultValue" in described) == (parameters.parameters()[name].default is not None), name
        assert described["description"].startswith(parameters.parameters()[name].help[:40]), name


def test_the_file_is_made_below_build_and_only_when_it_changed(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    speechmill.main(["compile"])
    assert (tmp_path / "build" / "retrain.yaml").read_text(encoding="utf-8") == compiled_pipeline.text()
    assert capsys.readouterr().out == "wrote build/retrain.yaml\n"
    speechmill.main(["compile"])
    assert capsys.readouterr().out == "up to date: build/retrain.yaml\n"


def test_compiling_is_reproducible(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "compile", "--output", str(tmp_path / "pipeline.yaml")]
    subprocess.run(command, check=True, capture_output=True, cwd=images.ROOT, env={"PYTHONHASHSEED": "7", "PATH": ""})
    assert (tmp_path / "pipeline.yaml").read_text(encoding="utf-8") == compiled_pipeline.text()


def test_the_file_is_a_strict_pipeline_spec() -> None:
    document, _ = yaml.safe_load_all(compiled_pipeline.text())  # the platform's part: see test_deployment.py
    spec = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(document, spec, ignore_unknown_fields=False)
    assert set(spec.root.dag.tasks) == {
        "import-cv", "train", "freeze", "convert-mmap", "convert-tflite", "convert-openvino", "build-scorer",
        "evaluate", "evaluate-openvino", "publish",
    }  # fmt: skip


def test_what_the_steps_hand_each_other_is_what_was_reviewed() -> None:
    """The graph that the UI shows: `python -m tests.pipelines.graph` writes retrain.graph.json anew."""
    recorded = json.loads(graph.PATH.read_text(encoding="utf-8"))
    assert graph.of(next(yaml.safe_load_all(compiled_pipeline.text()))) == recorded


def test_no_artifact_is_optional_and_each_step_has_one_report() -> None:
    spec = next(yaml.safe_load_all(compiled_pipeline.text()))
    for name, component in spec["components"].items():
        given = component.get("inputDefinitions", {}).get("artifacts", {})
        assert not [key for key, artifact in given.items() if artifact.get("isOptional")], name
        made = component.get("outputDefinitions", {}).get("artifacts", {}).values()
        shown = [one for one in made if one["artifactType"]["schemaTitle"] in ("system.HTML", "system.Markdown")]
        assert len(shown) <= 1, name


def test_every_step_has_its_own_image() -> None:
    spec = next(yaml.safe_load_all(compiled_pipeline.text()))
    found = {name: executor["container"]["image"] for name, executor in spec["deploymentSpec"]["executors"].items()}
    assert found == {
        "exec-import-cv": images.IMPORT_CV,
        "exec-train": images.TRAIN,
        "exec-freeze": images.EXPORT,
        "exec-convert-mmap": images.CONVERT_MMAP,
        "exec-convert-tflite": images.EXPORT,
        "exec-convert-openvino": images.CONVERT_OPENVINO,
        "exec-build-scorer": images.BUILD_SCORER,
        "exec-evaluate": images.EVALUATE,
        "exec-evaluate-openvino": images.EVALUATE,
        "exec-publish": images.PUBLISH,
    }


def test_a_registry_goes_in_front_of_the_images() -> None:
    spec = next(yaml.safe_load_all(compiled.to_yaml(retrain, "registry.example.org:5000/team")))
    found = [executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()]
    assert f"registry.example.org:5000/team/{images.TRAIN}" in found
    assert all(image.startswith("registry.example.org:5000/team/speechmill/") for image in found)


@pytest.mark.parametrize("registry", ["https://ghcr.io", "ghcr.io/", "ghcr.io/a b"])
def test_a_registry_that_is_none_is_refused(registry: str) -> None:
    with pytest.raises(InputError, match="--registry"):
        compiled.to_yaml(retrain, registry)


def test_a_table_is_replaced_between_its_marks() -> None:
    text = "before\n<!-- table of settings, made by `make tables` -->\nold\n<!-- end of table -->\nafter\n"
    made = tables.with_table(text, table(PublishSettings))
    assert "\nold\n" not in made
    assert table(PublishSettings) in made
    assert tables.with_table(made, table(PublishSettings)) == made
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")


def test_a_parameter_that_is_not_given_leaves_the_recipe_alone() -> None:
    defaults = {name: given.default for name, given in inspect.signature(retrain.pipeline_func).parameters.items()}
    assert (defaults["recipe"], TrainSettings.recipe) == ("auto", "peers")
    found = {name: defaults[name] for name in OF_RECIPES if name in defaults}
    assert set(found) >= {"train_batch_size", "learning_rate", "dropout_rate"}
    recipe = Recipe.load("small-data")
    assert recipe.completed(TrainSettings(**found)) == recipe.completed(TrainSettings())
