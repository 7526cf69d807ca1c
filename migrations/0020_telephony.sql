-- Projection `configuration`: which agent answers which number, and tenants' own accounts with carriers. A number is
-- meant to be one tenant's alone, but two tenants have two histories: whoever has it longest is answered
-- (docs/decisions/0027). `auth_token` is ciphertext.
create table phone_numbers (
    tenant_id uuid not null,
    number text not null,
    -- The event that assigned it first, since it was released last.
    assignment_id uuid not null,
    agent_id uuid not null,
    released boolean not null,
    assigned_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint phone_numbers_pkey primary key (tenant_id, number)
);
create index phone_numbers_number on phone_numbers (number) where not released;
call guard_projection('phone_numbers');

create table twilio_accounts (
    tenant_id uuid not null,
    account_sid text not null,
    auth_token_key_id uuid not null,
    auth_token_ciphertext text not null,
    auth_token_event_id uuid not null,
    removed boolean not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint twilio_accounts_pkey primary key (tenant_id)
);
call guard_projection('twilio_accounts');

-- Asked before a tenant is known: a call comes to a number. It runs as the owner, who may see all rows of exactly this
-- table.
create policy lookups on phone_numbers for select to vocalbridge_owner using (true);

create function holders_of_phone_number(wanted text) returns setof phone_numbers
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$ select * from phone_numbers where number = wanted and not released order by assigned_at, tenant_id $$;

revoke all on function holders_of_phone_number(text) from public;
grant execute on function holders_of_phone_number(text) to vocalbridge_app;
