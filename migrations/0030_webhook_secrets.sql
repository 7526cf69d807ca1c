-- Until then the tenant's webhook secret before the present one signs too; null: there was none.
alter table tenants add column previous_webhook_secret_until timestamptz;
