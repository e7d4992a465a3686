"""figures -> what they show, by independent oracles, and every file that they become."""

import functools
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from report_cases import demo, demo_study, grid
from study_runs import result, stored
from warminit.errors import WarminitError
from warminit.initializers.prewarm.method import prewarm_
from warminit.initializers.stems.whitening import whiten_
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.figures.curves import curve_rows, learning_curves
from warminit.lab.figures.forest import MOST_ROWS, SIGNIFICANT, forest, forest_rows
from warminit.lab.figures.grid import Prediction, grid_heat_map, grid_panels
from warminit.lab.figures.pictures import mosaic, to_svg
from warminit.lab.figures.pipeline import (
    Pipeline,
    pipeline_pictures,
    prewarm_pipeline,
    spectrum_chart,
    whitening_pipeline,
)
from warminit.lab.figures.pixel_charts import patch_norms, pixel_histogram
from warminit.lab.figures.power import detectable, power_curves, power_rows
from warminit.lab.figures.render import render, save, spec
from warminit.lab.figures.seed_lines import MOST_ARMS, paired_seeds, shown_cells
from warminit.lab.figures.theme import OUTCOMES
from warminit.lab.networks.build import build_model
from warminit.lab.paper.grid_table import grid_rows
from warminit.lab.report.starts import start_of
from warminit.lab.runs.batches import first_batch, place_split
from warminit.lab.runs.plan import model_rules
from warminit.lab.study.protocol import Protocol
from warminit.lab.verdict.analysis import analyse
from warminit.models.find import find_layer

PLACE = ("fashion-mini", "simplecnn")
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def mini() -> ImageDataset:
    return load_dataset("fashion-mini")


@pytest.fixture(scope="module")
def batch(mini: ImageDataset) -> Batch:
    """Return 64 images, standardized and from 0 to 1."""
    split = place_split(mini, "train", torch.device("cpu"))
    images = first_batch(split, 64, 42)
    return images, images * split.std + split.mean


@functools.cache
def prewarm_stages(batch: Batch) -> Pipeline:
    return prewarm_pipeline(*batch, n_clusters=16, n_patches=22, scale=0.2, kernel=(3, 3), seed=42)


@functools.cache
def whitening_stages(batch: Batch) -> Pipeline:
    return whitening_pipeline(*batch, n_filters=6, n_patches=22, scale=0.2, kernel=(3, 3), seed=42)


def texts(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)<", svg)


def marks(chart: Any, kind: str) -> list[dict[str, Any]]:
    """Return the layers of a chart with this kind of mark, each with its rows as `rows`."""
    content = spec(chart)
    return [
        each | {"rows": content["datasets"][each.get("data", content.get("data"))["name"]]}
        for each in content["layer"]
        if each["mark"]["type"] == kind
    ]


# ---------------------------------------------------------------- every figure, every file
def drawn(name: str, mini: ImageDataset, batch: Batch, width: int) -> Any:
    """Draw one figure of each kind."""
    rules = model_rules(mini, "simplecnn")
    makers: dict[str, Callable[[], Any]] = {
        "forest": lambda: forest(demo(), width),
        "paired": lambda: paired_seeds(demo(), *PLACE, width),
        "accuracy": lambda: learning_curves(demo(), *PLACE, "accuracy", width),
        "loss": lambda: learning_curves(demo(), *PLACE, "loss", width),
        "power": lambda: power_curves(demo(), width),
        "grid": lambda: grid_heat_map(grid_rows(grid(), "fashion-mnist"), (3, 16)),
        "pixels": lambda: pixel_histogram(mini, rules, width),
        "norms": lambda: patch_norms(mini, rules, width),
        "spectrum": lambda: spectrum_chart(whitening_stages(batch), width=width),
        "pipeline": lambda: to_svg(pipeline_pictures(prewarm_stages(batch)), columns=3),
    }
    return makers[name]()


