#!/usr/bin/env bash
# Makes a folder with libtorch for processors, to build Secateur's feature `libtorch` with: deploy/libtorch-cpu.sh PREFIX, and then
# LIBTORCH=PREFIX. The library comes from PyPI's wheels, for machines that reach a package index and not download.pytorch.org. That
# wheel is the one for CUDA; here everything that needs a GPU is left out of it. Needs Linux on x86-64 and Python 3 with pip.
# A folder that is there already and whole is left as it is. PYTHON says which Python, pip's own settings where its index is.
set -euo pipefail

# Burn 0.22.1 → burn-tch 0.22.1 → tch 0.22.0, which wants exactly this one.
version=2.9.0
# Of what lies unpacked and packed at the same time.
needed_kib=$((2 * 1024 * 1024))

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

[[ $# == 1 && -n "$1" && "$1" != -* ]] || fail 'say where to: deploy/libtorch-cpu.sh PREFIX'
prefix="$(realpath -m -- "$1")"
python="${PYTHON:-python3}"

if [[ -f "$prefix/build-version" && "$(<"$prefix/build-version")" == "$version" && -e "$prefix/lib/libtorch_cpu.so" ]]; then
    printf 'libtorch %s is in %s\n' "$version" "$prefix"
    exit 0
fi
if [[ -e "$prefix" || -L "$prefix" ]]; then
    [[ -d "$prefix" && -z "$(ls -A -- "$prefix")" ]] ||
        fail "$prefix is there and is not libtorch $version: remove it, or give another folder"
fi
[[ "$(uname -s) $(uname -m)" == 'Linux x86_64' ]] ||
    fail "these wheels are for Linux on x86-64, and this is $(uname -s) on $(uname -m): unpack libtorch $version from pytorch.org, and set LIBTORCH to it"
command -v "$python" >/dev/null || fail "there is no $python: install Python 3, or say with PYTHON where it is"
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip: install it (python3-pip), or say with PYTHON which Python has one"
parent="$(dirname -- "$prefix")"
mkdir -p -- "$parent" || fail "cannot make $parent"
free_kib="$(df -Pk -- "$parent" | awk 'NR == 2 {print $4}')"
((free_kib >= needed_kib)) || fail "$parent has $((free_kib / 1024)) MiB left, and $((needed_kib / 1024)) are needed until the wheels are gone again"

# Beside the prefix, so that what is made moves there in one step: the folder is whole or not there.
scratch="$(mktemp -d -- "$parent/.libtorch-XXXXXXXX")" || fail "cannot write to $parent"
trap 'rm -rf -- "$scratch"' EXIT

# libtorch_cpu.so of this wheel is linked to cupti and cudart, and does not load without them, GPU or not.
cat >"$scratch/wheels.txt" <<'WHEELS'
torch==2.9.0 --hash=sha256:51de31219c97c51cf4bf2be94d622e3deb5dcc526c6dc00e97c17eaec0fc1d67
nvidia-cuda-cupti-cu12==12.8.90 --hash=sha256:ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182
nvidia-cuda-runtime-cu12==12.8.90 --hash=sha256:adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90
WHEELS
printf 'fetching libtorch %s (0.9 GB)\n' "$version" >&2
"$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
    --dest "$scratch/wheels" --requirement "$scratch/wheels.txt" || fail 'pip could not fetch the wheels; its reason is above'

"$python" - "$scratch/wheels" "$scratch/libtorch" <<'PYTHON' || fail 'the wheels cannot be unpacked; the reason is above'
"""Unpacks from the wheels in the folder argv[1] what a program for processors needs, to argv[2]/include and argv[2]/lib."""
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
    sys.exit(f"not in the wheels: {missing or 'the headers'}")
PYTHON
# What is called libtorch.so in the wheel asks for CUDA; what is linked against it here gets the processors' part. And there is no
# libtorch_cuda.so, whose presence makes the build scripts of tch and burn-tch link it.
printf 'INPUT(libtorch_cpu.so)\n' >"$scratch/libtorch/lib/libtorch.so"
printf '%s\n' "$version" >"$scratch/libtorch/build-version"
rmdir -- "$prefix" 2>/dev/null || true
mv -T -- "$scratch/libtorch" "$prefix" || fail "cannot move what is ready to $prefix"
printf 'libtorch %s is in %s\n' "$version" "$prefix"
