"""The block of metadata at the head of a model card: the peers' fields, and those that model hubs read, as YAML.

The peers' are those of the `AUTHOR_NAME_VERSION.md` files which DeepSpeech 0.9.3 and Coqui STT 1.4.0 write beside their
exports, so that what collects those reads ours. The hubs' are Hugging Face's (`hub-docs/modelcard.md`): `license` has
to be one of its identifiers, `language` an ISO 639 code. What is not known is left out: a placeholder is refused there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PLACEHOLDER = "<to be filled in>"
TASK = {"type": "automatic-speech-recognition", "name": "Speech recognition"}
RATES = {"wer": "Word error rate [%]", "cer": "Character error rate [%]"}
TAGS = {".pb": "deepspeech", ".pbmm": "deepspeech", ".tflite": "coqui-stt", ".xml": "openvino"}  # by a file's ending
COMMON_VOICE = re.compile(r"cv-corpus-(\d+)\.(\d+)(?:-delta)?(?:-\d{4}-\d{2}-\d{2})?(?:[-/].*)?")
LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]+)*")
ONLY_OR_LATER = re.compile(r"-(only|or-later)$")
# The licences that Hugging Face's hub has identifiers for: SPDX's in lower case.
HUB_LICENSES = """
    apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear openrail cc
    cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
    cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc
    lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl wtfpl
"""
LICENSES = frozenset(HUB_LICENSES.split())
# What YAML takes for text without quotes: words, a placeholder, a version of three numbers.
PLAIN_YAML = re.compile(r"[A-Za-z][\w .,@/()+-]*[\w)]|<[\w .,]+>|\d+\.\d+\.\d+[\w.+-]*", re.ASCII)
NOT_TEXT = frozenset(("true", "false", "yes", "no", "on", "off", "null"))


def front_matter(facts: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the block, from `---` to `---`, for a card of these facts (`model_card.describe`)."""
    yield "---"
    for name, value in {**_of_peers(facts), **_of_hubs(facts)}.items():
        yield from yaml_lines(name, value)
    yield "---"


def _of_peers(facts: Mapping[str, Any]) -> dict[str, Any]:
    suffixes = {Path(name).suffix for name in facts["files"]}
    versions = {
        f"{bound}_{short}_version": version
        for client, short in (("deepspeech", "ds"), ("stt", "stt"))
        for bound, version in zip(("min", "max"), facts["clients"][client], strict=True)
    }
    return {
        **{name: facts[name] for name in ("author", "model_name", "model_version", "contact_info")},
        **_license(facts["license"]),
        **_language(facts["language"]),
        "runtime": "tflite" if ".tflite" in suffixes else "tensorflow",
        **versions,
        "acoustic_model_url": "<replace this with a publicly available URL of the acoustic model>",
        "scorer_url": "<replace this with a publicly available URL of the scorer, if present>",
    }


def _of_hubs(facts: Mapping[str, Any]) -> dict[str, Any]:
    named = datasets(facts)
    tags = dict.fromkeys(TAGS[suffix] for name in facts["files"] if (suffix := Path(name).suffix) in TAGS)
    results = _results(facts, named)
    return {
        "pipeline_tag": TASK["type"],
        **({"tags": list(tags)} if tags else {}),
        **({"datasets": named} if named else {}),
        **({"metrics": list(RATES), "model-index": results} if results else {}),
    }


def datasets(facts: Mapping[str, Any]) -> list[str]:
    """The data's names on a hub: as they are given, or Common Voice's by the release; none for any other corpus."""
    if facts.get("datasets"):
        return list(facts["datasets"])
    data = facts.get("data", {})
    names = [data.get("release"), *(origin.get("release") for origin in data.get("origins") or ())]
    releases = [release for name in names if (release := COMMON_VOICE.fullmatch(name or ""))]
    return list(dict.fromkeys(f"mozilla-foundation/common_voice_{one[1]}_{one[2]}" for one in releases))


def _results(facts: Mapping[str, Any], named: Sequence[str]) -> list[dict[str, Any]]:
    """The scores of each test set, as hubs list them: in percent."""
    language = _language(facts["language"]).get("language")
    results = []
    for scores in facts.get("evaluation", {}).get("sets", ()):
        release = facts.get("data", {}).get("release") or facts["model_name"]
        dataset = {"name": f"{release}, {scores['name']}", "type": named[0] if named else "local", "split": "test"}
        if language:
            dataset["config"] = language
        metrics = [
            {"type": kind, "name": title, "value": round(100.0 * scores[kind], 2)}
            for kind, title in RATES.items()
            if scores.get(kind) is not None
        ]
        results.append({"task": TASK, "dataset": dataset, "metrics": metrics})
    return [{"name": facts["model_name"], "results": results}] if results else []


def _license(given: str) -> dict[str, str]:
    known = ONLY_OR_LATER.sub("", given.lower())
    if given == PLACEHOLDER or not given:
        return {"license": "unknown"}
    return {"license": known} if known in LICENSES else {"license": "other", "license_name": given}


def _language(given: str) -> dict[str, Any]:
    """Common Voice's locale `sv-SE` is the language `sv`, and keeps its region in the field that is for it."""
    code = LANGUAGE.fullmatch(given)
    if not code:
        return {}
    return {"language": code[1]} if code[1] == given else {"language": code[1], "language_bcp47": [given]}


def yaml_lines(name: str, value: Any, indent: str = "") -> Iterator[str]:
    """A field as YAML in block style: a scalar, a list of scalars or mappings, or a mapping."""
    if isinstance(value, Mapping):
        yield f"{indent}{name}:"
        for key, held in value.items():
            yield from yaml_lines(key, held, f"{indent}  ")
    elif isinstance(value, list):
        yield f"{indent}{name}:"
        for item in value:
            if isinstance(item, Mapping):
                lines = [line for key, held in item.items() for line in yaml_lines(key, held, f"{indent}  ")]
                yield f"{indent}- {lines[0].strip()}"
                yield from lines[1:]
            else:
                yield f"{indent}- {_yaml(item)}"
    else:
        yield f"{indent}{name}: {value if isinstance(value, int | float) else _yaml(value)}"


def _yaml(value: str) -> str:
    """A scalar that every YAML reader takes for this text."""
    if PLAIN_YAML.fullmatch(value) and value.lower() not in NOT_TEXT:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in escaped)
        + '"'
    )