TITLES = {
    "forest": ["difference from torch-default", "accuracy, percentage points", "higher is better"],
    "paired": ["accuracy, %, a line a seed"],
    "accuracy": ["optimizer steps", "accuracy on the evaluation split, %"],
    "loss": ["optimizer steps", "training loss, nats"],
    "power": ["seeds of each arm (logarithmic)", "percentage points (logarithmic)"],
    "grid": ["n_patches, patches an image", "loss below the baseline, nats"],
    "pixels": ["pixel value, 0 black to 1 white", "share of pixels, % (square root)"],
    "norms": ["norm of a centered patch (pixels from 0 to 1)", "share of patches, %"],
    "spectrum": ["direction, strongest first", "eigenvalue (standardized pixels squared)"],
    "pipeline": ["1. Images and where patches are taken", "5. Filters, as written"],
}


@pytest.mark.parametrize("name", TITLES)
def test_every_figure_becomes_every_file_with_its_units(
    name: str, mini: ImageDataset, batch: Batch
) -> None:
    figure = drawn(name, mini, batch, 330)
    svg = render(figure, "svg").decode()
    assert svg.startswith("<svg")
    for title in TITLES[name]:
        assert title in texts(svg), f"{name} lacks {title!r}"
    assert render(figure, "png").startswith(b"\x89PNG")
    assert render(figure, "pdf").startswith(b"%PDF")
    if not isinstance(figure, str):
        assert len(spec(figure).get("description", "grid")) >= 4


def test_a_figure_is_the_same_every_time() -> None:
    assert json.dumps(spec(forest(demo()))) == json.dumps(spec(forest(demo())))


def test_files_are_named_by_their_format(tmp_path: Path) -> None:
    chart = forest(demo())
    assert save(chart, tmp_path / "new" / "forest.svg").read_bytes().startswith(b"<svg")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["forest.svg"]
    with pytest.raises(WarminitError, match="format='gif' is none of a figure's: svg, png, pdf"):
        save(chart, tmp_path / "forest.gif")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WarminitError, match=r"cannot be written: .* another with --out"):
        save("<svg/>", tmp_path / "file" / "forest.svg")


# ---------------------------------------------------------------- forest
def test_the_forest_has_every_comparison_in_points() -> None:
    analysis = demo(datasets=("mnist", "fashion-mnist"))
    rows = forest_rows(analysis)
    assert len(rows) == len(analysis.comparisons)
    for row, comparison in zip(rows, analysis.comparisons, strict=True):
        assert comparison.confidence_interval is not None
        assert row["difference"] == pytest.approx(100 * comparison.mean_difference)
        expected = [100 * end for end in comparison.confidence_interval]
        assert [row["low"], row["high"]] == pytest.approx(expected)
        assert comparison.p_holm is not None
        assert (row["outcome"] in SIGNIFICANT) == (comparison.p_holm < 0.05)


def test_the_legend_of_the_forest_is_as_full_or_empty_as_its_points() -> None:
    spec = forest(demo()).to_dict()
    (points,) = [layer for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    channels = points["encoding"]
    assert {channels[name]["field"] for name in ("color", "shape", "fill")} == {"outcome"}
    # One legend for all three, so that its symbols are drawn as the points are.
    assert len({str(channels[name]["legend"]) for name in ("color", "shape", "fill")}) == 1
    filled = dict(zip(channels["fill"]["scale"]["domain"], channels["fill"]["scale"]["range"],
                      strict=True))  # fmt: skip
    assert filled["undecided"] == "transparent"
    assert filled["harms"] == OUTCOMES["harms"][0]


def test_the_papers_own_figure_stands_where_it_has_one() -> None:
    # Table 3: +0.05 points on MNIST, +0.16 on Fashion-MNIST, for Pre-Warm on the paper's network.
    papers: Any = {"protocol": Protocol(), "patch_counts": "as-published"}
    rows = forest_rows(demo(datasets=("mnist", "fashion-mnist", "fashion-mini"), **papers))
    found = {(row["arm"], row["place"].split(",")[0]): row["paper"] for row in rows}
    assert found["prewarm", "mnist"] == pytest.approx(0.05)
    assert found["prewarm", "fashion-mnist"] == pytest.approx(0.16)
    assert found["prewarm", "fashion-mini"] is None
    assert found["norm-matched-random", "mnist"] is None
    study = demo_study(datasets=("mnist",), **papers)
    partial = analyse(study, demo(datasets=("mnist",), **papers).runs, partial=["mnist"])
    assert all(row["paper"] is None for row in forest_rows(partial))


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 200}, {"batch_size": 64}, {"optimizer": "sgd"}, {"warmup": 10}, {"lr_start": 0.1},
        {"weight_decay": 0.1}, {"augmentation": "flip-crop"}, {"precision": "bfloat16"},
    ],
)  # fmt: skip
def test_off_the_papers_protocol_its_figure_is_no_measure(changed: dict[str, Any]) -> None:
    study: Any = {"datasets": ("mnist",), "patch_counts": "as-published"}
    rows = forest_rows(demo(protocol=Protocol(**changed), **study))
    assert all(row["paper"] is None for row in rows)


