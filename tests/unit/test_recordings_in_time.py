"""Recordings are moved in time before they are played: only times change, and all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from df2redis_tui.dragonfly import records as r
from df2redis_tui.dragonfly.rdb.stream import SnapshotDecoder
from tests.support.recordings import FULL_SYNC_END, folders
from tests.support.shifted import Shift, recorded_at
from tests.unit.dragonfly.recorded import decode_snapshot, normalised

RECORDED = [folder for folder in folders() if "liveload" not in folder.name]
BY = 40 * 86_400  # seconds


def expiring(raw: bytes) -> dict[bytes, int]:
    """Key → expiry (ms) of a full sync."""
    decoder = SnapshotDecoder(0, b"")
    decoder.receive(raw)
    found: dict[bytes, int] = {}
    while (block := decoder.next_block()) is not None:
        for record in block:
            if isinstance(record, r.Strings):
                found |= {key: expire for key, _, expire in record.items if expire}
            elif isinstance(record, (r.Value, r.ValueStart)) and record.expire_ms:
                found[record.key] = record.expire_ms
            elif isinstance(record, r.FullSyncEnd):
                return found
    return found


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_every_expiry_of_a_full_sync_moves_by_the_same_time(folder: Path) -> None:
    raw = (folder / "flow-0.bin").read_bytes()
    before = expiring(raw)
    after = expiring(Shift(BY, recorded_at(raw), []).stream(raw)[0])
    assert before
    assert after == {key: at + BY * 1000 for key, at in before.items()}


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_nothing_else_changes(folder: Path) -> None:
    """There and back again, everything is as it was, but for how blobs are compressed."""
    raw = (folder / "flow-0.bin").read_bytes()
    began = recorded_at(raw)
    there, _ = Shift(BY, began, []).stream(raw)
    back, _ = Shift(-BY, began + BY, []).stream(there)
    decoded = [
        decode_snapshot(SnapshotDecoder(0, b""), [stream[: stream.index(FULL_SYNC_END)]]) for stream in (raw, back)
    ]
    assert normalised(decoded[0]) == normalised(decoded[1])


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_a_position_is_found_again(folder: Path) -> None:
    raw = (folder / "flow-0.bin").read_bytes()
    moved, position = Shift(BY, recorded_at(raw), []).stream(raw)
    assert position(len(raw)) == len(moved)
    end = raw.index(FULL_SYNC_END)
    assert moved[position(end) :].startswith(FULL_SYNC_END)
