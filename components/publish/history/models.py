"""`speechmill models`: the versions in a folder or bucket, what changed between two, and the way back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.publish import registration
from components.publish.champion import Champions
from components.publish.contents import to_json
from components.publish.history.changes import changes, data_of, settings_of
from components.publish.history.versions import CHAMPION, Versions
from components.publish.model_bucket import ModelBucket, open_target
from speech.errors import InputError, one_line_errors
from speech.settings import command, setting
from speech.tracking.tracking_settings import TrackingSettings

PROG = "speechmill models"
SHOWN_SYMBOLS = 60  # of a value in a list of settings: paths and accents are long
SHOWN_NAME = 24  # of a group: speakers are hashes
RIGHT = frozenset(("clips", "WER", "CER", "size", "before", "after", "difference", "edits"))


@dataclass(frozen=True)
class ModelsFlags:
    """The flags that all of them take."""

    place: tuple[str, ...] = setting(
        (), "folder or s3:// prefix of the versions, then names of versions", positional=True, metavar="PUBLISH_URI"
    )
    json: bool = setting(False, "print JSON, for a program")


@dataclass(frozen=True)
class DiffFlags(ModelsFlags):
    """The flags of `diff`."""

    clips: int = setting(10, "clips that got better, and clips that got worse, to print; all of them are in the JSON")


@dataclass(frozen=True)
class RollbackFlags(ModelsFlags, TrackingSettings):
    """The flags of `rollback`: the registry's alias moves, too."""


def list_versions(flags: ModelsFlags) -> None:
    """Print the table of versions."""
    place, _ = _place(flags, 0)
    rows = [version.row() for version in Versions(place).all()]
    if flags.json:
        print(to_json({"publish_uri": place.store.uri, "versions": rows}), end="")
        return
    if not rows:
        print(f"no version in {place.store.uri}")
        return
    lines = [
        {
            "": "*" if row["champion"] else "",
            "version": row["version"],
            "date": (row["created"] or "")[:10],
            "corpus": row["corpus"] or "",
            "clips": _count(row["train_clips"]),
            "WER": rate(row["wer"], row["wer_interval"]),
            "CER": rate(row["cer"], None),
            "size": size(row["bytes"]),
            "standing": row["standing"],
        }
        for row in rows
    ]
    print("\n".join(aligned(lines)))


def show(flags: ModelsFlags) -> None:
    """Print what is known of one version: the named one, or the champion."""
    place, names = _place(flags, 1)
    versions = Versions(place)
    version = versions.read(names[0] if names else _champion(versions))
    events = [record for record in versions.history if version.name in (record["version"], record.get("from"))]
    facts = {**version.row(), "uri": place.locate(version.name), "data": data_of(version)}
    facts |= {"settings": settings_of(version), "scores": dict(version.scores), "decision": dict(version.decision)}
    facts |= {"records": events, "files": version.description.get("files", {})}
    if flags.json:
        print(to_json(facts), end="")
        return
    print("\n".join(_shown(facts)))


