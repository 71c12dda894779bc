#!/usr/bin/env bash
# Make .venv with the locked packages and see that the system packages are there.
#
# Safe to run at any time and any number of times: when nothing has changed it returns at once, without a network;
# after an interrupt it takes up where it stopped. As root on Debian and Ubuntu it installs missing system packages;
# otherwise it prints the line that does.
#
#   PYTHON=/path/to/python3.12 scripts/setup.sh    uses that Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly STAMP=.venv/.yolotrt-setup
readonly REQUIRED_SYSTEM="libgl1 libglib2.0-0"
readonly NEEDED_GIB=12
# Large wheels over slow lines: uv gives up after 30 seconds without data.
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"
# A folder named like a project of the caller's must not win over this one.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX

say() { printf '%s\n' "$*"; }
fail() {
  printf 'Set-up stopped: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

suitable() { # is this a Python 3.11, 3.12 or 3.13 that starts?
  "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

# What the environment was made from; and where, because scripts in it name the folder.
fingerprint() {
  pwd -P
  .venv/bin/python - requirements.lock pyproject.toml scripts/setup.sh <<'PY'
import hashlib, sys
print(sys.version.split()[0], *(hashlib.sha256(open(name, "rb").read()).hexdigest() for name in sys.argv[1:]))
PY
}

up_to_date() {
  [ -f "$STAMP" ] && suitable .venv/bin/python && [ "$(fingerprint)" = "$(cat "$STAMP")" ]
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_line() { say "sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"; }

apt_install() {
  say "Installing system packages: $*"
  DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null 2>&1 || true # an old list may still do
  # shellcheck disable=SC2086  # several names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $* >/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.12 python3.13 python3.11 python3 python; do
    if suitable "$candidate"; then
      say "$candidate"
      return
    fi
  done
}

has_uv() { uv --version >/dev/null 2>&1; }

make_venv() {
  # An environment that does not start, is of an unsuitable Python, or was made in another folder, which its
  # programs still name: begin anew.
  if [ -e .venv ]; then
    if suitable .venv/bin/python && { [ ! -f "$STAMP" ] || [ "$(head -n 1 "$STAMP")" = "$(pwd -P)" ]; }; then return; fi
    [ -f .venv/pyvenv.cfg ] || [ -z "$(ls -A .venv 2>/dev/null)" ] ||
      fail ".venv is there but is not a Python environment." "Move it away and run again."
    rm -rf .venv
  fi
  local python
  python="$(find_python)"
  if [ -z "$python" ]; then
    if has_uv && uv venv --quiet --python '>=3.11,<3.14' .venv; then return; fi
    fail "Python 3.11, 3.12 or 3.13 is needed." \
      "found: $(python3 --version 2>&1 || true)" \
      "Debian 12+, Ubuntu 24.04+: sudo apt-get install -y python3 python3-venv" \
      "elsewhere: install one and run: PYTHON=/path/to/python3.12 make setup"
  fi
  say "Making .venv with $("$python" --version)"
  if has_uv; then
    uv venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv && return
    rm -rf .venv
  fi
  if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    "$python" -m venv .venv && return
    rm -rf .venv
    fail "$python could not make an environment."
  fi
  # Debian splits venv off from Python.
  local package
  package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  if may_install && apt_install "$package" && "$python" -m venv .venv; then return; fi
  rm -rf .venv
  fail "$python has no venv module." "$(apt_line "$package")"
}

# Leaves the command in UV: uv from the PATH, or uv inside .venv.
find_uv() {
  UV=uv
  if has_uv; then return; fi
  UV=.venv/bin/uv
  if "$UV" --version >/dev/null 2>&1; then return; fi
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip --upgrade >/dev/null 2>&1 ||
    fail ".venv has no pip to install uv with." "Remove .venv and run again."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check uv ||
    fail "uv could not be installed." "Is there a network? A proxy is set with HTTPS_PROXY."
}

check_space() {
  local free
  free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
  if [ ! -d .venv ] && [ "$free" -lt "$NEEDED_GIB" ]; then
    fail "The packages need about $NEEDED_GIB GiB of disk while they are installed." "free here: $free GiB"
  fi
}

install_packages() {
  say "Installing the locked packages (PyTorch is large: some minutes the first time)"
  "$UV" pip install --quiet --python .venv/bin/python -r requirements.lock ||
    fail "The locked packages could not be installed." "Run again: what has been downloaded is kept."
  "$UV" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e . ||
    fail "The package itself could not be installed."
}

opencv_works() { .venv/bin/python -c 'import cv2' >/dev/null 2>&1; }

check_required_system() {
  if opencv_works; then return; fi
  if may_install; then apt_install "$REQUIRED_SYSTEM" || true; fi
  if opencv_works; then return; fi
  fail "OpenCV does not load: $(.venv/bin/python -c 'import cv2' 2>&1 | tail -n 1)" "$(apt_line "$REQUIRED_SYSTEM")"
}

check_optional_system() {
  local missing=""
  command -v bwrap >/dev/null || missing="bubblewrap"
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium"
  [ -n "$missing" ] || return 0
  if may_install; then
    if apt_install "$missing"; then return; fi
    if [ -z "${missing##*bubblewrap*}" ]; then apt_install bubblewrap || true; fi # alone, where there is no Chromium
  fi
  say "Optional and missing:$(printf ' %s' $missing) (grading runs in bubblewrap, browser tests in Chromium). To install:"
  say "  $(apt_line "$missing")"
}

check_gpu() {
  local gpu
  gpu="$(timeout 20 nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)" || return 0
  [ -n "$gpu" ] || return 0
  say "This machine has an NVIDIA GPU ($gpu). For real TensorRT, CUDA and PyCUDA on it:"
  say "  conda env create -f environment.yml && conda activate yolotrt-lab && yolotrt doctor"
}

if up_to_date; then exit 0; fi
check_space
make_venv
find_uv
rm -f "$STAMP"
install_packages
check_required_system
fingerprint >"$STAMP.partial"
mv "$STAMP.partial" "$STAMP"
check_optional_system
check_gpu
say "Set up. Next: make demo, or .venv/bin/yolotrt --help"
