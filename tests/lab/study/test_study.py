"""A study is refused before anything runs, with the nearest valid name."""

from pathlib import Path
from typing import Any

import pytest

from warminit.errors import WarminitError
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import PAPER_SEEDS, Study, default_seeds

VALID: dict[str, Any] = {
    "name": "try",
    "datasets": ["digits"],
    "arms": ["torch-default", "prewarm"],
    "seeds": 2,
}


def refusal(**changes: Any) -> str:
    with pytest.raises(WarminitError) as error:
        Study.create(**(VALID | changes))
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dataset": ["digits"]}, "dataset: unknown key. Did you mean 'datasets'?"),
        ({"colour": 3}, "colour: unknown key. Keys are ['name', 'description', 'datasets',"),
        (
            {"protocol": {"stpes": 5}},
            "protocol.stpes: unknown key. Did you mean 'steps'?",
        ),
        ({"datasets": ["fasion-mnist"]}, "or a hub id 'owner/name'. Did you mean 'fashion-mnist'?"),
        ({"datasets": ["imagenet"]}, "datasets='imagenet': expected one of mnist, fashion-mnist"),
        ({"models": ["simplcnn"]}, "model='simplcnn': expected one of simplecnn"),
        ({"models": ["simplcnn"]}, "Did you mean 'simplecnn'?"),
        ({"models": ["no.such:thing"]}, "module 'no.such' cannot be imported"),
        (
            {"arms": ["torch-default", "pre-warm"]},
            "method='pre-warm' is unknown. Did you mean 'prew",
        ),
        ({"arms": ["torch-default", "no.such:arm"]}, "method='no.such:arm' cannot be imported"),
        (
            {"arms": ["torch-default", "whitening+embed-scale"]},
            "whitening and embed-scale both set the stem",
        ),
        (
            {"arms": ["torch-default", {"name": "whitening+dirac", "n_filters": 3}]},
            "Did you mean 'whitening__n_filters'?",
        ),
        (
            {"arms": ["torch-default", 3]},
            "arms=3: expected the name of an arm, or a table",
        ),
        ({"arms": "prewarm"}, "arms='prewarm': expected a list of names or tables."),
        (
            {"arms": ["torch-default", {"name": "prewarm", "n_filter": 3}]},
            "spatial, std. Did you mean 'n_filters'?",
        ),
        (
            # Its options are declared as one typed `**options`.
            {"arms": ["torch-default", {"name": "norm-matched-random", "patches_per_imag": 3}]},
            "arms='patches_per_imag': expected a parameter of norm-matched-random: algorithm, b",
        ),
        (
            {"arms": ["torch-default", {"name": "torch-default", "seed": 1}]},
            "arms='seed': expected a parameter of torch-default: layers, scope.",
        ),
        (
            {"baseline": "torch-defautl"},
            "baseline='torch-defautl': expected torch-default or",
        ),
        ({"metric": "acuracy"}, "train_loss or calibration_error. Did you mean 'accuracy'?"),
        ({"patch_counts": "published"}, "(got 'published'). Did you mean 'as-published'?"),
        (
            {"patch_counts": "as-published"},
            "'as-published': expected 'rule' for 'digits'",
        ),
        ({"protocol": {"optimizer": "adm"}}, "(got 'adm'). Did you mean 'adam'?"),
        ({"protocol": {"precision": "float16"}}, "Did you mean 'bfloat16'?"),
        ({"protocol": {"steps": 0}}, "protocol.steps: Input should be greater than or equal to 1"),
        ({"protocol": {"steps": "many"}}, "(got 'many')"),
        (
            {"protocol": {"lr_start": 1e-5, "lr_end": 1e-3}},
            "protocol.lr_end=0.001: expected at most lr_start=1e-05, since a cosine schedule falls",
        ),
        (
            {"protocol": {"lr_start": 1e-5}},
            "protocol.lr_end=3e-05: expected at most lr_start=1e-05, the rates of digits",
        ),
        (
            {"protocol": {"schedule": "constant", "lr_start": 1e-3, "lr_end": 1e-4}},
            "protocol.lr_end=0.0001: expected lr_start=0.001, where schedule='constant' stays.",
        ),
        ({"seeds": []}, "seeds=[]: expected at least one seed."),
        ({"seeds": 0}, "seeds=[]: expected at least one seed."),
        ({"seeds": [1, -1]}, "seeds=-1: expected seeds from 0 to 2**32 - 1"),
        ({"seeds": [5, 5]}, "seeds='5': expected each of them once."),
        ({"datasets": ["digits", "digits"]}, "datasets='digits': expected each of them once."),
        (
            {"arms": ["torch-default", "torch-default"]},
            "arms='torch-default': expected each",
        ),
        ({"datasets": []}, "datasets: "),
        ({"name": "my study"}, "name: "),
        ({"name": ""}, "name: "),
        ({"margin": 0}, "margin: Input should be greater than 0 (got 0)"),
        ({"validation": -1}, "validation: "),
    ],
)
def test_the_refusal_names_what_is_wrong_and_the_nearest_name(
    changes: dict[str, Any], text: str
) -> None:
    found = refusal(**changes)
    assert text in found
    assert found.startswith("the study is not valid. ")