def test_the_margin_is_a_band_around_zero() -> None:
    band = marks(forest(demo()), "rect")[0]
    assert band["rows"] == [{"low": -0.1, "high": 0.1}]


def test_of_a_sweep_the_smallest_p_are_shown() -> None:
    rows = forest_rows(grid())
    p = sorted(c.p_two_sided or 2.0 for c in grid().comparisons)
    assert len(rows) == MOST_ROWS < len(p)
    found = {row["arm"] for row in rows}
    kept = [c.p_two_sided for c in grid().comparisons if c.arm in found]
    assert max(each or 2.0 for each in kept) <= p[MOST_ROWS - 1]


def test_a_loss_says_that_lower_is_better() -> None:
    svg = render(forest(grid())).decode()
    assert "lower is better" in texts(svg)


# ---------------------------------------------------------------- seeds, curves, power
def test_a_line_joins_the_runs_of_a_seed() -> None:
    line = marks(paired_seeds(demo(), *PLACE), "line")[0]
    assert line["encoding"]["detail"]["field"] == "seed"
    assert line["encoding"]["order"]["field"] == "position"
    rows = line["rows"]
    assert len(rows) == len(demo().runs)
    scores = {(row["arm"], row["seed"]): row["score"] for row in rows}
    for run in demo().runs:
        assert run.result is not None
        expected = 100 * run.result.metrics["accuracy"]
        assert scores[run.spec.arm.label, str(run.spec.seed)] == pytest.approx(expected)


def test_of_a_sweep_the_baseline_and_the_smallest_p_are_shown() -> None:
    cells = shown_cells(grid(), "fashion-mnist", "simplecnn")
    assert len(cells) == MOST_ARMS
    assert cells[0].arm == "torch-default"


def test_curves_are_means_and_deviations_over_the_seeds() -> None:
    analysis = demo()
    rows = curve_rows(analysis, *PLACE, "accuracy")
    values = np.array(
        [
            run.result.eval_metrics["accuracy"]
            for run in analysis.runs
            if run.spec.arm.label == "prewarm" and run.result is not None
        ]
    )
    own = [row for row in rows if row["arm"] == "prewarm"]
    assert [row["step"] for row in own] == [50, 100, 150, 200]
    np.testing.assert_allclose([row["mean"] for row in own], 100 * values.mean(0))
    np.testing.assert_allclose(
        [row["high"] - row["mean"] for row in own], 100 * values.std(0, ddof=1)
    )


def test_losses_are_averaged_in_equal_pieces() -> None:
    analysis = demo()
    rows = [row for row in curve_rows(analysis, *PLACE, "loss") if row["arm"] == "prewarm"]
    losses = np.array(
        [
            run.result.train_loss
            for run in analysis.runs
            if run.spec.arm.label == "prewarm" and run.result is not None
        ]
    )
    assert len(rows) == 50  # 200 steps in pieces of 4, at most 60
    assert rows[-1]["step"] == 200
    np.testing.assert_allclose(
        [row["mean"] for row in rows], losses.reshape(8, 50, 4).mean(2).mean(0)
    )


