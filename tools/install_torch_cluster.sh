#!/usr/bin/env bash
# Builds torch-cluster, the optional second opinion on the graph, for the torch that is already installed.
# Its plain install fails: pip's isolated build cannot see torch. It needs g++ and the Python headers.
#
#   tools/install_torch_cluster.sh [python]      python: the interpreter to install for (default python3)
set -euo pipefail
python=$(command -v "${1:-python3}")
version=1.6.3

if "$python" -c 'import torch_cluster' 2>/dev/null; then
    echo "torch-cluster is installed already"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install --quiet setuptools wheel scipy

# Nearly all of the build is torch's headers, parsed anew for every file; compiled once, they cost a third.
# g++ silently ignores a precompiled header made with other flags, so these are those of torch's extension builder.
flags="-g0 -DNDEBUG"
builder_flags="-fPIC -O2 -std=c++20 -fopenmp -DAT_PARALLEL_OPENMP -DWITH_PYTHON -DTORCH_API_INCLUDE_EXTENSION_H"
read -r -a includes < <("$python" - <<'PY'
import sysconfig
from torch.utils.cpp_extension import include_paths
print(*["-I" + path for path in [*include_paths(), sysconfig.get_path("include")]])
PY
)
echo '#include <torch/script.h>' >"$work/all.h"
# shellcheck disable=SC2086  # flags are words on purpose
g++ $flags $builder_flags "${includes[@]}" -x c++-header "$work/all.h" -o "$work/all.h.gch" || rm -f "$work/all.h.gch"

printf '[build_ext]\nparallel=%s\n' "$(nproc)" >"$work/build.cfg"
DIST_EXTRA_CONFIG="$work/build.cfg" FORCE_ONLY_CPU=1 CXXFLAGS="$flags -include $work/all.h" \
    "$python" -m pip install --no-build-isolation --no-cache-dir --no-deps "torch-cluster==$version"
"$python" -c 'import torch_cluster; print("torch-cluster", torch_cluster.__version__)'
