"""Charts: well-formed, inside their boxes, and with the numbers that they were given."""

import re
from xml.etree import ElementTree

from speech import charts

EPOCHS = [{"epoch": n, "train_loss": 90.0 / n, "dev_loss": 99.0 / n if n > 1 else None} for n in range(1, 30)]


def test_histograms() -> None:
    assert charts.histogram([0, 0], 1, "s") == ""
    chart = charts.histogram([1] * 100, 0.5, "s")
    assert "21.5 s and more: 57" in chart
    assert chart.count("<rect") == 44
    assert "0.5 to 1 s: 3" in charts.histogram([1, 3], 0.5, "s")


def test_learning_curve() -> None:
    assert charts.learning_curve([]) == ""
    assert charts.learning_curve(EPOCHS[:1]) == ""
    assert charts.learning_curve([{"epoch": 1, "train_loss": None}, {"epoch": 2, "train_loss": float("nan")}]) == ""
    svg = charts.learning_curve(EPOCHS)
    ElementTree.fromstring(svg)
    train, dev = re.findall(r'points="([^"]+)"', svg)
    assert len(train.split()) == 29
    assert len(dev.split()) == 28
    heights = [float(point.split(",")[1]) for point in train.split()]
    assert heights == sorted(heights)  # a falling loss goes down the page
    assert all(0 <= height <= charts.HEIGHT for height in heights)
    assert re.findall(r">([\d.]+)</text>", svg)[:3] == ["2", "5", "10"]


def test_the_loss_of_the_base_is_a_line_within_the_picture() -> None:
    epochs = [{"epoch": n, "train_loss": 2.0, "dev_loss": 3.0 - n / 10} for n in (1, 2)]
    svg = charts.learning_curve(epochs, 40.0)
    ElementTree.fromstring(svg)
    (height,) = re.findall(r'class="base"[^>]* y1="([\d.]+)"', svg)
    assert charts.TOP <= float(height) <= charts.HEIGHT - charts.BOTTOM
    assert "before training" in svg
    for no_number in (None, float("nan"), 0.0):
        assert 'class="base"' not in charts.learning_curve(epochs, no_number)


def test_rate_bar_stays_inside_its_box() -> None:
    svg = charts.rate_bar(0.2, (0.1, 0.4), 0.4)
    ElementTree.fromstring(svg)
    assert 'width="50.00"' in svg
    assert 'x1="25.00" x2="100.00"' in svg
    assert 'width="0.00"' in charts.rate_bar(0.0, None, 0.0)


def test_shares_keep_a_names_place_and_escape_it() -> None:
    chart = charts.shares([("train", {"a & b": 0.5, "c": 0.25}), ("test", {"c": 1.0})], "Clips by accent")
    bars = re.findall(r'<rect class="part" opacity="([\d.]+)" x="([\d.]+)".*?<title>(.*?)</title>', chart)
    assert bars == [
        ("0.90", "120.0", "a &amp; b: 50.0%"),
        ("0.77", "380.0", "c: 25.0%"),
        ("0.77", "120.0", "c: 100.0%"),
    ]
    assert charts.shares([], "nothing") == ""


def test_a_histogram_may_begin_below_zero() -> None:
    chart = charts.histogram([1, 0, 2], 3, "dB", -9)
    assert "<title>-9 to -6 dB: 1</title>" in chart
    assert ">-9</text>" in chart