def test_the_wheel_alone_scrolls_the_page() -> None:
    chart = spec(learning_curves(demo(), *PLACE, "accuracy"))  # type: ignore[arg-type]
    text = json.dumps(chart)
    assert "wheel![event.shiftKey]" in text
    assert '"bind": "scales"' in text


def test_runs_without_curves_have_no_curves() -> None:
    study = demo_study()
    runs = {
        (arm.label, seed): result(0.8, curve=[], steps=[], train_loss=[])
        for arm in study.arms
        for seed in study.seeds
    }
    analysis = analyse(study, stored(study, runs))
    assert learning_curves(analysis, *PLACE, "accuracy") is None
    assert learning_curves(analysis, *PLACE, "loss") is None
    assert power_curves(analysis) is None, "equal scores cannot be tested"


@pytest.mark.parametrize("n", [2, 8, 100])
def test_the_detectable_effect_has_the_target_power(n: int) -> None:
    # The power of the one-sided t test by the noncentral t, which the code reaches another way.
    effect = detectable(0.004, n)
    critical = stats.t.ppf(0.95, n - 1)
    chance = stats.nct.sf(critical, n - 1, effect / 0.004 * math.sqrt(n))
    assert chance == pytest.approx(0.8, abs=1e-3)


def test_power_is_of_every_comparison_and_falls_with_the_seeds() -> None:
    rows = power_rows(demo())
    arms = {row["arm"] for row in rows}
    assert len(arms) == len(demo().comparisons)
    for arm in arms:
        effects = [row["effect"] for row in rows if row["arm"] == arm]
        assert effects == sorted(effects, reverse=True)
        assert [row["seeds"] for row in rows if row["arm"] == arm and row["here"]] == [8]


# ---------------------------------------------------------------- the grid
def test_heat_maps_hold_every_configuration_and_mark_the_rule() -> None:
    rows = grid_rows(grid(), "fashion-mnist")
    shown = 0
    for panel in grid_panels(rows):
        chart = grid_heat_map(rows, panel, Prediction(3, 16, 24, 0.2))
        values = marks(chart, "rect")[0]["rows"]
        shown += len(values)
        ruled = [value for value in values if value["rule"]]
        if panel == (3, 16):  # of 22 and 25 the nearer to 24
            assert [(value["n_patches"], value["scale"]) for value in ruled] == [(25, "0.2")]
            assert len(marks(chart, "rect")) == 2
        else:
            assert not ruled
            assert len(marks(chart, "rect")) == 1
        colour = marks(chart, "rect")[0]["encoding"]["color"]["scale"]["domain"]
        assert colour[0] == -colour[2] == max(abs(row.delta) for row in rows)
    assert shown == len(rows)


# ---------------------------------------------------------------- pixels
def test_the_histogram_is_split_as_the_rule_splits_it(mini: ImageDataset) -> None:
    rules = model_rules(mini, "simplecnn")
    chart = pixel_histogram(mini, rules)
    assert chart is not None
    values = marks(chart, "rect")[0]["rows"]
    counts = np.bincount(mini.train_images.numpy().ravel(), minlength=256)
    np.testing.assert_allclose([each["share"] for each in values], 100 * counts / counts.sum())
    above = sum(each["share"] for each in values if each["side"] == "foreground")
    assert rules.foreground_density is not None
    assert above == pytest.approx(100 * rules.foreground_density)
    assert f"Otsu {rules.otsu_threshold:.4f}" in texts(render(chart).decode())


def test_colour_images_have_no_histogram_for_otsu(mini: ImageDataset) -> None:
    rules = model_rules(mini, "simplecnn")
    assert pixel_histogram(mini, replace(rules, otsu_threshold=None)) is None


