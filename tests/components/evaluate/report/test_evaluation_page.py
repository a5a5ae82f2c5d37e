"""What people read: the HTML page, the console, the Markdown."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.report import console
from components.evaluate.report.evaluation_page import render
from components.evaluate.report.markdown import summary
from components.evaluate.score import scores
from components.evaluate.score.against_champion import compare
from components.evaluate.score.earlier_versions import EarlierVersion
from components.evaluate.score.samples import Reading, Sample
from components.evaluate.score.sets import EvaluationClip
from components.evaluate.settings import EvaluateSettings
from speech.clips.audio import ClipReader
from speech.clips.manifest import read_manifest
from speech.clips.tally import Tally, total
from speech.decoding.tuning import Trial, Tuning
from speech.metrics import ErrorCount
from tests.components.evaluate.samples import sample
from tests.fixtures import tones

SETTINGS = EvaluateSettings(bootstrap_samples=50)
VOID = {"meta", "br", "img", "line", "rect", "polyline", "path"}
EVIL = "<script>alert('x')</script> & \"quoted\""
EPOCHS = [{"epoch": n, "train_loss": 90.0 / n, "dev_loss": 99.0 / n if n > 1 else None} for n in range(1, 30)]


class Page(HTMLParser):
    """Checks that tags are balanced, and collects text and addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def found(samples: list[Sample]) -> dict[str, Any]:
    tally = Tally("/corpus/test.csv", listed=len(samples) + 1)
    tally.add("missing file", 0, "<gone>.wav")
    return {
        **scores.measure(SETTINGS, samples),
        "headline": "wer",
        "real_time_factor": 0.02,
        "clips": total([tally]),
        "sets": [
            {
                "name": "test",
                "csv": "/corpus/test.csv",
                "clips": tally.to_dict(),
                **scores.measure(SETTINGS, samples),
            }
        ],
        "groups": scores.group_scores(SETTINGS, samples),
        "emissions": {"engine": "batch", "checked_clips": 3, "largest_difference": 1e-6},
        "model": {
            "file": "output_graph.pb",
            "kind": "frozen graph",
            "bytes": 12345,
            "sha256": "0" * 64,
            "geometry": {"n_hidden": 64, "audio_sample_rate": 16000, "layer_norm": False},
            "alphabet": 28,
        },
        "decoder": {"name": "greedy"},
        "settings": asdict(SETTINGS),
    }


@pytest.fixture
def samples() -> list[Sample]:
    return [
        sample("turn the light on", "turn light on", speaker="f" * 128, traits={"gender": "female"}, loss=7.0),
        sample(EVIL, EVIL.replace("alert", "alarm"), traits={"gender": EVIL}, name=f"{EVIL}.wav"),
        sample("", "", loss=None),
        sample("שלום עולם", "שלום", loss=3.0),
    ]


def test_page_is_whole_and_loads_nothing(samples: list[Sample]) -> None:
    comparison = compare(
        SETTINGS, samples, [{"wav_filename": one.wav_filename, "src": one.reference, "res": EVIL} for one in samples]
    )
    html = render(found(samples), samples, epochs=EPOCHS, comparison=comparison, players=5)
    page = Page(html)
    assert page.addresses == []
    assert not re.search(r"https?:|@import|url\(", html)
    assert "script" not in page.tags  # transcripts, names and groups are escaped
    assert "iframe" not in page.tags
    text = " ".join(" ".join(page.text).split())
    for expected in (
        "Evaluation of output_graph.pb",
        "frozen graph, greedy decoder, on test",
        "WER by group",
        "Learning curve",
        "Compared with the champion",
        "Most frequent errors",
        "Characters taken for others",
        "Worst clips",
        EVIL,
        "not known",
        scores.short_speaker("f" * 128),
    ):
        assert expected in text
    assert "f" * 128 not in text


def test_versions_and_worst_words_have_their_pictures(samples: list[Sample]) -> None:
    earlier = [
        EarlierVersion("1", "2026-01-01T02:00", {"wer": 0.4, "cer": 0.2}, {"wer": (0.3, 0.5)}),
        EarlierVersion("2", "2026-02-01T02:00", {"wer": 0.2}, {}, is_champion=True),
        EarlierVersion("3", "2026-03-01T02:00", {}, {}),  # was never measured
    ]
    html = render(found(samples), samples, earlier=earlier, players=5)
    text = " ".join(" ".join(Page(html).text).split())
    assert "WER over versions" in text
    assert re.findall(r'<circle class="point (\w*)"', html) == ["", "crowned", "this"]
    assert "2026-02-01, the champion: 20.00%" in text
    words = text[text.index("Worst words") : text.index("Most frequent errors")]
    assert "the 1 1 ∅" in words
    assert "WER over versions" not in render(found(samples), samples, players=5)  # one alone is no picture


