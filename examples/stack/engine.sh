# engine.sh: a Docker engine for the example: this machine's, or one of its own.
# shellcheck shell=bash disable=SC2154

missing() { echo "$example: skipped: $*" >&2; exit 77; }   # in one sentence; an example that goes on without an engine has its own, which returns

compose_plugin() {   # where Compose v2 lies
  local dir
  for dir in "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins" /usr/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/local/lib/docker/cli-plugins \
    /var/cache/davit-tests; do
    [ ! -x "$dir/docker-compose" ] || { echo "$dir/docker-compose"; return 0; }
  done
  return 1
}
engine_answers() { timeout 10 docker version >/dev/null 2>&1; }

# In a network of its own an engine fights nobody for the packet filter, and reaches nothing beyond. The mounts are its own too.
enter_own_network() {   # enter_own_network COMMAND: does not come back
  [ "$(id -u)" = 0 ] || missing "no Docker engine answers, and starting one of its own needs root"
  local why
  why=$(unshare --net --mount --propagation unchanged true 2>&1) ||
    missing "no Docker engine answers, and namespaces for one of its own are refused on this machine: $why"
  export STACK_INSIDE=1
  if awk '$5 == "/" { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    exec unshare --net --mount --propagation private bash "$1"
  fi
  # In a chroot: who enters a container by setns would see the root outside. So the chroot becomes the root of these mounts.
  # shellcheck disable=SC2016
  exec unshare --net --mount --propagation unchanged nsenter --mount=/proc/self/ns/mnt --wd=/ sh -c '
    PATH=$PATH:/usr/sbin:/sbin
    mount --make-rprivate / && mount --rbind . ./mnt && cd ./mnt && pivot_root . . && umount -l . && exec chroot . bash "$1"' sh "$1"
}

mount_cgroups() {   # where no init system has done it: in a container, in a chroot
  mountpoint -q /sys/fs/cgroup || grep -q ' /sys/fs/cgroup/' /proc/mounts || {
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    local name
    for name in $(awk 'NR > 1 && $4 == 1 { print $1 }' /proc/cgroups); do
      mkdir "/sys/fs/cgroup/$name"
      mount -t cgroup -o "$name" "$name" "/sys/fs/cgroup/$name" 2>/dev/null || rmdir "/sys/fs/cgroup/$name"
    done
    [ -n "$(ls /sys/fs/cgroup)" ] || { umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; }
  }
}

engine=
start_engine() {   # sets DOCKER_HOST and DOCKER_CONFIG
  local plugin
  plugin=$(compose_plugin) || { missing "Compose v2 is missing"; return 1; }
  if [ -z "${STACK_INSIDE:-}" ]; then
    export DOCKER_HOST DOCKER_CONFIG=${DOCKER_CONFIG:-$HOME/.docker}
    DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}
    say "The Docker engine of this machine: $DOCKER_HOST"
    return
  fi
  say "A Docker engine of its own"
  ip link set lo up
  mount --make-rprivate /
  mount_cgroups
  mkdir -p "$work/docker/config/cli-plugins"
  cp "$plugin" "$work/docker/config/cli-plugins/docker-compose"
  export DOCKER_HOST=unix://$work/docker/sock DOCKER_CONFIG=$work/docker/config
  PATH=$PATH:/usr/sbin:/sbin dockerd --data-root "$work/docker/data" --exec-root "$work/docker/exec" -H "$DOCKER_HOST" -p "$work/docker/pid" \
    --shutdown-timeout 2 >"$work/docker/log" 2>&1 &
  engine=$!
  local end=$((SECONDS + 40))
  until engine_answers; do
    if ! kill -0 "$engine" 2>/dev/null || [ $SECONDS -ge $end ]; then
      missing "dockerd does not start here: $(tail -n 1 "$work/docker/log" | cut -c 1-300)"
      return 1
    fi
    read -rt 0.1 <> <(:) || true
  done
  docker version --format 'version {{.Server.Version}}, Compose '"$(docker compose version --short)"
}
stop_engine() {
  [ -n "$engine" ] || return 0
  kill "$engine" 2>/dev/null
  wait "$engine" 2>/dev/null
  ! mountpoint -q "$work/docker/data" || umount -l "$work/docker/data"   # its own, which it may leave
}

import_image() {   # import_image KIND NAME [INSTRUCTION…]
  local kind=$1 name=$2 words=() one
  shift 2
  for one in "$@"; do words+=(-c "$one"); done
  "$here/examples/stack/base-image" "$kind" | docker import "${words[@]}" - "$name" >/dev/null
  docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' "$name"
}
remove_stack() {   # remove_stack PROJECT: all that the example made in an engine
  local ids images
  ids=$(docker ps -aq --filter "label=com.docker.compose.project=$1" 2>/dev/null)
  [ -z "$ids" ] || docker rm -f -v $ids >/dev/null 2>&1
  docker compose -p "$1" down --volumes --remove-orphans >/dev/null 2>&1
  [ -z "$engine" ] || return 0
  images=$(docker images --format '{{.Repository}}:{{.Tag}}' --filter "reference=davit-kept/$1" --filter reference=shop-app --filter reference=shop-proxy)
  [ -z "$images" ] || docker rmi $images >/dev/null 2>&1
}