def test_every_fault_is_named_at_once() -> None:
    found = refusal(dataset="digits", protocol={"optimizer": "adm"}, margin=-1)
    assert all(text in found for text in ("dataset: ", "protocol.optimizer: ", "margin: "))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(WarminitError, match="datasets: required, and missing"):
        Study.create(name="try", arms=["torch-default"])


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets": ["owner/name"]},
        {"datasets": ["owner/name:configuration"]},
        {"datasets": ["photos/"]},
        {"datasets": ["images.npz"]},
        {"datasets": [str(Path(__file__).parent)]},
        {"arms": ["torch-default", "study_cases:well_behaved"]},
        {"models": ["training_cases:RecordingModel"]},
        {"protocol": {"precision": "bfloat16"}},
        {"protocol": {"schedule": "constant", "lr_start": 1e-3, "lr_end": 1e-3}},
        {"protocol": {"schedule": "constant", "lr_start": 1e-6}},
        {"protocol": {"lr_end": 0}},
        {"metric": "train_loss"},
    ],
)
def test_what_is_possible_is_not_refused(changes: dict[str, Any]) -> None:
    Study.create(**(VALID | changes))


def test_lists_of_values_are_swept_in_order() -> None:
    swept = {"name": "prewarm", "scale": [0.1, 0.2], "n_filters": 16, "patches_per_image": [5, 9]}
    study = Study.create(**(VALID | {"arms": ["torch-default", swept]}))
    assert [arm.label for arm in study.arms] == [
        "torch-default",
        "prewarm(n_filters=16, patches_per_image=5, scale=0.1)",
        "prewarm(n_filters=16, patches_per_image=9, scale=0.1)",
        "prewarm(n_filters=16, patches_per_image=5, scale=0.2)",
        "prewarm(n_filters=16, patches_per_image=9, scale=0.2)",
    ]


def test_runs_are_the_whole_product_with_paired_ones_side_by_side() -> None:
    study = Study.create(**(VALID | {"datasets": ["digits", "fashion-mini"]}))
    runs = [(run.dataset, run.seed, run.arm.name) for run in study.runs()]
    assert len(runs) == len(set(runs)) == 8
    assert runs[:3] == [
        ("digits", 42, "torch-default"),
        ("digits", 42, "prewarm"),
        ("digits", 7, "torch-default"),
    ]


def test_the_paper_s_seeds_come_first() -> None:
    assert PAPER_SEEDS == (42, 7, 13, 99, 2025, 1, 8, 21)
    assert default_seeds(3) == (42, 7, 13)
    assert default_seeds(10) == (*PAPER_SEEDS, 1001, 1002)
    assert Study.create(**(VALID | {"seeds": [5, 3]})).seeds == (5, 3)