def test_worst_words_are_heard_in_as_many_players_as_wanted(tmp_path: Path) -> None:
    path = tones.write_csv(tmp_path, "test", tones.texts(30, 1))
    manifest = read_manifest(path)
    reader = ClipReader(manifest, 16_000)
    heard = [
        replace(
            sample(clip.transcript, "x", name=clip.wav_filename),
            item=EvaluationClip("test", clip, {}, reader, row, 16_000, Tally("test")),
        )
        for row, clip in enumerate(manifest)
    ]
    html = render(found(heard), heard, players=3)
    table = html[html.index("Worst words") : html.index("Most frequent errors")]
    assert table.count("<tr>") == 21
    assert table.count('<audio controls preload="none" src="data:audio/mpeg;base64,') == 3


def test_a_page_of_many_clips_is_no_longer(samples: list[Sample]) -> None:
    def of(count: int) -> str:
        many = [
            sample(f"the word number {number % 500}", f"word {number % 7}", speaker=f"s{number % 400}")
            for number in range(count)
        ]
        return render(found(many), many, players=5)

    assert len(of(4000)) < 1.05 * len(of(2000))


def test_sections_without_content_are_left_out(samples: list[Sample]) -> None:
    right = [sample("all right", "all right")]
    html = render(found(right), right, players=5)
    text = " ".join(Page(html).text)
    assert "None: every transcript is right." in text
    assert not any(title in text for title in ("Learning curve", "champion", "Characters taken", "Test sets"))


def test_differences_are_marked(samples: list[Sample]) -> None:
    html = render(found(samples), samples, players=5)
    assert re.search(r'class="pair deleted"[^>]*><span>the</span><span class="gap">', html)
    assert re.search(r'class="pair same"[^>]*><span>turn</span><span>turn</span>', html)
    assert html.count('class="clip"') == 3  # the wrong ones only


def test_the_number_of_players_is_a_setting(samples: list[Sample]) -> None:
    assert render(found(samples), samples, players=0).count('class="clip"') == 0
    assert render(found(samples), samples, players=1).count('class="clip"') == 1


def test_players_hold_the_audio(exported: Path, clips: Path, tmp_path: Path) -> None:
    import io

    import soundfile

    from components.evaluate import step
    from speech.artifacts import Evaluation

    settings = EvaluateSettings(report_count=0, report_players=2)
    history = tmp_path / "history.json"
    history.write_text(json.dumps({"epochs": EPOCHS}))
    made = step.run(settings, exported, [clips / "test.csv"], tmp_path / "out", history=history)
    html = (made.folder / Evaluation.HTML_REPORT).read_text(encoding="utf-8")
    uris = [address for address in Page(html).addresses if address]
    assert len(uris) == 2 + 2  # of the worst words, and of the worst clips
    for uri in uris:
        head, data = uri.split(",")
        assert head == "data:audio/mpeg;base64"
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert rate == 16_000
        assert 0.4 < len(audio) / rate < 3.0
        assert abs(audio).max() > 0.1
        assert len(data) < 20_000
    assert "Learning curve" in html


def test_console_report_is_the_peers(samples: list[Sample]) -> None:
    clips = [
        sample("a b", text, name=f"{number}.wav", loss=float(number))
        for number, text in enumerate(["a b", "a b", "a", "x", ""])
    ]
    text = console.report("/corpus/test.csv", clips, 1)
    lines = text.splitlines()
    assert lines[0] == "Test on /corpus/test.csv - WER: 0.500000, CER: 0.533333, loss: 2.000000"
    assert [line for line in lines if line.endswith("WER:")] == ["Best WER:", "Median WER:", "Worst WER:"]
    assert [line for line in lines if line.startswith(" - wav")] == [" - wav: 0.wav", " - wav: 2.wav", " - wav: 4.wav"]
    assert ' - src: "a b"' in lines
    assert ' - res: ""' in lines
    assert "WER: 1.000000, CER: 1.000000, loss: 4.000000" in lines


def test_console_report_of_few_clips_and_without_loss() -> None:
    text = console.report("t.csv", [sample("a", "a", loss=None)], 5)
    assert text.count(" - wav") == 3
    assert "loss: -" in text


