#!/usr/bin/env bash
# Open3D and the tools around it need a few libraries that a bare Debian or Ubuntu lacks.
# As root they are installed; otherwise the line to run is printed and the script stops.
set -euo pipefail

missing=()
need() { # need LIBRARY PACKAGE
    if ! ldconfig -p | grep -q "$1"; then missing+=("$2"); fi
}
if ! command -v ldconfig >/dev/null; then exit 0; fi # not Linux: nothing to add
need libusb-1.0.so.0 libusb-1.0-0
need libX11.so.6 libx11-6
need libGL.so.1 libgl1
need libEGL.so.1 libegl1
need libgomp.so.1 libgomp1
if [ -z "$(find /usr/lib -name swrast_dri.so -o -name 'libgallium*.so' 2>/dev/null | head -1)" ]; then
    missing+=(libgl1-mesa-dri)
fi

if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
else
    echo "These system libraries are missing. Run this line, then try again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
