"""What the sites' commands print about quotas and points, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.doctor import quotas
from hpcjobs.doctor.quotas import Quota

# From public notes on TSUBAME4 (2024), its handbook's own example.
TSUBAME_HOME = """\
  uid name         b_size(GB) b_quota(GB)    i_files    i_quota
---------------------------------------------------------------
 2011 TESTUSER              7          25     101446    2000000
"""
# docs.abci.ai/v3, getting-started (2026).
ABCI = """\
Disk quotas for ABCI group grpname
  Directory                          used(GiB)        limit(GiB)      used(nfiles)     limit(nfiles)
  /groups/grpname                          312             32768            422372         200000000

Disk quotas for user username
  Directory                          used(GiB)        limit(GiB)      used(nfiles)     limit(nfiles)
  /home/username                           32*              2048           103,221                 0
"""
ABCI_TIB = """\
Disk quotas for user username
  Directory                          used(TiB)        limit(TiB)      used(nfiles)     limit(nfiles)
  /home/username                             1                 2            103219                 -
"""
ABCI_POINTS = """\
Group                 Disk            ObjectStorage                    Used           Point   Used%
grpname                  5                  0.0124             12,345.6789         100,000      12
  `- username          -                         -                  0.1234               -       0
"""
TSUBAME_POINTS = """\
  gid group_name                 deposit     balance
----------------------------------------------------
 2007 tga-test                       0.00       19.24
"""


def test_home_of_tsubame() -> None:
    assert quotas.read_pairs(TSUBAME_HOME) == [Quota("TESTUSER", 7, 25, 101446, 2000000)]


def test_disks_of_abci() -> None:
    assert quotas.read_pairs(ABCI) == [
        Quota("/groups/grpname", 312, 32768, 422372, 200000000),
        Quota("/home/username", 32, 2048, 103221, None),
    ]
    assert quotas.read_pairs(ABCI_TIB) == [Quota("/home/username", 1024, 2048, 103219, None)]


def test_two_disks_in_a_row_are_two_quotas() -> None:
    text = (
        "  gid group  size(TB) quota(TB) file(M) quota(M) size(GB) quota(GB) file(M) quota(M)\n"
        " 2007 tga-x      1.5        10     0.5       20       90       100     0.1      0.2\n"
    )
    assert quotas.read_pairs(text) == [
        Quota("tga-x, disk 1", 1536, 10240, 500_000, 20_000_000),
        Quota("tga-x, disk 2", 90, 100, 100_000, 200_000),
    ]


def test_lustre() -> None:
    text = "      /scratch  1048576       0 10485760       -     100       0    1000       -\n"
    assert quotas.read_lfs(text, "/scratch") == Quota("/scratch", 1, 10, 100, 1000)
    wrapped = "/a/very/long/path\n  1048576* 1048576 0 6d 100 0 0 -\n"
    assert quotas.read_lfs(wrapped, "x") == Quota("x", 1, 1, 100, None)
    assert quotas.read_lfs("permission denied", "x") is None


def test_points_of_our_group_only() -> None:
    assert quotas.read_tsubame_points(TSUBAME_POINTS, "tga-test") == 19.24
    assert quotas.read_tsubame_points(TSUBAME_POINTS, "tga-tes") is None
    assert quotas.read_abci_points(ABCI_POINTS, "grpname") == pytest.approx(87654.3211)
    assert quotas.read_abci_points(ABCI_POINTS, "username") is None


@given(st.text())
def test_nothing_that_is_printed_breaks_a_reader(text: str) -> None:
    quotas.read_pairs(TSUBAME_HOME + text)
    quotas.read_pairs(text)
    quotas.read_lfs(text, "x")
    quotas.read_tsubame_points(text, "g")
    quotas.read_abci_points(text, "g")
