"""Has the tests here find the package `jepsen_lite`, which lies beside them and is no part of what is shipped."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
