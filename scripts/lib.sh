# Sets up a checkout: virtual environment, packages, jars. Sourced by the other scripts:
#   source "$(dirname "${BASH_SOURCE[0]}")/lib.sh" && setup
# A second run finds nothing to do and needs no network.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
JARS=${TAILRACE_JARS:-$ROOT/.jars}
cd "$ROOT"

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

checksum() { cksum | tr -s ' \t' '-'; }

# step TITLE LOG COMMAND...: runs the command with its output in LOG, shows elapsed seconds, shows LOG on failure.
step() {
  local title=$1 log=$2 started=$SECONDS shown=-1 pid status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    show_progress "$title" $((SECONDS - started)) "$shown"
    shown=$((SECONDS - started))
    sleep 0.2
  done
  wait "$pid" || status=$?
  trap - INT TERM
  if [ -t 1 ]; then printf '\r\033[K'; fi
  if [ "$status" -ne 0 ]; then
    tail -n 40 "$log" >&2
    die "$title: failed with status $status; the whole output is in $log"
  fi
  printf '%s: %d s\n' "$title" $((SECONDS - started))
}

show_progress() {
  local title=$1 elapsed=$2 shown=$3
  if [ "$elapsed" -eq "$shown" ]; then return; fi
  if [ -t 1 ]; then
    printf '\r\033[K%s … %d s' "$title" "$elapsed"
  elif [ $((elapsed % 15)) -eq 0 ]; then
    printf '%s … %d s\n' "$title" "$elapsed"
  fi
}

java_command() { if [ -n "${JAVA_HOME:-}" ]; then echo "$JAVA_HOME/bin/java"; else echo java; fi; }

