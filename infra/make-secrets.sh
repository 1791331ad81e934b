#!/bin/sh
# Draws the secrets of the servers into infra/secrets/, or into the folder that is named. What is there already stays.
#
# The folder lets nobody in but its owner. The files in it can be read by all, since containers see them one by one, with
# the rights that they have here, and run as users that this machine does not know.
set -eu

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

for name in postgres_password prefect_db_password mlflow_db_password s3_access_key s3_secret_key; do
    file=$folder/$name
    if [ -s "$file" ]; then
        echo "$name: kept" >&2
        continue
    fi
    # 192 bits, as 48 characters that need no quoting anywhere. Moved into place whole, or not at all.
    rm -f "$file.new"
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
    echo "$name: drawn" >&2
done
