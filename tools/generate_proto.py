"""Generates dohle/rpc/v1 from proto/; with --check, only says whether it is up to date (exit code 1 if not).

The generated modules import each other below `dohle.rpc.v1`, while the .proto files stay in `dohle/v1`, the path that
every other language's generator expects.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dohle" / "rpc" / "v1"


def generate(into: Path) -> dict[str, str]:
    """Returns the generated files' contents by name; `into` is scratch space."""
    sources = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    flags = [f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main(["protoc", *flags, *sources]) != 0:
        raise SystemExit("protoc failed")
    files = {"__init__.py": '"""Generated from proto/dohle/v1 by tools/generate_proto.py."""\n'}
    for path in sorted((into / "dohle" / "v1").iterdir()):
        files[path.name] = re.sub(
            r"^from dohle\.v1 import", "from dohle.rpc.v1 import", path.read_text(), flags=re.MULTILINE
        )
    return files


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
    present = {path.name: path.read_text() for path in TARGET.glob("*.py*")} if TARGET.exists() else {}
    if "--check" in sys.argv:
        stale = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
        if stale:
            print(f"not up to date: {', '.join(stale)}; run `make proto`", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in present.keys() - files.keys():
        (TARGET / name).unlink()
    for name, content in files.items():
        (TARGET / name).write_text(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
