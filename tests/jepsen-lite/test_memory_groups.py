"""Groups of processes whose memory is bounded, on a hierarchy that is made up of files."""

from __future__ import annotations

from jepsen_lite.memory_faults import MemoryGroup


def test_groups_of_unified_hierarchies_are_bounded_by_their_own_files(tmp_path):
    folder, before = tmp_path / "group", tmp_path
    group = MemoryGroup(folder, before, is_unified=True)
    assert group.hits() == 0
    group.begin(7, 4096)
    assert ((folder / "memory.max").read_text(), (folder / "cgroup.procs").read_text()) == ("4096\n", "7\n")
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    assert group.hits() == 12
