#!/bin/sh
# sh locks/install.sh LOCK PIP...: install a lock, PIP... being the command that runs pip.
#
# A lock names every package, so nothing is resolved: pip 23 looks up `name[extra]` in the index even
# where `name` is pinned, and fails as soon as a newer `name` is published. What --no-deps would let
# pass, a lock that lacks a package, `pip check` finds.
set -eu
lock=$1
shift
"$@" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
"$@" check --disable-pip-version-check
