"""An engine that copies nothing but behaves like one: phases over time, moving figures, tuning, pause, drain."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time

from df2redis_tui.replication.handle import KNOB_RANGES, TuneChange, TuneRequest
from df2redis_tui.telemetry.snapshot import EngineSnapshot, EventRecord, Health, Knobs, Phase, Verdict

from .fake_snapshot import KNOBS, START, ended, make_snapshot


class FakeEngine:
    """`script` is [(phase, seconds)]; the last phase lasts. `moving` False gives the same figures for ever.

    `busy` burns a whole core in the engine's thread, as a full sync does; `stop_takes` is how long a drain lasts;
    a `deaf` one never ends.
    """

    def __init__(
        self,
        flows: int = 8,
        *,
        nodes: int = 3,
        script: tuple[tuple[Phase, float], ...] = ((Phase.STABLE_SYNC, 1e9),),
        moving: bool = True,
        start_at: float = 60.0,
        loaded: tuple[int, ...] = (2,),
        stop_takes: float = 0.3,
        busy: bool = False,
        deaf: bool = False,
        end: tuple[Phase, int, str] = (Phase.DONE, 0, ""),
        every: float = 0.1,
    ) -> None:
        self.flows = flows
        self.nodes = nodes
        self.script = script
        self.moving = moving
        self.start_at = start_at
        self.loaded = loaded
        self.stop_takes = stop_takes
        self.busy = busy
        self.deaf = deaf
        self.end = end
        self.every = every
        self.knobs = KNOBS
        self.flow_knobs: dict[int, Knobs] = {}
        self.paused = ""
        self.stops: list[float | None] = []
        self.requests: list[TuneRequest] = []
        self.extra_events: list[EventRecord] = []
        self.started = False
        self.attached = True
        self.beats = 0
        self.changes: dict[str, object] = {}
        self._stop_at: float | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._seq = 0
        self._snap = self._build(start_at)
        self._thread: threading.Thread | None = None

    # what a front end uses

    def start(self) -> None:
        self.started = True
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def snapshot(self) -> EngineSnapshot:
        return self._snap

    def tune(self, request: TuneRequest) -> list[TuneChange]:
        self.requests.append(request)
        effect = {"batch_size": "from the next batch", "flush_interval": "from the next batch"}
        out = []
        with self._lock:
            for knob, (low, high) in KNOB_RANGES.items():
                wanted = getattr(request, knob)
                if wanted is None:
                    continue
                value = type(getattr(KNOBS, knob))(min(high, max(low, wanted)))
                before = self.flow_knobs.get(request.flow, self.knobs) if request.flow is not None else self.knobs
                after = dataclasses.replace(before, **{knob: value})
                if request.flow is None:
                    self.knobs = after
                    self.flow_knobs = {f: dataclasses.replace(k, **{knob: value}) for f, k in self.flow_knobs.items()}
                else:
                    self.flow_knobs[request.flow] = after
                if getattr(before, knob) != value:
                    out.append(
                        TuneChange(knob, request.flow, getattr(before, knob), value, effect.get(knob, "at once"))
                    )
        for change in out:
            self._event("info", "tuning", change.flow, str(change))
        self.refresh()
        return out

    def pause(self, reason: str = "by operator") -> None:
        self.paused = reason
        self.refresh()

    def resume(self) -> None:
        self.paused = ""
        self.refresh()

    def detach_source(self, timeout: float) -> bool:
        self.attached = False
        return True

    def attach_source(self) -> None:
        self.attached = True

    def request_stop(self, deadline: float | None = 30.0) -> None:
        self.stops.append(deadline)
        if self.deaf:
            return
        takes = self.stop_takes if deadline is None else min(self.stop_takes, deadline)
        at = time.monotonic() + takes
        self._stop_at = at if self._stop_at is None else min(at, self._stop_at)

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._done.wait(timeout)

    # what a test uses

    def refresh(self) -> None:
        """Build a snapshot now."""
        with self._lock:
            self._snap = self._build(self._clock())

    def finish(self) -> None:
        """End the run as `end` says."""
        phase, code, failure = self.end
        verdict = {0: Verdict.COMPLETE, 5: Verdict.INCOMPLETE, 6: Verdict.INTERRUPTED, 7: Verdict.UNCONFIRMED}
        outcome = ended(verdict.get(code, Verdict.FAILED), failure)
        self.changes |= {"exit_code": code, "failure": failure, "outcome": outcome}
        self.script = ((phase, 1e9),)
        self.paused = ""
        self._stop_at = None
        self.refresh()
        self._done.set()

    # inside

    def _clock(self) -> float:
        return self.start_at + (time.monotonic() - self._began if self.moving and self.started else 0.0)

    def _phase(self, t: float) -> Phase:
        left = t - self.start_at
        for phase, seconds in self.script:
            if left < seconds:
                return phase
            left -= seconds
        return self.script[-1][0]

    def _event(self, level: str, kind: str, flow: int | None, text: str) -> None:
        self.extra_events.append(
            EventRecord(1000 + len(self.extra_events), START + self._clock(), level, kind, flow, text)
        )

    def _build(self, t: float) -> EngineSnapshot:
        self._seq += 1
        phase = self._phase(t)
        reason = ""
        if self._stop_at is not None:
            phase, reason = Phase.DRAINING, "stop requested"
        elif self.paused:
            phase, reason = Phase.PAUSED, self.paused
        snap = make_snapshot(
            t,
            seq=self._seq,
            flows=self.flows,
            nodes=self.nodes,
            phase=phase,
            knobs=self.knobs,
            flow_knobs=self.flow_knobs,
            loaded=self.loaded,
            reason=reason,
        )
        changes = dict(self.changes)
        if self.extra_events:
            changes["events"] = (*snap.events, *self.extra_events)
        if phase is Phase.FAILED:
            changes.setdefault("health", Health.CRITICAL)
        return dataclasses.replace(snap, **changes) if changes else snap  # type: ignore[arg-type]

    def _run(self) -> None:
        due = 0.0
        with contextlib.suppress(OSError), open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
            name.write("engine")  # so that a measurement can tell the threads apart
        while not self._done.is_set():
            self.beats += 1
            now = time.monotonic()
            if self._stop_at is not None and now >= self._stop_at:
                self.finish()
                return
            if now >= due:
                due = now + self.every
                self.refresh()
                if self.end[0] in (self._snap.phase,) and self.script[-1][0] is self.end[0]:
                    self.finish()
                    return
            if self.busy:
                sum(i * i for i in range(2000))
            else:
                time.sleep(min(self.every, 0.05))
