-- What a Supabase project has before anything of ours: its roles, its schema auth, its default privileges, and the
-- publication that Realtime follows. Roles are the server's, so they may be there from another database already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
        create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
        -- Signs in for the others, as PostgREST does.
        create role authenticator login noinherit;
        grant anon, authenticated, service_role to authenticator;
        -- Owns what is in schema auth. What applies migrations is no superuser either.
        create role supabase_auth_admin nologin noinherit;
        create role postgres_project login createrole createdb bypassrls;
        grant anon, authenticated, service_role to postgres_project with admin option;
    end if;
end $$;
grant create on database :"database" to postgres_project;

-- As in a project: new things in public are everybody's, unless a migration takes that back.
grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres_project;
alter default privileges for role postgres_project in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres_project in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres_project in schema public
    grant all on sequences to anon, authenticated, service_role;

create schema auth;
grant usage on schema auth to anon, authenticated, service_role, postgres_project;

create function auth.jwt() returns jsonb
language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;
create function auth.uid() returns uuid
language sql stable as $$
    select nullif(coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub'), '')::uuid
$$;
create function auth.role() returns text
language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role')
$$;

create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
create type auth.factor_status as enum ('unverified', 'verified');

create table auth.users (
    id uuid primary key default gen_random_uuid(),
    email text unique,
    encrypted_password text,
    email_confirmed_at timestamptz,
    banned_until timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_sign_in_at timestamptz
);
create table auth.sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    aal auth.aal_level not null default 'aal1',
    amr jsonb not null default '[]',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on auth.sessions (user_id);
create table auth.refresh_tokens (
    id bigint generated always as identity primary key,
    token text not null unique,
    parent text,
    session_id uuid not null references auth.sessions (id) on delete cascade,
    revoked boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on auth.refresh_tokens (session_id);
create table auth.mfa_factors (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    friendly_name text,
    factor_type auth.factor_type not null default 'totp',
    status auth.factor_status not null default 'unverified',
    secret text not null,
    last_step bigint,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on auth.mfa_factors (user_id);
create table auth.mfa_challenges (
    id uuid primary key default gen_random_uuid(),
    factor_id uuid not null references auth.mfa_factors (id) on delete cascade,
    created_at timestamptz not null default now(),
    verified_at timestamptz
);
grant all on all tables in schema auth to postgres_project;

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres_project;
