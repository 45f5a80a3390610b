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
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what is left", file=sys.stderr)
        sys.exit(130)


def fail(error: Exception) -> None:
    """Print the error's gist and leave."""
    message = str(error).split("Config search path:")[0]
    if error.__cause__ is not None and not isinstance(error, UserError):
        message += f"\n{str(error.__cause__).splitlines()[0]}"
    if message.startswith("Could not override"):
        message = message.splitlines()[0] + " There is no such key: see configs/ and clr/config.py."
    told = " ".join(message.split())
    print(f"{Path(sys.argv[0]).name}: {told}", file=sys.stderr)
    sys.exit(2)
