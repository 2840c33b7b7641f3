"""Put on PYTHONPATH: one sub-run, named by a variable, gets only the memory that its job was granted.

Slurm's cgroups do so for every task; where there are none, the kernel's limit on a process serves. What
lstchain maps without using it counts here, so the limit is a multiple of the grant.
"""

import os
import resource
import sys

words = os.environ.get("OSA_TEST_LIMITED_SUBRUN", "").split()
if words and "osa.cli.datasequence" in sys.orig_argv and words[0] in sys.orig_argv:
    limit = int(float(words[1]) * int(os.environ["SLURM_MEM_PER_NODE"])) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