def test_a_study_comes_back_from_its_own_json_without_being_swept() -> None:
    arms = ["torch-default", {"name": "prewarm", "scale": [0.1, 0.2]}]
    study = Study.create(**(VALID | {"arms": arms, "protocol": {"steps": 3}}))
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert Study.create(**study.model_dump()) == study
    assert ArmSpec.parse(study.arms[1].model_dump()) == [study.arms[1]]


def test_a_stored_study_is_read_where_its_own_code_is_not() -> None:
    # Names are looked up when a study is made, not when its results are read elsewhere.
    text = Study.create(**VALID).model_dump_json().replace("prewarm", "their_code:arm")
    assert Study.model_validate_json(text).arms[1].name == "their_code:arm"


@pytest.mark.parametrize(
    ("metric", "given", "lower"),
    [
        ("accuracy", None, False),
        ("accuracy_area", None, False),
        ("loss", None, True),
        ("train_loss", None, True),
        ("accuracy", False, True),
        ("loss", True, False),
    ],
)
def test_losses_fall_unless_the_study_says_otherwise(
    metric: str, given: bool | None, lower: bool
) -> None:
    study = Study.create(**(VALID | {"metric": metric, "higher_is_better": given}))
    assert study.lower_is_better is lower


@pytest.mark.parametrize(
    ("protocol", "steps"),
    [
        ({"steps": 5000}, tuple(range(250, 5001, 250))),
        ({"steps": 7}, (1, 2, 3, 4, 5, 6, 7)),
        ({"steps": 10, "eval_interval": 4}, (4, 8, 10)),
        ({"steps": 10, "eval_interval": 99}, (10,)),
    ],
)
def test_evaluations_are_spread_and_end_with_the_last_step(
    protocol: dict[str, Any], steps: tuple[int, ...]
) -> None:
    assert Protocol(**protocol).evaluation_steps == steps


# ---------------------------------------------------------------- files
def test_a_study_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "mine"\ndatasets = ["digits"]\nseeds = 3\n'
        'arms = ["torch-default", { name = "prewarm", scale = [0.1, 0.2] }]\n'
        "[protocol]\nsteps = 50\n",
        encoding="utf-8",
    )
    study = Study.from_toml(path)
    assert study.protocol.steps == 50
    assert len(list(study.runs())) == 9


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read"),
        (b"name = ", "is not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
        (b'name = "x"\nepochs = 3', "is not valid. datasets: required, and missing"),
        (b'name = "x"\nepochs = 3', "epochs: unknown key"),
    ],
)
def test_a_bad_study_file_is_named(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WarminitError, match=r"study file .*study\.toml") as error:
        Study.from_toml(path)
    assert text in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_study_file(tmp_path: Path) -> None:
    text = 'name = "a"\ndatasets = ["digits"]\narms = ["torch-default"]\n'
    (tmp_path / "study.toml").write_text(text, encoding="utf-8-sig")
    assert Study.from_toml(tmp_path / "study.toml").name == "a"


def test_a_study_file_s_relative_paths_stay_within_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, data = tmp_path / "inside", tmp_path / "data.npz"
    inside.mkdir()
    (inside / "own.npz").touch()
    data.touch()
    (inside / "link.npz").symlink_to(data)
    (inside / "linked").symlink_to(tmp_path)
    monkeypatch.chdir(inside)

    def read(name: str) -> Study:
        file = inside / "study.toml"
        file.write_text(f'name = "s"\ndatasets = ["{name}"]\narms = ["torch-default"]\n')
        return Study.from_toml(file)

    for allowed in ("own.npz", "../inside/own.npz", str(data), "digits"):
        assert read(allowed).datasets == (allowed,)
    for leaving in ("../data.npz", "link.npz", "linked/data.npz"):
        with pytest.raises(
            WarminitError, match=r"expected a path inside .* Give the absolute path.*\(line 2\)$"
        ):
            read(leaving)
