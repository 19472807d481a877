"""python -m stele."""

from stele.cli import main

raise SystemExit(main())
