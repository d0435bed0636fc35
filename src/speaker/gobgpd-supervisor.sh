#!/bin/sh
# Keeps one gobgpd running, and decides how it ends.
#
#   gobgpd-supervisor.sh DRAIN_MARKER COMMAND [ARGUMENT...]
#
# gobgpd tells its peers "de-configured" on SIGTERM and SIGINT, whereupon they drop every route at once, graceful restart or not.
# Only a sudden end makes them keep the routes. So when this supervisor is told to stop (TERM, INT, HUP) it ends gobgpd with SIGKILL,
# unless DRAIN_MARKER exists: then the node is drained and is meant to leave, and gobgpd gets SIGTERM and says goodbye.
#
# A gobgpd that dies by itself is started again: at once when it had run for a while, else after a growing pause. It comes back with
# no peers and no paths (its boot file is fail-closed); the agent replays them before graceful restart runs out.
#
# No gobgpd outlives its supervisor, however that one ends: the kernel kills the child when the parent dies (setpriv --pdeathsig),
# and the child re-checks its parent after asking for that, in case the parent died in between.
#
# gobgpd does not remove the Unix socket of a killed predecessor and then cannot listen; the supervisor does (the first unix:// address
# among the arguments), holding a lock beside it, so that two supervisors never take the socket from each other.

set -u

GOOD_RUN_SECONDS=10    # a run this long clears the memory of earlier failures
PAUSE_SECONDS_MAX=8
GOODBYE_SECONDS_MAX=10 # gobgpd needs 1.3 s for its notifications; after this it is killed
LOCK_SECONDS_MAX=15    # longer than the supervisor before us may need for its goodbye

say() {
  echo "gobgpd-supervisor: $*" >&2
}

if [ $# -lt 2 ]; then
  say "usage: gobgpd-supervisor.sh DRAIN_MARKER COMMAND [ARGUMENT...]"
  exit 2
fi
drain_marker=$1
shift

if ! command -v setpriv >/dev/null || ! command -v flock >/dev/null; then
  say "needs setpriv and flock. Mend: apt-get install util-linux"
  exit 1
fi

socket=
for argument in "$@"; do
  case $argument in
    unix://* | --api-hosts=unix://*)
      socket=${argument#--api-hosts=}
      socket=${socket#unix://}
      socket=${socket%%,*}
      break
      ;;
  esac
done
if [ -n "$socket" ]; then
  exec 9>"$socket.lock"
  if ! flock -w "$LOCK_SECONDS_MAX" 9; then
    say "another supervisor keeps a gobgpd on $socket. Mend: stop that one, or give this one its own socket"
    exit 1
  fi
fi

child=
pause=
stopping=

end_child() {
  if [ -e "$drain_marker" ]; then
    say "stopping; $drain_marker exists, so gobgpd withdraws its routes"
    kill -TERM "$child" 2>/dev/null
    waited=0
    while kill -0 "$child" 2>/dev/null; do
      if [ "$waited" -ge "$GOODBYE_SECONDS_MAX" ]; then
        kill -KILL "$child" 2>/dev/null
        return
      fi
      sleep 1 9>&-
      waited=$((waited + 1))
    done
  else
    say "stopping; gobgpd is killed, so its peers keep the routes (graceful restart)"
    kill -KILL "$child" 2>/dev/null
  fi
}

stop() {
  [ -n "$stopping" ] && return
  stopping=1
  [ -n "$pause" ] && kill "$pause" 2>/dev/null
  [ -n "$child" ] && end_child
}

# The handler itself ends the child: one that only left a note for the main loop would be lost just before a wait.
trap stop TERM INT HUP

# gobgpd takes an empty file for a faulty one. Without a file it starts, and knows no AS and no peer until the agent tells it.
run_child() {
  [ -n "$socket" ] && rm -f "$socket"
  config=
  previous=
  for argument in "$@"; do
    [ "$previous" = -f ] && config=$argument
    previous=$argument
  done
  if [ -n "$config" ] && [ -e "$config" ] && [ ! -s "$config" ]; then
    left=$#
    while [ "$left" -gt 0 ]; do
      case $1 in
        -t | -f)
          shift 2
          left=$((left - 2))
          ;;
        *)
          set -- "$@" "$1"
          shift
          left=$((left - 1))
          ;;
      esac
    done
  fi
  # shellcheck disable=SC2016  # the inner shell expands these
  setpriv --pdeathsig KILL /bin/sh -c '[ "$PPID" = "$0" ] || exit 1; exec "$@"' $$ "$@" 9>&- &
  child=$!
  # Told to stop before the line above: the handler saw no child.
  [ -n "$stopping" ] && end_child
  # wait returns early when a trapped signal arrives; the child may still be there then.
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
}

pause_seconds=0
while [ -z "$stopping" ]; do
  started=$(date +%s)
  run_child "$@"
  [ -n "$stopping" ] && break
  ran=$(($(date +%s) - started))
  [ "$ran" -ge "$GOOD_RUN_SECONDS" ] && pause_seconds=0
  say "gobgpd ended with status $status after $ran s; starting it again in $pause_seconds s"
  if [ "$pause_seconds" -gt 0 ]; then
    sleep "$pause_seconds" 9>&- &
    pause=$!
    [ -n "$stopping" ] && kill "$pause" 2>/dev/null
    wait "$pause"
    pause=
  fi
  pause_seconds=$((pause_seconds * 2))
  [ "$pause_seconds" -eq 0 ] && pause_seconds=1
  [ "$pause_seconds" -gt "$PAUSE_SECONDS_MAX" ] && pause_seconds=$PAUSE_SECONDS_MAX
done
exit 0
