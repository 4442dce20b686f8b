# shellcheck shell=bash
# Sourced by setup_tsubame.sh and setup_abci.sh: prepares an account on a cluster. Everything can be
# run again at any time: what is there and whole is left alone, what is half made is gone on with.
#
# The caller sets these:
: "${site:?}" "${service:?}" "${group_variable:?}" "${disk_root:?}" "${quota_command:?}"
# ... group_is_unix (yes, or empty where that is not certain), and the function check_home.
: "${group_is_unix?}"

# Versions, in one place (and scripts/requirements/*.txt, which pin what these need in turn).
uv_version=0.13.9 # of PyPI; an uv that is on PATH already is taken as it is
python_version=3.11
# The Swallow team's fork of lighteval 0.8.0, release 202508, by its own lock file (its README).
swallow_url=${SWALLOW_URL:-https://github.com/swallow-llm/swallow-evaluation-instruct}
swallow_commit=35202112ae544faba0a956376318eed13e5a726e
swallow_python=3.10.14
need_gib=40 # two environments with CUDA libraries, on the group disk

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$repository/scripts/requirements
dry_run='' group='' disk='' directory='' workspace=$repository
only=()

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
complain() { printf 'setup_%s: %s\n' "$site" "$*" >&2; }
stop() { # what is wrong; a dry run tells it and goes on
  if [ -n "$dry_run" ]; then
    say "would stop: $*"
    return 0
  fi
  complain "$*"
  complain "not finished; mend that and run the same command again"
  exit 1
}

act() { # COMMAND...: runs it, or says that it would
  if [ -n "$dry_run" ]; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
    return 0
  fi
  "$@"
}

usage() {
  cat <<END
usage: scripts/setup_$site.sh [--group GROUP] [OPTION]...

Prepares an account on $site: uv, Python, environments for hpcjobs, vllm, lighteval and lm_eval on
the group disk, caches, .env; then asks: hpcjobs doctor --service $service. Spends no points.
Safe to run again. The last line is "setup_$site: succeeded" if, and only if, all of it did.

  --group GROUP      who pays; default: $group_variable of .env
  --disk DIR         the group disk; default: $disk_root/GROUP
  --directory DIR    where all of it goes; default: REPO_PATH of .env, else DISK/\$USER/hpcjobs
  --workspace DIR    where .env lies and jobs are submitted; default: this checkout
  --only NAME        only this environment: hpcjobs, vllm, lighteval or lm_eval; repeatable
  --dry-run          say what would be done, and do nothing
  -h, --help         this text
END
}

read_options() {
  while [ "$#" -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit 0 ;;
      --dry-run) dry_run=yes ;;
      --group | --disk | --directory | --workspace | --only)
        if [ "$#" -lt 2 ] || [ -z "$2" ]; then
          complain "$1 needs a value; see --help"
          exit 2
        fi
        case $1 in
          --group) group=$2 ;;
          --disk) disk=$2 ;;
          --directory) directory=$2 ;;
          --workspace) workspace=$2 ;;
          --only)
            case $2 in
              hpcjobs | vllm | lighteval | lm_eval) only+=("$2") ;;
              *) complain "--only $2: one of hpcjobs, vllm, lighteval, lm_eval" && exit 2 ;;
            esac
            ;;
        esac
        shift
        ;;
      *) complain "unknown option $1; see --help" && exit 2 ;;
    esac
    shift
  done
  if [ ! -d "$workspace" ]; then
    complain "--workspace $workspace: no such directory"
    exit 2
  fi
  workspace=$(cd "$workspace" && pwd)
}

wanted() { # NAME: is this environment to be made?
  local name
  [ "${#only[@]}" -gt 0 ] || return 0
  for name in "${only[@]}"; do [ "$name" != "$1" ] || return 0; done
  return 1
}

value_of() { # NAME FILE: the value in a file of NAME=value lines, as jobs read it; else nothing
  [ -f "$2" ] || return 0
  local value
  value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1=//p" "$2" | tail -n 1)
  value=${value%$'\r'}
  value=${value%"${value##*[![:space:]]}"}
  case $value in
    \"*\" | \'*\') value=${value:1:${#value}-2} ;;
  esac
  printf '%s' "$value"
}

personal() { # NAME: its value in .env, unless that is still the template's placeholder
  local value
  value=$(value_of "$1" "$workspace/.env")
  [ "$value" = "$(value_of "$1" "$repository/.env_template")" ] || printf '%s' "$value"
}

