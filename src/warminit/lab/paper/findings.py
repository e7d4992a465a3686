"""kept studies of the paper's experiments -> the finding and the verdict of each claim.

The rules of the verdicts were written down before the runs: `experiments/paper/README.md`. Every
verdict is computed here from the runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warminit.lab.paper import gains, sweeps
from warminit.lab.paper.claims import CLAIMS, Claim, Found, Verdict
from warminit.lab.paper.published import INIT_SECONDS
from warminit.lab.verdict.analysis import Analysis

Rules = Mapping[str, Mapping[str, Any]]

PATCH_COUNTS = {
    "patches-grayscale": {"mnist": 58, "fashion-mnist": 22},
    "patches-cifar10": {"cifar10": 27},
    "patches-cifar100": {"cifar100": 16},
}
"""Results of the paper's rules, according to the paper, by claim."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold the finding on one claim.

    Attributes:
        claim: Claim of the paper.
        here: Our figure, with an interval if there is one; "-" without a figure.
        verdict: Verdict by the rule of the claim's kind.
        why: Reason in one sentence.
    """

    claim: Claim
    here: str
    verdict: Verdict
    why: str


def findings(studies: Mapping[str, Analysis], rules: Rules) -> list[Finding]:
    """Return the finding on every claim, in the order of `CLAIMS`.

    Args:
        studies: Kept studies by the name of their file in `experiments/paper`.
        rules: By data set, the `hyperparameters` and `seconds` of `reproduce table2 --json`.

    Returns:
        One finding per claim. Invariant: the verdict on a claim with missing runs is `not run yet`
        or `not testable here`, unless the finished runs already refute the claim.
    """
    return [Finding(claim, *_found(claim, studies, rules)) for claim in CLAIMS]


def axes_findings(study: Analysis) -> list[Finding]:
    """Return the findings of the study along the grid's axes on the claims of Section 4.3."""
    return [
        Finding(claim, *_found(claim, {"axes": study}, {}))
        for claim in CLAIMS
        if claim.kind == "axis"
    ]


def _found(claim: Claim, studies: Mapping[str, Analysis], rules: Rules) -> Found:
    match claim.kind:
        case "rule":
            found = _patches(claim, rules)
        case "seconds":
            found = _seconds(rules)
        case "axis":
            found = sweeps.axis(claim.key, studies.get("axes"))
        case "counts":
            norms = {name: each["hyperparameters"]["patch_norm"] for name, each in rules.items()}
            found = sweeps.counts(studies.get("counts"), norms)
        case "gain":
            found = gains.gain(studies, claim.datasets[0])
        case "all gains":
            found = gains.all_gains(studies)
        case "content":
            found = gains.content(studies)
        case "steps":
            found = gains.steps(studies)
    return found


def _patches(claim: Claim, rules: Rules) -> Found:
    papers = PATCH_COUNTS[claim.key]
    if any(name not in rules for name in papers):
        return "-", "not run yet", "The rules were not evaluated on all of these images."
    hyper = {name: rules[name]["hyperparameters"] for name in papers}
    here = {name: int(each["n_patches"]) for name, each in hyper.items()}
    text = ", ".join(map(str, here.values()))
    text += "".join(
        f", mean norm {each['patch_norm']:.3f}" for each in hyper.values() if each["patch_norm"]
    )
    if here == papers:
        return text, "reproduced", "The rule gives the same on the published images."
    return text, "not reproduced", "The rule gives another count on the published images."


def _seconds(rules: Rules) -> Found:
    times = [each["seconds"]["paper"] for each in rules.values()]
    if not times:
        return "-", "not run yet", "It was not timed."
    within = "within" if max(times) < INIT_SECONDS else "above"
    return (
        f"{min(times):.3f} to {max(times):.3f} s for 256 images",
        "not testable here",
        f"No T4 was available; on one CPU core it is {within} the figure.",
    )
