# Sourced, not run: puts the tools of checks and deployment on PATH (typos, sam, cfn-lint,
# cargo-lambda, MiniStack), and installs missing ones first. They live outside the tree, in
# $TELLONCE_TOOLS; the folder can be deleted at any time.
# shellcheck shell=bash

TELLONCE_TOOLS="${TELLONCE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tellonce-tools}"
export TELLONCE_TOOLS SAM_CLI_TELEMETRY=0

# sam needs a region even for commands that send no request. It is not exported: it would replace
# the region of a profile in later commands of this shell. sam does not read AWS_REGION.
sam() {
  case "${1:-}" in
    validate | build) AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-${AWS_REGION:-eu-central-1}}" command sam "$@" ;;
    *) command sam "$@" ;;
  esac
}

# tools_environment NAME REQUIREMENTS: a Python environment, installed again when its requirements
# change. Every package is pinned by its hash: scripts/pin-requirements writes the files.
tools_environment() {
  local folder="$TELLONCE_TOOLS/$1" wanted="$2"
  if ! cmp -s "$wanted" "$folder/installed.txt"; then
    echo "installing $(grep -c '^[^ #]*==' "$wanted") packages into $folder"
    rm -rf "$folder"
    mkdir -p "$TELLONCE_TOOLS"
    python3 -m venv "$folder" || return
    "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement "$wanted" || return
    cp "$wanted" "$folder/installed.txt"
  fi
}

tools_here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
tools_environment checks "$tools_here/requirements-checks.txt"
tools_environment sam "$tools_here/requirements.txt"
tools_environment emulator "$tools_here/requirements-emulator.txt"
export PATH="$TELLONCE_TOOLS/sam/bin:$TELLONCE_TOOLS/checks/bin:$PATH"