def test_patch_norms_are_those_of_all_patches(mini: ImageDataset) -> None:
    chart = patch_norms(mini, model_rules(mini, "simplecnn"))
    pixels = mini.train_images[:300].float() / 255
    patches = F.unfold(pixels, 3).transpose(1, 2).reshape(-1, 9)
    mean = float((patches - patches.mean(1, keepdim=True)).norm(dim=1).mean())
    marked = marks(chart, "rule")[0]["rows"][0]
    # 20,000 of 4,056,000 patches, and the first 300 images of 6,000: a few per cent.
    assert marked["at"] == pytest.approx(mean, rel=0.05)
    values = marks(chart, "rect")[0]["rows"]
    assert sum(each["share"] for each in values) == pytest.approx(100)


# ---------------------------------------------------------------- pictures
def test_the_pipeline_ends_with_the_bits_of_prewarm(
    batch: Batch,
) -> None:
    stages = prewarm_stages(batch)
    model = nn.Conv2d(1, 32, 3)
    prewarm_(
        model, batch[0], n_filters=16, patches_per_image=22, scale=0.2, algorithm="paper", seed=42
    )
    assert torch.equal(stages.filters, model.weight.detach()[:16])


def test_the_pipeline_ends_with_the_bits_of_whitening(
    batch: Batch,
) -> None:
    stages = whitening_stages(batch)
    model = nn.Conv2d(1, 12, 3)
    whiten_(model, batch[0], n_filters=6, patches_per_image=22, scale=0.2, seed=42)
    assert torch.equal(stages.filters, model.weight.detach()[:6])
    cloud = stages.patches.double().numpy()
    expected = np.linalg.svd(cloud, compute_uv=False) ** 2 / len(cloud)
    np.testing.assert_allclose(stages.spectrum.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("stages_of", [prewarm_stages, whitening_stages])
def test_patches_lie_where_the_picture_frames_them(
    stages_of: Callable[..., Pipeline], batch: Batch
) -> None:
    stages = stages_of(batch)
    for image, number in ((0, 0), (5, 21), (63, 7)):
        row, column = stages.positions[image, number].tolist()
        patch = batch[0][image, :, row : row + 3, column : column + 3].flatten()
        found = stages.patches[image * 22 + number]
        torch.testing.assert_close(found, patch - patch.mean(), atol=1e-6, rtol=0)


def test_labels_name_the_nearest_centroid(batch: Batch) -> None:
    stages = prewarm_stages(batch)
    for number in (0, 500, 1400):
        distances = ((stages.basis - stages.patches[number]) ** 2).sum(1)
        assert int(distances.argmin()) == int(stages.labels[number])


def test_the_start_of_a_run_is_made_anew(mini: ImageDataset, one_thread: None) -> None:
    runs = [run for run in demo().runs if run.spec.seed == 7]
    run = next(run for run in runs if run.spec.arm.label == "prewarm")
    state = torch.get_rng_state()
    start = start_of(mini, run)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(start.images) == 64
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = build_model("simplecnn", 1, (28, 28), 10)
        weight = find_layer(model).module.weight
        assert torch.equal(start.before, weight)
        prewarm_(model, start.images, seed=7, patches_per_image=22, algorithm="paper")
        assert torch.equal(start.after, weight)
    assert start.changed == tuple(range(16))
    assert float(start.pixels.min()) >= 0
    assert float(start.pixels.max()) <= 1


def test_a_mosaic_frames_what_is_conditioned_and_escapes_names() -> None:
    hostile = "<script>alert(1)</script>"
    picture = mosaic(torch.rand(8, 3, 3, 3), title=hostile, marked=(1, 4), names=[hostile] * 8)
    svg = to_svg([picture])
    assert svg.count('class="frame"') == 2
    assert svg.count(", conditioned</title>") == 2
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_a_style_of_a_picture_stays_in_the_picture() -> None:
    # In a page it would otherwise restyle every chart: the selectors all begin with its class.
    svg = to_svg([mosaic(torch.rand(2, 1, 3, 3), title="filters")])
    style = re.findall(r"<style>(.*?)</style>", svg)[0]
    assert all(rule.startswith(".picture ") for rule in style.split("}") if rule)


def test_charts_hold_their_data() -> None:
    chart = forest(demo())
    assert isinstance(chart, alt.LayerChart)
    assert "url" not in json.dumps(spec(chart)).replace("$schema", "")
