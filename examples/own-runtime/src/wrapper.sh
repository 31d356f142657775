# Runs one program and leaves a record of how it ended. It outlives the daemon that starts it, in a session of its own.
#
# Arguments: the run's folder, the run's id, this machine's name, how many MiB of memory the run may take (0: any), the
# program, its arguments.
# In the folder: prompt (what the program reads), out and err (what it writes), gate (written here or by the daemon,
# whoever comes first: the program was started, or it never will be), stop (the daemon wants it ended), memory (it took
# too much), exit (the end).
# Standard output tells the daemon that the gate has been decided.

run=$1 id=$2 machine=$3 limit=$4
shift 4
exec 3>&1 >/dev/null 2>&1
trap : HUP INT QUIT TERM

# When a process was started: together with its number that names it for as long as the machine is up.
born() {
    read -r stat <"/proc/$1/stat"
    # shellcheck disable=SC2086 # the fields are words
    set -- $stat
    echo "${22}"
}

# The processes that carry the run's mark, a line each.
family() {
    grep -lsxzF "CCM_RUN_ID=$id" /proc/[0-9]*/environ | cut -d / -f 3
}

# Ends a run that takes more memory than it may.
bound() {
    while sleep 0.2; do
        used=$(family | sed 's|.*|/proc/&/status|' |
            xargs -r awk '/^VmRSS:/ { sum += $2 } END { print int(sum / 1024) }')
        if [ "${used:-0}" -gt "$limit" ]; then
            echo "$used $limit" >"$run/memory"
            family | xargs -r kill -KILL
        fi
    done
}
watch=
if [ "$limit" -gt 0 ]; then
    bound 3>&- &
    watch=$!
fi

(
    # This process becomes the program.
    read -r pid _ </proc/self/stat
    ticket=$run/ticket.$$
    echo "$pid $(born "$pid") $$ $(born $$) $machine" >"$ticket"
    sync "$ticket"
    # The commit point: a link that exists can't be made. Before it nothing has run, after it nothing else may.
    ln "$ticket" "$run/gate" || exit
    sync "$run"
    echo >&3
    exec 3>&-
    export CCM_RUN_ID="$id"
    exec "$@" <"$run/prompt" >>"$run/out" 2>>"$run/err"
)
code=$?
[ -n "$watch" ] && kill -KILL "$watch"

# Another one's gate: nothing was started here, so there is nothing to tell.
[ "$run/gate" -ef "$run/ticket.$$" ] || exit 0

stopped=false
[ -e "$run/stop" ] && stopped=true
sync "$run/out" "$run/err"
echo "$code $stopped $(wc -c <"$run/out") $(wc -c <"$run/err") $(cat "$run/memory")" >"$run/exit.new"
sync "$run/exit.new"
mv "$run/exit.new" "$run/exit"
sync "$run"
