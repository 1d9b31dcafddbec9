-- 1,200 users, and an order every ten minutes over the last three weeks, the newest one minute old.
begin;

insert into users (email, name, created_at)
select 'user' || n || '@customers.example', 'User ' || n, now() - interval '30 days' + n * interval '10 minutes'
from generate_series(1, 1200) as n;

insert into orders (user_id, total, created_at)
select 1 + (n * 7919) % 1200, 5 + (n * 37) % 20000 / 100.0, now() - (3024 - n) * interval '10 minutes' - interval '1 minute'
from generate_series(1, 3024) as n;

commit;

analyze;
