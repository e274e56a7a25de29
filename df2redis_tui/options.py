"""Every option of a run, once: flags, variables, the configuration file, `--help` and README are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from df2redis_tui.endpoints import parse_source, parse_target
from df2redis_tui.option_addresses import Address, AddressMap, Url
from df2redis_tui.option_values import (
    Choice,
    Duration,
    FilePath,
    KeyMap,
    Number,
    Percent,
    Size,
    Switch,
    Text,
    ValueKind,
)
from df2redis_tui.replication.handle import KNOB_RANGES
from df2redis_tui.settings import Endpoint, Settings

ENV_PREFIX: Final = "DF2REDIS_"
_MiB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `field` is its place in `Settings` (dots go deeper; `source.` and `target.` are endpoint parts)."""

    name: str  # the flag without its dashes
    key: str  # of the file, section.key
    field: str
    kind: ValueKind
    help: str
    example: str = ""  # TOML value shown in the file where there is no default
    default_text: str = ""  # where the default is not one value

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def env(self) -> str:
        return ENV_PREFIX + self.name.upper().replace("-", "_")

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def short_key(self) -> str:
        return self.key.partition(".")[2]

    @property
    def default(self) -> object:
        """The value without any configuration, None where there is none or where it depends."""
        value: object = _DEFAULTS
        for part in self.field.split("."):
            value = getattr(value, part, None)
        return value

    @property
    def default_shown(self) -> str:
        """The default for people, "" where there is none."""
        if self.default_text:
            return self.default_text
        default = self.default
        if default is None or default == () or self.field in {"source", "target"}:
            return ""
        return self.kind.to_toml(default).strip('"')


SECTIONS: Final[dict[str, tuple[str, str]]] = {
    "source": ("source", "The Dragonfly server; all of its databases are copied."),
    "target": ("target", "The Redis or Valkey server, or the seeds of a cluster."),
    "run": ("what to do", "How far to go, and what happens to what can't be copied."),
    "tuning": ("tuning", "Per FLOW; every one of these can also be changed while it runs."),
    "resume": ("resume and backpressure", "What happens after a lost connection or a restart."),
    "output": ("output", "What is written where."),
    "display": ("display", "The full-screen display, and the status without it."),
}

_DEFAULTS: Final = Settings(source=Endpoint(()), target=Endpoint(()))
# There is no such flag: a password on a command line can be read by every user of the machine.
PASSWORD_ENV: Final = {"source": f"{ENV_PREFIX}SOURCE_PASSWORD", "target": f"{ENV_PREFIX}TARGET_PASSWORD"}
CONFIG_ENV: Final = f"{ENV_PREFIX}CONFIG"


def _knob(name: str) -> tuple[int, int]:
    low, high = KNOB_RANGES[name]
    return int(low), int(high)


def _tls(side: str) -> tuple[Option, ...]:
    return (
        Option(
            f"{side}-password-file",
            f"{side}.password_file",
            f"{side}.password_file",
            FilePath(),
            f"file whose content is the password (or the variable {PASSWORD_ENV[side]})",
            f'"/run/secrets/{side}-password"',
        ),
        Option(
            f"{side}-ca",
            f"{side}.ca",
            f"{side}.tls.ca",
            FilePath(),
            "TLS: certificates that are trusted (PEM) instead of the system's",
            '"/etc/ssl/ca.pem"',
        ),
        Option(
            f"{side}-cert",
            f"{side}.cert",
            f"{side}.tls.cert",
            FilePath(),
            "TLS: certificate to show to the server (PEM)",
            f'"/etc/ssl/{side}-client.pem"',
        ),
        Option(
            f"{side}-key",
            f"{side}.key",
            f"{side}.tls.key",
            FilePath(),
            "TLS: key of that certificate (PEM)",
            f'"/etc/ssl/{side}-client.key"',
        ),
        Option(
            f"{side}-verify",
            f"{side}.verify",
            f"{side}.tls.verify",
            Switch(),
            "TLS: check the server's certificate; without it anyone in between can read and change the data",
            default_text="true",
        ),
        Option(
            f"{side}-server-name",
            f"{side}.server_name",
            f"{side}.tls.server_name",
            Text(r"[A-Za-z0-9._:-]{1,253}", "a host name", "NAME"),
            "TLS: name the certificate must bear, where it is not the host's",
            '"dragonfly.internal"' if side == "source" else '"redis.internal"',
        ),
    )


OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        "source",
        "source.url",
        "source",
        Url(parse_source, "dragonfly://[user:password@]host[:port]"),
        "dragonfly://[user:password@]host[:port], dragonflys:// for TLS",
        '"dragonfly://10.0.0.1:6379"',
    ),
    *_tls("source"),
    Option(
        "ignore-namespaces",
        "source.ignore_namespaces",
        "ignore_namespaces",
        Switch(),
        "copy from a source that has namespaces: what is written in them arrives as if it were the default one's",
    ),
    Option(
        "target",
        "target.url",
        "target",
        Url(parse_target, "redis://[user:password@]host[:port][/db]"),
        "redis://[user:password@]host[:port][/db], rediss:// for TLS, redis+cluster://host:port,host:port for a "
        "cluster; valkey:// is the same as redis://",
        '"redis://10.0.0.2:6379/0"',
    ),
    *_tls("target"),
    Option(
        "on-existing",
        "target.on_existing",
        "on_existing",
        Choice(("overwrite", "skip", "fail")),
        "a key that the target already holds: replace it, leave it, or end with an error",
    ),
    Option(
        "target-owned",
        "target.owned",
        "target_owned",
        Switch(),
        "everything on the target (of a cluster: in database 0) belongs to this copy: after a full sync whatever the "
        "source lacks is removed",
    ),
    Option(
        "db-policy",
        "target.db_policy",
        "db_policy",
        Choice(("fail", "skip", "merge-into-0")),
        "keys of databases above 0 when the target is a cluster",
    ),
    Option(
        "cluster-map",
        "target.cluster_map",
        "cluster_map",
        AddressMap(),
        "the address a cluster node announces = the one to reach it by; may be repeated",
        '["10.0.0.5:6379=127.0.0.1:7005"]',
    ),
    Option(
        "job",
        "run.job",
        "job",
        Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "up to 64 letters, digits, dots, dashes and underscores", "NAME"),
        "name of this copy, which its checkpoints carry",
    ),
    Option(
        "mode",
        "run.mode",
        "mode",
        Choice(("full", "snapshot")),
        "copy and then follow the writes (full), or end after the copy (snapshot)",
    ),
    Option(
        "until",
        "run.until",
        "until",
        Choice(("stopped", "caught-up")),
        "when to end by itself: never (stopped), or with success once every FLOW has been at lag 0 for 1 s (caught-up)",
    ),
    Option(
        "on-error",
        "run.on_error",
        "on_error",
        Choice(("stop", "skip")),
        "what has no equivalent on the target: end with exit code 5, or record it in the dead letters and go on",
    ),
    Option(
        "member-ttl",
        "run.member_ttl",
        "member_ttl",
        Choice(("fail", "drop")),
        "TTLs of single members or fields where the target has none: treat as an error, or keep the member for good",
    ),
    Option(
        "state-dir",
        "run.state_dir",
        "state_dir",
        FilePath("DIR"),
        "directory of the dead letters and of this copy's state",
    ),
    Option(
        "dead-letter-value-limit",
        "run.dead_letter_value_limit",
        "dead_letter_value_limit",
        Size(0, 1024 * _MiB),
        "bytes of a value kept in a dead letter",
    ),
    Option(
        "batch-size",
        "tuning.batch_size",
        "tuning.batch_size",
        Number(*_knob("batch_size")),
        "entries that go to the target together",
        "2_000",
        "2_000; cluster 20_000",
    ),
    Option(
        "max-in-flight",
        "tuning.max_in_flight",
        "tuning.max_in_flight",
        Number(*_knob("max_in_flight")),
        "batches sent and not yet confirmed",
        "50",
        "50; cluster 400 / FLOWs",
    ),
    Option(
        "flush-interval",
        "tuning.flush_interval",
        "tuning.flush_interval",
        Duration(*KNOB_RANGES["flush_interval"]),
        "longest wait of a batch that is not full",
        '"50ms"',
        "50ms; cluster 5s in the full sync",
    ),
    Option(
        "adaptive-flush",
        "tuning.adaptive_flush",
        "tuning.adaptive_flush",
        Switch(),
        "send a partial batch at once while nothing else waits",
    ),
    Option(
        "channel-entries",
        "tuning.channel_entries",
        "tuning.channel_entries",
        Number(*_knob("channel_entries")),
        "entries read and waiting, at most",
    ),
    Option(
        "channel-bytes",
        "tuning.channel_bytes",
        "tuning.channel_bytes",
        Size(*_knob("channel_bytes")),
        "bytes read and waiting, at most",
        '"64MiB"',
        "64MiB for all FLOWs together",
    ),
    Option(
        "rate-limit",
        "tuning.rate_limit",
        "tuning.rate_limit",
        Number(*_knob("rate_limit")),
        "entries per second of all FLOWs together, 0 for no limit",
    ),
    Option(
        "exactly-once",
        "resume.exactly_once",
        "exactly_once",
        Switch(),
        "write checkpoints to the target together with the data",
    ),
    Option(
        "checkpoint-prefix",
        "resume.checkpoint_prefix",
        "checkpoint_prefix",
        Text(r"[!-z|~]{1,64}", "up to 64 printable ASCII characters without spaces and braces", "PREFIX"),
        "how the names of the checkpoint keys on the target begin",
    ),
    Option(
        "on-lost-backlog",
        "resume.on_lost_backlog",
        "on_lost_backlog",
        Choice(("resync", "stop")),
        "when the source no longer holds what was missed: copy everything again, or end",
    ),
    Option(
        "min-source-keys",
        "resume.min_source_keys",
        "min_source_keys",
        Percent(),
        "a new full sync over what was copied begins only when the source has so many of those keys, 0 for any",
    ),
    Option(
        "reconnect",
        "resume.reconnect",
        "reconnect",
        Switch(),
        "connect again after a lost connection, instead of ending",
    ),
    Option(
        "backpressure",
        "resume.backpressure",
        "backpressure",
        Choice(("block", "spill")),
        "a target slower than the source: stop reading the source, or keep the excess on disk",
    ),
    Option(
        "spool-bytes",
        "resume.spool_bytes",
        "spool_bytes",
        Size(_MiB, 1 << 50),
        "disk space that spill may use",
    ),
    Option(
        "log-dir",
        "output.log_dir",
        "log_dir",
        FilePath("DIR"),
        "directory of replicate.log",
    ),
    Option(
        "log-format",
        "output.log_format",
        "log_format",
        Choice(("text", "json")),
        "format of the log, and of the status lines without a terminal",
    ),
    Option(
        "summary",
        "output.summary",
        "summary",
        FilePath(),
        "write the final report there as JSON",
        '"summary.json"',
    ),
    Option(
        "metrics",
        "output.metrics",
        "metrics",
        Address(),
        "serve Prometheus metrics at http://HOST:PORT/metrics",
        '"127.0.0.1:9121"',
    ),
    Option(
        "ui",
        "display.ui",
        "ui",
        Switch(),
        "the full-screen display; --no-ui prints a status instead",
        "true",
        "true in a terminal",
    ),
    Option(
        "status-interval",
        "display.status_interval",
        "status_interval",
        Duration(0.1, 3600.0),
        "time between two status lines without the full-screen display",
    ),
    Option(
        "refresh",
        "display.refresh",
        "refresh",
        Duration(0.1, 60.0),
        "time between two looks at the engine",
    ),
    Option(
        "theme",
        "display.theme",
        "theme",
        Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the name of a theme", "NAME"),
        "colours of the display",
        '"dark"',
    ),
    Option(
        "theme-dir",
        "display.theme_dir",
        "theme_dir",
        FilePath("DIR"),
        "directory with more themes",
        '"~/my-themes"',
    ),
    Option(
        "keys",
        "display.keys",
        "keys",
        KeyMap(),
        "keys of an action of the display; may be repeated",
        '{ help = "f1,question_mark" }',
    ),
    Option(
        "read-only",
        "display.read_only",
        "read_only",
        Switch(),
        "show only: no key changes anything but the view",
    ),
    Option(
        "mouse",
        "display.mouse",
        "mouse",
        Switch(),
        "let the display use the mouse; without it the terminal selects text as ever",
    ),
    Option(
        "glyphs",
        "display.glyphs",
        "glyphs",
        Choice(("auto", "unicode", "block", "ascii")),
        "characters to draw with",
    ),
    Option(
        "color",
        "display.color",
        "color",
        Choice(("auto", "truecolor", "256", "16", "none")),
        "colours of the terminal",
    ),
    Option(
        "low-bandwidth",
        "display.low_bandwidth",
        "low_bandwidth",
        Switch(),
        "draw less and less often, for slow connections",
    ),
    Option(
        "screenshot-dir",
        "display.screenshot_dir",
        "screenshot_dir",
        FilePath("DIR"),
        "where pictures of the display go",
    ),
)

BY_NAME: Final = {option.name: option for option in OPTIONS}
BY_KEY: Final = {option.key: option for option in OPTIONS}
BY_ENV: Final = {option.env: option for option in OPTIONS}


def options_of(section: str) -> tuple[Option, ...]:
    """The options of one section, in the order of the table."""
    return tuple(option for option in OPTIONS if option.section == section)
