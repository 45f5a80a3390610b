"""What the doors share: a user's mistake becomes one line on standard error and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from clr.errors import UserError


def door(main: Callable[[], None]) -> None:
    """Run a `hydra.main` function."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise its errors instead of printing several lines
    try:
        main()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        fail(error)


def fail(error: Exception) -> None:
    """Print the error's gist and leave."""
    # Hydra and OmegaConf go on about types and full keys in indented lines, and repeat the advice on `+key`
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith((" ", "\t"))]
    told = "; ".join(line for line in lines if not line.startswith("To append to your config"))
    print(f"{Path(sys.argv[0]).name}: {told}", file=sys.stderr)
    sys.exit(2)
