-- What a Supabase project has before anything of ours: its roles and what they get of new things. Roles are the
-- server's, so those of another database of it are there already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
        create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
        -- Applies migrations; no superuser, as in a project.
        create role postgres login createdb createrole bypassrls;
        grant anon, authenticated, service_role to postgres with admin option;
        -- Owns schema auth and signs in for the other roles, as GoTrue and PostgREST do together.
        create role supalite login noinherit;
        grant anon, authenticated, service_role to supalite;
    end if;
end $$;
grant create on database project to postgres, supalite;

grant all on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;
-- The double tries to give the roles everything in public. It must not be able to, and can without failing at it while
-- it may read.
grant usage on schema public to supalite;
alter default privileges for role postgres, supabase_admin in schema public grant select on tables to supalite;
-- New things in public are everybody's, unless a migration takes that back.
alter default privileges for role postgres, supabase_admin in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
    grant all on sequences to anon, authenticated, service_role;

create schema auth authorization supalite;
create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
