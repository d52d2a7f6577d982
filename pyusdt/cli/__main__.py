import sys

from pyusdt.cli import main

sys.exit(main())
