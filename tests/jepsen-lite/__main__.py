"""`python tests/jepsen-lite`: see jepsen_lite.command."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # dohle and tests of this tree

from jepsen_lite.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
