"""Is requirements.lock what pyproject.toml asks for? `--write` renews it. Run by `make check` and `make lock`.

The lock is universal (one file for every Python and system that is supported), has a hash for every file, and
names no address. The versions that it holds stay as they are while they still fit.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def resolve(lock: Path) -> None:
    """Bring a lock file in line with pyproject.toml."""
    uv = Path(sys.executable).with_name("uv")
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    ]
    options = [
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--group",
        "dev",
        "--extra",
        "s3",
    ]
    subprocess.run([*command, *options, "pyproject.toml", "--output-file", lock], cwd=ROOT, check=True)


def main() -> int:
    """Check or write; return 0 where the lock is right."""
    if "--write" in sys.argv:
        resolve(LOCK)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / LOCK.name
        shutil.copy(LOCK, fresh)
        resolve(fresh)
        if fresh.read_text() != LOCK.read_text():
            print(
                "requirements.lock is not what pyproject.toml asks for. To mend it: make lock",
                file=sys.stderr,
            )
            return 1
    print("requirements.lock is in line with pyproject.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
