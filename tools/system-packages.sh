#!/bin/sh
# Install the programs from outside Python that the tests use, where that is possible; say clearly
# what is missing, and what will not work, where it is not.
set -eu
PATH="$PATH:/usr/sbin:/sbin" # where the daemons are, also for who is not root

# program and Debian package
needed="dot:graphviz pdftotext:poppler-utils sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd slurmdbd:slurmdbd munged:munge
mariadbd:mariadb-server cron:cron faketime:faketime"
# A mailer takes the place of any other: only where there is none.
command -v sendmail >/dev/null 2>&1 || needed="$needed dma:dma"
missing=""
for pair in $needed; do
  command -v "${pair%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "== installing$missing"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then # the daemons are not to start by themselves
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP # dash leaves out the trap of EXIT on a signal
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing; } >/dev/null 2>&1 || true
fi
for pair in $needed; do
  program=${pair%:*} package=${pair#*:}
  case $package in
    graphviz) without="graphs of provenance cannot be drawn" ;;
    poppler-utils) without="tests do not read what graphs show" ;;
    cron | dma | faketime) without="tests on a real cron daemon are left out" ;;
    *) without="tests on a real Slurm cluster do not work (where they are run as root)" ;;
  esac
  command -v "$program" >/dev/null 2>&1 ||
    echo "missing: $program (Debian package $package): $without; all else works" >&2
done
