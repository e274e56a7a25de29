"""What each action of the table does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from df2redis_tui.files import write_output
from df2redis_tui.masking import masked
from df2redis_tui.telemetry.glyphs import SETS
from df2redis_tui.tui.screens.page import Page
from df2redis_tui.tui.screens.prompt import FilterPrompt, ValuePrompt
from df2redis_tui.tui.state import RecordFilter, next_flow_filter
from df2redis_tui.tui.widgets.flows import FlowGrid

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp

Handler = Callable[["ReplicationApp"], "Awaitable[None] | None"]

COALESCE = 0.2  # seconds in which repeated tuning keys become one change
CLIPBOARD_LIMIT = 74_000  # characters; terminals drop longer OSC 52 sequences


def _tune(knob: str, up: bool) -> Handler:
    def press(ui: ReplicationApp) -> None:
        ui.tuner.press(ui.state.live, knob, up, ui.state.scope)
        if ui.tuning_timer is not None:
            ui.tuning_timer.stop()
        ui.tuning_timer = ui.set_timer(COALESCE, lambda: apply_tuning(ui))
        ui.redraw()

    return press


def apply_tuning(ui: ReplicationApp) -> None:
    """Ask the engine for what has been pressed until now."""
    ui.tuner.apply(ui.state.live)
    ui.sample()


def _adaptive(ui: ReplicationApp) -> None:
    from df2redis_tui.telemetry.view import knobs_of

    apply_tuning(ui)
    now = knobs_of(ui.state.live, ui.state.scope).adaptive_flush
    ui.tuner.last_knob = "adaptive_flush"
    ui.tuner.set(ui.state.live, {"adaptive_flush": not now}, ui.state.scope)
    ui.sample()


def _exact(ui: ReplicationApp) -> None:
    apply_tuning(ui)
    scope = ui.state.scope

    def chosen(result: tuple[str, float] | None) -> None:
        if result is not None:
            ui.tuner.last_knob = result[0]
            ui.tuner.set(ui.state.live, {result[0]: result[1]}, scope)
            ui.sample()

    ui.push_screen(ValuePrompt(ui.tuner.last_knob, scope), chosen)


def _scope(ui: ReplicationApp) -> None:
    apply_tuning(ui)
    state = ui.state
    state.scope = state.selected if state.scope is None else None
    state.note = ""
    ui.redraw()


def _undo(ui: ReplicationApp) -> None:
    ui.tuner.undo(ui.state.live)
    ui.sample()


def _reset(ui: ReplicationApp) -> None:
    ui.tuner.reset(ui.state.live, ui.state.scope)
    ui.sample()


def _pause(ui: ReplicationApp) -> None:
    if ui.state.live.paused:
        ui.engine.resume()
        ui.log_action("engine resumed by the operator")
    else:
        ui.engine.pause("by operator")
        ui.log_action("engine paused by the operator")
    ui.sample()


def _freeze(ui: ReplicationApp) -> None:
    ui.state.frozen = not ui.state.frozen
    ui.sample()


def _go(page: str) -> Handler:
    async def go(ui: ReplicationApp) -> None:
        await ui.go(page)

    return go


def _select(by: int) -> Handler:
    def select(ui: ReplicationApp) -> None:
        ui.state.move(by)
        if ui.state.scope is not None:
            apply_tuning(ui)
            ui.state.scope = ui.state.selected
        if ui.screen_name == "flow":
            ui.frame.page.selected_changed()  # type: ignore[attr-defined]
        ui.redraw()

    return select


def _move(where: str) -> Handler:
    def move(ui: ReplicationApp) -> None:
        ui.frame.page.move(where)

    return move


def _table(ui: ReplicationApp) -> None:
    ui.state.table = not ui.state.tabled
    ui.redraw()
    ui.frame.query(FlowGrid).first()


def _sort(ui: ReplicationApp) -> None:
    if ui.state.tabled:
        ui.state.next_sort()
        ui.redraw()
    else:
        ui.say("sorting needs the table")


def _sort_reverse(ui: ReplicationApp) -> None:
    ui.state.descending = not ui.state.descending
    ui.redraw()


def _theme(ui: ReplicationApp) -> None:
    names = ui.theme_names
    at = names.index(ui.theme) if ui.theme in names else -1
    ui.use_theme(names[(at + 1) % len(names)])


def _glyphs(ui: ReplicationApp) -> None:
    names = list(SETS)
    ui.glyphs = SETS[names[(names.index(ui.glyphs.name) + 1) % len(names)]]
    ui.say(f"characters: {ui.glyphs.name}")
    ui.redraw()


def _copy(ui: ReplicationApp) -> None:
    text = ui.frame.page.copy_text()
    if not text:
        ui.say("there is nothing to copy")
        return
    ui.copy_to_clipboard(text[:CLIPBOARD_LIMIT])
    lines = text.count("\n") + 1
    what = f"{lines} lines" if lines > 1 else text[:40] + ("…" if len(text) > 40 else "")
    ui.say(f"copied: {what}")


def _screenshot(ui: ReplicationApp) -> None:
    directory = ui.settings.screenshot_dir.expanduser()
    path = directory / f"df2redis-tui_{time.strftime('%Y-%m-%dT%H-%M-%S')}.svg"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_output(path, masked(ui.export_screenshot(title="df2redis-tui")).encode())
    except OSError as error:
        ui.say(f"the screenshot can't be written to {directory}: {error.strerror}", error=True)
    else:
        ui.say(f"screenshot: {path}")


def _palette(ui: ReplicationApp) -> None:
    ui.action_command_palette()


def _filter(change: Callable[[RecordFilter, ReplicationApp], RecordFilter]) -> Handler:
    def apply(ui: ReplicationApp) -> None:
        log = _page(ui).record_log()
        if log is not None:
            log.set_filter(change(log.filter, ui))

    return apply


def _page(ui: ReplicationApp) -> Page:
    return ui.frame.page


def _filter_text(ui: ReplicationApp) -> None:
    log = _page(ui).record_log()
    if log is None:
        return

    def typed(text: str | None) -> None:
        if text is not None:
            log.set_filter(replace(log.filter, text=text))

    ui.push_screen(FilterPrompt(log.filter.text), typed)


HANDLERS: dict[str, Handler] = {
    "tune-batch-up": _tune("batch_size", True),
    "tune-batch-down": _tune("batch_size", False),
    "tune-in-flight-up": _tune("max_in_flight", True),
    "tune-in-flight-down": _tune("max_in_flight", False),
    "tune-flush-up": _tune("flush_interval", True),
    "tune-flush-down": _tune("flush_interval", False),
    "tune-channel-up": _tune("channel", True),
    "tune-channel-down": _tune("channel", False),
    "tune-rate-up": _tune("rate_limit", True),
    "tune-rate-down": _tune("rate_limit", False),
    "tune-adaptive": _adaptive,
    "tune-exact": _exact,
    "tune-scope": _scope,
    "tune-undo": _undo,
    "tune-reset": _reset,
    "pause": _pause,
    "quit": lambda ui: ui.quit(),
    "suspend": lambda ui: ui.suspension.ask(),
    "overview": _go("overview"),
    "batches": _go("batches"),
    "errors": _go("errors"),
    "target": _go("target"),
    "report": _go("report"),
    "flow": _go("flow"),
    "help": _go("help"),
    "back": lambda ui: ui.back(),
    "next-flow": _select(1),
    "previous-flow": _select(-1),
    "down": _move("down"),
    "up": _move("up"),
    "page-down": _move("page-down"),
    "page-up": _move("page-up"),
    "first": _move("first"),
    "last": _move("last"),
    "freeze": _freeze,
    "table": _table,
    "sort": _sort,
    "sort-reverse": _sort_reverse,
    "theme": _theme,
    "glyphs": _glyphs,
    "copy": _copy,
    "screenshot": _screenshot,
    "palette": _palette,
    "filter-text": _filter_text,
    "filter-flow": _filter(
        lambda f, ui: replace(f, flow=next_flow_filter(f.flow, [x.flow for x in ui.state.live.flows]))
    ),
    "filter-slow": _filter(lambda f, ui: replace(f, slow=not f.slow)),
    "filter-failed": _filter(lambda f, ui: replace(f, failed=not f.failed)),
    "filter-clear": _filter(lambda f, ui: RecordFilter()),
}
