"""Run a sweep from the head of a cluster: `ray submit cluster.yaml sweeps/on_cluster.py SPEC [--store …]`.

Ray copies this one file to the head and runs it there, outside its package; it takes what `sweeps run` takes.
"""

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    here = str(Path(__file__).resolve().parent)  # Python puts it first, where our modules would hide others
    sys.path[:] = [entry for entry in sys.path if entry != here]
    try:
        from sweeps.cli import main as sweeps
    except ImportError as error:
        print(f"hybrid-sweeps is not installed on this machine: {error}", file=sys.stderr)
        return 2
    address = [] if any(one.startswith("--address") for one in arguments) else ["--address", "auto"]
    return sweeps(["run", *arguments, *address, "--yes"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
