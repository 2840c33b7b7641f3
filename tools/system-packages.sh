#!/bin/sh
# Install the programs from outside Python that the tests use, where that is possible; say clearly
# what is missing, and what will not work, where it is not.
set -eu
missing=""
command -v dot >/dev/null 2>&1 || missing="$missing graphviz"
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "== installing$missing"
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing; } >/dev/null 2>&1 || true
fi
for package in $missing; do
  case $package in
    graphviz) program=dot without="graphs of provenance cannot be drawn" ;;
  esac
  command -v "$program" >/dev/null 2>&1 ||
    echo "missing: $program (Debian package $package): $without; all else works" >&2
done
