"""`python -m df2redis_tui`."""

from df2redis_tui.cli import main

raise SystemExit(main())
