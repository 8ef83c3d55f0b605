"""`make audit`: asks a public list of vulnerabilities about the locked packages. Where the list cannot be reached, it
says so and succeeds. It fails if there is a vulnerability."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent.parent / "requirements.lock"
SECONDS = 120


def main() -> int:
    """Print what was found, and give the exit status."""
    words = [sys.executable, "-m", "pip_audit", "-r", str(LOCK), "--disable-pip", "--require-hashes", "-f", "json"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("audit: the list of vulnerabilities cannot be reached; nothing was asked")
        return 0
    asked = [each for each in packages if "skip_reason" not in each]
    found = [(each["name"], each["version"], known) for each in asked for known in each["vulns"]]
    for name, version, known in found:
        print(f"audit: {name} {version}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version'}")
    print(f"audit: {len(asked)} of {len(packages)} packages were found in the list; {len(found)} vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
