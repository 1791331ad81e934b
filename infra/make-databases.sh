#!/bin/sh
# Makes the databases of Prefect and MLflow, each with a user of its own. PostgreSQL's image runs it once, on an empty volume.
set -eu

for name in prefect mlflow; do
    # Read by psql from its environment: a command line can be read by others.
    PASSWORD=$(cat "/run/secrets/${name}_db_password")
    [ -n "$PASSWORD" ]
    export PASSWORD
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$name" --username postgres --dbname postgres <<'SQL'
\getenv password PASSWORD
-- What fails is written to the server's log, and the password with it.
SET log_min_error_statement = panic;
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
