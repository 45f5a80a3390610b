#!/usr/bin/env bash
# Makes .venv with the pinned requirements, and with FFCV where it can be compiled. Called by make.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PACKAGES="libopencv-dev libturbojpeg0-dev pkg-config g++ python3-dev python3-venv"

headers() { command -v g++ >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists opencv4 libturbojpeg; }
venv_works() { command -v "$PYTHON" >/dev/null && "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }

if ! headers || ! venv_works; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if command -v apt-get >/dev/null && { [ -z "$as_root" ] || $as_root true 2>/dev/null; }; then
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq
        # shellcheck disable=SC2086
        $as_root apt-get install -y -qq $PACKAGES >/dev/null
    else
        echo "setup: FFCV and the virtual environment need these packages; install them with:" >&2
        echo "    sudo apt-get install $PACKAGES" >&2
        venv_works || exit 2
        echo "setup: going on without FFCV; torch's loader gives the same batches" >&2
    fi
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed; name one with make PYTHON=python3.12 ..." >&2
    exit 2
}
"$PYTHON" -m venv --clear .venv
.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
if headers; then
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-ffcv.txt ||
        echo "setup: FFCV did not compile; going on without it, torch's loader gives the same batches" >&2
fi
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
touch .venv/ready
