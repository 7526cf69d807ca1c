#!/bin/sh
# Run once, after postgres-init.sql, by the image's entry point: the password of the role the service logs in as.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --set password="$VOCALBRIDGE_DATABASE_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
alter role vocalbridge password :'password';
SQL
