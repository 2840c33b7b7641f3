#!/bin/sh
# Make a small night, analyse it and close it; the body of "make demo".
# Arguments: folder of the night, its date (YYYY_MM_DD), backend, folder of a cluster of our own.
set -eu
folder=$1 night=$2 backend=$3 cluster=$4
config=$folder/sequencer.cfg
tag=$(echo "$night" | tr -d _)

if [ "$backend" = slurm ] && [ -z "${SLURM_CONF:-}" ] && python tools/slurm_cluster.py status "$cluster" >/dev/null 2>&1; then
  SLURM_CONF=$(realpath "$cluster/slurm.conf")
  export SLURM_CONF
  echo "== on the cluster below $cluster/"
fi

echo "== 1/5 a simulated night below $folder/"
# Only ever a folder that this script made is removed.
if [ -e "$folder" ]; then
  [ -e "$folder/.demo" ] || { echo "$folder is there and is no demo night: choose another with DEMO=…" >&2; exit 2; }
  rm -rf "$folder"
fi
mkdir -p "$folder"
touch "$folder/.demo"
simulatenight "$folder" -d "$night" --size tiny --no-summaries >/dev/null
sed -i "s/^backend = .*/backend = $backend/" "$config"

echo "== 2/5 nightsummary: which runs, of which type"
nightsummary -c "$config" -d "$night"

echo "== 3/5 sequencer: R0 to DL2"
sequencer -c "$config" -d "$night" --wait

echo "== 4/5 closer: merge, move, close"
closer -c "$config" -d "$night" -y

echo "== 5/5 the night as it is now"
sequencer -c "$config" -d "$night" -s

prod=$(sed -n 's/^prod_id = //p' "$config")
cat <<END

The products lie here:
  $folder/DL1/$tag/$prod/            DL1, muons/, datacheck/ (with plots), interleaved/
  $folder/DL2/$tag/$prod/            DL2 of each sub-run, and merged for each run
  $folder/calibration/$tag/$prod/    calibration, with plots
  $folder/OSA/Closer/$tag/$prod/     NightFinished.txt
  $folder/DL2/$tag/$prod/log/        where they come from, as documents and graphs (PDF)
  $folder/running_analysis/$tag/$prod/log/   logs of all tasks

Look at them:
  .venv/bin/provquery lineage -c $config $folder/DL2/$tag/$prod/dl2_LST-1.Run01874.0000.h5
  cat $folder/OSA/Closer/$tag/$prod/NightFinished.txt
  .venv/bin/python -c "import pandas; print(pandas.read_hdf('$folder/DL2/$tag/$prod/dl2_LST-1.Run01874.h5', 'dl2/event/telescope/parameters/LST_LSTCam').describe())"
END
