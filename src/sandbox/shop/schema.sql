-- The shop's tables. Run by the owner of the database, in one transaction.
begin;

create table users (
    id         bigserial primary key,
    email      text not null unique,
    name       text not null,
    created_at timestamptz not null default now()
);

create table orders (
    id         bigserial primary key,
    user_id    bigint not null references users (id),
    total      numeric(10, 2) not null check (total >= 0),
    created_at timestamptz not null default clock_timestamp()
);

-- What was taken in the hour before: a row a minute, written by a job of cron.
create table takings (
    at     timestamptz primary key default clock_timestamp(),
    orders bigint not null,
    total  numeric(12, 2) not null
);

create index orders_created_at on orders (created_at);
create index orders_user_id on orders (user_id);

commit;
