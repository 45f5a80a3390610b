#!/usr/bin/env bash
# Create .venv with the pinned requirements, and with FFCV if it can be compiled. Called by make.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PACKAGES="libopencv-dev libturbojpeg0-dev pkg-config g++ python3-dev python3-venv"

has_ffcv_libraries() {
    command -v g++ >/dev/null && command -v pkg-config >/dev/null &&
        pkg-config --exists opencv4 libturbojpeg
}

has_venv() {
    command -v "$PYTHON" >/dev/null && "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null
}

# System packages, with apt if that is possible without a password
if ! has_ffcv_libraries || ! has_venv; then
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
        has_venv || exit 2
        echo "setup: continuing without FFCV; torch's loader gives the same batches" >&2
    fi
fi

# Python packages
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is required; choose one with make PYTHON=python3.12 ..." >&2
    exit 2
}
"$PYTHON" -m venv --clear .venv
pip_install() { .venv/bin/pip install --quiet --disable-pip-version-check "$@"; }
pip_install -r requirements.txt
if has_ffcv_libraries; then
    pip_install -r requirements.txt -r requirements-ffcv.txt ||
        echo "setup: FFCV did not compile; continuing without it, torch's loader gives the same" \
            "batches" >&2
fi
pip_install --no-deps -e .
touch .venv/ready
