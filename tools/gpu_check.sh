#!/usr/bin/env bash
# Check warminit on a GPU: bash tools/gpu_check.sh. Writes gpu_check.json and gpu_check.log to $OUT.
#
#   bash tools/gpu_check.sh --pack   fetch wheels for a machine without them or a network, beforehand
#   bash tools/gpu_check.sh          check on a GPU, in at most 8 minutes; the wheels may be missing
#   bash tools/gpu_check.sh --dry    run the same at toy size on the CPU
#
# PYTHON names the interpreter that has torch (python3), OUT the folder (gpu-check).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
wheels=.gpu-wheels

if [ "${1-}" = --pack ]; then
    rm -rf "$wheels"
    # What the laboratory and the tests need beside torch, NumPy and scikit-learn: 6 MB in all.
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --constraint constraints.txt --dest "$wheels" \
        pydantic pydantic_core annotated-types typing-inspection typing-extensions \
        pytest pluggy iniconfig packaging pygments hypothesis sortedcontainers
    du -sh "$wheels"
    exit
fi

OUT=${OUT:-gpu-check}
mkdir -p "$OUT"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ "${1-}" = --dry ]; then
    export OMP_NUM_THREADS=1 # toys: two threads would wait for each other
fi
if ! "$python" -c "import pydantic, pytest, hypothesis" 2>/dev/null; then
    # A wheel is an archive of what is imported; unpacking it needs neither pip nor a network.
    for wheel in "$wheels"/*.whl; do
        [ ! -f "$wheel" ] || "$python" -m zipfile -e "$wheel" "$site"
    done
fi
export PYTHONPATH="$site:$PWD/src:$PWD:$PWD/tests/support" PYTHONUNBUFFERED=1
export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
"$python" tools/gpu_check.py --out "$OUT" "$@" 2>&1 | tee "$OUT/gpu_check.log"