choose_places() {
  [ -n "$group" ] || group=$(personal "$group_variable")
  if [ -z "$group" ]; then
    complain "which group pays? --group GROUP (one of: $(id -Gn))"
    exit 2
  fi
  if [[ ! $group =~ ^[A-Za-z0-9_.-]+$ ]]; then
    complain "--group $group: not a group's name"
    exit 2
  fi
  [ -n "$disk" ] || disk=$disk_root/$group
  [ -n "$directory" ] || directory=$(personal REPO_PATH)
  [ -n "$directory" ] || directory=$disk/$(id -un)/hpcjobs
  case $directory in
    /*) ;;
    *) directory=$PWD/$directory ;;
  esac
  hf_cache=$(personal HUGGINGFACE_CACHE)
  hf_cache=${hf_cache:-$directory/cache/huggingface}
  vllm_cache=$(personal VLLM_CACHE)
  vllm_cache=${vllm_cache:-$directory/cache/vllm}
  # In the home: on Lustre group disks uv cannot build from source (EPERM).
  uv_cache=$(personal UV_CACHE)
  uv_cache=${uv_cache:-$HOME/.cache/uv}
  say "group $group, all below $directory, .env in $workspace"
}

check_group() {
  if ! id -Gn | tr ' ' '\n' | grep -qxF -- "$group"; then
    if [ "$group_is_unix" = yes ]; then
      stop "$(id -un) is not a member of the group $group (of: $(id -Gn)); ask its manager to add you"
    else
      say "note: $group is not among your UNIX groups ($(id -Gn))"
    fi
  fi
}

can_write() { # DIRECTORY: makes a file there and removes it
  local probe
  probe=$(mktemp "$1/.hpcjobs-setup.XXXXXX" 2>/dev/null) || return 1
  printf probe >"$probe" 2>/dev/null || { rm -f "$probe" && return 1; }
  rm -f "$probe"
}

make_places() {
  local place free
  if [ ! -d "$disk" ]; then
    stop "there is no $disk: the group has no disk there yet (its manager buys one), or: --disk DIR"
  fi
  for place in "$directory/environments" "$directory/sources" "$hf_cache" "$vllm_cache" "$uv_cache"; do
    if [ ! -d "$place" ]; then
      act mkdir -p -- "$place" || stop "cannot make $place"
    fi
    if [ -d "$place" ] && [ -z "$dry_run" ] && ! can_write "$place"; then
      stop "cannot write in $place (rights, a full disk or a quota: $quota_command)"
    fi
  done
  place=$directory
  while [ ! -d "$place" ]; do place=$(dirname "$place"); done
  free=$(df -Pk -- "$place" | awk 'NR == 2 { print int($4 / 1048576) }')
  if [ "${free:-0}" -lt "$need_gib" ] && ! all_whole; then
    stop "only ${free:-0} GiB are free on $place; $need_gib are needed (see: $quota_command)"
  fi
}

all_whole() { # are all wanted environments there already?
  local name
  for name in hpcjobs vllm lighteval lm_eval; do
    ! wanted "$name" || is_whole "$name" || return 1
  done
}

quiet_login_node() { # few threads and processes: login nodes allow 150 (ulimit -u)
  export UV_CACHE_DIR=$uv_cache UV_LINK_MODE=copy
  export UV_CONCURRENT_DOWNLOADS=4 UV_CONCURRENT_BUILDS=1 UV_CONCURRENT_INSTALLS=2
  export TOKIO_WORKER_THREADS=4 RAYON_NUM_THREADS=2 MAX_JOBS=2
  export UV_PYTHON_INSTALL_DIR=$directory/python UV_NO_PROGRESS=1
  unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
}

find_uv() {
  local candidate
  for candidate in "$(command -v uv || true)" "$HOME/.local/bin/uv" "$directory/uv/bin/uv"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
      uv=$candidate
      say "$("$uv" --version) ($uv)"
      return 0
    fi
  done
  # From PyPI by pip, which checks what it loads; nothing is piped from the network into a shell.
  uv=$directory/uv/bin/uv
  say "no uv on PATH: installing uv $uv_version into $directory/uv"
  local pip=("$directory/uv/bin/python" -m pip install --quiet --disable-pip-version-check)
  if ! act python3 -m venv "$directory/uv" || ! act "${pip[@]}" "uv==$uv_version"; then
    stop "uv cannot be installed (python3 with venv, and a way to pypi.org, are needed)"
  fi
}

logged() { # NAME COMMAND...: into a log of its own; explains the usual failures
  local name=$1 log code=0
  shift
  if [ -n "$dry_run" ]; then
    act "$@"
    return
  fi
  log=$directory/setup-$name.log
  printf '\n# %s: %s\n' "$(date '+%F %T')" "$*" >>"$log" || stop "cannot write $log"
  local from
  from=$(wc -c <"$log")
  "$@" >>"$log" 2>&1 || code=$?
  [ "$code" -eq 0 ] && return
  tail -c "+$((from + 1))" "$log" | tail -n 12 >&2
  complain "$name: $(reason "$code" "$(tail -c "+$((from + 1))" "$log")")"
  stop "$name: the whole output is in $log"
}

reason() { # EXIT_CODE OUTPUT: what people can do about it
  case $2 in
    *'No space left'* | *'os error 28'* | *'quota exceeded'* | *'os error 122'*)
      printf 'a disk is full (%s, or the home with %s): see %s' "$directory" "$uv_cache" "$quota_command" ;;
    *'Operation not permitted'* | *'os error 1)'*)
      printf 'uv cannot build in its cache %s: put UV_CACHE into the home, not on a group disk' "$uv_cache" ;;
    *'Resource temporarily unavailable'* | *'os error 11'*)
      printf 'too many processes (ulimit -u is %s): end others of yours on this login node' "$(ulimit -u)" ;;
    *'dns error'* | *'failed to lookup'* | *'Could not resolve'* | *'error sending request'* | *'Could not connect'*)
      printf 'the network is not reached from here' ;;
    *)
      if [ "$1" -gt 128 ]; then
        printf 'ended by signal %s (login nodes end what runs too long): run this again, it goes on' "$(($1 - 128))"
      else
        printf 'failed with exit code %s' "$1"
      fi
      ;;
  esac
}

make_python() { # VERSION
  if [ -z "$dry_run" ] && "$uv" python find --no-project "$1" >/dev/null 2>&1; then
    return 0
  fi
  logged python "$uv" python install "$1"
}

recipe() { # NAME: what its environment is made from, in one word
  case $1 in
    hpcjobs) printf '%s\n' "$repository" "$python_version" | cat - "$repository/pyproject.toml" | sha256sum ;;
    lighteval) printf '%s\n' "$swallow_commit" "$swallow_python" "$directory" | sha256sum ;;
    *) printf '%s\n' "$python_version" | cat - "$requirements/$1.txt" | sha256sum ;;
  esac
}

is_whole() { # NAME: made from the present recipe, and its Python still runs
  local place=$directory/environments/$1
  [ "$(cat "$place/.hpcjobs-recipe" 2>/dev/null)" = "$(recipe "$1")" ] &&
    "$place/bin/python" -c '' 2>/dev/null && [ -x "$place/bin/$1" ]
}

make_environment() { # NAME
  local name=$1
  local place=$directory/environments/$name
  wanted "$name" || return 0
  if is_whole "$name"; then
    say "$name: there already ($place)"
    return 0
  fi
  if [ -e "$place" ] && [ ! -f "$place/pyvenv.cfg" ] && [ -n "$(ls -A "$place" 2>/dev/null)" ]; then
    stop "$place is there and is no environment of Python: move it away"
    return 0
  fi
  say "$name: making $place (log: $directory/setup-$name.log)"
  [ -n "$dry_run" ] || rm -f "$place/.hpcjobs-recipe"
  if [ "$name" = lighteval ]; then
    make_lighteval "$place"
  else
    make_python "$python_version"
    logged "$name" "$uv" venv --allow-existing --no-project --python "$python_version" "$place"
    if [ "$name" = hpcjobs ]; then
      logged "$name" "$uv" pip install --python "$place/bin/python" --editable "${repository}[predownload]"
    else
      logged "$name" "$uv" pip install --python "$place/bin/python" --requirement "$requirements/$name.txt"
    fi
  fi
  if [ -z "$dry_run" ]; then
    [ -x "$place/bin/$name" ] || stop "$name: uv ended well, but $place/bin/$name is not there"
    recipe "$name" >"$place/.hpcjobs-recipe" || stop "cannot write in $place"
  fi
  # The home is small: what was copied out is not kept; what was built from source is.
  logged "$name" "$uv" cache prune --ci
}

make_lighteval() { # ENVIRONMENT: as the Swallow team does it, from their lock file
  local source=$directory/sources/swallow-evaluation-instruct
  command -v git >/dev/null || stop "there is no git"
  make_python "$swallow_python"
  if [ "$(git -C "$source" rev-parse HEAD 2>/dev/null)" != "$swallow_commit" ]; then
    if [ ! -d "$source/.git" ]; then
      logged lighteval git clone --quiet --no-checkout "$swallow_url" "$source"
    elif ! git -C "$source" cat-file -e "$swallow_commit^{commit}" 2>/dev/null; then
      logged lighteval git -C "$source" fetch --quiet origin
    fi
    logged lighteval git -C "$source" checkout --quiet --detach "$swallow_commit"
  fi
  logged lighteval env UV_PROJECT_ENVIRONMENT="$1" "$uv" sync --project "$source" --frozen \
    --extra lighteval --python "$swallow_python"
}

fill_in() { # TEMPLATE: the template with this account's values, keys left for the person
  local name value line
  while IFS= read -r line || [ -n "$line" ]; do
    name=${line%%=*} value=''
    case $name in
      REPO_PATH) value=$directory ;;
      HUGGINGFACE_CACHE) value=$hf_cache ;;
      UV_CACHE) value=$uv_cache ;;
      VLLM_CACHE) value=$vllm_cache ;;
      "$group_variable") value=$group ;;
    esac
    printf '%s\n' "${value:+$name=}${value:-$line}"
  done <"$1"
}

make_env_file() {
  local file=$workspace/.env name value
  if [ ! -e "$file" ]; then
    say "writing $file, mode 600; your keys (HF_TOKEN, ...) are still to be put in"
    if [ -z "$dry_run" ]; then
      (umask 077 && set -o noclobber && fill_in "$repository/.env_template" >"$file") ||
        stop "cannot write $file"
      chmod 600 "$file"
    fi
    return 0
  fi
  if [ ! -f "$file" ] || [ ! -O "$file" ]; then
    stop "$file is not a file of your own"
    return 0
  fi
  if [ "$(stat -L -c %a "$file")" != 600 ]; then
    say "$file: others could read it"
    act chmod 600 "$file" || stop "cannot change the mode of $file"
  fi
  for name in REPO_PATH HUGGINGFACE_CACHE UV_CACHE VLLM_CACHE "$group_variable"; do
    case $name in
      REPO_PATH) value=$directory ;;
      HUGGINGFACE_CACHE) value=$hf_cache ;;
      UV_CACHE) value=$uv_cache ;;
      VLLM_CACHE) value=$vllm_cache ;;
      *) value=$group ;;
    esac
    if [ -z "$(personal "$name")" ]; then
      stop "$file does not set $name; put in this line: $name=$value"
    elif [ "$(personal "$name")" != "$value" ]; then
      stop "$file says $name=$(personal "$name"), and not $value: change it there, or the option here"
    fi
  done
  say "$file: there already, left as it is"
}

consult_doctor() {
  local hpcjobs=$directory/environments/hpcjobs/bin/hpcjobs
  if [ -n "$dry_run" ]; then
    act "$hpcjobs" --workspace "$workspace" doctor --service "$service"
    return 0
  fi
  [ -x "$hpcjobs" ] || stop "$hpcjobs is not there; run this without --only"
  "$hpcjobs" --workspace "$workspace" doctor --service "$service" ||
    stop "hpcjobs doctor found what jobs would fail of (above)"
}

setup() {
  local name
  read_options "$@"
  umask 027
  step "places"
  choose_places
  check_group
  quiet_login_node
  all_whole || check_home
  make_places
  step ".env"
  make_env_file
  step "uv"
  find_uv
  step "environments"
  for name in hpcjobs lm_eval lighteval vllm; do make_environment "$name"; done
  step "hpcjobs doctor"
  consult_doctor
  if [ -n "$dry_run" ]; then
    printf '\nsetup_%s: a dry run; nothing was done\n' "$site"
    return 0
  fi
  printf '\nsubmit with: %s --workspace %q submit --service %s ...\n' \
    "$directory/environments/hpcjobs/bin/hpcjobs" "$workspace" "$service"
  printf 'setup_%s: succeeded\n' "$site"
}
