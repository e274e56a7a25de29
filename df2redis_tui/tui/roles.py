"""The roles a view model gives its texts, and how the application turns them into styles.

The styles are component classes of the application (`role--<name>` in app.tcss), worked out once per theme.
"""

from __future__ import annotations

from typing import Final

ROLES: Final = (
    "accent",
    "badge",
    "banner-freeze",
    "banner-pause",
    "bar-batch",
    "bar-crit",
    "bar-node",
    "bar-ok",
    "bar-progress",
    "bar-warn",
    "border",
    "border-crit",
    "border-focus",
    "border-warn",
    "changed",
    "chart-body",
    "crit",
    "cursor",
    "dim",
    "header",
    "header-sorted",
    "heading",
    "key",
    "key-off",
    "label",
    "ok",
    "phase-failed",
    "phase-full",
    "phase-paused",
    "phase-stable",
    "phase-wait",
    "pill",
    "ready",
    "scope-all",
    "scope-one",
    "selected",
    "spark",
    "strong",
    "title",
    "track",
    "value",
    "warn",
)
COMPONENTS: Final = frozenset(f"role--{role}" for role in ROLES)
