-- A vendor may have several keys and addresses; a request says which of them it went to. Null where there is one, and on
-- rows from before.
alter table provider_calls add column endpoint integer;
