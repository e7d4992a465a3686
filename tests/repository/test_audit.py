"""What `make audit` says of the pins, with a stand-in for pip-audit: no test needs the network."""

import json
import re
import sys
from pathlib import Path

import pytest

from audit_pins import audit

CLEAN = {"name": "one", "version": "1.0", "vulns": []}
FOUND = {
    "name": "two",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}
SKIPPED = {"name": "three", "skip_reason": "it is not there"}


def answers(*packages: object) -> str:
    return f"print({json.dumps({'dependencies': packages, 'fixes': []})!r})"


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (answers(CLEAN, SKIPPED), 0, "2 pinned versions, 0 known vulnerabilities"),
        (answers(CLEAN, FOUND), 1, "two 2.0: PYSEC-1, fixed in 2.1"),
        ("raise ConnectionError('no network')", 0, "NOT DONE, no answer .* no network"),
        ("raise SystemExit('an unknown option')", 1, "status 1:\nan unknown option"),
    ],
)
def test_it_fails_for_what_is_known_and_not_for_a_missing_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, status: int, told: str
) -> None:
    assert audit(tmp_path / "pins.txt", [sys.executable, "-c", code]) == status
    assert re.search(told, capsys.readouterr().out, re.DOTALL)
