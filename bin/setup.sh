# Sourced by demo, start and test: the virtual environment with exactly what requirements.txt names. POSIX sh, python3 only.

set -eu
cd "$(dirname "$0")/.."

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

if ! cmp -s requirements.txt .venv/requirements.installed; then
    python=$(find_python)
    [ -n "$python" ] || stop "Orderflow needs Python 3.11 or newer. On Debian: sudo apt-get install python3 python3-venv"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "Python's venv is missing. On Debian: sudo apt-get install python3-venv"
    echo "Setting up .venv with requirements.txt (once; about a minute) …"
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt ||
        stop "pip could not install requirements.txt: see above. Is a package index within reach?"
    cp requirements.txt .venv/requirements.installed
fi
