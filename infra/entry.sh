#!/bin/sh
# Becomes the command that it is given. A secret named by NAME_FILE is put into NAME first: in the environment of that
# process alone, never on a command line, in an image or in what `docker inspect` shows.
set -eu

for name in PGPASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY ROOT_ACCESS_KEY ROOT_SECRET_KEY; do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    secret=""
    [ -r "$file" ] && secret=$(cat "$file")
    if [ -z "$secret" ]; then
        echo "The secret $name is missing. expected: a file with one line. received: $file. fix: sh infra/make-secrets.sh" >&2
        exit 78 # EX_CONFIG
    fi
    export "$name=$secret"
    unset "${name}_FILE" secret
done

exec "$@"
