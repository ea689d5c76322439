#!/bin/sh
# restart.sh DIR PORT: stops the service of DIR and starts it from the release that DIR/current names, with the settings beside this script.
set -eu
dir=$1 port=$2 settings=$(dirname "$(readlink -f "$0")")/shop.conf
pid_file=$dir/shared/shop.pid
if [ -f "$pid_file" ]; then
  old=$(cat "$pid_file")
  kill "$old" 2>/dev/null || true
  while kill -0 "$old" 2>/dev/null; do sleep 0.05; done
fi
release=$(readlink -f "$dir/current")
setsid python3 "$release/serve.py" "$port" "$settings" </dev/null >"$dir/shared/shop.log" 2>&1 &
echo $! >"$pid_file"
echo "started $(cat "$release/VERSION") from $release"
