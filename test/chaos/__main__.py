"""The command; `--help` lists its options."""

import sys

from chaos.campaign import main

sys.exit(main())
