"""The application: looks at the engine twice a second, draws what has changed, passes keys on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.app import App, SuspendNotSupported
from textual.binding import BindingsMap
from textual.filter import Monochrome, NoColor
from textual.timer import Timer

from df2redis_tui.replication.handle import EngineHandle
from df2redis_tui.settings import Settings
from df2redis_tui.suspending import Suspension
from df2redis_tui.telemetry.glyphs import choose
from df2redis_tui.tui.actions import BY_ID, disabled_reason
from df2redis_tui.tui.appearance import choose_console, choose_theme
from df2redis_tui.tui.commands import ActionCommands
from df2redis_tui.tui.handlers import HANDLERS
from df2redis_tui.tui.keymap import resolve_keys, shown
from df2redis_tui.tui.roles import COMPONENTS
from df2redis_tui.tui.screens.frame import Frame
from df2redis_tui.tui.screens.prompt import DrainDialog
from df2redis_tui.tui.state import UiState
from df2redis_tui.tui.themes import Loaded, css_variables, load_themes
from df2redis_tui.tui.tuning import Tuner
from df2redis_tui.watching import STEP, Signals

if TYPE_CHECKING:
    from textual.screen import Screen

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
SUSPEND_STEP = 0.1  # seconds between two looks at whether Ctrl-Z was pressed
NOTE_SECONDS = 12.0  # the last change stands in the tuning bar for so long


class ReplicationApp(App[None], inherit_bindings=False):
    """One engine, one frame. `sampling` False leaves the timer out (for pictures and tests)."""

    CSS_PATH = "app.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    COMMANDS = {ActionCommands}  # noqa: RUF012
    ENABLE_SELECT_AUTO_SCROLL = False
    TITLE = "df2redis-tui"

    def __init__(
        self, engine: EngineHandle, settings: Settings, *, sampling: bool = True, loaded: Loaded | None = None
    ) -> None:
        self._loaded = loaded or load_themes(settings.theme_dir)
        self._styles_of_roles: dict[str, Style | None] = {}
        super().__init__(css_path=["app.tcss", *map(str, self._loaded.styles)])
        self.engine = engine
        self.suspension: Suspension = Suspension(engine)
        self.settings = settings
        self.keymap = resolve_keys(settings.keys)
        self.glyphs = choose(settings.glyphs)
        snap = engine.snapshot()
        self.state: UiState = UiState(snap, snap)
        self.tuner = Tuner(engine, self._note)
        self.tuning_timer: Timer | None = None
        self.stopping = False
        self.signals: Signals | None = None  # those of this process, where it has handlers for them
        self.crash: BaseException | None = None
        self.start_error: BaseException | None = None
        self._sampling = sampling
        self._suspending = False
        self._trail: list[str] = []
        self._ended = False
        self._noted = 0.0
        self.animation_level = "none"
        self._bind_keys()
        self._choose_colors()

    def _bind_keys(self) -> None:
        self._bindings = BindingsMap()
        for action_id, keys in self.keymap.items():
            for key in keys:
                self.bind(key, f"act('{action_id}')", show=False)

    def _choose_colors(self) -> None:
        self.console = choose_console(self.console, self.settings)
        if self.no_color:  # Textual's own choice for a theme without ANSI colours is grey, which is a colour still
            self._filters = [f for f in self._filters if not isinstance(f, Monochrome)]
            self._filters.append(NoColor())
        for theme in self._loaded.themes.values():
            self.register_theme(theme)
        self.theme, self._theme_problem = choose_theme(
            self.settings, self.available_themes, self._loaded, self.console, self.no_color
        )

    # what Textual asks for

    def get_default_screen(self) -> Screen[None]:
        return Frame()

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **css_variables(self.current_theme)}

    def on_mount(self) -> None:
        for error in filter(None, (*self._loaded.errors, self._theme_problem)):
            self.say(error, error=True)
        self.theme_changed_signal.subscribe(self, lambda theme: self.call_after_refresh(self._restyle))
        if self._sampling:
            every = max(self.settings.refresh, 1.0) if self.settings.low_bandwidth else self.settings.refresh
            self.set_interval(every, self.sample)
            self.set_interval(STEP, self._follow_signals)
            self.run_worker(self._supervise(), name="engine", exit_on_error=False)
            if threading.current_thread() is threading.main_thread():
                self.suspension.install()  # the driver has put its own handler there, which stops at once
            self.set_interval(SUSPEND_STEP, self._suspend_if_asked)
        self.call_after_refresh(self.redraw)

    async def _supervise(self) -> None:
        """Start the engine, which runs on a thread of its own, and wait for its end."""
        try:
            self.engine.start()
        except Exception as error:
            self.start_error = error
            self.exit()
            return
        while not self.engine.done:
            await asyncio.sleep(0.5)
        self.sample()
        await self.run_ended()

    def _follow_signals(self) -> None:
        """Show what a signal has led to."""
        if self.signals is None or self._exit:
            return
        if self.signals.detached:
            self.exit()
        elif self.signals.stopped_by is not None:
            self.drain()

    async def _suspend_if_asked(self) -> None:
        """Give the terminal back and stop, once the source has been let go."""
        if not self.suspension.asked or self._suspending:
            return
        self._suspending = True
        try:
            await asyncio.to_thread(self.suspension.let_go)
            with contextlib.suppress(SuspendNotSupported), self.suspend():
                self.suspension.stop(group=True)
            self.suspension.go_on()
        finally:
            self._suspending = False

    def _handle_exception(self, error: Exception) -> None:
        self.crash = error
        log.error("the display failed", exc_info=error)
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        """The log has the traceback; the terminal gets one line, from `app.run`."""
        self._exit_renderables.clear()

    # drawing

    @property
    def frame(self) -> Frame:
        return self.screen_stack[0]  # type: ignore[return-value]

    @property
    def screen_name(self) -> str:
        """The page displayed now."""
        page = getattr(self.frame, "page", None)
        return page.page if page is not None else "overview"

    @property
    def theme_names(self) -> list[str]:
        return list(self._loaded.themes)

    def role_style(self, role: str) -> Style | None:
        """The style of a role in the theme in force."""
        if not role:
            return None
        try:
            return self._styles_of_roles[role]
        except KeyError:
            style = self.get_component_styles(f"role--{role}").partial_rich_style
            self._styles_of_roles[role] = style
            return style

    def _restyle(self) -> None:
        self._styles_of_roles.clear()
        for screen in self.screen_stack:
            screen.refresh()
            for widget in screen.query("*"):
                widget.refresh()

    def sample(self) -> None:
        """Look at the engine and draw what has changed."""
        self.state.take(self.engine.snapshot())
        if self.state.note and time.monotonic() - self._noted > NOTE_SECONDS:
            self.state.note = ""
        self.redraw()

    def redraw(self) -> None:
        if not self.is_running or not self.screen_stack or not self.frame.ready:
            return
        with self.batch_update():
            self.frame.redraw()
            if isinstance(self.screen, DrainDialog):
                self.screen.redraw()

    def _note(self, text: str) -> None:
        self.state.note = text
        self._noted = time.monotonic()

    def say(self, text: str, *, error: bool = False) -> None:
        """A short message over the screen."""
        self.notify(text, severity="error" if error else "information", timeout=8 if error else 3, markup=False)

    def log_action(self, text: str) -> None:
        log.warning(text)

    def use_theme(self, name: str) -> None:
        self.theme = name
        self.say(f"theme: {name}")

    # actions

    def key_of(self, action_id: str) -> str:
        """The first key of an action, as people read it."""
        return next((shown(key) for key in self.keymap.get(action_id, ())), "")

    def keys_of(self, action_id: str) -> str:
        return ", ".join(shown(key) for key in self.keymap.get(action_id, ()))

    def why_not(self, action_id: str, anywhere: bool = False) -> str | None:
        """Why an action can't be done now; `anywhere` leaves the page out of it."""
        action = BY_ID[action_id]
        page = action.screens[0] if anywhere and action.screens else self.screen_name
        return disabled_reason(action, self.state.live, page, self.settings.read_only)

    async def action_act(self, action_id: str) -> None:
        await self.run_action_id(action_id)

    async def action_quit(self) -> None:
        await self.run_action_id("quit")

    async def run_action_id(self, action_id: str) -> None:
        """Do what a key, a click or the palette asks for, or say why not."""
        why = self.why_not(action_id)
        if why is not None:
            self.say(f"{BY_ID[action_id].title}: {why}")
            return
        result = HANDLERS[action_id](self)
        if inspect.isawaitable(result):
            await result

    async def go(self, page: str) -> None:
        if self.screen_name != page:
            self._trail.append(self.screen_name)
            await self.frame.go(page)

    async def back(self) -> None:
        await self.frame.go(self._trail.pop() if self._trail else "overview")

    def quit(self) -> None:
        """Drain and leave; the second time leave now; at once when the run has ended."""
        if self.engine.done:
            self.exit()
        elif self.stopping:
            self.engine.request_stop(0)
            self.set_timer(5.0, self.exit)
        else:
            self.log_action("the operator ends the run: draining")
            if self.signals is not None:
                self.signals.asked_to_stop()
            self.engine.request_stop(DRAIN_SECONDS)
            self.drain()

    def drain(self) -> None:
        """Show what is left; the end of the engine ends the application."""
        if not self.stopping:
            self.stopping = True
            self.push_screen(DrainDialog())
            self.sample()

    async def run_ended(self) -> None:
        """The engine has ended: leave when that was asked for, else show the report."""
        if self._ended:
            return
        self._ended = True
        if self.stopping:
            self.exit()
        else:
            self.state.frozen = False
            self.sample()
            await self.go("report")
