#!/bin/sh
# Batch as a filter and under the tools that spread work: what README shows, run for real. GNU
# parallel is used where it is installed. SIGNUM_TEST_SLURM=1 adds a job array on a Slurm cluster of
# this one machine, which takes a minute, root, and apt-get install slurm-wlm.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=$PWD/tests/golden/models/q1-tied.gguf
PATH=$(dirname "$SIGNUM"):$PATH # README's lines begin with "signum"
write_mix
signum batch -m "$model" -q -i "$TMP/in.good" -o "$TMP/whole" || fail "the whole"
add_up() { # WHAT FILE...: these outputs together are the whole
    what=$1
    shift
    cat "$@" >"$TMP/together"
    same_records "$TMP/whole" "$TMP/together" "$what: the parts do not add up"
}

# --- a pipe, as Spark's rdd.pipe runs the command for every partition: through a shell-less
# exec with words split at spaces, lines on stdin, records on stdout, no other output
split -n l/3 "$TMP/in.good" "$TMP/partition."
for part in "$TMP"/partition.a?; do
    signum batch -m "$model" -q <"$part" >"$part.out" || fail "the pipe ends with $?"
done
# The request ids count lines, so they differ; all else is the same.
sed 's/"request_id":"[^"]*"//; s/"id":"[a-z]*-[0-9a-f]*-[0-9]*"//g' "$TMP/whole" >"$TMP/whole.x"
cat "$TMP"/partition.a?.out | sed 's/"request_id":"[^"]*"//; s/"id":"[a-z]*-[0-9a-f]*-[0-9]*"//g' >"$TMP/piped.x"
same_records "$TMP/whole.x" "$TMP/piped.x" "pipe: the partitions do not add up"
: | signum batch -m "$model" -q >"$TMP/out" || fail "an empty partition ends with $?"
[ ! -s "$TMP/out" ] || fail "an empty partition has records"

# --- GNU parallel: shards of a file, and blocks of a stream
if command -v parallel >/dev/null && parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
    export HOME="$TMP" # where it looks for its own settings
    for again in first resumed; do
        parallel -j 2 signum batch -q -m "$model" -t 1 --shard {}/4 -i "$TMP/in.good" -o "$TMP/shard.{}.jsonl" --resume ::: 1 2 3 4 \
            2>"$TMP/err" || fail "parallel, $again: $(cat "$TMP/err")"
        add_up "parallel, $again" "$TMP"/shard.?.jsonl
        [ $again = resumed ] || tail -n 1 "$TMP/shard.2.jsonl" | head -c 100 >>"$TMP/shard.3.jsonl" # torn
    done
    parallel -j 2 --pipe -N 5 signum batch -q -m "$model" -t 1 <"$TMP/in.good" 2>"$TMP/err" |
        sed 's/"request_id":"[^"]*"//; s/"id":"[a-z]*-[0-9a-f]*-[0-9]*"//g' >"$TMP/piped.x"
    same_records "$TMP/whole.x" "$TMP/piped.x" "parallel --pipe: the blocks do not add up"
fi

# --- a Slurm job array on a cluster of this machine, with everything of it below $TMP
slurm_missing() {
    [ -n "${SIGNUM_TEST_SLURM-}" ] || { echo "Slurm not asked for" && return; }
    [ "$(id -u)" -eq 0 ] || { echo "Slurm needs root" && return; }
    for tool in sbatch slurmctld slurmd sinfo; do
        command -v $tool >/dev/null || { echo "no $tool" && return; }
    done
}
daemons=
stop_cluster() {
    # shellcheck disable=SC2086 # pids
    [ -z "$daemons" ] || kill $daemons 2>/dev/null
    daemons=
    for file in "$TMP"/slurm/*.pid; do
        [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null
    done
}
start_cluster() {
    dir=$TMP/slurm
    host=$(hostname -s)
    mkdir -p "$dir/state" "$dir/spool"
    chmod 755 "$TMP" "$dir"
    cat >"$dir/slurm.conf" <<CONF
ClusterName=signum
SlurmctldHost=$host
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
NodeName=$host CPUs=$(nproc) RealMemory=100
PartitionName=all Nodes=$host Default=YES State=UP
CONF
    export SLURM_CONF="$dir/slurm.conf"
    trap stop_cluster EXIT
    slurmctld -D >"$dir/ctld.out" 2>&1 &
    daemons=$!
    slurmd -D >"$dir/d.out" 2>&1 &
    daemons="$daemons $!"
    tries=0
    until sinfo -h -o %T 2>/dev/null | grep -qx idle; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { tail -n 5 "$dir"/*.log "$dir"/*.out && return 1; }
        sleep 0.1
    done
}
run_array() { # WHAT
    sbatch --wait -Q "$TMP/job.sh" >"$TMP/err" 2>&1 || fail "Slurm, $1: $(cat "$TMP/err" "$TMP"/slurm-*.out)"
    add_up "Slurm, $1" "$TMP"/array.?.jsonl
}
why=$(slurm_missing)
if [ -z "$why" ]; then
    start_cluster || fail "the cluster does not start"
    cat >"$TMP/job.sh" <<JOB
#!/bin/sh
#SBATCH --array=1-4
#SBATCH --output=$TMP/slurm-%a.out
signum batch -q -m $model -t 1 -i $TMP/in.good -o $TMP/array.\$SLURM_ARRAY_TASK_ID.jsonl --shard \$SLURM_ARRAY_TASK_ID/4 --resume
JOB
    run_array "first"
    rm "$TMP/array.1.jsonl"
    printf '{"torn' >>"$TMP/array.2.jsonl"
    run_array "submitted again"
    stop_cluster
else
    [ -z "${SIGNUM_TEST_SLURM-}" ] || skip "all else was tested, but: $why"
fi
exit 0
