"""Lets `python -m osvlab.cli` do what `osvlab` does."""

import sys

from osvlab.cli import main

sys.exit(main())
