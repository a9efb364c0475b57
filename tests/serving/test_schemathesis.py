"""schemathesis, which draws requests from /docs.json as clients would read it, finds nothing.

One of its checks is left out: that a request which fits the schema is accepted. The schema cannot
say which bytes are a chip, so most of what it draws is refused as documented.
"""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.slow
def test_what_schemathesis_draws_is_answered_as_documented(
    client: httpx.Client, tmp_path: Path
) -> None:
    options = ["--include-path-regex", "^/v1/", "--exclude-checks", "positive_data_acceptance"]
    options += ["--max-examples", "40", "--seed", "1", "--generation-deterministic", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{client.base_url}/docs.json", *options],
        cwd=tmp_path,  # it leaves a folder there
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 3" in done.stdout
