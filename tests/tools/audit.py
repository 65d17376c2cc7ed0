"""python -m tests.tools.audit: checks installed packages for known vulnerabilities, by pip-audit.

Fails where there is one. Where no advisory service answers it says so, and is no failure: one must be able to work on a
train.
"""

import json
import subprocess
import sys


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return _unaudited(done.stderr.strip().rpartition("\n")[2])
    audited = [dependency for dependency in dependencies if "vulns" in dependency]
    vulnerable = [dependency for dependency in audited if dependency["vulns"]]
    for dependency in vulnerable:
        ids = ", ".join(vulnerability["id"] for vulnerability in dependency["vulns"])
        print(f"{dependency['name']} {dependency['version']}: {ids}")
    if not audited:
        return _unaudited("it knows none of the packages")
    print(f"pip-audit: {len(audited)} of {len(dependencies)} packages audited, {len(vulnerable)} vulnerable")
    return 1 if vulnerable else 0


def _unaudited(reason: str) -> int:
    print(f"pip-audit: NOTHING WAS AUDITED, no advisory service answers here ({reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