def test_command_prints_and_copies(
    command: Callable[..., tuple[int, str, str]], exported: Path, clips: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", tmp_path / "deep" / "samples.json"
    code, printed, _ = command(
        "--model", exported, "--test_files", f"{clips}/test.csv,{clips}/dev.csv", "--evaluation", out,
        "--report_count", 1, "--test_output_file", copy, "--n_hidden", 2048,
    )  # fmt: skip
    assert code == 0
    assert printed.count("Test on ") == 2
    assert f"report: {out}/report.html" in printed
    assert re.search(r"^WER \d+\.\d\d % .*on 13 clips$", printed, re.MULTILINE)
    assert copy.read_bytes() == (out / "samples.json").read_bytes()
    first = json.loads(copy.read_text(encoding="utf-8"))[0]
    peers = "wav_filename src res loss char_distance char_length word_distance word_length cer wer"
    assert list(first)[:10] == peers.split()


def with_scorer(samples: list[Sample]) -> tuple[dict[str, Any], list[Sample]]:
    """The same samples, heard worse without a scorer."""
    heard = [replace(one, alone=Reading(EVIL, one.words + ErrorCount(1, 0), one.characters)) for one in samples]
    scorer = {"file": "kenlm.scorer", "bytes": 1234, "sha256": "1" * 64, "lm_alpha": 0.9312, "lm_beta": 1.1834}
    decoder = {"name": "beam", "beam_width": 500, "cutoff_prob": 0.999, "cutoff_top_n": 20}
    made = found(heard)
    made["decoder"] = {**decoder, "scorer": {**scorer, "order": 5, "hot_words": {"<mill>": 7.5}}}
    made["without_scorer"] = scores.scorer_effect(SETTINGS, heard)
    made["sets"][0]["without_scorer"] = made["without_scorer"]
    return made, heard


def test_with_a_scorer_the_page_shows_both(samples: list[Sample]) -> None:
    made, heard = with_scorer(samples)
    tuned = Tuning(
        tuple(Trial(alpha, 1.0, ErrorCount(edits, 100)) for alpha, edits in ((0.5, 30), (1.5, 12))), "words", 100
    )
    html = render(made, heard, tuning=tuned, players=5)
    text = " ".join(" ".join(Page(html).text).split())
    for expected in (
        "frozen graph, beam search with kenlm.scorer, on test",
        "What the scorer does decoding clips WER CER with the scorer 4",
        "4 clips have fewer word errors with the scorer, 0 have more. It changes the WER by",
        "alpha 1.500 and beta 1.000 had the fewest errors: 12.00 % of the words at 100 beams, 30.00 % with the weights",
        "alpha 1.500, beta 1.000: WER 12.00% on dev, 2 trials",
        f"without the scorer: {EVIL}",
        "500 beams; of each frame the 20 likeliest labels, up to 0.999 in all",
        "5-grams, alpha 0.9312, beta 1.183",
        "hot words <mill> +7.5",
    ):
        assert expected in text
    assert "script" not in Page(html).tags
    made["sets"] = [{**made["sets"][0], "name": "a"}, {**made["sets"][0], "name": "b"}]
    text = " ".join(" ".join(Page(render(made, heard, players=0)).text).split())
    assert "a: with the scorer" in text
    assert "b: without it" in text
    assert "without the scorer: WER" in console.totals(made)
    assert "| a | 4 |" in (page := summary(made, []))
    assert "WER without scorer" in page
    assert "With the scorer kenlm.scorer (alpha 0.9312, beta 1.183); without it WER" in page


def test_markdown_summary_is_escaped(samples: list[Sample]) -> None:
    scores_found = found(samples)
    scores_found["champion"] = {"wer": 0.1, "champion_wer": 0.2, "clips": 4, "better_clips": 2, "worse_clips": 1}
    text = summary(scores_found, [("a | b", "<b>*c*</b>")])
    assert "Against the champion -10.00 points WER on 4 clips: 2 better, 1 worse." in text
    assert r"| a \| b | \<b\>\*c\*\</b\> |" in text
    assert r"| test | 4 | " in text
    assert text.startswith("**WER ")


def test_where_words_mean_nothing_the_cer_comes_first(samples: list[Sample]) -> None:
    scores_found = found(samples)
    scores_found["headline"] = "cer"
    scores_found["champion"] = {"cer": 0.1, "champion_cer": 0.2, "clips": 4, "better_clips": 2, "worse_clips": 1}
    text = summary(scores_found, [])
    assert text.startswith("**CER 17.19 %**")
    assert "Against the champion -10.00 points CER on 4 clips" in text
    page = render(scores_found, samples, players=0)
    assert page.index("<span>CER</span>") < page.index("<span>WER</span>")
    assert "<h2>CER by group</h2>" in page
