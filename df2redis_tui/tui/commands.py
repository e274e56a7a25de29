"""The command palette: every action with its key, every theme, every screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from df2redis_tui.tui.actions import ACTIONS

if TYPE_CHECKING:
    from df2redis_tui.tui.application import ReplicationApp


class ActionCommands(Provider):
    """`tune: larger batches  +` and the like."""

    @property
    def ui(self) -> ReplicationApp:
        return cast("ReplicationApp", self.app)

    def _entries(self) -> Iterator[tuple[str, str, Callable[[], Awaitable[None] | None]]]:
        for action in ACTIONS:
            if not action.palette:
                continue
            why = self.ui.why_not(action.id)
            keys = self.ui.keys_of(action.id)
            name = f"{action.palette}: {action.title}" + (f"   {keys}" if keys else "")
            help_text = action.help if why is None else f"{action.help} (not now: {why})"
            yield name, help_text, partial(self.ui.run_action_id, action.id)
        for theme in self.ui.theme_names:
            yield f"theme: {theme}", "use this theme", partial(self.ui.use_theme, theme)

    async def discover(self) -> Hits:
        for name, help_text, run in self._entries():
            yield DiscoveryHit(name.replace("[", r"\["), run, text=name, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, run in self._entries():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, text=name, help=help_text)
