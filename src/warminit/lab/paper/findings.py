"""kept studies of the paper's experiments -> for each of its claims what came out, and a verdict.

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
"""What the paper says that its rules give, by claim."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of one claim.

    Attributes:
        claim: The paper's claim.
        here: Our figure, with its interval where it has one; "-" where there is none.
        verdict: By the rule of its kind.
        why: One sentence.
    """

    claim: Claim
    here: str
    verdict: Verdict
    why: str


def findings(studies: Mapping[str, Analysis], rules: Rules) -> list[Finding]:
    """Set what came out beside every claim, in the order of `CLAIMS`.

    Args:
        studies: By the name of its file in `experiments/paper`, as far as it is kept.
        rules: By data set, the `hyperparameters` and `seconds` of `reproduce table2 --json`.

    Returns:
        One finding a claim. Invariant: a claim that lacks a run has no verdict but `not run yet`
        or `not testable here`, unless what is finished already refutes it.
    """
    return [Finding(claim, *_found(claim, studies, rules)) for claim in CLAIMS]


def axes_findings(study: Analysis) -> list[Finding]:
    """Set what the study along the grid's axes says beside the claims of Section 4.3."""
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
