#!/usr/bin/env bash
# A big plan as a job array of Slurm: sbatch --array=1-8 configs/sweeps/slurm.sh SWEEP [flags]
# Each job measures its part (what is compared with each other stays in one job, so that ratios are of one machine) and
# may be started again: it goes on where it ended. When all are done: ringbench runs merge $RESULTS/*/*/ joins them.
#SBATCH --job-name=ringbench
#SBATCH --gres=gpu:1
#SBATCH --exclusive
#SBATCH --requeue
set -euo pipefail
results=${RESULTS:-results/runs}/part-$SLURM_ARRAY_TASK_ID # a folder for each: several jobs may meet on one machine
part=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
if compgen -G "$results/*/points.jsonl" >/dev/null; then resume=--resume; fi
exec ./ringbench sweep "$@" --shard "$part" --results "$results" ${resume:+"$resume"}
