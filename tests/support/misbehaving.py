"""The program with something wrong inside: `python -m tests.support.misbehaving KIND ARGUMENTS...`.

KIND says what happens once the file `go` is there in the working directory: `loop` hangs the engine's loop, `task` one
that listens to no cancellation, `cancel` cancels the engine's tasks as a defect would. The deadlines are short.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio

from df2redis_tui import cli, watching
from df2redis_tui.replication import engine as engine_module
from df2redis_tui.replication.engine import Engine

DRAIN, GRACE = 2.0, 1.0
GO = Path("go")


async def _misbehave(engine: Engine, kind: str) -> None:
    while not GO.exists():
        await anyio.sleep(0.01)
    GO.rename("gone")
    if kind == "loop":
        time.sleep(10_000)
    elif kind == "task":
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()
    else:
        raise ZeroDivisionError("injected")


def main() -> int:
    kind, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    watching.DRAIN_SECONDS, watching.GRACE = DRAIN, GRACE
    run = engine_module.run

    async def beside(job: object) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_misbehave, job, kind)
            await run(job)  # type: ignore[arg-type]
            tasks.cancel_scope.cancel()

    engine_module.run = beside  # type: ignore[assignment]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
