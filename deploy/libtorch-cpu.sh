#!/usr/bin/env bash
# Creates a folder with libtorch for processors, to build Secateur's feature `libtorch` with: deploy/libtorch-cpu.sh
# PREFIX, then set LIBTORCH=PREFIX. The library comes from the wheels on PyPI, for machines that reach a package index
# but not download.pytorch.org. The wheel is the CUDA one; this script leaves out everything that needs a GPU. Requires
# Linux on x86-64 and Python 3 with pip. A complete folder is not changed. PYTHON selects the Python; pip's own settings
# select the index.
set -euo pipefail

# Burn 0.22.1 → burn-tch 0.22.1 → tch 0.22.0, which requires exactly this version.
version=2.9.0
# The space for wheels and unpacked files together.
needed_kib=$((2 * 1024 * 1024))

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

[[ $# == 1 && -n "$1" && "$1" != -* ]] || fail 'missing folder: deploy/libtorch-cpu.sh PREFIX'
prefix="$(realpath -m -- "$1")"
python="${PYTHON:-python3}"

if [[ -f "$prefix/build-version" && "$(<"$prefix/build-version")" == "$version" && -e "$prefix/lib/libtorch_cpu.so" ]]; then
    printf 'libtorch %s is in %s\n' "$version" "$prefix"
    exit 0
fi
if [[ -e "$prefix" || -L "$prefix" ]]; then
    [[ -d "$prefix" && -z "$(ls -A -- "$prefix")" ]] ||
        fail "$prefix exists and is not libtorch $version: remove it, or give another folder"
fi
[[ "$(uname -s) $(uname -m)" == 'Linux x86_64' ]] ||
    fail "these wheels are for Linux on x86-64, not $(uname -s) on $(uname -m): unpack libtorch $version from pytorch.org and set LIBTORCH to its folder"
command -v "$python" >/dev/null || fail "$python not found: install Python 3, or set PYTHON to its path"
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip: install it (python3-pip), or set PYTHON to a Python with pip"
parent="$(dirname -- "$prefix")"
mkdir -p -- "$parent" || fail "cannot make $parent"
free_kib="$(df -Pk -- "$parent" | awk 'NR == 2 {print $4}')"
((free_kib >= needed_kib)) || fail "$parent has $((free_kib / 1024)) MiB free; $((needed_kib / 1024)) MiB are needed until the wheels are removed"

# Beside the prefix, so that the result is moved there in one step: the folder is complete or does not exist.
scratch="$(mktemp -d -- "$parent/.libtorch-XXXXXXXX")" || fail "cannot write to $parent"
trap 'rm -rf -- "$scratch"' EXIT

# libtorch_cpu.so of this wheel is linked to cupti and cudart, and does not load without them, even without a GPU.
cat >"$scratch/wheels.txt" <<'WHEELS'
torch==2.9.0 --hash=sha256:51de31219c97c51cf4bf2be94d622e3deb5dcc526c6dc00e97c17eaec0fc1d67
nvidia-cuda-cupti-cu12==12.8.90 --hash=sha256:ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182
nvidia-cuda-runtime-cu12==12.8.90 --hash=sha256:adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90
WHEELS
printf 'fetching libtorch %s (0.9 GB)\n' "$version" >&2
"$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
    --dest "$scratch/wheels" --requirement "$scratch/wheels.txt" || fail 'pip could not download the wheels; see its message above'

"$python" - "$scratch/wheels" "$scratch/libtorch" <<'PYTHON' || fail 'cannot unpack the wheels; see the message above'
"""Unpacks the files for processors from the wheels in argv[1] to argv[2]/include and argv[2]/lib."""
import pathlib, shutil, sys, zipfile

wheels, prefix = map(pathlib.Path, sys.argv[1:])
LIBRARIES = ["libc10.so", "libtorch_cpu.so", "libgomp.so.1", "libcupti.so.12", "libcudart.so.12"]
found = set()
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = pathlib.PurePosixPath(name)
            if path.parts[:2] == ("torch", "include") and not name.endswith("/"):
                target = prefix.joinpath("include", *path.parts[2:])
            elif path.parent.name == "lib" and path.name in LIBRARIES:
                target = prefix / "lib" / path.name
                found.add(path.name)
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as packed, open(target, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
missing = [name for name in LIBRARIES if name not in found]
if missing or not (prefix / "include" / "torch" / "csrc" / "api" / "include").is_dir():
    sys.exit(f"missing from the wheels: {missing or 'the headers'}")
PYTHON
# The libtorch.so of the wheel requires CUDA; this one links the processor's part only. libtorch_cuda.so is omitted,
# because the build scripts of tch and burn-tch link it if it exists.
printf 'INPUT(libtorch_cpu.so)\n' >"$scratch/libtorch/lib/libtorch.so"
printf '%s\n' "$version" >"$scratch/libtorch/build-version"
rmdir -- "$prefix" 2>/dev/null || true
mv -T -- "$scratch/libtorch" "$prefix" || fail "cannot move the finished folder to $prefix"
printf 'libtorch %s is in %s\n' "$version" "$prefix"