def _shown(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"{facts['version']}{', the champion' if facts['standing'] == CHAMPION else ''}"
    yield from (f"{facts['uri']}, {size(facts['bytes'])}", f"made {facts['created'] or 'at a time not recorded'}")
    if reason := facts["decision"].get("reason"):
        yield f"{facts['decision']['decision']}: {reason}"
    for record in facts["records"]:
        origin = f" from {record['from']}" if record.get("from") else ""
        yield f"record {record['number']}: {record['action']}{origin} to {record['version']}, {record['since'][:19]}"
    yield ""
    sets = facts["scores"].get("sets") or [{**facts, "name": "test"}]
    rows = [
        {
            "set": scores["name"],
            "clips": _count(scores.get("test_clips")),
            "WER": rate(scores.get("wer"), scores.get("wer_interval")),
            "CER": rate(scores.get("cer"), scores.get("cer_interval")),
        }
        for scores in sets
    ]
    yield from aligned(rows)
    for title in ("data", "settings"):
        known = {name: value for name, value in facts[title].items() if value not in (None, "", [], {})}
        if known:
            yield from ("", title)
            yield from (f"  {name} {_value(value)}" for name, value in known.items())
    yield ""
    yield from aligned([{"file": name, "size": size(about["bytes"])} for name, about in facts["files"].items()])


def diff(flags: DiffFlags) -> None:
    """Print what changed between two versions; without names, what the newest one changes about the champion."""
    place, names = _place(flags, 2)
    versions = Versions(place)
    before, after = _two(versions, names)
    found = changes(versions, before, after)
    print(to_json(found) if flags.json else "\n".join([*_differences(found, flags.clips), ""]), end="")


def _two(versions: Versions, names: Sequence[str]) -> tuple[str, str]:
    """The versions to compare."""
    if len(names) == 2:
        return names[0], names[1]
    champion = _champion(versions)
    if names:
        return champion, names[0]
    newest = versions.all()[-1].name
    if newest != champion:
        return champion, newest
    if not versions.former_champion:
        raise InputError(f"{champion} is the newest version and has been the champion from the start: name two")
    return versions.former_champion, champion


def _differences(found: Mapping[str, Any], most: int) -> Iterator[str]:
    before, after = found["before"], found["after"]
    yield f"{before['version']} -> {after['version']}"
    for title in ("settings", "data"):
        if found[title]:
            yield from ("", title)
            yield from (f"  {name}: {_value(old)} -> {_value(new)}" for name, (old, new) in found[title].items())
    yield from ("", "scores")
    lines = [("all, each on its own test clips", before, after, None)]
    groups = [(f"{row['sort']} {row['group']}", row["before"], row["after"], row) for row in found["groups"]]
    yield from aligned(
        {
            "": name if row is None else _short(f"{row['sort']}: {row['group'] or 'not said'}"),
            "before": rate(old["wer"], old["wer_interval"]),
            "after": rate(new["wer"], new["wer_interval"]),
            "difference": _points(row["difference"] if row else _difference(old["wer"], new["wer"])),
        }
        for name, old, new, row in (*lines, *groups)
    )
    yield ""
    comparison = found["comparison"]
    if comparison is None:
        yield "no test clip in common, so no clip got better or worse"
        return
    rates = f"{comparison['rate'].upper()} {comparison['champion_rate']:.2%} -> {comparison['candidate_rate']:.2%}"
    low, high = comparison["interval"] or (None, None)
    chance = "" if low is None else f", the difference between {_points(low)} and {_points(high)}"
    yield f"on the {comparison['clips']:,} test clips in common: {rates}{chance}"
    for title in ("better", "worse"):
        yield f"{len(found[title]):,} got {title}"
        for row in found[title][:most]:
            yield f"  {row['clip']}, {row['edits']:+} of {row['words']} words"
            yield from (f"    {name:9} {row[name]}" for name in ("reference", "before", "after"))


def roll_back(flags: RollbackFlags) -> None:
    """Make the champion before the one in force, or the named version, the champion again."""
    place, names = _place(flags, 1)
    record = Champions(place).roll_back(names[0] if names else "")
    moved = registration.champion(flags, place.store.uri, record["version"], record["uri"])
    if flags.json:
        print(to_json(record), end="")
        return
    print(f"rolled back from {record['from']}: the champion is {record['version']}, {record['uri']}")
    if moved:
        print(moved)
    print(f"recorded as champions/{record['number']:08}.json")


def aligned(rows: Iterator[Mapping[str, str]] | Sequence[Mapping[str, str]]) -> list[str]:
    """Rows of the same columns as lines of a table, without blanks at their ends."""
    rows = list(rows)
    if not rows:
        return []
    names = list(rows[0])
    lines = [dict(zip(names, names, strict=True)), *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in names}
    return [
        "  ".join(f"{line[name]:{'>' if name in RIGHT else '<'}{widths[name]}}" for name in names).rstrip()
        for line in lines
    ]


def rate(value: float | None, interval: Sequence[float] | None) -> str:
    """An error rate with its interval."""
    if value is None:
        return "-"
    return f"{value:.2%} ({interval[0]:.2%} to {interval[1]:.2%})" if interval else f"{value:.2%}"


def size(count: int) -> str:
    """A size in bytes, readable."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _difference(old: float | None, new: float | None) -> float | None:
    return None if old is None or new is None else new - old


def _points(difference: float | None) -> str:
    return "-" if difference is None else f"{difference * 100:+.2f} points"


def _value(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= SHOWN_SYMBOLS else f"{text[: SHOWN_SYMBOLS - 3]}..."


def _short(name: str) -> str:
    sort, _, group = name.partition(": ")
    return name if len(group) <= SHOWN_NAME else f"{sort}: {group[: SHOWN_NAME - 3]}..."


def _champion(versions: Versions) -> str:
    if not versions.champion:
        raise InputError(f"{versions.place.store.uri}: no champion there yet: name versions")
    return versions.champion


def _place(flags: ModelsFlags, most: int) -> tuple[ModelBucket, Sequence[str]]:
    """The place that the command line names, and the versions behind it."""
    if not flags.place:
        raise InputError(f"PUBLISH_URI is missing: `{PROG} --help` shows the commands")
    uri, *names = flags.place
    if len(names) > most:
        raise InputError(f"{names[most]} is one name too many: expected {most or 'no'} behind {uri}")
    return open_target(uri), names


ModelsCommand = tuple[Callable[[Any], None], type[ModelsFlags], str, str]
COMMANDS: dict[str, ModelsCommand] = {
    "list": (list_versions, ModelsFlags, "PUBLISH_URI", "the table of versions; * is the champion"),
    "show": (show, ModelsFlags, "PUBLISH_URI [VERSION]", "one version, or the champion"),
    "diff": (
        diff, DiffFlags, "PUBLISH_URI [[BEFORE] AFTER]", "what changed; without names from the champion to the newest"
    ),
    "rollback": (roll_back, RollbackFlags, "PUBLISH_URI [VERSION]", "the champion before, or VERSION, is it again"),
}  # fmt: skip


def main(argv: Sequence[str], prog: str = PROG) -> None:
    """Entry point."""
    name = argv[0] if argv else "--help"
    if name in ("--help", "-h", "help"):
        lines = [f"  {name:9} {arguments:30} {text}" for name, (_, _, arguments, text) in COMMANDS.items()]
        print("\n".join([f"usage: {prog} COMMAND PUBLISH_URI [--json]", "", *lines]))
        return
    with one_line_errors():
        if name not in COMMANDS:
            raise InputError(f"{prog}: unknown command {name}: expected {', '.join(COMMANDS)}")
    run, flags_class, arguments, text = COMMANDS[name]
    command(flags_class, run, prog=f"{prog} {name}", description=text, usage=arguments, argv=argv[1:])
