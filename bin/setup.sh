# Sourced by the scripts in bin/: creates the virtual environment $VENV, by default .venv, from requirements.txt.
# POSIX sh; needs only python3.

set -eu
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}

stop() {
    echo "$*" >&2
    exit 1
}

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

if ! cmp -s requirements.txt "$venv/requirements.installed"; then
    python=$(find_python)
    [ -n "$python" ] || stop "Python 3.11 or newer was not found. Install it, or set PYTHON to its path. On Debian: sudo apt-get install python3 python3-venv"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "The Python module venv is missing. On Debian: sudo apt-get install python3-venv"
    echo "Creating $venv from requirements.txt; the first run takes about 1 minute …"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt ||
        stop "pip could not install requirements.txt; its error is shown above. Check the connection to the package index."
    cp requirements.txt "$venv/requirements.installed"
fi
