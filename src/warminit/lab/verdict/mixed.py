"""environments of runs -> what differs and was accepted, or an error: no comparison then."""

from collections.abc import Iterable, Mapping

from warminit.errors import WarminitError
from warminit.lab.runs.environment import NUMERIC_PACKAGES


def refuse_mixed(
    environments: Iterable[Mapping[str, str]], *, allow_mixed: bool = False
) -> tuple[str, ...]:
    """Refuse to compare what was computed on different devices or with different versions.

    Args:
        environments: Environments of every run, and of this process where runs are still to come.
        allow_mixed: Accept different versions of torch, scikit-learn and NumPy; never devices.

    Returns:
        What differs and was accepted, one text a package.

    Raises:
        WarminitError: For what differs and is not accepted.
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
