-- Projection `jobs`: finished jobs leave it after a while. `jobs.retired` says until when, and is about the jobs of its own
-- partition of the log, which alone are ordered with it; so a row knows its partition. Rows that were written before do
-- not, so the table is made again from the log.
truncate jobs;
delete from checkpoints where projection = 'jobs';
alter table jobs add column partition integer not null;
create index jobs_finished on jobs (partition, finished_at) where finished_at is not null;

-- Asked for all tenants at once, hence as the owner.
create policy lookups on jobs for select to vocalbridge_owner using (true);
create function has_jobs_finished_before(wanted integer, before timestamptz) returns boolean
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$ select exists (select from jobs where partition = wanted and finished_at < before) $$;
revoke all on function has_jobs_finished_before(integer, timestamptz) from public;
grant execute on function has_jobs_finished_before(integer, timestamptz) to vocalbridge_app;
