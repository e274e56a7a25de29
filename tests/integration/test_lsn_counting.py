"""Every recorded journal, also of partial syncs, counts from the first LSN to the one the source named at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from df2redis_tui.dragonfly.journal import JournalDecoder
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from df2redis_tui.dragonfly.records import OP_LSN, JournalOffset
from tests.support.recordings import folders, load

SESSIONS = [
    (folder, resumed)
    for folder in folders()
    for resumed in (False, True)
    if not resumed or (folder / "resume-session.json").exists()
]


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s[0].name + ("/resume" if s[1] else ""))
def test_the_journal_counts_to_the_sources_last_lsn(session: tuple[Path, bool]) -> None:
    for number, flow in enumerate(load(session[0], resumed=session[1]).flows):
        journal, next_lsn = flow.stream, flow.lsn_start
        if flow.granted == "FULL":
            snapshot = SnapshotDecoder(number, flow.token.encode())
            snapshot.receive(flow.stream)
            offsets = [
                r.lsn for block in iter(snapshot.next_block, None) for r in block if isinstance(r, JournalOffset)
            ]
            assert len(offsets) == 1
            journal, next_lsn = snapshot.leftover, offsets[0]
        decoder = JournalDecoder(number)
        decoder.receive(journal)
        for block in iter(decoder.next_block, None):
            for entry in block:
                if entry.op == OP_LSN:
                    assert entry.txid == next_lsn - 1
                else:
                    next_lsn += 1
        assert next_lsn == flow.lsn_end
