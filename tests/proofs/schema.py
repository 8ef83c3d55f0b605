"""Has Schemathesis try all calls of the OpenAPI document: what is answered must be what the document says.

    python -m tests.proofs.schema [--examples N] [--seed S]

It makes good and bad requests from each call's schema. Looked for: a status of 5xx; a status, media type, header or
body that the document does not have; a method that is not there and is not refused as it should be. Exits with 1 if
there was one. The same seed gives the same requests. Streams of `GET`, which do not end, are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.stack import Stack

CHECKS: Final = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method",
)  # fmt: skip
ENDLESS: Final = r"^/(events|ws)$|^/v1/generations(/\{\w+\})?/events$"
RATES: Final = {"max_connections_per_user": 10_000, "rate_publish": "1000000 per minute", "rate_topics": "off"}


def described(stack: Stack) -> dict[str, Any]:
    """The document, in which a stream is any text: Schemathesis takes the schema of one for that of its events."""
    found: dict[str, Any] = httpx.get(f"{stack.url}/openapi.json", trust_env=False).json()
    for item in found["paths"].values():
        for call in item.values():
            for answer in call["responses"].values() if isinstance(call, dict) else ():
                answer.get("content", {}).get("text/event-stream", {}).pop("schema", None)
    return found


def tried(stack: Stack, examples: int, seed: int, *more: str) -> tuple[int, str]:
    """Try each call with so many requests. Gives 0 if all was answered as the document says, and what was found."""
    token = stack.token("fuzz", publish=["*"], subscribe=["*"], admin=True)
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "openapi.json"
        document.write_text(json.dumps(described(stack)))
        words = [
            *(Path(sys.executable).with_name("schemathesis"), "run", document, "--url", stack.url),
            *(
                "--header",
                f"Authorization: Bearer {token}",
                "--checks",
                ",".join(CHECKS),
                "--exclude-path-regex",
                ENDLESS,
            ),
            *("--max-examples", examples, "--seed", seed, "--no-shrink", "--suppress-health-check", "all"),
            *("--request-timeout", 30, "--continue-on-failure", "--warnings", "off", "--no-color", *more),
        ]
        done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    """Start a stack, and try its calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="requests for each call, beside those at the limits")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushsvc-schema-") as folder:
        stack = Stack(Path(folder), workers=1, **RATES)
        try:
            status, said = tried(stack, chosen.examples, chosen.seed, "--phases", "examples,coverage,fuzzing")
        finally:
            stack.stop()
    traced = "Traceback" in stack.output
    print(said, stack.output[-3000:] if traced else "")
    return int(bool(status) or traced)


if __name__ == "__main__":
    sys.exit(main())
