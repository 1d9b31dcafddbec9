create schema ext;
create extension pgcrypto with schema ext;
create extension dblink;
comment on database shop is 'the shop of the region that is lost';
set role shop;
create table customers (id serial primary key, name text not null unique, note text);
create table orders (
  id bigint generated always as identity primary key,
  customer int not null references customers,
  total numeric(12, 2) not null check (total >= 0),
  created_at timestamptz not null default now()
);
create index on orders (created_at);
create view newest as select max(created_at) as at from orders;
create materialized view totals as select customer, sum(total) as total from orders group by customer;
create schema "Odd.Schema";
create type "Odd.Schema".mood as enum ('sad', 'happy');
create table "Odd.Schema"."odd table" (m "Odd.Schema".mood, j jsonb, b bytea);
insert into "Odd.Schema"."odd table" values
  ('sad', '{"a": "\\. and \\! and \n"}', '\x00ff'), ('happy', null, null);
create function checked(text) returns boolean language plpgsql as $body$
begin
-- COPY looks like this in a comment
return $1 like '\\%';
end;
$body$;
insert into customers (name, note) values (E'back\\slash', E'\\.\n\\connect nowhere\ntab\there'), ('quote''s', '-- PostgreSQL database dump complete');
grant select on orders, customers to reader;
grant usage on schema "Odd.Schema" to "Odd ""Role" with grant option;
alter default privileges in schema public grant select on tables to reader;
alter table orders enable row level security;
create policy mine on orders for select to reader using (true);
