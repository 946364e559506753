# Sourced, not run: puts the deployment's tools (sam, cfn-lint, cargo-lambda, MiniStack) on PATH, and installs them first where
# they are missing. They live outside the tree, in $TELLONCE_TOOLS; the folder can be thrown away at any time.
# shellcheck shell=bash

TELLONCE_TOOLS="${TELLONCE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tellonce-tools}"
export TELLONCE_TOOLS SAM_CLI_TELEMETRY=0
# sam wants a region even where it calls nobody.
export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-eu-central-1}"

# tools_environment NAME REQUIREMENTS: a Python environment that is made anew when its requirements change.
tools_environment() {
  local folder="$TELLONCE_TOOLS/$1" wanted="$2"
  if ! cmp -s "$wanted" "$folder/installed.txt"; then
    echo "installing $(grep -cv '^#' "$wanted") tools into $folder"
    rm -rf "$folder"
    mkdir -p "$TELLONCE_TOOLS"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$folder/installed.txt"
  fi
}

tools_here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
tools_environment sam "$tools_here/requirements.txt"
tools_environment emulator "$tools_here/requirements-emulator.txt"
export PATH="$TELLONCE_TOOLS/sam/bin:$PATH"