java_is_new_enough() {
  local version
  version=$("$(java_command)" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}

has_maven() { command -v mvn >/dev/null 2>&1; }

has_prometheus() { command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1; }

apt_install() {
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# Debian starts the service of a package with its installation and at each boot; only its commands are wanted.
apt_install_without_service() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    # shellcheck disable=SC2064  # the name as it is now
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt_install "$1" && update-rc.d "$1" disable
}

# need CHECK NAME PACKAGE [INSTALL]: installs PACKAGE when CHECK fails and we may; else says what to install.
need() {
  local check=$1 name=$2 package=$3 install=${4:-apt_install}
  if "$check"; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    die "$name is missing; install it (Debian, Ubuntu: sudo apt-get install $package)"
  fi
  step "Installing $package" "$ROOT/.tailrace/setup/apt-$package.log" "$install" "$package"
  "$check" || die "$name is still missing after installing $package; is JAVA_HOME or PATH set to another one?"
}

need_java() { need java_is_new_enough "Java 17 or newer" openjdk-17-jre-headless; }
need_maven() { need has_maven "Maven" maven; }
need_prometheus() { need has_prometheus "Prometheus" prometheus apt_install_without_service; }

# A pyenv shim may exist for a version that is not selected, so each candidate is tried, not looked up.
find_python() {
  local candidate
  for candidate in python3.11 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11.*/bin/python3 /usr/bin/python3.11; do
    "$candidate" -c 'import ensurepip, sys, venv; assert sys.version_info[:2] == (3, 11); print(sys.executable)' \
      2>/dev/null && return
  done
  return 1
}

make_venv() {
  local python
  if "$VENV/bin/python" -c 'import pip, sys; assert sys.version_info[:2] == (3, 11)' 2>/dev/null; then return; fi
  python=$(find_python) || die "Python 3.11 with venv is missing; install it (Debian, Ubuntu: sudo apt-get install python3.11 python3.11-venv)"
  step "Making .venv with $python" "$ROOT/.tailrace/setup/venv.log" "$python" -m venv --clear "$VENV"
}

# Exactly the files whose hashes conf/requirements.txt has (scripts/lock makes it). For a platform that has other files,
# TAILRACE_UNLOCKED=1 takes the versions of conf/constraints.txt as the registry has them.
install_packages() {
  local stamp=$VENV/.tailrace-stamp wanted
  wanted=$(cat setup.cfg setup.py conf/constraints.txt conf/requirements.txt - <<<"$VENV ${TAILRACE_UNLOCKED:-}" | checksum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  step "Installing Python packages (900 MB)" "$ROOT/.tailrace/setup/pip.log" install_locked
  echo "$wanted" >"$stamp"
}

install_locked() {
  local pip=("$VENV/bin/python" -m pip install --disable-pip-version-check) uv
  if [ -n "${TAILRACE_UNLOCKED:-}" ]; then
    "${pip[@]}" -c conf/constraints.txt -e '.[models,train,mlflow,demo,test]'
  elif uv=$(find_uv) && uv_install "$uv" --require-hashes -r conf/requirements.txt && uv_install "$uv" --no-deps -e .; then
    return
  else
    "${pip[@]}" --require-hashes -r conf/requirements.txt && "${pip[@]}" --no-deps -e .
  fi
}

uv_install() { "$1" pip install --python "$VENV/bin/python" "${@:2}"; }

# uv installs the same files several times as fast. Where it cannot be had, or does not reach the registry that pip is
# set up for, pip installs them.
find_uv() {
  local folder=$ROOT/.tailrace/setup/uv
  command -v uv && return
  [ -x "$folder/bin/uv" ] || "$VENV/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps \
    --require-hashes --target "$folder" -r conf/uv.txt >&2 || return 1
  [ -x "$folder/bin/uv" ] && echo "$folder/bin/uv"
}

# MLflow's server wants packages that .venv must not have, and libraries of models are large: they get environments of
# their own, on top of .venv's.
make_mlflow_env() { make_env_above .venv-mlflow tests/mlflow/server.txt "110 MB"; }

make_formats_env() { make_env_above .venv-formats tests/processes/model/packages.txt "730 MB"; }

make_torch_env() { make_env_above .venv-torch tests/processes/model/torch.txt "5.3 GB"; }

make_registry_env() { make_env_above .venv-registry tests/registry/packages.txt "10 MB"; }

# A schema registry for the tests; Debezium's connector for PostgreSQL, and Kafka Connect to run it in.
fetch_registry() { fetch_with_maven registry "a schema registry" "110 MB"; }

fetch_debezium() { fetch_with_maven debezium Debezium "40 MB"; }

# fetch_with_maven NAME WHAT SIZE: what conf/NAME/pom.xml copies into ${folder}, in .NAME; archives are unpacked.
fetch_with_maven() {
  local name=$1 what=$2 size=$3 wanted part
  local to=$ROOT/.$name pom=conf/$name/pom.xml
  wanted=$(checksum <"$pom")
  if [ -f "$to/stamp" ] && [ "$(cat "$to/stamp")" = "$wanted" ]; then return; fi
  need_maven
  part=$(mktemp -d "$to.part.XXXXXX")
  # shellcheck disable=SC2064  # the name as it is now
  trap "rm -rf $(printf %q "$part")" EXIT
  step "Fetching $what for the tests with Maven ($size)" "$ROOT/.tailrace/setup/$name.log" \
    mvn --batch-mode --file "$pom" -Dfolder="$part" package
  find "$part" -maxdepth 1 -name '*.tar.gz' -exec tar -xzf {} -C "$part" \; -delete
  rm -rf "$to"
  mv "$part" "$to"
  trap - EXIT
  echo "$wanted" >"$to/stamp"
}

has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

need_postgresql() { need has_postgresql "PostgreSQL" postgresql apt_install_without_service; }

# make_env_above NAME LIST SIZE: an environment with .venv's packages, and exactly those of the list.
make_env_above() {
  local env=$ROOT/$1 list=$2 size=$3 wanted
  wanted=$(cat "$list" "$VENV/.tailrace-stamp" - <<<"$env" | checksum)
  if [ -f "$env/.tailrace-stamp" ] && [ "$(cat "$env/.tailrace-stamp")" = "$wanted" ]; then return; fi
  step "Making $1 for the tests ($size)" "$ROOT/.tailrace/setup/${1#.venv-}.log" install_above "$env" "$list"
  echo "$wanted" >"$env/.tailrace-stamp"
}

install_above() {
  "$VENV/bin/python" -m venv --clear "$1" &&
    echo "$VENV/lib/python3.11/site-packages" >"$1/lib/python3.11/site-packages/tailrace.pth" &&
    "$1/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$2"
}

# Quix Streams wants an older Kafka client than Tailrace, so the benchmark runs it in an environment of its own.
make_quix_env() { make_own_env quix tests/bench/quix.txt " for the benchmark (400 MB)"; }

# make_own_env NAME FILE WORDS [OPTION…]: the environment .venv-NAME with just what the file lists; options are pip's.
make_own_env() {
  local env=$ROOT/.venv-$1 file=$2 wanted
  wanted=$(cat "$file" - <<<"$env" | checksum)
  if [ -f "$env/.tailrace-stamp" ] && [ "$(cat "$env/.tailrace-stamp")" = "$wanted" ]; then return; fi
  step "Making .venv-$1$3" "$ROOT/.tailrace/setup/$1.log" install_own "$env" "${@:4}" -r "$file"
  echo "$wanted" >"$env/.tailrace-stamp"
}

install_own() {
  "$VENV/bin/python" -m venv --clear "$1" &&
    "$1/bin/python" -m pip install --disable-pip-version-check "${@:2}" || { rm -rf "$1"; return 1; }
}

# Downloads into a directory beside the last one and renames; the stamp comes last, so that an interrupted run
# is repeated. Removes only what it fetched, since $TAILRACE_JARS may hold other things.
fetch_jars() {
  local wanted part
  wanted=$(checksum <conf/pom.xml)
  if [ -f "$JARS/stamp" ] && [ "$(cat "$JARS/stamp")" = "$wanted" ]; then return; fi
  need_maven
  mkdir -p "$(dirname "$JARS")"
  part=$(mktemp -d "$JARS.part.XXXXXX")
  # shellcheck disable=SC2064  # the name as it is now
  trap "rm -rf $(printf %q "$part")" EXIT
  step "Fetching jars with Maven (50 MB)" "$ROOT/.tailrace/setup/maven.log" \
    mvn --batch-mode --file conf/pom.xml -Djars="$part" package
  check_jars "$part"
  mkdir -p "$JARS"
  rm -rf "$JARS/stamp" "$JARS/flink" "$JARS/kafka"
  mv "$part/flink" "$part/kafka" "$JARS"
  rmdir "$part"
  trap - EXIT
  echo "$wanted" >"$JARS/stamp"
}

# The jars are those of conf/jars.sha256, all of them and no others.
check_jars() {
  local sums=$ROOT/conf/jars.sha256
  (cd "$1" && sha256sum --quiet --check --strict "$sums" >&2) || die "the jars are not those of conf/jars.sha256"
  diff <(cut -c 67- "$sums") <(cd "$1" && find flink kafka -name '*.jar' | LC_ALL=C sort) >&2 ||
    die "there are jars that conf/jars.sha256 does not have"
}

# The tools that scripts/lock and scripts/audit run; they are no part of Tailrace.
make_audit_env() { make_own_env audit conf/audit.txt " (60 MB)"; }

# What scripts/wheel builds with, and what tests check manifests with.
make_tools_env() { make_own_env tools conf/tools.txt "" --require-hashes; }

setup() {
  need_java
  make_venv
  install_packages
  fetch_jars
}
