import sys

from crash.campaign import main

sys.exit(main())
