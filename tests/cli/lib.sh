# shellcheck shell=sh
# Sourced by every test in this folder. $SIGNUM is the program, $BUILD the build folder,
# $TMP a fresh folder; the working directory is the repository's root.
set -u

fail() { # MESSAGE...
    echo "failed: $*"
    exit 1
}

# This machine can not run the test; tests/run.sh shows the reason.
skip() { # REASON...
    echo "$*"
    exit 77
}

# Runs a command that must end with this status. Its output is left in $TMP/out and $TMP/err.
expect() { # STATUS COMMAND...
    expected=$1
    shift
    status=0
    "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || status=$?
    [ "$status" -eq "$expected" ] && return
    echo "--- stdout"
    head -c 2000 "$TMP/out"
    echo "--- stderr"
    head -c 2000 "$TMP/err"
    fail "exit status $status instead of $expected: $*"
}

# What the last command printed must contain this text (a fixed string).
out_has() { # TEXT
    grep -qF -- "$1" "$TMP/out" || fail "stdout lacks '$1': $(head -c 1000 "$TMP/out")"
}
err_has() { # TEXT
    grep -qF -- "$1" "$TMP/err" || fail "stderr lacks '$1': $(head -c 1000 "$TMP/err")"
}
