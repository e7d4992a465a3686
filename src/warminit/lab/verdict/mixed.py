"""environments of runs -> accepted differences, or an error and no comparison."""

from collections.abc import Iterable, Mapping

from warminit.errors import WarminitError
from warminit.lab.runs.environment import NUMERIC_PACKAGES


def refuse_mixed(
    environments: Iterable[Mapping[str, str]], *, allow_mixed: bool = False
) -> tuple[str, ...]:
    """Raise WarminitError if runs used different devices or different versions.

    Args:
        environments: Environments of every run, and of this process if runs are still missing.
        allow_mixed: Whether to accept different versions of torch, scikit-learn and NumPy.
            Different devices are never accepted.

    Returns:
        The accepted differences, one text per package.

    Raises:
        WarminitError: If a difference is not accepted.
    """
    known = list(environments)
    accepted = []
    for name in ("device", *NUMERIC_PACKAGES):
        found = sorted({each.get(name, "unknown") for each in known})
        if len(found) < 2:
            continue
        if name == "device" or not allow_mixed:
            advice = (
                "Run the study anew in another folder (--out)"
                if name == "device"
                else "Run it anew in another folder (--out), or pass --allow-mixed"
            )
            raise WarminitError(
                f"the runs were computed with different {name}: {', '.join(found)}; they are not "
                f"compared, since a difference could come from that alone. {advice}."
            )
        accepted.append(f"{name} {' and '.join(found)}")
    return tuple(accepted)
