#!/usr/bin/env python3
#SBATCH --job-name=LST1_01874
#SBATCH --account=dpps
#SBATCH --partition=short
#SBATCH --array=0-2,7,11
#SBATCH --cpus-per-task=1
#SBATCH --mem=8192M
#SBATCH --time=06:00:00
#SBATCH --chdir=<ANALYSIS_DIR>
#SBATCH --output=<ANALYSIS_DIR>/log/LST1_01874_%A_%a.log
#SBATCH --error=<ANALYSIS_DIR>/log/LST1_01874_%A_%a.log
#SBATCH --open-mode=append
"""Job of sequence LST1_01874, made by sequencer."""

import os
import sys

first = int(sys.argv[1]) if len(sys.argv) > 1 else 0
subrun = first + int(os.environ['SLURM_ARRAY_TASK_ID'])

command = [
    '<PYTHON>',
    '-m',
    'osa.cli.datasequence',
    '--config=<CONFIG>',
    '--date=2020_01_27',
    '--drs4-run=1872',
    '--calibration-run=1873',
    f'01874.{subrun:04d}',
    'LST1',
]
os.execv(command[0], command)
