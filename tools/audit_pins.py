"""constraints.txt -> known vulnerabilities of the pinned versions; exit status 1 where there are.

`make audit` and `make check` call this. Where the advisory service cannot be reached it says so and
ends with 0: a machine without a network can check everything else.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PINS = Path(__file__).parents[1] / "constraints.txt"

# OSV is a service for advisories alone; the pins name everything, so that nothing is resolved.
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--timeout", "5"),
    *("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"),
)

UNREACHABLE = ("requests.exceptions.", "ConnectionError", "ServiceError")
"""Errors that pip-audit ends with where the network, or the service, is away."""


def audit(pins: Path = PINS, command: Sequence[str] = COMMAND) -> int:
    """Print what pip-audit finds in a file of pins; return the exit status."""
    ended = subprocess.run(  # noqa: S603 - the command above
        [*command, "--requirement", str(pins)], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        if any(name in ended.stderr for name in UNREACHABLE):
            print(
                f"pip-audit: NOT DONE, no answer from the advisory service: {ended.stderr[-150:]}"
            )
            return 0
        print(f"pip-audit ended with status {ended.returncode}:\n{ended.stderr}")
        return 1
    found = [(package, each) for package in packages for each in package.get("vulns", ())]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(packages)} pinned versions, {len(found)} known vulnerabilities")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(audit())
