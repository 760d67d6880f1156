"""``python -m recblr.cli``."""

import sys

from recblr.cli import main

sys.exit(main())
