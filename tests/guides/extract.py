"""The commands and flags of the guides that users come with, read from the guides' texts.

The texts lie beside the checkout, in shared/seeds, and stay there. What the tests run is kept in `commands.json`:
`python -m tests.guides.extract` writes it anew from the texts.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("commands.json")
# What a guide is known by: a word that only its text has.
GUIDES = {
    "coqui: bootstrap from a model": "coqui_stt_training",
    "deepspeech: training": "convert_graphdef_memmapped_format",
    "openvino: converting deepspeech": "GatherNd",
}
SHELL_WORDS = ("cd", "git", "mkdir", "mo", "pip", "pip3", "python", "python3", "source", "sudo", "virtualenv", "wget")
# Blocks that are no commands but what a program prints: the beginning of their first line.
OUTPUTS = ("tensorflow.python.framework.errors_impl", "Key cudnn_lstm/")

Block = list[str]  # commands, each in one line


def find_texts() -> dict[str, str]:
    """Guide -> its text; empty where the texts are not beside the checkout."""
    folders = (parent / "shared" / "seeds" for parent in REPOSITORY.parents)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))] if folder else []
    return {guide: next(text for text in texts if word in text) for guide, word in GUIDES.items()} if texts else {}


def blocks(text: str) -> list[Block]:
    """The command blocks of a text: reStructuredText's and Markdown's, and command lines that stand in the prose."""
    found = []
    for lines in _raw_blocks(text.splitlines()):
        if not lines[0].startswith(OUTPUTS):
            found.append(list(_joined(lines)))
    return found


def _raw_blocks(lines: list[str]) -> Iterator[list[str]]:
    position = 0
    while position < len(lines):
        line, end = lines[position], position + 1
        if line.lstrip().startswith(".. code-block::"):
            while end < len(lines) and (not lines[end].strip() or lines[end].startswith("   ")):
                end += 1
            block = [inner.strip() for inner in lines[position + 1 : end] if inner.strip()]
        elif line.strip() == "```":
            end = next(place for place in range(position + 1, len(lines)) if lines[place].strip() == "```") + 1
            block = [inner.strip() for inner in lines[position + 1 : end - 1]]
        elif is_command(line):
            while end < len(lines) and (lines[end - 1].rstrip().endswith("\\") or is_command(lines[end])):
                end += 1
            block = [inner.strip() for inner in lines[position:end]]
        else:
            block = []
        if block:
            yield block
        position = end


def is_command(line: str) -> bool:
    """Whether a line of prose is a command: it has a prompt, or begins with a program and goes on with a flag."""
    words = line.split()
    if not words or line.startswith(("#", "*")):
        return False
    program = bool(re.fullmatch(r"[\w./-]+", words[0])) and not words[0].startswith("-")
    flagged = len(words) > 1 and (words[1].startswith("-") or words[1] == "\\")
    sentence = bool(re.search(r"[\w)][.:]$", line.rstrip()))
    return words[0] == "$" or (program and flagged) or (words[0] in SHELL_WORDS and len(words) > 1 and not sentence)


def _joined(lines: list[str]) -> Iterator[str]:
    """Continued lines as one, without prompts, with single spaces."""
    command = ""
    for line in lines:
        command += " " + line.removesuffix("\\")
        if not line.endswith("\\"):
            words = command.split()
            yield " ".join(words[1:] if words[0] == "$" else words)
            command = ""


def flags(text: str) -> list[str]:
    """Every flag that a text mentions, without dashes; those of DeepSpeech's older days also stand there without."""
    found = set(re.findall(r"(?<![\w-])--([A-Za-z][\w-]*\w)", text))
    found |= set(re.findall(r"``(augmentation\w+)", text))
    return sorted(found)


def extract() -> dict[str, dict[str, list[Block] | list[str]]]:
    """What `commands.json` holds; empty without the texts."""
    return {guide: {"blocks": blocks(text), "flags": flags(text)} for guide, text in find_texts().items()}


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(extract(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
